"""Limits and interlock under Postfix: who harvests is hung up on, and an outage of the directory at
the next hop rejects nobody."""

import unittest

from harness.daemon import Daemon
from harness.dns_server import DnsServer
from harness.next_hop import STALL, NextHop, by_local_part
from harness.postfix import Postfix
from harness.sandbox import smtp_port, wait_until
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

DOMAINS = ["harvested", "outage", "canary", "watched", "lenient", "slow", "quick"]

SECTIONS = """\
[scope]
exempt_clients = ["127.0.7.0/24"]
[routing]
deny = []
[dns]
servers = ["127.0.0.1:{dns_port}"]
[domain."watched.test"]
mode = "monitor"
"""

# Milters that differ in what is tested: lives of a second, so that what is known is asked again.
SERVICES = {
    "limited": """\
[limits]
unknown_per_client = 5
unknown_window = "60s"
""",
    "shared": """\
[limits]
pending = 8
pending_share = 25
""",
    "flipping": """\
[limits]
unknown_per_client = 0
[interlock]
flip_limit = 20
flip_window = "30s"
""",
    "canaries": """\
[interlock]
canaries = ["known.canary@canary.test"]
flip_window = "1s"
""",
}
BRIEF = """\
[cache]
store = "memory"
deliverable = "1s"
undetermined = "1s"
"""
HEAD = """\
[milter]
socket = "{socket}"
socket_group = "postfix"
answer_within = "{answer_within}"
[log]
target = "stderr"
"""


class Limits(SharedSandbox, unittest.TestCase):
    @classmethod
    def fill(cls):
        cls.dns = cls.box.add(DnsServer())
        cls.hop = cls.box.add(NextHop("127.0.3.1", smtp_port("127.0.3.1")))
        cls.mta = Postfix(cls.box)
        for domain in DOMAINS:
            cls.mta.route(f"{domain}.test", cls.hop.address, cls.hop.port)
        cls.daemons = {}
        for name, sections in SERVICES.items():
            daemon = Daemon(cls.box, name, start=False)
            cls.configure(daemon, sections)
            daemon.start()
            cls.daemons[name] = daemon
            cls.mta.listen(name, daemon.milter)
        cls.mta.start()

    @classmethod
    def configure(cls, daemon, sections):
        daemon.configure(SECTIONS.format(dns_port=cls.dns.port) + BRIEF + sections, HEAD)

    def tearDown(self):
        self.hop.rcpt = {"*": by_local_part}

    def session(self, service, address):
        """A session of a client that the MTA takes for `address`."""
        client = SmtpClient("127.0.0.1", self.mta.port(service), "127.0.1.1")
        self.addCleanup(client.close)
        self.assertEqual(client.command(f"XCLIENT ADDR={address} NAME=client.test").code, 220)
        client.command("EHLO client.test")
        self.assertEqual(client.mail().code, 250)
        return client

    def ask(self, service, recipient, address="192.0.2.1"):
        client = self.session(service, address)
        reply = client.rcpt(recipient)
        client.close()
        return reply

    def forget_everybody(self):
        self.hop.rcpt = {"*": "550 5.1.1 no such user"}

    # --- unknown_per_client ---

    def test_a_client_that_harvests_is_hung_up_on(self):
        client = self.session("limited", "192.0.2.11")
        for number in range(5):
            self.assertEqual(client.rcpt(f"nobody{number}@harvested.test").code, 550)
        reply = client.rcpt("known.late@harvested.test")
        self.assertEqual((reply.code, reply.enhanced), (421, "4.7.1"))
        self.assertRegex(reply.text, "(?i)too many unknown recipients")
        with self.assertRaisesRegex(AssertionError, "hung up"):
            client.rcpt("known.later@harvested.test")
        self.assertEqual(self.hop.asked("known.late@harvested.test"), 0)
        entry = self.daemons["limited"].verdict("known.late@harvested.test")
        self.assertEqual((entry["reason"], entry["class"], entry["action"], entry["source"]),
                         ("throttled", "refused", "tempfail", "none"))
        self.assertIn("too many unknown", entry["text"])

    def test_a_harvester_is_known_by_its_address_and_nobody_else_is_harmed(self):
        client = self.session("limited", "192.0.2.12")
        for number in range(5):
            self.assertEqual(client.rcpt(f"nobody{number}@harvested.test").code, 550)
        client.quit()
        self.assertEqual(self.ask("limited", "known@harvested.test", "192.0.2.12").code, 421)
        self.assertEqual(self.ask("limited", "known@harvested.test", "192.0.2.13").code, 250)
        self.assertEqual(self.ask("limited", "nobody9@harvested.test", "127.0.7.1").code, 250)

    def test_an_ipv6_client_is_its_network(self):
        for number in range(5):
            reply = self.ask("limited", f"nobody{number}@harvested.test",
                             f"IPV6:2001:db8:0:1::{number + 1}")
            self.assertEqual(reply.code, 550)
        reply = self.ask("limited", "known@harvested.test", "IPV6:2001:db8:0:1:ffff::1")
        self.assertEqual(reply.code, 421)
        reply = self.ask("limited", "known@harvested.test", "IPV6:2001:db8:0:2::1")
        self.assertEqual(reply.code, 250)

    def test_known_recipients_are_not_counted(self):
        client = self.session("limited", "192.0.2.14")
        codes = {client.rcpt(f"known{number}@harvested.test").code for number in range(15)}
        self.assertEqual(codes, {250})

    def test_in_mode_monitor_a_harvester_is_only_logged(self):
        client = self.session("limited", "192.0.2.15")
        for number in range(8):
            self.assertEqual(client.rcpt(f"nobody{number}@watched.test").code, 250)
        entry = self.daemons["limited"].verdict("nobody7@watched.test")
        self.assertEqual((entry["reason"], entry["action"], entry["mode"]),
                         ("throttled", "tempfail", "monitor"))

    # --- pending_share ---

    def test_a_domain_at_its_share_is_overloaded_while_others_are_answered(self):
        self.hop.rcpt = {"*": lambda address: STALL if address.endswith("@slow.test")
                         else by_local_part(address)}
        waiting = [self.session("shared", "192.0.2.21") for _ in range(2)]
        for number, client in enumerate(waiting):
            client.send(f"RCPT TO:<known{number}@slow.test>\r\n".encode())
        wait_until(lambda: all(self.hop.asked(f"known{n}@slow.test") for n in range(2)),
                   "two questions under way")
        reply = self.ask("shared", "known2@slow.test")
        self.assertEqual((reply.code, reply.enhanced), (451, "4.3.2"))
        entry = self.daemons["shared"].verdict("known2@slow.test")
        self.assertEqual((entry["reason"], entry["class"]), ("overloaded", "unreachable"))
        for number in range(5):
            self.assertEqual(self.ask("shared", f"known{number}@quick.test").code, 250)

    # --- interlock ---

    def test_a_directory_outage_does_not_reject_everybody(self):
        daemon, people = self.daemons["flipping"], range(25)
        for number in people:
            self.assertEqual(self.ask("flipping", f"known{number}@outage.test").code, 250)
        self.forget_everybody()
        replies = [self.ask_until_refused("flipping", f"known{number}@outage.test")
                   for number in people]
        self.assertEqual([reply.code for reply in replies], 19 * [550] + 6 * [450])
        self.assertEqual(replies[-1].enhanced, "4.3.0")
        self.assertIn("suspended", replies[-1].text)
        line = daemon.wait_for_line("interlock closed")
        self.assertIn("warning: ", line)
        self.assertIn("domain=outage.test", line)
        self.assertIn("flips=20", line)
        # All of the domain's unknown recipients now, and no other domain's.
        self.assertEqual(self.ask("flipping", "known0@outage.test").code, 450)
        self.assertEqual(self.ask("flipping", "nobody@outage.test").code, 450)
        self.assertEqual(self.ask("flipping", "nobody@quick.test").code, 550)
        entry = daemon.verdict("nobody@outage.test")
        self.assertEqual((entry["outcome"], entry["action"]), ("undeliverable", "tempfail"))
        self.assertIn("suspended by the interlock", entry["text"])
        # It is over, and so is its window, which had to outlast a slow machine until here.
        self.hop.rcpt = {"*": by_local_part}
        self.configure(daemon, SERVICES["flipping"].replace('flip_window = "30s"', 'flip_window = "1s"'))
        daemon.signal()
        line = daemon.wait_for_line("interlock opened")
        self.assertIn("domain=outage.test", line)
        wait_until(lambda: self.ask("flipping", "known0@outage.test").code == 250, "known again")
        wait_until(lambda: self.ask("flipping", "nobody@outage.test").code == 550, "rejects again")
        self.assertEqual(sum("interlock closed" in line for line in daemon.lines()), 1)

    def ask_until_refused(self, service, recipient):
        """What is known lives for a second."""
        def refusal():
            reply = self.ask(service, recipient)
            return reply if reply.code != 250 else None
        return wait_until(refusal, f"{recipient} to be asked for again")

    def test_while_a_canary_is_refused_its_domain_rejects_nobody(self):
        daemon = self.daemons["canaries"]
        self.assertEqual(self.ask("canaries", "nobody@canary.test").code, 550)
        wait_until(lambda: self.hop.asked("known.canary@canary.test"), "the canary to be asked for")
        self.assertEqual(self.ask("canaries", "nobody@canary.test").code, 550)
        self.assertIn("MAIL FROM:<>", "\n".join(self.hop.said("MAIL")))
        self.forget_everybody()
        line = daemon.wait_for_line("interlock closed")
        self.assertIn("domain=canary.test", line)
        self.assertIn("canaries_refused=1", line)
        self.assertEqual(self.ask("canaries", "nobody@canary.test").code, 450)
        self.assertEqual(self.ask("canaries", "nobody@quick.test").code, 550)
        self.hop.rcpt = {"*": by_local_part}
        daemon.wait_for_line("interlock opened")
        wait_until(lambda: self.ask("canaries", "nobody@canary.test").code == 550, "rejects again")
