"""TLS from the first byte, towards a Postfix with smtpd_tls_wrappermode: at every level, and where
one of the two sides does not know of it."""

import json
import re
import subprocess
import unittest

from harness.certificate import make_certificate
from harness.daemon import Daemon
from harness.postfix import Postfix
from harness.sandbox import binary
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

HOP = "127.0.3.1"

# domain: the scheme of its route, the port, and further keys
WAYS = {
    "may.test": ("smtps", "wrapped", ""),
    "none.test": ("smtps", "wrapped", 'tls = "none"'),
    "verify.test": ("smtps", "wrapped",
                    'tls = "verify"\ntls_ca_file = "{ca}"\ntls_match = ["hop.test"]'),
    "wrongname.test": ("smtps", "wrapped",
                       'tls = "verify"\ntls_ca_file = "{ca}"\ntls_match = ["other.test"]'),
    "unknownca.test": ("smtps", "wrapped", 'tls = "verify"\ntls_match = ["hop.test"]'),
    "fingerprint.test": ("smtps", "wrapped",
                         'tls = "fingerprint"\ntls_fingerprints = ["{fingerprint}"]'),
    "clear.test": ("smtps", "plain", ""),
    "waiting.test": ("smtp", "wrapped", 'reply_timeout = "1s"'),
}
SECTIONS = "[scope]\nexempt_clients = []\n"

HOP_RULES = """\
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
relay_recipient_maps = inline:{{ {known} }}
"""


class Smtps(SharedSandbox, unittest.TestCase):
    @classmethod
    def fill(cls):
        certificate, key = make_certificate(cls.box, "hop.test", "DNS:hop.test")
        fingerprint = subprocess.run(
            ["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"],
            check=True, capture_output=True, text=True).stdout.strip().rpartition("=")[2]
        cls.certificate = certificate
        cls.hop = Postfix(cls.box, "hop")
        cls.hop.routes = {domain: "discard:" for domain in WAYS}
        cls.hop.more = HOP_RULES.format(
            certificate=certificate, key=key,
            known=", ".join(f"known@{domain}=x" for domain in WAYS))
        ports = {"wrapped": cls.hop.listen("wrapped", address=HOP, smtpd_tls_wrappermode="yes"),
                 "plain": cls.hop.listen("plain", address=HOP)}
        cls.hop.start()
        sections = SECTIONS
        for domain, (scheme, port, keys) in WAYS.items():
            keys = keys.format(ca=certificate, fingerprint=fingerprint)
            sections += (f'[domain."{domain}"]\nroute = ["{scheme}:[{HOP}]:{ports[port]}"]\n'
                         f"{keys}\n")
        cls.port = ports["wrapped"]
        cls.daemon = Daemon(cls.box, "daemon", sections)
        cls.mta = Postfix(cls.box)
        cls.mta.routes = {domain: "smtp:[127.0.0.1]:1" for domain in WAYS}
        cls.mta.listen("main", cls.daemon.milter)
        cls.mta.start()

    def ask(self, recipient):
        with SmtpClient("127.0.0.1", self.mta.port("main"), "127.0.1.1") as client:
            client.mail()
            reply = client.rcpt(recipient)
            client.quit()
        return reply, self.daemon.verdict(recipient)

    def test_recipients_are_verified_inside_tls(self):
        for domain, tls in (("may.test", r"^TLSv1\.[23]$"), ("none.test", r"^TLSv1\.[23]$"),
                            ("verify.test", r"^TLSv1\.[23]/ca$"),
                            ("fingerprint.test", r"^TLSv1\.[23]/fingerprint$")):
            with self.subTest(domain):
                reply, found = self.ask(f"known@{domain}")
                self.assertEqual(reply.code, 250, found)
                self.assertRegex(found["tls"], tls)
                reply, found = self.ask(f"nobody@{domain}")
                self.assertEqual((reply.code, found["reason"]), (550, "unknown_user"))

    def test_a_certificate_that_does_not_count_makes_nobody_undeliverable(self):
        for domain in ("wrongname.test", "unknownca.test"):
            with self.subTest(domain):
                reply, found = self.ask(f"known@{domain}")
                self.assertEqual((reply.code, found["class"], found["reason"]),
                                 (451, "insecure", "certificate"), found)

    def test_a_server_that_greets_in_clear_makes_nobody_undeliverable(self):
        reply, found = self.ask("known@clear.test")
        self.assertEqual((reply.code, found["class"], found["reason"]),
                         (451, "insecure", "tls_failed"), found)

    def test_a_server_that_waits_for_tls_makes_nobody_undeliverable(self):
        reply, found = self.ask("known@waiting.test")
        self.assertEqual((reply.code // 100, found["outcome"]), (4, "undetermined"), found)

    def test_the_session_is_kept_for_the_next_recipient(self):
        def connections():
            return len(re.findall(r"\]: connect from", self.hop.log()))

        self.ask("nobody.first@may.test")  # that was asked for by nobody before
        self.hop.wait_for_line("reject: RCPT .*<nobody.first@may.test>")
        before = connections()
        for number in range(3):
            self.ask(f"nobody{number}@may.test")
        self.hop.wait_for_line("reject: RCPT .*<nobody2@may.test>")
        self.assertEqual(connections(), before)

    def test_the_tool_asks_inside_tls(self):
        for user, code in (("known", 0), ("nobody", 1)):
            done = subprocess.run(
                [binary("milter", "tool", "callforward"), "query", "--rcptto", f"{user}@may.test",
                 "--host", f"smtps:[{HOP}]:{self.port}", "--tls", "verify", "--tls-match",
                 "hop.test", "--tls-ca-file", self.certificate, "--json"],
                capture_output=True, text=True, timeout=60)
            found = json.loads(done.stdout)
            self.assertEqual((done.returncode, found["tls"]["verified"]), (code, True), found)


if __name__ == "__main__":
    unittest.main()
