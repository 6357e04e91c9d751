"""How callforward shows itself and its client to real servers: XCLIENT and the PROXY protocol to
Postfix and Dovecot, AUTH to Postfix with Dovecot's SASL, the address that it comes from."""

import os
import unittest

from harness.certificate import make_certificate
from harness.daemon import Daemon
from harness.dovecot import Dovecot
from harness.postfix import Postfix
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

CLIENT, REFUSED, OUR_OTHER = "127.0.1.1", "127.0.1.66", "127.0.5.77"
PASSWORD = "Open, Sesame+1"

# The restrictions of the hops: what only one who knows the client, or us, can apply.
CLIENT_RULES = """\
smtpd_client_restrictions = check_client_access inline:{{{{127.0.1.66 = REJECT this client not}}}}
smtpd_helo_restrictions = check_helo_access inline:{{{{bad.client.test = REJECT this name not}}}}
relay_recipient_maps = inline:{{known@{domain}=x}}
smtpd_authorized_xclient_hosts = {xclient}
"""
AUTH_RULES = """\
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
relay_recipient_maps = inline:{{known@auth.test=x, known@wrong.test=x}}
"""
FROM_RULES = """\
smtpd_client_restrictions = check_client_access inline:{{127.0.5.77=OK}}, reject
relay_recipient_maps = inline:{{known@from.test=x}}
"""

# XCLIENT inside TLS, and AUTH after both; the PROXY protocol before TLS from the first byte.
TLS_RULES = """\
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
smtpd_sasl_security_options = noanonymous
"""
WRAPPED_RULES = """\
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_wrappermode = yes
smtpd_upstream_proxy_protocol = haproxy
"""

SECTIONS = """\
[scope]
exempt_clients = []
[domain."xclient.test"]
xclient = true
[domain."proxied.test"]
proxy_protocol = true
[domain."mailbox.test"]
route = ["lmtp:[127.0.0.1]:{lmtp_port}"]
proxy_protocol = true
xclient = true
[domain."auth.test"]
auth_username = "carol"
auth_password_file = "{folder}/right"
[domain."wrong.test"]
auth_username = "carol"
auth_password_file = "{folder}/wrong"
[domain."together.test"]
xclient = true
tls = "encrypt"
auth_username = "carol"
auth_password_file = "{folder}/right"
[domain."wrapped.test"]
route = ["smtps:[127.0.3.7]:{wrapped_port}"]
proxy_protocol = true
[domain."from.test"]
source_address = ["127.0.5.77"]
"""


def client_rules(domain, xclient):
    return CLIENT_RULES.format(domain=domain, xclient=xclient)


class Introduced(SharedSandbox, unittest.TestCase):
    @classmethod
    def fill(cls):
        cls.dovecot = Dovecot(cls.box, {"carol": PASSWORD, "known@mailbox.test": "x"})
        cls.dovecot.start()
        certificate, key = make_certificate(cls.box)
        cls.hops = {}
        cls.mta = Postfix(cls.box)
        auth = AUTH_RULES.format(certificate=certificate, key=key, sasl=cls.dovecot.sasl)
        for domain, address, more in (
                ("xclient.test", "127.0.3.1", client_rules("xclient.test", "127.0.0.0/8")),
                ("plain.test", "127.0.3.2", client_rules("plain.test", "127.0.0.0/8")),
                ("proxied.test", "127.0.3.3", client_rules("proxied.test", "") +
                 "smtpd_upstream_proxy_protocol = haproxy\n"),
                ("auth.test", "127.0.3.4", auth),
                ("together.test", "127.0.3.6", client_rules("together.test", "127.0.0.0/8") +
                 "smtpd_relay_restrictions = permit_sasl_authenticated, reject\n" +
                 TLS_RULES.format(certificate=certificate, key=key, sasl=cls.dovecot.sasl)),
                ("wrapped.test", "127.0.3.7", client_rules("wrapped.test", "") +
                 WRAPPED_RULES.format(certificate=certificate, key=key)),
                ("from.test", "127.0.3.5", FROM_RULES.format())):
            cls._add_hop(domain, address, more)
        hop = cls.hops["auth.test"]
        cls.mta.route("wrong.test", "127.0.3.4", hop.port("hop"))
        cls.mta.routes["mailbox.test"] = "smtp:[127.0.0.1]:1"
        for name, text in (("right", PASSWORD + "\n"), ("wrong", "x\n")):
            os.chmod(cls.box.write(name, text), 0o640)
        cls.daemon = Daemon(cls.box, "shown", SECTIONS.format(
            folder=cls.box.folder, lmtp_port=cls.dovecot.proxied_port,
            wrapped_port=cls.hops["wrapped.test"].port("hop")))
        cls.mta.listen("shown", cls.daemon.milter)
        cls.mta.start()

    @classmethod
    def _add_hop(cls, domain, address, more):
        hop = Postfix(cls.box, f"hop-{domain}")
        hop.routes[domain] = "discard:"
        if domain == "auth.test":
            hop.routes["wrong.test"] = "discard:"
        hop.more = more
        port = hop.listen("hop", address=address)
        hop.start()
        cls.hops[domain] = hop
        cls.mta.route(domain, address, port)

    def ask(self, recipient, source=CLIENT, helo="client.test", sender="sender@sender.test"):
        with SmtpClient("127.0.0.1", self.mta.port("shown"), source, greet=False) as client:
            client.command(f"EHLO {helo}")
            client.mail(sender)
            reply = client.rcpt(recipient)
            client.quit()
            return reply

    def reason(self, recipient, nth=1):
        return self.daemon.verdict(recipient, nth)["reason"]

    def test_xclient_makes_the_next_hop_see_the_client(self):
        self.assertEqual(self.ask("known@xclient.test").code, 250)
        self.assertEqual(self.ask("nobody@xclient.test").code, 550)
        self.hops["xclient.test"].wait_for_line(
            r"reject: RCPT from unknown\[127\.0\.1\.1\]: 550 5\.1\.1 <nobody@xclient\.test>.*"
            r" helo=<client\.test>")

    def test_a_client_that_the_next_hop_refuses_makes_nobody_undeliverable(self):
        for domain in ("xclient.test", "proxied.test"):
            with self.subTest(domain):
                reply = self.ask(f"other@{domain}", source=REFUSED)
                self.assertTrue(400 <= reply.code < 500, str(reply))
                self.assertEqual(self.daemon.verdict(f"other@{domain}")["class"], "refused")
                # Another client's answer is its own.
                self.assertEqual(self.ask(f"other@{domain}").code, 550)

    def test_xclient_tells_the_clients_helo(self):
        reply = self.ask("third@xclient.test", helo="bad.client.test")
        self.assertTrue(400 <= reply.code < 500, str(reply))
        self.hops["xclient.test"].wait_for_line(r"bad\.client\.test")
        self.assertEqual(self.ask("third@xclient.test").code, 550)

    def test_without_xclient_the_next_hop_sees_this_host(self):
        self.assertEqual(self.ask("known@plain.test", source=REFUSED).code, 250)

    def test_the_proxy_protocol_makes_the_next_hop_see_the_client(self):
        self.assertEqual(self.ask("known@proxied.test").code, 250)
        self.assertEqual(self.ask("nobody@proxied.test").code, 550)
        self.hops["proxied.test"].wait_for_line(
            r"reject: RCPT from unknown\[127\.0\.1\.1\]: 550 5\.1\.1 <nobody@proxied")

    def test_dovecot_takes_the_header_and_xclient(self):
        self.assertEqual(self.ask("known@mailbox.test").code, 250)
        self.assertEqual(self.ask("nobody@mailbox.test").code, 550)

    def test_auth_is_accepted_and_lets_us_ask(self):
        self.assertEqual(self.ask("known@auth.test").code, 250)
        self.assertEqual(self.ask("nobody@auth.test").code, 550)
        self.assertEqual(self.daemon.verdict("known@auth.test")["tls"][:4], "TLSv")

    def test_a_wrong_password_is_a_refusal_of_us(self):
        reply = self.ask("known@wrong.test")
        self.assertTrue(400 <= reply.code < 500, str(reply))
        entry = self.daemon.verdict("known@wrong.test")
        self.assertEqual((entry["reason"], entry["class"], entry["stage"], entry["code"]),
                         ("auth_required", "refused", "auth", "535"))

    def test_xclient_and_auth_go_together_inside_tls(self):
        self.assertEqual(self.ask("known@together.test").code, 250)
        self.assertEqual(self.ask("nobody@together.test").code, 550)
        self.assertEqual(self.daemon.verdict("known@together.test")["tls"][:4], "TLSv")
        self.hops["together.test"].wait_for_line(
            r"reject: RCPT from unknown\[127\.0\.1\.1\]: 550 5\.1\.1 <nobody@toge")
        # Another client is another session, which says all of it again.
        reply = self.ask("other@together.test", source=REFUSED)
        self.assertTrue(400 <= reply.code < 500, str(reply))
        self.assertEqual(self.daemon.verdict("other@together.test")["class"], "refused")

    def test_the_proxy_protocol_comes_before_tls_from_the_first_byte(self):
        self.assertEqual(self.ask("known@wrapped.test").code, 250)
        self.assertEqual(self.ask("nobody@wrapped.test").code, 550)
        self.assertEqual(self.daemon.verdict("known@wrapped.test")["tls"][:4], "TLSv")
        self.hops["wrapped.test"].wait_for_line(
            r"reject: RCPT from unknown\[127\.0\.1\.1\]: 550 5\.1\.1 <nobody@wrapped")

    def test_no_password_stands_in_a_log(self):
        self.ask("known@auth.test")
        for text in (PASSWORD, "Sesame"):
            self.assertNotIn(text, "\n".join(self.daemon.lines()))

    def test_connections_come_from_the_chosen_address(self):
        self.assertEqual(self.ask("known@from.test").code, 250)
        self.hops["from.test"].wait_for_line(r"connect from unknown\[127\.0\.5\.77\]")


if __name__ == "__main__":
    unittest.main()
