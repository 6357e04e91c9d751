"""The daemon under signals, with SMTP sessions of a real Postfix open: reload, bad reload, bursts,
stop, restart."""

import os
import re
import signal
import threading
import unittest

from harness.daemon import Daemon
from harness.next_hop import Held, NextHop
from harness.postfix import Postfix
from harness.sandbox import free_port, wait_until
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

SECTIONS = """\
[scope]
domains = ["@{listed}"]
exempt_clients = []
"""
DOMAINS = ["one.test", "two.test"]


class Lifecycle(SharedSandbox, unittest.TestCase):
    @classmethod
    def fill(cls):
        cls.hop = cls.box.add(NextHop("127.0.3.1"))
        cls.mta = Postfix(cls.box)
        for domain in DOMAINS:
            cls.mta.route(domain, cls.hop.address, cls.hop.port)
        cls.unix_socket = f"unix:{cls.box.path('lifecycle.sock')}"
        cls.inet_port = free_port()
        cls.mta.listen("unix", cls.unix_socket)
        cls.mta.listen("inet", f"inet:127.0.0.1:{cls.inet_port}")
        cls.mta.start()

    def setUp(self):
        self.list("one.test")
        # What waits for it in vain is seen by that, however slow the machine.
        self.daemon = Daemon(self.box, "lifecycle",
                             SECTIONS.format(listed=self.box.path("domains")),
                             socket=self.unix_socket, answer_within="60s")
        self.addCleanup(self.daemon.stop)

    def list(self, *domains):
        self.box.write("domains", "".join(f"{domain}\n" for domain in domains))

    def client(self, service="unix"):
        client = SmtpClient("127.0.0.1", self.mta.port(service))
        self.addCleanup(client.close)
        return client

    def transaction(self, service="unix"):
        client = self.client(service)
        client.mail()
        return client

    def reload_until(self, client, domain, code, number=signal.SIGHUP):
        """One signal; then fresh recipients of `domain` in the session, until the list shows."""
        self.daemon.signal(number)
        fresh = iter(range(10000))
        wait_until(lambda: client.rcpt(f"nobody.{id(client)}.{next(fresh)}@{domain}").code == code,
                   f"{code} for {domain} after signal {number}", 10)

    def test_sighup_reloads_without_dropping_a_session(self):
        client = self.transaction()
        self.assertEqual(client.rcpt("nobody@two.test").code, 250)  # not in scope yet
        self.list("two.test")
        self.reload_until(client, "two.test", 550)
        self.assertEqual(client.rcpt("nobody@one.test").code, 250)
        self.assertEqual(client.rcpt("known@two.test").code, 250)
        self.assertTrue(self.daemon.alive())

    def test_sigusr1_reloads_too(self):
        client = self.transaction()
        self.assertEqual(client.rcpt("nobody@two.test").code, 250)
        self.list("one.test", "two.test")
        self.reload_until(client, "two.test", 550, signal.SIGUSR1)

    def test_a_bad_reload_keeps_the_running_configuration(self):
        client = self.transaction()
        self.assertEqual(client.rcpt("nobody@one.test").code, 550)
        before = len(self.daemon.lines())
        self.daemon.configure('[policy]\nmoode = "off"\n')
        self.daemon.signal()
        line = self.daemon.wait_for_line(r"moode", before)
        self.assertRegex(line, r"lifecycle\.toml:\d+:\d+")
        self.assertEqual(client.rcpt("nobody.still@one.test").code, 550)
        self.assertEqual(client.rcpt("nobody.still@two.test").code, 250)
        self.assertTrue(self.daemon.alive())

    def test_a_good_reload_after_a_bad_one_works(self):
        client = self.transaction()
        before = len(self.daemon.lines())
        self.daemon.configure("[policy\n")
        self.daemon.signal()
        self.daemon.wait_for_line(r"lifecycle\.toml:", before)
        self.list("two.test")
        self.daemon.configure(SECTIONS.format(listed=self.box.path("domains")))
        self.reload_until(client, "two.test", 550)

    def test_a_burst_of_200_hangups_is_survived(self):
        client = self.transaction()
        for _ in range(200):
            self.daemon.signal()
        self.assertEqual(client.rcpt("nobody.burst@one.test").code, 550)
        self.list("two.test")
        self.reload_until(client, "two.test", 550)
        self.assertTrue(self.daemon.alive())

    def test_sigterm_finishes_the_rcpt_under_way(self):
        held = self.hop.rcpt["known.under.way@one.test"] = Held("250 2.1.5 Ok")
        client = self.transaction()
        replies = []
        asking = threading.Thread(
            target=lambda: replies.append(client.rcpt("known.under.way@one.test")))
        asking.start()
        wait_until(lambda: self.hop.asked("known.under.way@one.test"), "the call-forward to start")
        self.daemon.signal(signal.SIGTERM)
        threading.Timer(0.3, held.release).start()
        self.assertEqual(self.daemon.wait(30), 0)
        asking.join(30)
        self.assertEqual([reply.code for reply in replies], [250])

    def test_sigint_with_an_idle_session_exits_0_soon(self):
        self.transaction().rcpt("known.idle@one.test")
        self.daemon.signal(signal.SIGINT)
        self.assertEqual(self.daemon.wait(30), 0)

    def test_without_the_daemon_recipients_are_deferred_and_afterwards_verified_again(self):
        self.daemon.stop()
        client = self.client()
        self.assertEqual(client.mail().code // 100, 4)
        self.daemon.start()
        self.assertEqual(self.transaction().rcpt("nobody.again@one.test").code, 550)

    def test_a_socket_file_left_by_a_killed_daemon_is_replaced(self):
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.transaction().rcpt("nobody.killed@one.test").code, 550)

    def test_started_with_closed_standard_files_it_writes_its_log_to_no_peer(self):
        self.daemon.stop()
        before = len(self.hop.commands)
        self.daemon.start(ready=False, in_child=lambda: os.closerange(0, 3))
        wait_until(lambda: os.path.exists(self.daemon.control), "the control socket")
        for turn in range(10):
            client = self.transaction()
            self.assertEqual(client.rcpt(f"known.closed{turn}@one.test").code, 250)
            self.assertEqual(client.rcpt(f"nobody.closed{turn}@one.test").code, 550)
        for line in self.hop.commands[before:]:
            self.assertRegex(line, re.compile("(EHLO|MAIL|RCPT|RSET|QUIT)( |$)"))

    def test_an_inet_socket_serves_postfix_too(self):
        inet = Daemon(self.box, "inet", SECTIONS.format(listed=self.box.path("domains")),
                      socket=f"inet:{self.inet_port}@127.0.0.1")
        self.addCleanup(inet.stop)
        client = self.transaction("inet")
        self.assertEqual(client.rcpt("nobody.inet@one.test").code, 550)
        self.assertEqual(client.rcpt("known.inet@one.test").code, 250)

    def test_many_sessions_at_once_each_get_their_own_verdict(self):
        wrong = []

        def converse(number):
            with SmtpClient("127.0.0.1", self.mta.port("unix")) as client:
                client.mail()
                for turn in range(5):
                    for name, code in (("known", 250), ("nobody", 550)):
                        reply = client.rcpt(f"{name}.many{number}.{turn}@one.test")
                        if reply.code != code:
                            wrong.append((number, turn, name, str(reply)))

        threads = [threading.Thread(target=converse, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(wrong, [])
