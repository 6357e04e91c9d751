"""callforward under Sendmail 8.17."""

import unittest

from cases_hostile_hops import HostileHopCases
from cases_mx import MxCases
from cases_verdicts import VerdictCases
from harness.next_hop import NextHop
from harness.sendmail import Sendmail
from mta_fixture import MtaFixture


class UnderSendmail(MtaFixture, VerdictCases, MxCases, HostileHopCases, unittest.TestCase):
    ANSWER_WITHIN = "30s"  # by itself 4 s, which are the machine's in a bad moment

    @classmethod
    def make_mta(cls, box):
        sendmail = Sendmail(box)
        cls.ported_hop = box.add(NextHop("127.0.3.120"))
        sendmail.route("ported.test", cls.ported_hop.address, cls.ported_hop.port)
        return sendmail

    def ask_authenticated(self, recipient):
        return self.ask(recipient, sender="alice@authenticated.test")

    def test_an_entry_of_the_virtusertable_is_asked_for_at_its_target(self):
        self.assertEqual(self.ask("info@alias.test").code, 250)
        self.assertEqual(self.main_hop.asked("known.target@main.test"), 1, self.main_hop.commands)

    def test_a_mailer_with_a_port_of_its_own_is_found_by_its_name(self):
        self.assertEqual(self.ask("known@ported.test").code, 250)
        self.assertEqual(self.ask("nobody@ported.test").code, 550)
        self.assertEqual(self.ported_hop.asked("nobody@ported.test"), 1)
