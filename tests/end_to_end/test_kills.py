"""kill -9 of the daemon under load, again and again: its store opens each time, no verdict is ever
wrong, and what was answered more than a write group ago is still known.

CALLFORWARD_DAEMON_KILLS says how often; 5.
"""

import collections
import glob
import os
import random
import threading
import time
import unittest

from harness import watchdog
from harness.askers import Askers, is_right
from harness.daemon import Daemon
from harness.milter_client import MilterClient
from harness.next_hop import NextHop, by_local_part
from harness.sandbox import Sandbox, wait_until

KILLS = int(os.environ.get("CALLFORWARD_DAEMON_KILLS", "5"))
ASKERS = 8
# A group is begun 100 ms after its first answer, or at 1000; how long it then takes is the disk's
# and the machine's, which may be busy with other things.
WRITTEN_WITHIN = 10.0

SECTIONS = """\
[scope]
exempt_clients = []
"""
# Nothing comes to the end of its life by itself, however long it takes.
LIVES = [part for key in ("deliverable", "undeliverable", "undeliverable_max")
         for part in ("--set", f'cache.{key}="24h"')]


class Kills(unittest.TestCase):
    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)
        self.asked, self.lock = collections.Counter(), threading.Lock()
        self.hop = self.box.add(NextHop("127.0.4.1"))
        self.hop.rcpt = {"*": self.answer}
        self.folder = self.box.path("verdicts")
        self.socket = self.box.path("kills.sock")
        self.daemon = Daemon(self.box, "kills", SECTIONS, socket=f"unix:{self.socket}",
                             start=False)
        self.route = f"[{self.hop.address}]:{self.hop.port}"

    def answer(self, address):
        with self.lock:
            self.asked[address] += 1
        return by_local_part(address)

    def start(self):
        before = len(self.daemon.lines())
        self.daemon.start("--set", f'cache.store="lmdb:{self.folder}"', *LIVES)
        said = "\n".join(self.daemon.lines(before))
        self.assertNotRegex(said, "moved aside|kept in memory only|error: ")

    def ask_again(self, addresses):
        """What is known needs no next hop. How many were asked about."""
        client = MilterClient(f"unix:{self.socket}", client="192.0.2.255")
        try:
            for address in addresses:
                with self.lock:
                    before = self.asked[address]
                self.assertTrue(is_right(address, client.rcpt(address, self.route)), address)
                client.abort()
                with self.lock:
                    self.assertEqual(self.asked[address], before, f"{address} was forgotten")
        finally:
            client.close()
        return len(addresses)

    def test_kills_under_load_cost_the_last_write_group_and_nothing_else(self):
        chance = random.Random(7)
        self.start()
        askers = self.box.add(Askers(self.socket, self.route, ASKERS))
        unwritten, checked = [], 0  # spans of time whose answers may be lost
        # What is answered now is written before the first kill, and asked about after each.
        time.sleep(WRITTEN_WITHIN + 0.5)
        for _ in range(KILLS):
            watchdog.wind_up()  # many kills take longer than one test may
            enough = askers.replies + 50
            wait_until(lambda: askers.replies > enough, "answers under load", 60)
            time.sleep(chance.uniform(0, 4.5))  # any moment may be the wrong one
            self.daemon.kill()
            killed = time.monotonic()
            self.start()
            unwritten.append((killed - WRITTEN_WITHIN, time.monotonic()))
            written = askers.answered_before(killed - WRITTEN_WITHIN, unwritten)
            checked += self.ask_again(chance.sample(written, min(20, len(written))))
        askers.stop()
        self.assertGreater(checked, 0)
        self.assertEqual(askers.wrong, [])
        self.assertFalse(glob.glob(f"{self.folder}/*.corrupt-*"))
        self.daemon.stop()
