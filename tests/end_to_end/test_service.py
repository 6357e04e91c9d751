"""The daemon under a service manager, which the test plays: sd_notify(3) datagrams, the watchdog,
a listening socket handed over as descriptor 3."""

import contextlib
import os
import pwd
import re
import signal
import socket
import stat
import struct
import time
import unittest

from harness.daemon import HEAD, program
from harness.sandbox import Sandbox, wait_until


class ServiceManager:
    """Starts the daemon as systemd starts a Type=notify unit, and hears what it notifies."""

    def __init__(self, box, name="service", socket_setting=None, watchdog=None, hand_over=None):
        self._heard = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(box.path(f"{name}.notify"))
        self._notify.setblocking(False)
        config = box.write(f"{name}.toml", HEAD.format(
            socket=socket_setting or f"unix:{box.path(name + '.sock')}", answer_within="auto",
            control=box.path(name + ".control")))
        self.log = box.path(f"{name}.log")
        self.environment = {**os.environ, "NOTIFY_SOCKET": box.path(f"{name}.notify")}
        if watchdog:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        self._hand_over = hand_over
        self.config = config
        self.process = None
        box.add(self)

    def start(self):
        def child():  # between fork and exec, where alone the own process id is known
            os.environ.clear()
            os.environ.update(self.environment)
            if self._hand_over is not None:
                os.dup2(self._hand_over.fileno(), 3)
                os.set_inheritable(3, True)  # it may have been descriptor 3 before
                os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
            os.execv(program(), [program(), "--config", self.config])

        with open(self.log, "ab") as log:
            pid = os.fork()
            if pid == 0:
                try:
                    os.dup2(log.fileno(), 2)
                    child()
                finally:
                    os._exit(127)
        self.process = pid
        self._code = None

    def wait(self, seconds=60):
        def ended():
            if self._code is None:
                found, status = os.waitpid(self.process, os.WNOHANG)
                if found:
                    self._code = (os.waitstatus_to_exitcode(status),)
            return self._code
        return wait_until(ended, "the daemon to end", seconds)[0]

    def stop(self):
        if self.process and self._code is None:
            os.kill(self.process, signal.SIGCONT)
            os.kill(self.process, signal.SIGTERM)
            self.wait()
        self._notify.close()

    def signal(self, number):
        os.kill(self.process, number)

    def heard(self):
        """All lines that were notified so far."""
        while True:
            try:
                self._heard += self._notify.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self._heard

    def wait_for(self, line, times=1, seconds=60):
        wait_until(lambda: self.heard().count(line) >= times,
                   f"{line} {times} times; heard {self._heard}; said {self.said()}", seconds)

    def said(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()


class UnderAServiceManager(unittest.TestCase):
    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)

    def service(self, **options):
        manager = ServiceManager(self.box, **options)
        manager.start()
        return manager

    def listening(self):
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        return listener

    def assert_serves(self, connection):
        """The milter protocol's first exchange: version 6, no actions, no steps left out."""
        connection.settimeout(10)
        connection.sendall(struct.pack("!IcIII", 13, b"O", 6, 0x1ff, 0x1fffff))
        size, command = struct.unpack("!Ic", connection.recv(5, socket.MSG_WAITALL))
        self.assertEqual(command, b"O", size)

    def test_ready_is_told_when_the_socket_listens(self):
        manager = self.service()
        manager.wait_for("READY=1")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.box.path("service.sock"))
            self.assert_serves(probe)
        self.assertNotIn("WATCHDOG=1", manager.heard())

    def test_only_event_loops_interrupt_other_threads(self):
        manager = self.service()
        manager.wait_for("READY=1")

        def policies():
            found = []
            for thread in os.listdir(f"/proc/{manager.process}/task"):
                with contextlib.suppress(ProcessLookupError):  # libmilter's end when they are idle
                    found.append(os.sched_getscheduler(int(thread)))
            return found

        # A loop says so itself, with its first step, for which READY does not wait.
        loops = len(os.sched_getaffinity(0))
        wait_until(lambda: policies().count(os.SCHED_OTHER) == loops,
                   f"{loops} event loops that interrupt; policies are {policies()}", 200)
        self.assertGreater(policies().count(os.SCHED_BATCH), 3)
        self.assertEqual(set(policies()), {os.SCHED_OTHER, os.SCHED_BATCH})

    def test_a_policy_that_was_chosen_for_it_stays(self):
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            manager = self.service()
        finally:
            os.sched_setscheduler(0, before, os.sched_param(0))
        manager.wait_for("READY=1")
        self.assertEqual(os.sched_getscheduler(manager.process), os.SCHED_IDLE)

    def test_a_reload_and_the_end_are_told(self):
        manager = self.service()
        manager.wait_for("READY=1")
        manager.signal(signal.SIGUSR1)
        manager.wait_for("READY=1", times=2)
        states = [line for line in manager.heard() if line in ("READY=1", "RELOADING=1")]
        self.assertEqual(states, ["READY=1", "RELOADING=1", "READY=1"])
        manager.signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        self.assertEqual(manager.wait(), 0)

    def test_a_daemon_that_cannot_start_is_never_ready(self):
        manager = self.service(socket_setting="unix:/no/such/folder/s")
        self.assertEqual(manager.wait(), 69)
        self.assertNotIn("READY=1", manager.heard())

    def test_the_watchdog_hears_it_several_times_in_its_time(self):
        manager = self.service(watchdog=5)
        manager.wait_for("WATCHDOG=1")
        begin = time.monotonic()
        manager.wait_for("WATCHDOG=1", times=manager.heard().count("WATCHDOG=1") + 4)
        self.assertLess(time.monotonic() - begin, 20)  # once in its time would be this

    def test_the_watchdog_hears_nothing_from_a_stopped_process_and_again_when_it_goes_on(self):
        manager = self.service(watchdog=0.2)
        manager.wait_for("WATCHDOG=1")
        manager.signal(signal.SIGSTOP)
        os.waitpid(manager.process, os.WUNTRACED)
        time.sleep(0.5)  # for what it had said before to be heard
        before = manager.heard().count("WATCHDOG=1")
        time.sleep(0.5)  # more than the watchdog's time: here silence itself is the result
        self.assertEqual(manager.heard().count("WATCHDOG=1"), before)
        manager.signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG=1", times=before + 2)

    def test_a_socket_that_was_handed_over_is_served(self):
        listener = self.listening()
        manager = self.service(socket_setting="fd:3", hand_over=listener)
        manager.wait_for("READY=1")
        with socket.create_connection(listener.getsockname()) as mta:
            self.assert_serves(mta)

    def test_who_connects_between_two_daemons_waits_and_is_served(self):
        listener = self.listening()
        with socket.create_connection(listener.getsockname()) as early:
            first = self.service(socket_setting="fd:3", hand_over=listener, name="first")
            self.assert_serves(early)
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), 0)
        with socket.create_connection(listener.getsockname()) as meanwhile:
            self.service(socket_setting="fd:3", hand_over=listener, name="second")
            self.assert_serves(meanwhile)

    def test_without_a_socket_handed_over_it_says_what_to_do(self):
        manager = self.service(socket_setting="fd:3000")
        self.assertEqual(manager.wait(), 69)
        self.assertIn("cannot listen on fd:3000: no such descriptor was handed over; let systemd "
                      "start it by callforward-milter.socket", manager.said())

    def test_when_libmilter_ends_by_itself_it_ends_as_at_a_stop_and_with_69(self):
        listener = self.listening()
        manager = self.service(socket_setting="fd:3", hand_over=listener)
        manager.wait_for("READY=1")
        listener.shutdown(socket.SHUT_RDWR)  # what it accepts at, too
        self.assertEqual(manager.wait(), 69)
        self.assertIn("libmilter has ended", manager.said())
        self.assertIn("STOPPING=1", manager.heard())
        self.assertIn("stopped", manager.said())

    def test_a_descriptor_that_is_no_listener_is_refused(self):
        with socket.socket() as deaf:
            manager = self.service(socket_setting="fd:3", hand_over=deaf)
            self.assertEqual(manager.wait(), 69)
        self.assertIn("no socket that listens", manager.said())

    def test_a_socket_that_was_handed_over_for_nothing_is_a_warning(self):
        manager = self.service(hand_over=self.listening())
        manager.wait_for("READY=1")
        wait_until(lambda: "handed over a socket that is not used" in manager.said(), "the warning")

    def test_the_user_gets_the_folders_that_only_root_can_make(self):
        manager = ServiceManager(self.box)
        store, control = self.box.path("var/lib/cf"), self.box.path("run/cf/control.sock")
        with open(manager.config, encoding="utf-8") as file:
            text = file.read().replace("[milter]\n", '[milter]\nuser = "nobody"\n')
        text = re.sub(r'(?m)^socket_group.*\n', "", text)
        text = re.sub(r'(?m)^store = .*', f'store = "lmdb:{store}"', text)
        text = re.sub(r'(?m)^(\[control\]\nsocket = ).*', rf'\1"{control}"', text)
        with open(manager.config, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.box.path("service.notify"), 0o777)
        manager.start()
        manager.wait_for("READY=1")
        nobody = pwd.getpwnam("nobody")
        for folder in (store, os.path.dirname(control)):
            found = os.stat(folder)
            self.assertEqual((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)),
                             (nobody.pw_uid, nobody.pw_gid, 0o750), folder)
        self.assertTrue(os.path.exists(os.path.join(store, "data.mdb")), manager.said())
        self.assertTrue(stat.S_ISSOCK(os.stat(control).st_mode))
        self.assertNotIn("cannot be used", manager.said())

    def test_dropping_root_leaves_socket_activation_and_watchdog_intact(self):
        listener = self.listening()
        manager = ServiceManager(self.box, socket_setting="fd:3", hand_over=listener, watchdog=2)
        with open(manager.config, encoding="utf-8") as file:
            text = file.read().replace("[milter]\n", '[milter]\nuser = "nobody"\n')
        with open(manager.config, "w", encoding="utf-8") as file:
            file.write(text.replace('socket_group = "postfix"\n', ""))
        os.chmod(self.box.path("service.notify"), 0o777)
        manager.start()
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1")
        with socket.create_connection(listener.getsockname()) as mta:
            self.assert_serves(mta)
