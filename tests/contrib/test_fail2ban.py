"""fail2ban's filter finds the clients that it should, in the log of a real daemon."""

import os
import re
import shutil
import unittest

from harness.daemon import Daemon
from harness.next_hop import NextHop
from harness.sandbox import Sandbox
from milter_client import MilterClient
from places import CONTRIB, run

SECTIONS = """\
[scope]
exempt_clients = []
[policy]
route = ["[127.0.0.1]:{port}"]
[domain."watched.test"]
mode = "monitor"
[limits]
unknown_per_client = 2
host_penalty = "0s"
"""
FILTER = os.path.join(CONTRIB, "fail2ban", "filter.d", "callforward.conf")
COMMON = "/etc/fail2ban/filter.d/common.conf"  # beside it where it is installed


class Fail2ban(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()
        try:
            os.makedirs(cls.box.path("filter.d"))
            for part in (FILTER, COMMON):
                shutil.copy(part, cls.box.path("filter.d"))
            cls.hop = cls.box.add(NextHop())
            cls.daemon = Daemon(cls.box, "daemon", SECTIONS.format(port=cls.hop.port))
            cls.mta = MilterClient(cls.daemon.milter.removeprefix("unix:"))
        except BaseException:
            cls.box.stop()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.mta.close()
        cls.box.stop()

    def lines_of(self, recipient, client, **more):
        """One RCPT: the answer, and the daemon's new lines when there is one about it."""
        before = len(self.daemon.lines())
        reply = self.mta.rcpt(recipient, client=client, **more)
        self.daemon.wait_for_line(r" outcome=", before)
        return reply, self.daemon.lines(before)

    def found(self, lines):
        """The clients that fail2ban would count, as it reads both forms of the log."""
        as_syslog = [re.sub(r"^\S+ ", "Nov 25 12:00:00 mx callforward-milter[4711]: ", line)
                     for line in lines]
        answers = []
        for form in (lines, as_syslog):
            path = self.box.write("log", "".join(f"{line}\n" for line in form))
            done = run("fail2ban-regex", "-o", "ip", path,
                       self.box.path("filter.d", "callforward.conf"))
            self.assertEqual(done.stderr, "")
            answers.append([line for line in done.stdout.split() if line])
        self.assertEqual(answers[0], answers[1])
        return answers[0]

    def test_a_client_of_a_refused_unknown_recipient_is_found(self):
        reply, lines = self.lines_of("nobody@one.test", "192.0.2.10")
        self.assertTrue(reply.startswith("550 5.1.1"), reply)
        self.assertEqual(self.found(lines), ["192.0.2.10"])

    def test_an_ipv6_client_is_found(self):
        _, lines = self.lines_of("nobody.six@one.test", "IPv6:2001:db8::17")
        self.assertEqual(self.found(lines), ["2001:db8::17"])

    def test_an_impossible_address_is_found(self):
        _, lines = self.lines_of("a b@one.test", "192.0.2.11")
        self.assertEqual(self.found(lines), ["192.0.2.11"])

    def test_a_client_over_its_limit_is_found_at_each_rcpt(self):
        lines = []
        for number in range(4):
            reply, more = self.lines_of(f"nobody.{number}@many.test", "192.0.2.12")
            lines += more
        self.assertTrue(reply.startswith("421"), reply)
        self.assertEqual(self.found(lines), ["192.0.2.12"] * 4)

    def test_good_recipients_and_those_put_off_are_not(self):
        self.hop.rcpt["later@one.test"] = "450 4.2.0 later"
        self.hop.rcpt["policy@one.test"] = "554 5.7.1 blocked"
        lines = []
        for recipient in ("known@one.test", "later@one.test", "policy@one.test"):
            lines += self.lines_of(recipient, "192.0.2.13")[1]
        self.assertEqual(self.found(lines), [])

    def test_monitored_domains_are_not(self):
        reply, lines = self.lines_of("nobody@watched.test", "192.0.2.14")
        self.assertEqual(reply, "c")
        self.assertEqual(self.found(lines), [])

    def test_no_address_can_name_another_client(self):
        forged = ' client=203.0.113.9 domain= route= class=undeliverable action=reject'
        _, lines = self.lines_of(f'"known{forged}"@one.test', "192.0.2.15")
        _, more = self.lines_of("nobody.forged@one.test", "192.0.2.16",
                                sender=f'"x\\"{forged}"@sender.test')
        self.assertIn("203.0.113.9", "".join(lines))
        self.assertNotIn("203.0.113.9", self.found(lines))
        self.assertEqual(self.found(more), ["192.0.2.16"])

    def test_the_jail_names_the_filter(self):
        with open(os.path.join(CONTRIB, "fail2ban", "jail.d", "callforward.conf"),
                  encoding="utf-8") as file:
            self.assertRegex(file.read(), r"(?m)^filter +=\s*callforward$")
