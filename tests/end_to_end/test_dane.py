"""DANE with a zone that is really signed and a resolver that really validates: the daemon under
Postfix asks mail exchangers whose TLSA records match, do not match, cannot be used, or are forged.
"""

import hashlib
import ssl
import subprocess
import unittest

from harness.certificate import make_certificate
from harness.daemon import Daemon
from harness.next_hop import NextHop
from harness.postfix import Postfix
from harness.sandbox import smtp_port
from harness.shared_sandbox import SharedSandbox
from harness.signed_dns import SignedDns
from harness.smtp_client import SmtpClient

SIGNED, PLAIN = "dane.test", "plain.test"
HOP, CLEAR_HOP, SECOND_HOP = "127.0.3.1", "127.0.3.2", "127.0.3.3"
FORGED = "f" * 64

SECTIONS = """\
[scope]
exempt_clients = []
[policy]
route = "mx"
port = {port}
[routing]
deny = []
[dns]
servers = ["{dns}"]
timeout = "4s"
{domains}"""


def public_key_digest(certificate):
    """SHA-256 of the SubjectPublicKeyInfo: TLSA selector 1, matching type 1."""
    pem = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], check=True,
                         capture_output=True, text=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], check=True,
                         capture_output=True, input=pem.encode()).stdout
    return hashlib.sha256(der).hexdigest()


def whole_digest(certificate):
    with open(certificate, encoding="ascii") as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


class Dane(SharedSandbox, unittest.TestCase):
    # name of the domain, and of its mail exchanger mx.NAME: records of the latter's TLSA
    LEVELS = ("may", "dane", "dane-only")

    @classmethod
    def fill(cls):
        certificate = make_certificate(cls.box, "elsewhere.test")
        cls.port = smtp_port(HOP)
        cls.hop = cls.box.add(NextHop(HOP, cls.port, certificate=certificate))
        cls.clear_hop = cls.box.add(NextHop(CLEAR_HOP, cls.port))
        cls.second_hop = cls.box.add(NextHop(SECOND_HOP, cls.port, certificate=certificate))
        key, whole = public_key_digest(certificate[0]), whole_digest(certificate[0])
        tlsa = {
            "match": f"3 1 1 {key}",
            "whole": f"3 0 1 {whole}",
            "other": f"3 1 1 {whole}",
            "unusable": f"1 1 1 {key}",
            "none": None,
            "bogus": f"3 1 1 {FORGED}",
            "stripped": f"3 1 1 {key}",
        }
        cls.names = [*tlsa, "both"]
        cls.dns = SignedDns(cls.box, SIGNED, cls._records(tlsa), PLAIN,
                            cls._records({"match": f"3 1 1 {whole}"}),
                            lambda lines: cls._forge(lines, key))
        domains = {f"{name}-{level}.{SIGNED}": level for name in cls.names for level in cls.LEVELS}
        domains |= {f"match-{level}.{PLAIN}": level for level in cls.LEVELS}
        sections = SECTIONS.format(
            port=cls.port, dns=f"{cls.dns.address}:{cls.dns.port}",
            domains="".join(f'[domain."{domain}"]\ntls = "{level}"\n'
                            for domain, level in domains.items()))
        cls.daemon = Daemon(cls.box, "daemon", sections)
        cls.mta = Postfix(cls.box)
        for domain in domains:
            cls.mta.route(domain, HOP, cls.port)
        cls.mta.listen("main", cls.daemon.milter)
        cls.mta.start()

    @classmethod
    def _records(cls, tlsa):
        """One domain for each level, all with the mail exchanger of its kind."""
        lines = []
        for name, data in tlsa.items():
            lines += [f"{name}-{level} MX 10 mx.{name}" for level in cls.LEVELS]
            lines += [f"mx.{name} A {CLEAR_HOP if name == 'stripped' else HOP}"]
            if data:
                lines.append(f"_{cls.port}._tcp.mx.{name} TLSA {data}")
        if "bogus" in tlsa:
            lines += [f"both-{level} MX 10 mx.bogus" for level in cls.LEVELS]
            lines += [f"both-{level} MX 20 mx.both" for level in cls.LEVELS]
            lines += [f"mx.both A {SECOND_HOP}", f"_{cls.port}._tcp.mx.both TLSA {tlsa['match']}"]
        return "\n".join(lines) + "\n"

    @classmethod
    def _forge(cls, lines, key):
        """Behind the signature's back: a record that would match."""
        forged = [line.replace(FORGED.upper(), key).replace(FORGED, key)
                  if " TLSA " in line and " RRSIG " not in line
                  else line for line in lines]
        # named writes the digest in two parts.
        halves = [f"{FORGED[:56].upper()} {FORGED[56:].upper()}"]
        return [line.replace(halves[0], key) if " TLSA " in line and " RRSIG " not in line else line
                for line in forged]

    def verdict(self, name, level, zone=SIGNED):
        domain = f"{name}-{level}.{zone}"
        recipient = f"known@{domain}"
        with SmtpClient("127.0.0.1", self.mta.port("main"), "127.0.1.1") as client:
            self.assertEqual(client.mail().code, 250)
            reply = client.rcpt(recipient)
            client.quit()
        found = self.daemon.verdict(recipient)
        self.assertNotEqual(found["outcome"], "undeliverable", found)
        self.assertEqual(reply.code, 250 if found["outcome"] == "deliverable" else 451, found)
        return found

    def assert_verdict(self, name, level, expected, zone=SIGNED):
        """expected: what it was verified by, "" for TLS without, or the reason why not."""
        found = self.verdict(name, level, zone)
        if found["outcome"] == "deliverable":
            self.assertRegex(found["tls"], r"^TLSv1\.[23]" + ("/dane$" if expected else "$"), found)
            self.assertIn(expected, ("", "dane"), found)
        else:
            self.assertEqual(found["reason"], expected, found)
            self.assertEqual(found["class"], "insecure", found)
        return found

    def test_a_matching_record_verifies_a_certificate_that_no_ca_knows(self):
        for name in ("match", "whole"):
            for level in self.LEVELS:
                with self.subTest(name=name, level=level):
                    self.assert_verdict(name, level, "dane")

    def test_a_record_that_does_not_match_leaves_the_recipient_undetermined(self):
        for level in self.LEVELS:
            with self.subTest(level):
                self.assert_verdict("other", level, "dane_failed")

    def test_a_forged_record_leaves_the_recipient_undetermined(self):
        for level in self.LEVELS:
            with self.subTest(level):
                found = self.assert_verdict("bogus", level, "dane_failed")
                self.assertEqual(found["stage"], "route")

    def test_records_that_nobody_can_use_ask_for_tls_all_the_same(self):
        self.assert_verdict("unusable", "may", "")
        self.assert_verdict("unusable", "dane", "")
        self.assert_verdict("unusable", "dane-only", "dane_failed")

    def test_a_signed_zone_without_records_is_as_any_other(self):
        self.assert_verdict("none", "may", "")
        self.assert_verdict("none", "dane", "")
        self.assert_verdict("none", "dane-only", "dane_failed")

    def test_records_of_an_unsigned_zone_are_not_believed(self):
        self.assert_verdict("match", "may", "", PLAIN)
        self.assert_verdict("match", "dane", "", PLAIN)
        self.assert_verdict("match", "dane-only", "dane_failed", PLAIN)

    def test_nothing_is_said_in_clear_where_records_are(self):
        for level in self.LEVELS:
            with self.subTest(level):
                self.assert_verdict("stripped", level, "tls_not_offered")
        self.assertEqual(self.clear_hop.said("MAIL"), [])
        self.assertEqual(self.clear_hop.said("RCPT"), [])

    def test_the_next_host_is_asked_where_the_first_ones_record_is_forged(self):
        for level in self.LEVELS:
            with self.subTest(level):
                found = self.assert_verdict("both", level, "dane")
                self.assertEqual(found["address"], SECOND_HOP)


if __name__ == "__main__":
    unittest.main()
