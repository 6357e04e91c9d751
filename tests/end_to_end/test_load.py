"""The daemon under load from many sessions, while it is told to reload and then to stop: every
answer is right. Under the thread sanitizer (--build build/thread) it must have nothing to say.

CALLFORWARD_LOAD_SECONDS says how long; 3.
"""

import os
import signal
import time
import unittest

from harness.askers import Askers
from harness.daemon import Daemon
from harness.next_hop import NextHop
from harness.sandbox import Sandbox, wait_until

SECONDS = float(os.environ.get("CALLFORWARD_LOAD_SECONDS", "3"))
DOMAINS = ("one.test", "two.test", "three.test")

SECTIONS = """\
[scope]
exempt_clients = []
[limits]
unknown_per_client = 0
connections_per_host = {connections}
"""


class Load(unittest.TestCase):
    def test_reloads_and_a_stop_under_load_give_nobody_a_wrong_answer(self):
        box = Sandbox()
        self.addCleanup(box.stop)
        hop = box.add(NextHop("127.0.4.1"))
        socket = box.path("load.sock")
        daemon = Daemon(box, "load", SECTIONS.format(connections=20), socket=f"unix:{socket}",
                        start=False)
        daemon.start("--set", f'cache.store="lmdb:{box.path("verdicts")}"',
                     "--set", 'cache.deliverable="2s"', "--set", 'cache.undeliverable="1s"')
        askers = box.add(Askers(socket, f"[{hop.address}]:{hop.port}", 24, DOMAINS))
        end = time.monotonic() + SECONDS
        connections = 20
        while time.monotonic() < end:
            enough = askers.replies + 200
            wait_until(lambda: askers.replies > enough, "answers under load", 60)
            connections = 30 - connections
            daemon.configure(SECTIONS.format(connections=connections))
            daemon.signal(signal.SIGHUP)
        daemon.stop()
        askers.stop()
        # Who asks while it stops is put off.
        wrong = [(address, reply) for address, reply in askers.wrong
                 if not reply.startswith("451 4.3.0 ")]
        self.assertEqual(wrong, [])
        complaints = [line for line in daemon.lines() if "Sanitizer" in line or "error: " in line]
        self.assertEqual(complaints, [])
