"""No trouble of a shared store is anybody's trouble: the verdicts stay right, and come as soon as
with a store of one's own.

Beside each edge with Redis runs one with LMDB, and both are asked the same in turn by one client:
whatever else the machine does then, it does to both. CALLFORWARD_LONG=1 in the environment: a
minute of each trouble, and the limit that the issue names; else seconds, and as much again as a
busy machine takes by itself. Of few answers a stall of the machine is more than one in a hundred.
"""

import os
import signal
import sys
import threading
import time
import unittest

from fleet_fixture import Edges
from harness.redis import Redis

LONG = os.environ.get("CALLFORWARD_LONG") == "1"
SECONDS = 60 if LONG else 3
STORE_TIMEOUT = 0.05


def share(times, part):
    """Seconds within which this part of them was answered."""
    return sorted(times)[int(len(times) * part)]


class StoreInTrouble(Edges, unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.own = []
        self.answers = {}  # (in trouble, "redis" or "lmdb"): seconds of each answer

    def trouble(self, what, redis, begin, end, state):
        """`state`: what the daemons say about it; nothing where it is over too soon to be seen."""
        self.start(redis.url, f'cache.store_timeout="{int(STORE_TIMEOUT * 1000)}ms"')
        self.used()
        self.own = [self.edge(f"own{number}", f"lmdb:{self.box.path(f'own{number}.lmdb')}")
                    for number in range(self.EDGES)]
        stop, in_trouble = threading.Event(), threading.Event()
        try:
            self.in_parallel(
                lambda: self.make_trouble(begin, end, state, in_trouble, stop),
                *[lambda n=number: self.ask_on(n, in_trouble, stop)
                  for number in range(self.EDGES)])
        finally:
            stop.set()
        self.assert_no_later(what)
        for daemon in self.edges:
            self.assertEqual(self.ask(daemon, "known.fresh@one.test"), "")
        for daemon in self.edges:  # one line for each change
            said = [line for line in daemon.lines() if "the shared store" in line]
            self.assertLess(len(said), 30, said)

    def ask_on(self, number, in_trouble, stop):
        """Half of the recipients were asked about before, as it is with real mail; a third of all
        have no mailbox."""
        clients = {"redis": self.client(self.edges[number]), "lmdb": self.client(self.own[number])}
        i = 0
        while not stop.is_set():
            i += 1
            who = f"{number}.{i if i % 2 else i % 400}@one.test"
            recipient = ("none" if i % 3 == 0 else "known") + who
            for store, client in clients.items():
                troubled = in_trouble.is_set()
                text, seconds = self.say(client, recipient)
                self.assert_right(recipient, text)
                self.answers.setdefault((troubled, store), []).append(seconds)
            stop.wait(0.002)

    def make_trouble(self, begin, end, state, in_trouble, stop):
        try:
            time.sleep(1)
            before = [len(daemon.lines()) for daemon in self.edges]
            in_trouble.set()
            begin()
            if state:
                for daemon, since in zip(self.edges, before):
                    daemon.wait_for_line(state, since)
            time.sleep(SECONDS / 2)
            before = [len(daemon.lines()) for daemon in self.edges]
            end()
            for daemon, since in zip(self.edges, before):
                daemon.wait_for_line("the shared store is used", since, 30)
            time.sleep(SECONDS / 2)
        finally:
            stop.set()

    def assert_no_later(self, what):
        calm, shared, own = (self.answers[key] for key in
                             ((False, "redis"), (True, "redis"), (True, "lmdb")))
        self.assertGreater(len(shared), 200 if LONG else 30)
        part = 0.99 if LONG or len(shared) >= 1000 else 0.9
        table = [f"{share(times, p) * 1000:.1f}" for times in (own, shared)
                 for p in (0.5, part)]
        later = share(shared, part) - share(own, part)
        name = f"p{part * 100:.0f}"
        print(f"\n{what}: {len(shared)} answers each; p50 and {name} with LMDB {table[0]} and "
              f"{table[1]} ms, with Redis {table[2]} and {table[3]} ms, at {name} "
              f"{later * 1000:+.1f} ms", file=sys.stderr, flush=True)
        slack = 0 if LONG else max(1.0, 2 * share(calm, part))
        self.assertLess(later, STORE_TIMEOUT + slack)

    def test_a_killed_store_costs_no_verdict(self):
        redis = Redis(self.box)
        self.trouble("killed", redis, redis.kill, redis.start, "the shared store is not used")

    def test_a_store_that_comes_back_empty_costs_no_verdict(self):
        redis = Redis(self.box)

        def restart():
            redis.kill()
            redis.start()
        self.trouble("restarted empty", redis, restart, restart, None)

    def test_a_stalled_store_costs_no_verdict(self):
        redis = Redis(self.box)
        self.trouble("stalled", redis, lambda: redis.signal(signal.SIGSTOP),
                     lambda: redis.signal(signal.SIGCONT), "the shared store is not used")

    def test_a_store_that_only_reads_costs_no_verdict(self):
        redis = Redis(self.box)
        self.trouble("read-only", redis, lambda: redis("REPLICAOF", "127.0.0.1", "1"),
                     lambda: redis("REPLICAOF", "NO", "ONE"), "read_only")

    def test_a_full_store_costs_no_verdict(self):
        redis = Redis(self.box)
        self.trouble("full", redis, lambda: redis("CONFIG", "SET", "maxmemory", "1"),
                     lambda: redis("CONFIG", "SET", "maxmemory", "0"), "full")


if __name__ == "__main__":
    unittest.main()
