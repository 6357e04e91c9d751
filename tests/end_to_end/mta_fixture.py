"""One MTA, two daemons, the next hops and a DNS server, started once for a class of tests.

Tests are told apart by domain and by address, not by restarts: every hop NAME serves the domain
NAME.test, and further domains carry the policies of SECTIONS. Daemon `main` answers in its own
time, or that of the test class, daemon `brisk` within 2 s.
"""

import time

from harness.certificate import make_certificate
from harness.daemon import Daemon
from harness.dns_server import DnsServer
from harness.next_hop import NextHop
from harness.postfix import Postfix
from harness.sandbox import smtp_port
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

CLIENT = "127.0.1.1"
EXEMPT_CLIENT = "127.0.7.7"
DEAD = "127.0.3.250"  # nobody listens here
HOPS = ["main", "greeting", "ehlo", "mail", "cut", "garbage", "endless", "tls"]
ELSEWHERE = ["down", "deaf"]  # domains whose MTA route leads to DEAD
POLICED = ["never", "monitor", "off"]  # domains with a policy, routed to hop main
MX = ["found", "nullmx", "gone", "broken", "silent", "failover"]

SECTIONS = """\
[scope]
domains = ["*", "!never.test"]
exempt_clients = ["127.0.7.0/24"]
[routing]
deny = []
mailers = {{ {mailers} }}
[dns]
servers = ["127.0.0.1:{dns_port}"]
timeout = "6s"
[domain."monitor.test"]
mode = "monitor"
[domain."off.test"]
mode = "off"
[domain."deaf.test"]
on_unreachable = "accept"
[domain."listed.test"]
route = ["[{dead}]:{port}", "[{main}]:{port}"]
[domain."null.test"]
sender = "null"
"""


class MtaFixture(SharedSandbox):
    """Mixed into unittest.TestCase; the test class gives make_mta(sandbox)."""

    ANSWER_WITHIN = "auto"

    @classmethod
    def fill(cls):
        cls.dns = cls.box.add(DnsServer())
        cls.hops, certificate = {}, make_certificate(cls.box)
        for number, name in enumerate(HOPS, 1):
            address = f"127.0.3.{number}"
            shown = certificate if name == "tls" else None
            cls.hops[name] = cls.box.add(NextHop(address, smtp_port(address), certificate=shown))
        cls.main_hop = cls.hops["main"]
        cls.port = cls.main_hop.port
        cls.postfix_hop = cls._start_postfix_hop()
        cls.mta = cls.make_mta(cls.box)
        cls._route()
        cls._fill_dns()
        mailers = ", ".join(f'{name} = "{hop}"' for name,
                            hop in getattr(cls.mta, "mailers", {}).items())
        sections = SECTIONS.format(dns_port=cls.dns.port, dead=DEAD, main=cls.main_hop.address,
                                   port=cls.port,
                                   mailers=mailers)
        sections += "".join(
            f'[domain."{name}.test"]\nroute = "mx"\nport = {cls.port}\n' for name in MX)
        cls.daemon = Daemon(cls.box, "main", sections, answer_within=cls.ANSWER_WITHIN)
        cls.brisk = Daemon(cls.box, "brisk", sections, answer_within="2s")
        cls.mta.listen("main", cls.daemon.milter)
        cls.mta.listen("brisk", cls.brisk.milter)
        cls.mta.start()

    @classmethod
    def _start_postfix_hop(cls):
        """A next hop played by Postfix itself."""
        hop = Postfix(cls.box, "postfix-hop")
        hop.routes["real.test"] = "discard:"
        hop.more = "relay_recipient_maps = inline:{known@real.test=x}\n"
        hop.listen("hop", address="127.0.3.100", port=smtp_port("127.0.3.100"))
        hop.start()
        return hop

    @classmethod
    def _route(cls):
        for name, hop in cls.hops.items():
            cls.mta.route(f"{name}.test", hop.address, hop.port)
        for name in ELSEWHERE + ["listed"]:
            cls.mta.route(f"{name}.test", DEAD, cls.port)
        for name in POLICED + MX:
            cls.mta.route(f"{name}.test", cls.main_hop.address, cls.port)
        cls.mta.route("null.test", cls.hops["mail"].address, cls.hops["mail"].port)
        cls.mta.route("real.test", "127.0.3.100", cls.postfix_hop.port("hop"))
        cls.mta.aliases["info@alias.test"] = "known.target@main.test"

    @classmethod
    def _fill_dns(cls):
        cls.dns.add("live.hosts.test", "A", cls.main_hop.address)
        cls.dns.add("dead.hosts.test", "A", DEAD)
        cls.dns.add("found.test", "MX", (10, "live.hosts.test"))
        cls.dns.add("nullmx.test", "MX", (0, "."))
        cls.dns.add("failover.test", "MX", (10, "dead.hosts.test"), (20, "live.hosts.test"))
        cls.dns.fail("broken.test", "SERVFAIL")
        cls.dns.fail("silent.test", "SILENCE")

    def session(self, service="main", source=CLIENT):
        return SmtpClient("127.0.0.1", self.mta.port(service), source)

    def ask(self, recipient, sender="sender@sender.test", service="main", source=CLIENT):
        """The reply to one RCPT in a session of its own."""
        with self.session(service, source) as client:
            self.assertEqual(client.mail(sender).code, 250)
            reply = client.rcpt(recipient)
            client.quit()
            return reply

    def assert_tempfail(self, reply):
        self.assertTrue(400 <= reply.code < 500 and reply.code != 421, str(reply))

    def assert_never_asked(self, recipient, reason):
        entry = self.daemon.verdict(recipient)
        self.assertEqual(entry["class"], "skipped", entry)
        self.assertEqual(entry["reason"], reason, entry)
        self.assertEqual(entry["source"], "none", entry)
        for hop in self.hops.values():
            self.assertEqual(hop.asked(recipient), 0, hop.commands)

    def ask_until(self, recipient, code, service, seconds=60):
        """Asks again until the code comes: the client's own retry."""
        deadline = time.monotonic() + seconds
        while (reply := self.ask(recipient, service=service)).code != code:
            self.assertLess(time.monotonic(), deadline, f"last reply: {reply}")
        return reply
