"""callforward under Postfix 3.7."""

import unittest

from cases_hostile_hops import HostileHopCases
from cases_mx import MxCases
from cases_verdicts import VerdictCases
from harness.postfix import Postfix
from mta_fixture import MtaFixture


class UnderPostfix(MtaFixture, VerdictCases, MxCases, HostileHopCases, unittest.TestCase):
    @classmethod
    def make_mta(cls, box):
        return Postfix(box)

    def ask_authenticated(self, recipient):
        with self.session() as client:
            self.assertEqual(client.command("XCLIENT LOGIN=alice").code, 220)
            client.command("EHLO client.test")
            client.mail()
            return client.rcpt(recipient)

    def test_a_virtual_alias_is_never_asked_for(self):
        self.assertEqual(self.ask("info@alias.test").code, 250)
        self.assert_never_asked("info@alias.test", "local")

    def test_what_postfix_refuses_itself_never_reaches_a_next_hop(self):
        self.assertEqual(self.ask("known@foreign.test").code, 554)
        self.ask("known.after.foreign@main.test")
        self.daemon.verdict("known.after.foreign@main.test")  # the queue is in order: a line of the first would be here
        self.assertEqual(self.daemon.verdicts("known@foreign.test"), [])

    def test_one_mta_service_is_not_harmed_by_the_milters_replies(self):
        self.ask("nobody.last@main.test")
        self.assertNotRegex(self.mta.log(), r"warning: .*milter|malformed reply|fatal:|panic:")
