"""Three edges with one Redis: each recipient is asked about once, what one edge forgets all forget,
and another master is found. What trouble of the store costs: test_fleet_trouble.

CALLFORWARD_LONG=1 in the environment: with the numbers of the issue instead of those that a short
check has time for.
"""

import json
import os
import re
import subprocess
import threading
import time
import unittest
import urllib.request

from fleet_fixture import AskedAgain, Edges
from harness.milter_client import HungUp, MilterClient
from harness.next_hop import Held, by_local_part
from harness.redis import Redis, Sentinel
from harness.sandbox import binary, free_port, wait_until

LONG = os.environ.get("CALLFORWARD_LONG") == "1"
RECIPIENTS = 10000 if LONG else 1500
INTERLOCK = """\
[interlock]
flip_limit = 3
flip_window = "{window}"
"""
GUIDE = os.path.join(os.path.dirname(__file__), "..", "..", "contrib", "doc", "fleet.md")


class Fleet(Edges, unittest.TestCase):
    # --- what is shared ---

    def test_what_one_edge_has_asked_the_others_know(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()

        def check(time_of):
            for recipient in (f"known.{time_of}@one.test", f"nobody.{time_of}@one.test"):
                for daemon in self.edges:
                    self.assert_right(recipient, self.ask(daemon, recipient))
                self.assert_asked(recipient)
            sources = [self.source(daemon, f"known.{time_of}@one.test") for daemon in self.edges]
            self.assertEqual(sources[0], "probe")
            # The record and the end of the lease may reach the store after the other's question.
            self.assertLessEqual(set(sources[1:]), {"cache", "shared"})
        self.once_in_two(check)

    def test_each_of_many_recipients_is_asked_about_once_by_the_whole_fleet(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()

        def ask_all(daemon, recipients, offset):
            client = self.client(daemon)
            for i in range(len(recipients)):
                recipient = recipients[(i + offset) % len(recipients)]
                self.assert_right(recipient, self.say(client, recipient)[0])

        def check(time_of):
            recipients = [("known" if i % 3 else "none") + f"{i}.{time_of}@one.test" for i in range(RECIPIENTS)]
            # Two clients at each edge, one of them in step with those of the other edges.
            self.in_parallel(*[lambda d=daemon, o=offset: ask_all(d, recipients, o)
                               for daemon in self.edges for offset in (0, RECIPIENTS // 2)])
            asked = {}
            for command in list(self.hop.commands):
                if command.upper().startswith("RCPT") and f".{time_of}@" in command:
                    asked[command] = asked.get(command, 0) + 1
            self.assertEqual(len(asked), RECIPIENTS)
            # One for each client, whose lease may end where the machine stalls.
            again = {command for command, times in asked.items() if times != 1}
            if len(again) > 6:
                raise AskedAgain(f"{len(again)} recipients were asked about again, among them {min(again)}")
        self.once_in_two(check)

    def test_one_edge_asks_while_the_others_wait_for_its_answer(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()

        def check(time_of):
            answer, recipient, results = Held("250 2.1.5 Ok"), f"known.slow.{time_of}@one.test", []
            self.hop.rcpt[recipient] = answer
            threads = [threading.Thread(target=lambda d=daemon: results.append(self.ask(d, recipient)))
                       for daemon in self.edges]
            for thread in threads:
                thread.start()
            wait_until(lambda: self.hop.asked(recipient), "the first question")
            for daemon in self.edges:
                wait_until(lambda d=daemon: self.tool(d, "status")["pending"] == 1, "each edge's question")
            time.sleep(2)  # long enough for the others to have asked, if they did
            answer.release()
            for thread in threads:
                thread.join()
            self.assertEqual(results, ["", "", ""])
            self.assert_asked(recipient)
            sources = sorted(self.source(daemon, recipient) for daemon in self.edges)
            self.assertEqual(sources, ["probe", "shared", "shared"])
        self.once_in_two(check)

    def test_an_edge_that_dies_with_the_question_leaves_it_to_another(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()
        self.hop.rcpt["known.slow@one.test"] = Held("250 2.1.5 Ok")
        first = threading.Thread(target=self.ask_and_lose, args=(self.edges[0],))
        first.start()
        wait_until(lambda: self.hop.asked("known.slow@one.test"), "the first question")
        self.hop.rcpt["known.slow@one.test"] = "250 2.1.5 Ok"
        self.edges[0].kill()
        first.join()
        self.assertEqual(self.ask(self.edges[1], "known.slow@one.test"), "")
        self.assertEqual(self.hop.asked("known.slow@one.test"), 2)
        self.edges[0].start("--set", 'cache.store="memory"')

    def tool(self, daemon, *arguments):
        done = subprocess.run([binary("milter", "tool", "callforward"), *arguments, "--json",
                               "--socket", daemon.control], capture_output=True, text=True,
                              timeout=30, check=True)
        return json.loads(done.stdout)

    def test_a_forgotten_address_is_asked_about_again_from_every_edge_at_once(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()
        wait_until(lambda: redis("PUBSUB", "NUMSUB", "callforward:news:0")[1] == 3,
                   "three subscriptions")

        def check(time_of):
            recipients = [f"known.{time_of}@one.test", f"known.{time_of}@two.test"]
            for recipient in recipients:
                for daemon in self.edges:
                    self.assertEqual(self.ask(daemon, recipient), "")
                self.assert_asked(recipient)
            for recipient in recipients:
                self.hop.rcpt[recipient] = "550 5.1.1 gone"
            self.tool(self.edges[0], "cache", "forget", recipients[0])
            self.tool(self.edges[1], "cache", "forget", "two.test")
            # Until the notice comes an edge answers from memory, and does not ask; without one that lasts a minute.
            for recipient in recipients:
                for daemon in self.edges:
                    wait_until(lambda r=recipient, d=daemon: self.ask(d, r).startswith("550 5.1.1"),
                               f"{recipient} to be forgotten", 20)
                self.assert_asked(recipient, 2)
        self.once_in_two(check)

    def test_an_address_that_is_declared_exists_for_every_edge_at_once(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()
        wait_until(lambda: redis("PUBSUB", "NUMSUB", "callforward:news:0")[1] == 3,
                   "three subscriptions")

        def check(time_of):
            recipient = f"nobody.{time_of}@one.test"
            for daemon in self.edges:
                self.assertRegex(self.ask(daemon, recipient), "^550 5.1.1")
            self.tool(self.edges[1], "cache", "import", self.box.write("new", recipient + "\n"))
            for daemon in self.edges:
                wait_until(lambda d=daemon: self.ask(d, recipient) == "", "the declared address", 20)
            self.assert_asked(recipient)
        self.once_in_two(check)

    def test_an_interlock_that_closes_on_one_edge_closes_on_all(self):
        redis = Redis(self.box)
        self.start(redis.url, 'cache.deliverable="100ms"', 'cache.undeliverable="100ms"',
                   sections=INTERLOCK.format(window="20s"))
        self.used()
        wait_until(lambda: redis("PUBSUB", "NUMSUB", "callforward:news:0")[1] == 3,
                   "three subscriptions")
        people = [f"known{number}@one.test" for number in range(4)]
        for recipient in people:
            self.assertEqual(self.ask(self.edges[0], recipient), "")
        self.hop.rcpt["*"] = "550 5.1.1 the directory is away"
        for recipient in people:
            wait_until(lambda r=recipient: self.ask(self.edges[0], r), f"{recipient} to be refused")
        self.edges[0].wait_for_line("interlock closed")
        for daemon in self.edges:
            wait_until(lambda d=daemon: self.ask(d, "nobody@one.test").startswith("450 4.3.0"),
                       f"the interlock of {daemon.name}")
            self.assertRegex(self.ask(daemon, "nobody@two.test"), "^550 5.1.1")
        # It opens when the window is over, which had to outlast a slow machine until here.
        self.hop.rcpt["*"] = by_local_part
        for daemon in self.edges:
            self.configure(daemon, INTERLOCK.format(window="1s"))
            daemon.signal()
        for daemon in self.edges:
            wait_until(lambda d=daemon: self.ask(d, "nobody@one.test").startswith("550"),
                       f"{daemon.name} to reject again", 60)

    def test_a_database_number_and_a_prefix_keep_fleets_apart(self):
        redis = Redis(self.box)
        self.start(f"{redis.url}?db=3&prefix=mx:")
        self.used()
        other = self.edge("other", f"{redis.url}?db=3")
        other.wait_for_line("the shared store is used")
        for daemon in (*self.edges, other):
            self.assertEqual(self.ask(daemon, "known@one.test"), "")
        self.assertEqual(self.hop.asked("known@one.test"), 2)
        self.assertEqual(redis("DBSIZE"), 0)
        self.assertIn("db3:", redis("INFO", "keyspace"))

    def test_status_says_how_the_store_is(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()
        daemon = self.edges[0]
        wait_until(lambda: self.tool(daemon, "status")["cache"]["store_error"] is None, "no trouble")
        redis.kill()
        wait_until(lambda: "unreachable" in (self.tool(daemon, "status")["cache"]["store_error"]
                                             or ""), "trouble")

    def test_what_is_forgotten_while_the_store_is_away_is_said_to_be_kept_and_written_later(self):
        redis = Redis(self.box, "redis", "--appendonly", "yes")
        self.start(redis.url, 'cache.store_trust="2s"')
        self.used()
        for daemon in self.edges:
            self.assertEqual(self.ask(daemon, "known@one.test"), "")
        self.assertIs(self.tool(self.edges[0], "cache", "forget", "other@one.test")["shared"], True)
        redis.kill()
        for daemon in self.edges:
            daemon.wait_for_line("the shared store is not used")
        first = self.edges[0]
        self.assertIs(self.tool(first, "cache", "forget", "known@one.test")["shared"], False)
        first.wait_for_line("the shared store does not take a change now.*changes=1")
        self.assertEqual(self.tool(first, "status")["cache"]["unwritten"], 1)
        self.hop.rcpt["known@one.test"] = "550 5.1.1 gone"
        redis.start()
        first.wait_for_line("the shared store has the changes that waited")
        self.assertEqual(self.tool(first, "status")["cache"]["unwritten"], 0)
        for daemon in self.edges:
            wait_until(lambda d=daemon: self.ask(d, "known@one.test").startswith("550 5.1.1"),
                       "the recipient to be forgotten", 20)

    def test_an_edge_that_ends_says_what_the_store_has_not_got(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()
        first, second = self.edges[:2]
        redis.kill()
        first.wait_for_line("the shared store is not used")
        self.assertIs(self.tool(first, "cache", "forget", "known@one.test")["shared"], False)
        for daemon in (first, second):
            daemon.stop()
        lost = "the program ends before the shared store has all changes.*changes=1"
        first.wait_for_line(lost)
        self.assertNotRegex("\n".join(second.lines()), "the program ends")

    def test_the_tool_says_that_it_does_not_look_into_the_store_and_not_that_it_is_empty(self):
        redis = Redis(self.box)
        self.start(redis.url)
        self.used()
        daemon = self.edges[0]
        self.assertEqual(self.ask(daemon, "known@one.test"), "")
        self.assertIsNone(self.tool(daemon, "cache", "show", "known@one.test")["store"])
        self.assertIsNone(self.tool(daemon, "status")["cache"]["stored"])

        def text(*words, code=0):
            done = subprocess.run([binary("milter", "tool", "callforward"), *words, "--socket",
                                   daemon.control], capture_output=True, text=True, timeout=30,
                                  check=False)
            self.assertEqual(done.returncode, code, done)
            return done.stdout + done.stderr
        for what in ("known@one.test", "one.test"):
            self.assertIn("in the store: not looked in, since it is shared", text("cache", "show", what))
        self.assertIn("it is shared", text("cache", "export", code=75))
        self.assertRegex(text("cache", "flush"), "1 entries in memory, and the shared store begins anew")

    def test_connections_to_a_host_are_counted_over_all_edges(self):
        redis = Redis(self.box)
        # Whoever waits for the connections of the edge that is killed waits for up to 15 s.
        self.start(redis.url, "limits.fleet_connections_per_host=3", 'limits.idle_session="500ms"',
                   'milter.answer_within="40s"')
        self.used()
        most, stop = [0], threading.Event()

        def watch():
            # A session that has said goodbye is still counted for a moment by the next hop.
            recent = [0] * 50
            while not stop.wait(0.004):
                recent = recent[1:] + [self.hop.open_sessions()]
                most[0] = max(most[0], min(recent))
        watcher = threading.Thread(target=watch)
        watcher.start()

        def ask_some(number, daemon, times=60):
            with MilterClient(daemon.milter, client="192.0.2.9", patience=60.0) as client:
                for i in range(times):
                    recipient = f"known{number}.{time.monotonic_ns()}.{i}@one.test"
                    self.assertEqual(self.say(client, recipient)[0], "")

        def ask_at(edges):
            self.in_parallel(*[lambda n=n, d=d: ask_some(n, d)
                               for n, d in enumerate(edges) for _ in range(4)])
        try:
            ask_at(self.edges)
            self.edges[0].kill()  # its connections are not given to others before they are over
            ask_at(self.edges[1:])
        finally:
            stop.set()
            watcher.join()
        self.edges[0].start("--set", 'cache.store="memory"')
        self.assertLessEqual(most[0], 3)
        self.assertGreaterEqual(most[0], 2)

    def ask_and_lose(self, daemon):
        try:
            self.ask(daemon, "known.slow@one.test")
        except HungUp:
            pass

    def test_metrics_say_whether_the_store_is_used(self):
        redis = Redis(self.box)
        port = free_port()
        self.edge("edge", redis.url, f'metrics.listen="127.0.0.1:{port}"')

        def is_up():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                text = answer.read().decode()
            return re.findall(r'^callforward_store_up{store="redis"} (\d)$', text, re.MULTILINE)
        wait_until(lambda: is_up() == ["1"], "the store to be used")
        redis.kill()
        wait_until(lambda: is_up() == ["0"], "the store to be missed")

    def test_a_store_without_the_right_password_is_said_once_and_not_used(self):
        redis = Redis(self.box, "redis", "--requirepass", "secret")
        self.start(redis.url)
        for daemon in self.edges:
            daemon.wait_for_line("state=refused.*NOAUTH")
        for daemon in self.edges:
            self.assertEqual(self.ask(daemon, "known@one.test"), "")
        self.assertEqual(self.hop.asked("known@one.test"), 3)

    def test_a_user_with_the_rights_that_the_guide_names_is_enough(self):
        redis = Redis(self.box)
        with open(GUIDE, encoding="utf-8") as file:
            rule = re.search(r"ACL SETUSER callforward .*?(?=```)", file.read(), re.DOTALL)[0]
        self.assertEqual(redis(*rule.replace("PASSWORD", "secret").split()), "OK")
        secret = self.box.write("secret", "secret\n")
        os.chmod(secret, 0o640)
        self.start(redis.url, 'cache.store_user="callforward"',
                   f'cache.store_password_file="{secret}"')
        self.used()
        wait_until(lambda: redis("PUBSUB", "NUMSUB", "callforward:news:0")[1] == 3,
                   "three subscriptions")
        for daemon in self.edges:
            self.assertEqual(self.ask(daemon, "known@one.test"), "")
        self.assertEqual(self.hop.asked("known@one.test"), 1)
        self.assertEqual([line for daemon in self.edges for line in daemon.lines()
                          if "refused" in line], [])

    def test_another_master_is_found_through_the_sentinel(self):
        master = Redis(self.box, "master", port=True)
        replica = Redis(self.box, "replica", "--replicaof", "127.0.0.1", str(master.port),
                        port=True)
        wait_until(lambda: "master_link_status:up" in replica("INFO", "replication"),
                   "the replica to follow", 20)
        sentinel = Sentinel(self.box, master)
        # The first of them is down, and costs nothing but the look.
        self.start(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/main")
        self.used()
        self.assertEqual(self.ask(self.edges[0], "known@one.test"), "")
        wait_until(lambda: replica("KEYS", "*}r*"), "the record on the replica")
        before = [len(daemon.lines()) for daemon in self.edges]
        master.kill()
        self.assertEqual(self.ask(self.edges[0], "known.meanwhile@one.test"), "")
        wait_until(lambda: sentinel.master() == replica.port, "the sentinel to choose", 120)
        for daemon, since in zip(self.edges, before):
            daemon.wait_for_line("the shared store is used", since, 120)
        self.assertEqual(self.ask(self.edges[1], "known@one.test"), "")
        self.assertEqual(self.source(self.edges[1], "known@one.test"), "cache")
        self.assertEqual(self.hop.asked("known@one.test"), 1)
