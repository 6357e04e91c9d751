"""Several edges with one Redis and one next hop, and how they are asked."""

import threading

from harness.daemon import Daemon
from harness.milter_client import MilterClient
from harness.next_hop import NextHop
from harness.sandbox import Sandbox

SECTIONS = """\
[scope]
exempt_clients = []
[policy]
route = ["[{host}]:{port}"]
[limits]
unknown_per_client = 0
host_penalty = "0s"
shards = 2
"""


class AskedAgain(AssertionError):
    """A question that came to the next hop more often than it should."""


class Edges:
    """Mixed into unittest.TestCase."""

    EDGES = 3
    sections = ""

    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)
        self.hop = self.box.add(NextHop("127.0.5.1"))

    def start(self, url, *settings, sections=""):
        self.sections = sections  # of the configuration file, which a reload reads again
        # Patient with the store by default: the machine may be busy, and a timeout is a probe more.
        self.edges = [self.edge(f"edge{number}", url, 'cache.store_timeout="3s"', *settings)
                      for number in range(self.EDGES)]
        return self.edges

    def edge(self, name, store, *settings):
        daemon = Daemon(self.box, name, start=False)
        self.configure(daemon, self.sections)
        settings = (f'cache.store="{store}"', *settings)
        daemon.start(*[part for setting in settings for part in ("--set", setting)])
        return daemon

    def configure(self, daemon, sections):
        daemon.configure(SECTIONS.format(host=self.hop.address, port=self.hop.port) + sections)

    def used(self, *daemons):
        for daemon in daemons or self.edges:
            daemon.wait_for_line("the shared store is used")

    def client(self, daemon):
        client = MilterClient(daemon.milter, client="192.0.2.9")
        self.addCleanup(client.close)
        return client

    def say(self, client, recipient):
        """"" when the recipient may pass, else the reply's text; and the seconds it took."""
        answer = client.rcpt(recipient, "nowhere.test")
        client.abort()
        return "" if answer.code == 250 else str(answer), answer.seconds

    def ask(self, daemon, recipient):
        with MilterClient(daemon.milter, client="192.0.2.9") as client:
            return self.say(client, recipient)[0]

    def source(self, daemon, recipient, nth=1):
        return daemon.verdict(recipient, nth)["source"]

    def once_in_two(self, check):
        """`check` with a word for its recipients' names, and with another where a recipient was asked about
        too often: on a machine that stalls an edge connects to the store anew, or a question's lease ends,
        and an edge asks by itself."""
        try:
            check("first")
        except AskedAgain:
            check("second")

    def assert_asked(self, recipient, times=1):
        if self.hop.asked(recipient) != times:
            raise AskedAgain(f"{recipient} was asked about {self.hop.asked(recipient)} times, not {times}")

    def in_parallel(self, *jobs):
        failures = []

        def run(job):
            try:
                job()
            except BaseException as failure:  # pylint: disable=broad-except
                failures.append(failure)
        threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def assert_right(self, recipient, text):
        if recipient.startswith("known"):
            self.assertEqual(text, "", recipient)
        else:
            self.assertRegex(text, "^550", recipient)
