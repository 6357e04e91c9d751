"""DNS that fails, lies and points where nobody may go (rows 40-49, 51, 52 of the catalogue).

Each case is a domain below d.test, routed by MX. Good hosts are at 127.0.4.1 and 127.0.4.2, trap
listeners at 127.0.9.1, ::1 and other addresses that [routing] deny names; a contact with a trap
fails its case. test-dns-server plays the faults.
"""

import subprocess

from faults.hop import Hop
from faults.suite import Case
from harness.sandbox import binary

SETTINGS = """\
[routing]
deny = ["127.0.9.0/24", "::1/128", "0.0.0.0/8", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4"]
[dns]
servers = ["{dns}"]
timeout = "1s"
[domain.".d.test"]
route = "mx"
port = {port}
"""

# name, rows, records (@ is the domain), what the client gets for a known and an unknown recipient.
TABLE = [
    ("one MX", "40", "@ MX 10 good.hosts.test", "A", "J"),
    ("no MX but A", "40", "@ A 127.0.4.1", "A", "J"),
    ("null MX", "40", "@ MX 0 .", "J", "J"),
    ("NXDOMAIN", "40", "", "J", "J"),
    ("NXDOMAIN without SOA", "40", "@ NXDOMAIN", "JT", "JT"),
    ("neither MX nor addresses", "40", "x.@ A 127.0.4.1", "JT", "JT"),
    ("SERVFAIL", "41", "@ SERVFAIL", "T", "T"),
    ("MX SERVFAIL but A", "41", "@ SERVFAIL MX\n@ A 127.0.4.1", "T", "T"),
    ("REFUSED", "41", "@ REFUSED", "T", "T"),
    ("no answer", "41", "@ TIMEOUT", "T", "T"),
    ("truncated, whole over TCP", "42", "@ TRUNCATE\n@ MX 10 good.hosts.test", "A", "J"),
    ("truncated, TCP closed", "42", "@ TRUNCATE\n@ TCPCLOSE\n@ MX 10 good.hosts.test", "T", "T"),
    ("truncated, TCP stalled", "42", "@ TRUNCATE\n@ TCPSTALL\n@ MX 10 good.hosts.test", "T", "T"),
    ("truncated, TCP short", "42", "@ TRUNCATE\n@ TCPSHORT\n@ MX 10 good.hosts.test", "T", "T"),
    ("CNAME to MX", "43", "@ CNAME c.@\nc.@ MX 10 good.hosts.test", "A", "J"),
    ("MX to CNAME", "43", "@ MX 10 c.@\nc.@ CNAME good.hosts.test", "A", "J"),
    ("CNAME loop", "43", "@ CNAME c.@\nc.@ CNAME @", "T", "T"),
    ("garbage", "44", "@ GARBAGE\n@ MX 10 good.hosts.test", "T", "T"),
    ("empty packet", "44", "@ EMPTY\n@ MX 10 good.hosts.test", "AT", "JT"),
    ("forged id first", "45", "@ WRONGID\n@ MX 10 good.hosts.test", "A", "J"),
    ("forged question first", "45", "@ WRONGQUESTION\n@ MX 10 good.hosts.test", "A", "J"),
    ("A good but AAAA SERVFAIL", "46", "@ MX 10 m.@\nm.@ A 127.0.4.1\nm.@ SERVFAIL AAAA", "A", "J"),
    ("A good but AAAA unanswered", "46", "@ MX 10 m.@\nm.@ A 127.0.4.1\nm.@ TIMEOUT AAAA", "A", "J"),
    ("TTL 0", "47", "@ MX 10 good.hosts.test\n@ TTL 0", "A", "J"),
    ("huge TTL", "47", "@ MX 10 good.hosts.test\n@ TTL 2147483648", "A", "J"),
    ("every answer twice", "47", "@ DUPLICATE\n@ MX 10 good.hosts.test", "A", "J"),
    ("answers in capitals", "47", "@ UPPER\n@ MX 10 good.hosts.test", "A", "J"),
    ("no EDNS", "47", "@ NOEDNS\n@ MX 10 good.hosts.test", "A", "J"),
    ("late", "47", "@ DELAY 400\n@ MX 10 good.hosts.test", "A", "J"),
    ("later than its time", "47", "@ DELAY 1200\n@ MX 10 good.hosts.test", "T", "T"),
    ("first MX dead", "49", "@ MX 10 dead.hosts.test\n@ MX 20 good.hosts.test", "A", "J"),
    ("first MX without address", "49", "@ MX 10 none.hosts.test\n@ MX 20 good.hosts.test", "A", "J"),
    ("first MX SERVFAIL", "49", "@ MX 10 m.@\nm.@ SERVFAIL\n@ MX 20 good.hosts.test", "AT", "JT"),
    ("60 dead MX", "48", "\n".join(f"@ MX {n} dead{n}.hosts.test" for n in range(1, 61)), "T", "T"),
    # Where nobody may go: T, and no contact.
    ("MX at a denied IPv4 network", "51", "@ MX 10 trap.hosts.test", "T", "T"),
    ("MX at a denied IPv6 address", "51", "@ MX 10 m.@\nm.@ AAAA ::1", "T", "T"),
    ("MX at its IPv4-mapped form", "51", "@ MX 10 m.@\nm.@ AAAA ::ffff:127.0.9.1", "T", "T"),
    ("MX at its NAT64 form", "51", "@ MX 10 m.@\nm.@ AAAA 64:ff9b::7f00:901", "T", "T"),
    ("MX at 0.0.0.0", "51", "@ MX 10 m.@\nm.@ A 0.0.0.0", "T", "T"),
    ("MX at link-local addresses", "51", "@ MX 10 m.@\nm.@ A 169.254.0.1\nm.@ AAAA fe80::1", "T", "T"),
    ("MX at multicast", "51", "@ MX 10 m.@\nm.@ A 224.0.0.1", "T", "T"),
    ("MX named like an address", "51", "@ MX 10 127.0.9.1", "T", "T"),
    ("MX named like a short address", "51", "@ MX 10 127.9.1", "T", "T"),
    ("MX named like a number", "51", "@ MX 10 2130708737", "T", "T"),
    ("MX named like hexadecimal", "51", "@ MX 10 0x7f000901", "T", "T"),
    ("A of the domain denied", "51", "@ A 127.0.9.1", "T", "T"),
    ("CNAME into a denied network", "51", "@ MX 10 c.@\nc.@ CNAME trap.hosts.test", "T", "T"),
    ("one address denied, one not", "51", "@ MX 10 m.@\nm.@ A 127.0.9.1\nm.@ A 127.0.4.1", "A", "J"),
    ("MX at ourselves by name", "52", "@ MX 10 mx.test", "T", "T"),
    ("MX beyond ourselves", "52", "@ MX 10 mx.test\n@ MX 20 good.hosts.test", "T", "T"),
]
HOSTS = """\
good.hosts.test A 127.0.4.1
dead.hosts.test A 127.0.5.1
trap.hosts.test A 127.0.9.1
mx.test A 127.0.9.1
""" + "".join(f"dead{n}.hosts.test A 127.0.5.{n}\n" for n in range(1, 61))


class Zone:
    """test-dns-server with the records of all cases, the good hosts and the traps."""

    def __init__(self, sandbox, port):
        text = HOSTS
        for number, (_, _, records, _, _) in enumerate(TABLE):
            text += records.replace("@", f"c{number}.d.test") + "\n"
        path = sandbox.write("zone", text)
        self._process = subprocess.Popen(
            [binary("tests", "support", "test-dns-server"), "--listen", "127.0.0.1:0", path],
            stdout=subprocess.PIPE, text=True)
        self.address = self._process.stdout.readline().split()[1]
        self.port = port
        self.good = [Hop(address="127.0.4.1", port=port)]
        self.traps = [Hop(address=address, port=port) for address in ("127.0.9.1", "::1")]
        sandbox.add(self)

    def settings(self):
        return SETTINGS.format(dns=self.address, port=self.port)

    def stop(self):
        self._process.terminate()
        self._process.wait(10)
        for hop in self.good + self.traps:
            hop.stop()

    def contacts(self):
        return sum(trap.sessions for trap in self.traps)


def dns_case(number, name, rows, known, unknown):
    def run(world):
        # Rejects of a domain without mail come at once, what is asked comes from the hop.
        domain = f"c{number}.d.test"
        seen = [world.expect(f"known@{domain}", "", known, mailer="smtp", rcpt_host=domain),
                world.expect(f"nobody@{domain}", "", unknown, mailer="smtp", rcpt_host=domain)]
        return "; ".join(seen)
    return Case(f"DNS: {name}", rows, run)


def cases(zone):
    found = [dns_case(number, name, rows, known, unknown)
             for number, (name, rows, _, known, unknown) in enumerate(TABLE)]

    def no_contact(_world):
        assert zone.contacts() == 0, f"{zone.contacts()} connections to denied addresses"
        return "0 connections to denied addresses"
    return found, [Case("no denied host was contacted", "51,52", no_contact)]
