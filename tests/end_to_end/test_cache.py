"""What is remembered: over a restart and a kill, past its time, and asked for again ahead of it."""

import glob
import time
import unittest

from harness.daemon import Daemon
from harness.next_hop import NextHop
from harness.postfix import Postfix
from harness.sandbox import Sandbox, wait_until
from harness.smtp_client import SmtpClient

SECTIONS = """\
[scope]
exempt_clients = []
"""


class Cache(unittest.TestCase):
    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)
        self.hop = self.box.add(NextHop("127.0.4.1"))
        self.mta = Postfix(self.box)
        self.mta.route("one.test", self.hop.address, self.hop.port)
        socket = f"unix:{self.box.path('cache.sock')}"
        self.mta.listen("cache", socket)
        self.mta.start()
        self.daemon = Daemon(self.box, "cache", SECTIONS, socket=socket, start=False)
        self.folder = self.box.path("verdicts")

    def start(self, *settings):
        options = [f'cache.store="lmdb:{self.folder}"', *settings]
        self.daemon.start(*[part for option in options for part in ("--set", option)])

    def ask(self, recipient):
        with SmtpClient("127.0.0.1", self.mta.port("cache")) as client:
            client.mail()
            return client.rcpt(recipient)

    def ask_and_see(self, recipient, nth):
        """The reply's code, and where it came from."""
        code = self.ask(recipient).code
        return code, self.daemon.verdict(recipient, nth)["source"]

    def test_a_verdict_survives_a_restart(self):
        self.start()
        first = self.ask("nobody@one.test")
        self.assertEqual(self.ask_and_see("known@one.test", 1), (250, "probe"))
        self.daemon.stop()
        self.start()
        self.assertEqual(self.ask_and_see("known@one.test", 2), (250, "cache"))
        again = self.ask("nobody@one.test")
        self.assertEqual((first.code, first.words), (again.code, again.words))
        self.assertEqual(self.daemon.verdict("nobody@one.test", 2)["source"], "cache")
        self.assertEqual((self.hop.asked("known@one.test"), self.hop.asked("nobody@one.test")),
                         (1, 1))

    def test_a_kill_costs_at_most_the_last_moment(self):
        self.start()
        for number in range(5):
            self.assertEqual(self.ask(f"known{number}@one.test").code, 250)
            self.daemon.kill()
            self.start()
            for earlier in range(number + 1):
                self.assertEqual(self.ask(f"known{earlier}@one.test").code, 250)
        self.assertFalse(glob.glob(f"{self.folder}/*.corrupt-*"))

    def test_a_damaged_file_is_moved_aside_and_verdicts_are_right(self):
        self.start()
        self.assertEqual(self.ask("known@one.test").code, 250)
        self.daemon.stop()
        with open(f"{self.folder}/data.mdb", "r+b") as file:
            file.truncate(10000)
        before = len(self.daemon.lines())
        self.start()
        self.daemon.wait_for_line("moved aside", before)
        self.assertEqual(self.ask_and_see("known@one.test", 2), (250, "probe"))
        self.assertEqual(self.ask("nobody@one.test").code, 550)
        self.assertEqual(len(glob.glob(f"{self.folder}/data.mdb.corrupt-*")), 1)

    def test_a_folder_that_cannot_be_used_costs_nothing_but_the_store(self):
        with open(self.folder, "w", encoding="utf-8") as file:
            file.write("in the way")
        self.start()
        self.daemon.wait_for_line("kept in memory only")
        self.assertEqual(self.ask_and_see("known@one.test", 1), (250, "probe"))
        self.assertEqual(self.ask_and_see("known@one.test", 2), (250, "cache"))

    def test_past_its_time_a_deliverable_answers_while_the_next_hop_is_away(self):
        self.start('cache.deliverable="1s"', 'cache.undetermined="1s"')
        self.assertEqual(self.ask_and_see("known@one.test", 1), (250, "probe"))
        self.assertEqual(self.ask("nobody@one.test").code, 550)
        self.hop.stop()
        asked = [1]

        def stale():
            asked[0] += 1
            code, source = self.ask_and_see("known@one.test", asked[0])
            self.assertEqual(code, 250)
            return source == "stale"
        wait_until(stale, "an answer past its time")
        text = self.daemon.verdict("known@one.test", asked[0])["text"]
        self.assertRegex(text, "^next hop away: (connect to|no answer) .*; answered from memory")
        # Also when the failure is remembered, and over a restart.
        self.assertEqual(self.ask_and_see("known@one.test", asked[0] + 1), (250, "stale"))
        self.daemon.stop()
        self.start('cache.deliverable="1s"')
        self.assertEqual(self.ask_and_see("known@one.test", asked[0] + 2), (250, "stale"))
        self.assertEqual(self.ask("known.other@one.test").code // 100, 4)

    def test_near_its_end_a_deliverable_is_asked_for_again_in_the_background(self):
        self.start('cache.deliverable="8s"')
        # It is asked about from its 6th second on; a machine that stalls until the 8th misses it.
        if not any(self.is_refreshed(f"known.{time_of}@one.test") for time_of in ("first", "second", "third")):
            self.fail("it was never asked about in time")

    def is_refreshed(self, recipient):
        """False where it came to its end before it could be."""
        learnt = time.monotonic()
        self.assertEqual(self.ask_and_see(recipient, 1), (250, "probe"))
        asked = [1]

        def ask_again():
            asked[0] += 1
            return self.ask_and_see(recipient, asked[0])

        def refreshed():
            source = ask_again()
            if source == (250, "probe") and time.monotonic() - learnt >= 8:
                return "too late"
            self.assertEqual(source, (250, "cache"))
            return self.hop.asked(recipient) == 2
        if wait_until(refreshed, "a second call-forward") == "too late":
            return False
        for _ in range(5):
            self.assertEqual(ask_again(), (250, "cache"))
        self.assertEqual(self.hop.asked(recipient), 2)
        return True
