"""What the operator sees of a wrong configuration, and of a right one."""

import ctypes
import datetime
import json
import os
import signal
import socket
import subprocess
import tomllib
import unittest

from harness.daemon import HEAD, Daemon, check, program
from harness.sandbox import MS_BIND, Sandbox, binary, wait_until

MISTAKES = {  # text: (line, what the message must name, the nearest valid name or "")
    '[milter]\nsokcet = "unix:/x"\n': (2, "sokcet", "socket"),
    '\n[polcy]\n': (2, "polcy", "policy"),
    '[policy]\nmode = "enforc"\n': (2, "enforc", "enforce"),
    '[policy]\ntimeout = 60\n': (2, "timeout", ""),
    '[policy]\ntimeout = "60"\n': (2, "60", ""),
    '[policy]\nport = 70000\n': (2, "port", ""),
    '[policy]\ntls = "maybe"\n': (2, "maybe", "may"),
    '[scope]\nexempt_clients = ["10.0.0.0/99"]\n': (2, "10.0.0.0/99", ""),
    '[milter]\nsocket_mode = "rw"\n': (2, "rw", ""),
    '[domain."example.com"]\nroutes = []\n': (2, "routes", "route"),
    '[[classify]]\nas = "unknown_usr"\n': (2, "unknown_usr", "unknown_user"),
    '[[classify]]\ntext = "(unclosed"\nas = "policy"\n': (2, "(unclosed", ""),
    '[policy]\nmode = \n': (2, "", ""),
}
GOOD = """\
[milter]
socket = "inet:8891@127.0.0.1"
answer_within = "3s"
[scope]
domains = ["example.com", ".example.org", "!never.example.com"]
exempt_clients = ["192.0.2.0/24", "2001:db8::/32"]
[policy]
mode = "monitor"
[domain."example.com"]
route = ["[10.0.0.5]:25", "lmtp:unix:/run/lmtp", "[2001:db8::1]:25"]
on_unreachable = "accept"
[[classify]]
stage = "rcpt"
code = 550
enhanced = "5.7.1"
text = "(?i)no such \\"user\\""
as = "unknown_user"
"""


def fill(path):
    """Sends datagrams there until it takes no more, from whomever."""
    full = False
    while not full:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as writer:
            writer.connect(path)
            writer.setblocking(False)
            full = True
            try:
                while writer.send(b"x"):
                    full = False
            except BlockingIOError:  # it, or what one writer may have under way
                pass


class Configuration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()

    def start(self, text):
        """Starts the daemon for real: it must end by itself."""
        return subprocess.run([program(), "--config", self.box.write("bad.toml", text)],
                              capture_output=True,
                              text=True, timeout=30)

    def test_each_mistake_is_told_with_file_line_column_and_nearest_name(self):
        for text, (line, names, nearest) in MISTAKES.items():
            with self.subTest(text):
                done = check(self.box.write("bad.toml", text))
                self.assertEqual(done.returncode, 78, done)
                self.assertRegex(done.stderr, rf"bad\.toml:{line}:\d+")
                self.assertIn(names, done.stderr)
                self.assertIn(nearest, done.stderr)

    def test_the_daemon_refuses_to_start_with_a_mistake(self):
        done = self.start('[milter]\nsokcet = "unix:/x"\n')
        self.assertEqual(done.returncode, 78, done)
        self.assertRegex(done.stderr, r"bad\.toml:2:\d+")

    def test_a_missing_named_file_is_an_error(self):
        done = check(self.box.path("missing.toml"))
        self.assertEqual(done.returncode, 78, done)
        self.assertIn("missing.toml", done.stderr)

    def test_a_folder_is_no_configuration(self):
        os.makedirs(self.box.path("folder.toml"), exist_ok=True)
        self.assertEqual(check(self.box.path("folder.toml")).returncode, 78)

    def test_check_knows_users_and_groups_as_the_start_does(self):
        for key in ("user", "socket_group"):
            with self.subTest(key):
                done = check(self.box.write("name.toml", f'[milter]\n{key} = "no-such-name"\n'))
                self.assertEqual((done.returncode, done.stdout), (78, ""))
                self.assertIn(f'[milter] {key}: there is no', done.stderr)

    def test_a_missing_list_file_is_an_error(self):
        done = check(self.box.write("list.toml",
                                    f'[scope]\ndomains = ["@{self.box.path("no-list")}"]\n'))
        self.assertEqual(done.returncode, 78, done)
        self.assertIn("no-list", done.stderr)

    def test_an_empty_file_is_a_working_configuration(self):
        self.assertEqual(check(self.box.write("empty.toml", "")).returncode, 0)

    def test_what_check_prints_is_toml_that_check_accepts_and_prints_again(self):
        for name, text in (("empty.toml", ""), ("good.toml", GOOD)):
            with self.subTest(name):
                first = check(self.box.write(name, text))
                self.assertEqual(first.returncode, 0, first)
                tomllib.loads(first.stdout)
                second = check(self.box.write("again.toml", first.stdout))
                self.assertEqual(second.returncode, 0, second)
                self.assertEqual(second.stdout, first.stdout)

    def test_check_prints_what_is_in_force(self):
        printed = tomllib.loads(check(self.box.write("good.toml", GOOD)).stdout)
        self.assertEqual(printed["policy"]["mode"], "monitor")
        self.assertEqual(printed["policy"]["on_deferred"], "tempfail")
        self.assertEqual(printed["domain"]["example.com"]["on_unreachable"], "accept")
        self.assertEqual(printed["scope"]["domains"],
                         ["example.com", ".example.org", "!never.example.com"])
        self.assertEqual(printed["classify"][0]["as"], "unknown_user")

    def test_set_wins_over_the_file(self):
        done = check(self.box.write("good.toml", GOOD), "--set", 'policy.mode="off"', "--set",
                     "policy.port=2525")
        self.assertEqual(done.returncode, 0, done)
        printed = tomllib.loads(done.stdout)
        self.assertEqual((printed["policy"]["mode"], printed["policy"]["port"]), ("off", 2525))

    def test_a_wrong_set_is_refused_and_named(self):
        done = check(self.box.write("good.toml", GOOD), "--set", 'policy.moode="off"')
        self.assertEqual(done.returncode, 78, done)
        self.assertIn("moode", done.stderr)

    def test_without_a_syslog_the_log_goes_to_stderr(self):
        self.hide_syslog()
        for target, said in (("auto", "ready"), ("syslog", "no syslog at /dev/log")):
            with self.subTest(target):
                daemon = Daemon(self.box, f"target-{target}", start=False)
                daemon.configure("", head=HEAD.replace('target = "stderr"', f'target = "{target}"'))
                daemon.start(ready=False)
                daemon.wait_for_line(said)
                wait_until(lambda: os.path.exists(daemon.control), "the control socket")
                daemon.stop()
                self.assertEqual(any("stopped" in line for line in daemon.lines()), target == "auto")

    def test_a_syslog_that_nobody_reads_holds_up_neither_a_reload_nor_the_stop(self):
        config, control = self.box.path("stuck.toml"), self.box.path("stuck.control")
        head = HEAD.replace('target = "stderr"', 'target = "syslog"')
        self.box.write("stuck.toml", head.format(socket=f"unix:{self.box.path('stuck.sock')}",
                                                 answer_within="auto", control=control))
        os.makedirs(self.box.path("dev"))
        reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(reader.close)
        reader.settimeout(60)
        reader.bind(self.box.path("dev", "log"))
        script = 'set -e; mount --bind "$1" /dev; shift; exec "$@"'
        daemon = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", self.box.path("dev"),
                                   program(), "--config", config], stderr=subprocess.DEVNULL)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        while b" ready" not in reader.recv(65536):
            pass
        fill(self.box.path("dev", "log"))

        def good_reloads():
            done = subprocess.run([binary("milter", "tool", "callforward"), "status", "--json",
                                   "--socket", control], capture_output=True, check=True, timeout=60)
            return json.loads(done.stdout)["configuration"]["reloads"]["good"]
        for number in range(1, 6):  # the first ones give the log a line that it cannot be rid of
            daemon.send_signal(signal.SIGHUP)
            wait_until(lambda number=number: good_reloads() == number, f"reload {number}")
        daemon.terminate()
        self.assertEqual(daemon.wait(60), 0)

    def test_a_default_file_that_goes_is_missed_and_one_that_never_was_is_not(self):
        folder, log = self.box.path("etc"), self.box.path("default.log")
        os.makedirs(folder)
        settings = {"milter.socket": f"unix:{self.box.path('default.sock')}",
                    "control.socket": self.box.path("default.control"),
                    "cache.store": "memory", "log.target": "stderr"}
        options = [o for key, value in settings.items() for o in ("--set", f'{key}="{value}"')]
        script = ('set -e; mount -t tmpfs none /etc; mkdir /etc/callforward; '
                  'mount --bind "$1" /etc/callforward; shift; exec "$@"')
        with open(log, "wb") as to:
            daemon = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", folder, program(),
                                       *options], stderr=to)

        def said(text, times=1):
            with open(log, encoding="utf-8") as file:
                return file.read().count(text) >= times
        try:
            wait_until(lambda: said(" ready "), "ready")
            self.assertTrue(said("no configuration file; the built-in defaults are in force"))
            path = self.box.write("etc/callforward.toml", "")
            daemon.send_signal(signal.SIGHUP)
            wait_until(lambda: said("configuration reloaded"), "a reload")
            os.remove(path)
            daemon.send_signal(signal.SIGHUP)
            wait_until(lambda: said("reload failed"), "a reload that fails")
            self.assertTrue(said("it was there when it was last read"))
        finally:
            daemon.terminate()
            self.assertEqual(daemon.wait(30), 0)

    def test_a_cache_without_room_is_warned_of(self):
        daemon = Daemon(self.box, "no-room", start=False)
        daemon.configure("")
        for option, is_warned in (("cache.capacity=1", False), ("cache.capacity=0", True)):
            before = len(daemon.lines())
            daemon.start("--set", "cache.undeliverable_capacity=0", "--set", option)
            daemon.stop()
            self.assertEqual(any("nothing is remembered" in line for line in daemon.lines(before)),
                             is_warned, option)

    def test_json_lines_have_time_and_level(self):
        daemon = Daemon(self.box, "json", start=False)
        daemon.configure("", head=HEAD.replace('"logfmt"', '"json"'))
        daemon.start()
        daemon.stop()
        for line in daemon.lines():
            with self.subTest(line):
                found = json.loads(line)
                self.assertEqual(list(found)[:2], ["time", "level"])
                self.assertIsNotNone(datetime.datetime.fromisoformat(found["time"]).tzinfo)

    def hide_syslog(self):
        """Nobody reads /dev/log, for this run only."""
        if not os.path.exists("/dev/log"):
            return
        if not os.environ.get("CALLFORWARD_TEST_ISOLATED"):
            self.skipTest("the machine's /dev/log cannot be hidden")
        nobody = self.box.write("nobody-reads", "").encode()
        self.assertEqual(ctypes.CDLL(None).mount(nobody, b"/dev/log", None, MS_BIND, None), 0)

    def test_output_that_cannot_be_written_is_told(self):
        config = self.box.write("good.toml", GOOD)
        for option in ("--check", "--help", "--version"):
            for to in (">/dev/full", ">&-"):
                with self.subTest(option + to):
                    done = subprocess.run(
                        ["sh", "-c", f"exec {program()} --config {config} {option} {to}"],
                        stderr=subprocess.PIPE, text=True, timeout=30)
                    self.assertEqual(done.returncode, 74, done)
                    self.assertIn("standard output cannot be written", done.stderr)

    def test_usage_version_and_help(self):
        run = lambda option: subprocess.run([program(), option], capture_output=True, text=True,
                                            timeout=30)
        self.assertEqual(run("--nonsense").returncode, 64)
        self.assertEqual(run("--help").returncode, 0)
        version = run("--version")
        self.assertEqual(version.returncode, 0)
        self.assertRegex(version.stdout, r"\d+\.\d+\.\d+")
