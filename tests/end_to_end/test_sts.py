"""MTA-STS (RFC 8461) as it is in the field: the daemon under Postfix finds the record by DNS, gets
the policy over HTTPS from port 443 of the policy's host, and holds real TLS servers to it."""

import unittest

from harness.certificate import make_certificate
from harness.daemon import Daemon
from harness.dns_server import DnsServer
from harness.next_hop import NextHop
from harness.policy_host import PolicyHost
from harness.postfix import Postfix
from harness.sandbox import SystemTrust, smtp_port
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

DNS, WEB, OTHER_WEB, DEAD_WEB = "127.0.4.1", "127.0.4.2", "127.0.4.3", "127.0.4.4"
GOOD_HOP, WRONG_HOP, CLEAR_HOP = "127.0.3.1", "127.0.3.2", "127.0.3.3"

SECTIONS = """\
[scope]
exempt_clients = []
[policy]
route = "mx"
port = {port}
tls_mta_sts = true
[routing]
deny = []
[dns]
servers = ["{dns}"]
timeout = "4s"
[domain."unheeded.test"]
tls_mta_sts = false
"""

# domain: where its mail exchanger mx.DOMAIN is, and its policy: the mode and what it lists
DOMAINS = {
    "enforced.test": (GOOD_HOP, "enforce", "mx.enforced.test"),
    "pattern.test": (GOOD_HOP, "enforce", "*.pattern.test"),
    "unlisted.test": (GOOD_HOP, "enforce", "mx.elsewhere.test"),
    "wrongname.test": (WRONG_HOP, "enforce", "mx.wrongname.test"),
    "clear.test": (CLEAR_HOP, "enforce", "mx.clear.test"),
    "testing.test": (WRONG_HOP, "testing", "mx.elsewhere.test"),
    "watched.test": (WRONG_HOP, "testing", "mx.watched.test"),
    "watchedclear.test": (CLEAR_HOP, "testing", "mx.watchedclear.test"),
    "watchedgood.test": (GOOD_HOP, "testing", "mx.watchedgood.test"),
    "nothing.test": (WRONG_HOP, "none", "mx.elsewhere.test"),
    "unheeded.test": (WRONG_HOP, "enforce", "mx.elsewhere.test"),
    "unannounced.test": (WRONG_HOP, "enforce", "mx.elsewhere.test"),
    "badweb.test": (WRONG_HOP, "enforce", "mx.elsewhere.test"),
    "kept.test": (WRONG_HOP, "enforce", "mx.kept.test"),
    "reloaded.test": (WRONG_HOP, "enforce", "mx.reloaded.test"),
    "renewed.test": (WRONG_HOP, "enforce", "mx.renewed.test"),
    "manywebs.test": (WRONG_HOP, "enforce", "mx.elsewhere.test"),
    "unfetched.test": (WRONG_HOP, "enforce", "mx.elsewhere.test"),
}


class MtaSts(SharedSandbox, unittest.TestCase):
    @classmethod
    def fill(cls):
        names = [f"DNS:mx.{name}" for name in DOMAINS] + [f"DNS:mta-sts.{name}" for name in DOMAINS]
        good = make_certificate(cls.box, "good", *names)
        untrusted = make_certificate(cls.box, "untrusted", *names)
        wrong = make_certificate(cls.box, "wrong", "DNS:elsewhere.test")
        SystemTrust(cls.box, good[0], wrong[0])
        port = smtp_port(GOOD_HOP)
        cls.box.add(NextHop(GOOD_HOP, port, certificate=good))
        cls.wrong_hop = cls.box.add(NextHop(WRONG_HOP, port, certificate=wrong))
        cls.clear_hop = cls.box.add(NextHop(CLEAR_HOP, port))
        cls.web = cls.box.add(PolicyHost(WEB, good))
        cls.other_web = cls.box.add(PolicyHost(OTHER_WEB, untrusted))
        # Nothing is kept by those who ask, so that a test may change what is found.
        cls.dns = cls.box.add(DnsServer(DNS, ttl=0))
        for domain, (address, mode, mx) in DOMAINS.items():
            cls.dns.add(domain, "MX", (10, f"mx.{domain}"))
            cls.dns.add(f"mx.{domain}", "A", address)
            cls.dns.add(f"mta-sts.{domain}", "A", OTHER_WEB if domain == "badweb.test" else WEB)
            cls.announce(domain, "1")
            cls.web.publish(domain, mode, mx)
            cls.other_web.publish(domain, mode, mx)
        cls.dns.replace("mta-sts.manywebs.test", "AAAA", "fd00::1")  # not to be reached from here
        cls.dns.replace("mta-sts.manywebs.test", "A", DEAD_WEB, WEB)
        cls.dns.replace("_mta-sts.unannounced.test", "TXT", "v=spf1 -all")
        del cls.web.policies["unfetched.test"]
        cls.sections = SECTIONS.format(port=port, dns=f"{DNS}:{cls.dns.port}")
        cls.daemon = Daemon(cls.box, "daemon", cls.sections, start=False)
        # Each time a question of its own.
        cls.daemon.start("--set", 'cache.deliverable="0s"', "--set", 'cache.undetermined="0s"')
        cls.mta = Postfix(cls.box)
        for domain in DOMAINS:
            cls.mta.route(domain, GOOD_HOP, port)
        cls.mta.listen("main", cls.daemon.milter)
        cls.mta.start()

    @classmethod
    def announce(cls, domain, number):
        cls.dns.replace(f"_mta-sts.{domain}", "TXT", f"v=STSv1; id={number};")

    def ask(self, recipient):
        before = len(self.daemon.verdicts(recipient))
        with SmtpClient("127.0.0.1", self.mta.port("main"), "127.0.1.1") as client:
            self.assertEqual(client.mail().code, 250)
            reply = client.rcpt(recipient)
            client.quit()
        found = self.daemon.verdict(recipient, before + 1)
        self.assertNotEqual(found["outcome"], "undeliverable", found)
        self.assertEqual(reply.code, 250 if found["outcome"] == "deliverable" else 451, found)
        return found

    def assert_passed(self, domain, tls):
        """tls: what the session has to be, a pattern."""
        found = self.ask(f"known@{domain}")
        self.assertEqual(found["outcome"], "deliverable", found)
        self.assertRegex(found["tls"], tls)
        return found

    def assert_refused(self, domain, reason, words="."):
        found = self.ask(f"known@{domain}")
        self.assertEqual((found["class"], found["reason"]), ("insecure", reason), found)
        self.assertRegex(found["text"], words)
        return found

    def fetches(self, domain):
        return self.web.requests.count(f"mta-sts.{domain}")

    def test_a_listed_exchanger_with_its_own_certificate_is_asked_and_verified(self):
        for domain in ("enforced.test", "pattern.test"):
            with self.subTest(domain):
                self.assert_passed(domain, r"^TLSv1\.[23]/ca$")
                self.assertEqual(self.fetches(domain), 1)

    def test_an_exchanger_that_is_not_listed_is_not_asked(self):
        found = self.assert_refused("unlisted.test", "certificate",
                                    "does not list mx.unlisted.test.*lists none of its mail")
        self.assertEqual(found["stage"], "route")

    def test_a_certificate_for_another_name_leaves_the_recipient_undetermined(self):
        self.assert_refused("wrongname.test", "certificate", "elsewhere.test")
        self.assertNotIn("RCPT TO:<known@wrongname.test>", self.wrong_hop.commands)

    def test_nothing_is_said_in_clear_to_a_listed_exchanger(self):
        self.assert_refused("clear.test", "tls_not_offered")
        self.assertEqual(self.clear_hop.said("MAIL"), [])

    def test_testing_is_but_a_word_in_the_log(self):
        found = self.assert_passed("testing.test", r"^TLSv1\.[23]$")
        self.assertIn("MTA-STS of testing.test (testing) does not list mx.testing.test",
                      found["text"])

    def test_testing_says_what_enforce_would_have_refused(self):
        words = {
            "watched.test": (r"^TLSv1\.[23]$", "mx.watched.test: the certificate is for elsewhere.test"),
            "watchedclear.test": ("^$", "mx.watchedclear.test offers no TLS"),
        }
        for domain, (tls, what) in words.items():
            for time in ("at first", "in the same session"):
                with self.subTest(domain, time=time):
                    found = self.assert_passed(domain, tls)
                    self.assertIn(f"MTA-STS of {domain} (testing): {what}", found["text"])
        good = self.assert_passed("watchedgood.test", r"^TLSv1\.[23]$")
        self.assertNotIn("MTA-STS", good["text"])

    def test_none_asks_for_nothing(self):
        found = self.assert_passed("nothing.test", r"^TLSv1\.[23]$")
        self.assertNotIn("MTA-STS", found["text"])
        self.assertEqual(self.fetches("nothing.test"), 1)

    def test_a_policy_is_not_fetched_where_none_is_announced_or_none_is_wanted(self):
        for domain in ("unannounced.test", "unheeded.test"):
            with self.subTest(domain):
                self.assert_passed(domain, r"^TLSv1\.[23]$")
                self.assertEqual(self.fetches(domain), 0)

    def test_a_web_host_whose_certificate_nobody_knows_gives_no_policy(self):
        self.assert_passed("badweb.test", r"^TLSv1\.[23]$")
        self.assertEqual(self.other_web.requests, [])

    def test_without_a_document_there_is_no_policy(self):
        self.assert_passed("unfetched.test", r"^TLSv1\.[23]$")

    def test_a_web_host_is_found_at_any_of_its_addresses(self):
        self.assert_refused("manywebs.test", "certificate")
        self.assertEqual(self.fetches("manywebs.test"), 1)

    def test_a_policy_that_was_fetched_holds_while_its_web_host_is_down(self):
        self.assert_refused("kept.test", "certificate")
        self.announce("kept.test", "2")  # there is another policy, but nobody who gives it
        self.web.stop()
        try:
            self.assert_refused("kept.test", "certificate")
            self.dns.replace("_mta-sts.kept.test", "TXT")
            self.assert_refused("kept.test", "certificate")
        finally:
            self.web.start()
        self.assertEqual(self.fetches("kept.test"), 1)

    def test_a_policy_that_was_fetched_holds_beyond_a_reload(self):
        self.assert_refused("reloaded.test", "certificate")
        self.dns.replace("_mta-sts.reloaded.test", "TXT")
        before = len(self.daemon.lines())
        # What all sessions are made of: they begin anew.
        self.daemon.configure(self.sections + '[limits]\nhost_penalty = "0s"\nidle_session = "1s"\n')
        self.daemon.signal()
        self.daemon.wait_for_line("configuration reloaded", before)
        self.assert_refused("reloaded.test", "certificate")
        self.assertEqual(self.fetches("reloaded.test"), 1)

    def test_a_new_id_brings_the_new_policy(self):
        self.assert_refused("renewed.test", "certificate")
        self.web.publish("renewed.test", "none")
        self.assert_refused("renewed.test", "certificate")  # nobody has said so yet
        self.announce("renewed.test", "2")
        self.assert_passed("renewed.test", r"^TLSv1\.[23]$")
        self.assertEqual(self.fetches("renewed.test"), 2)


if __name__ == "__main__":
    unittest.main()
