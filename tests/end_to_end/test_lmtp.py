"""Real mailboxes behind a real LMTP server, Dovecot: over TCP and a Unix socket, as the MTA names
them and as a route does."""

import grp
import json
import os
import pwd
import re
import subprocess
import unittest

from harness.daemon import Daemon
from harness.dovecot import Dovecot
from harness.postfix import Postfix
from harness.sandbox import binary
from harness.shared_sandbox import SharedSandbox
from harness.smtp_client import SmtpClient

# Each domain leads to Dovecot in a manner of its own; all have the same users.
BY_MTA = ["tcp", "socket", "relative"]
BY_ROUTE = ["routed", "routedsocket"]
USERS = ["known", "full"]

SECTIONS = """\
[scope]
exempt_clients = []
[routing]
queue_directory = "{queue}"
[domain."routed.test"]
route = ["lmtp:[127.0.0.1]:{port}"]
[domain."routedsocket.test"]
route = ["lmtp:unix:{socket}"]
"""


class UnderDovecot(SharedSandbox, unittest.TestCase):
    @classmethod
    def fill(cls):
        cls.mta = Postfix(cls.box)
        queue = f"{cls.mta.home}/queue"
        domains = [f"{name}.test" for name in BY_MTA + BY_ROUTE]
        users = {f"{user}@{domain}": "x" for domain in domains for user in USERS}
        cls.dovecot = Dovecot(cls.box, users, full=[u for u in users if u.startswith("full")],
                              socket=f"{queue}/private/dovecot-lmtp")
        cls.mta.routes["tcp.test"] = f"lmtp:inet:127.0.0.1:{cls.dovecot.port}"
        cls.mta.routes["socket.test"] = f"lmtp:unix:{cls.dovecot.socket}"
        cls.mta.routes["relative.test"] = "lmtp:unix:private/dovecot-lmtp"
        for name in BY_ROUTE:
            cls.mta.routes[f"{name}.test"] = "smtp:[127.0.0.1]:1"
        cls.daemon = Daemon(cls.box, "lmtp", SECTIONS.format(
            queue=queue, port=cls.dovecot.port, socket=cls.dovecot.socket))
        cls.mta.listen("lmtp", cls.daemon.milter)
        cls.mta.start()
        cls.dovecot.start()

    def ask(self, recipient):
        with SmtpClient("127.0.0.1", self.mta.port("lmtp")) as client:
            client.mail()
            return client.rcpt(recipient)

    def query(self, recipient, *options):
        done = subprocess.run([binary("milter", "tool", "callforward"), "query", "--rcptto",
                               recipient, "--json", *map(str, options)],
                              capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout)

    def test_a_mailbox_that_exists_is_accepted(self):
        for name in BY_MTA + BY_ROUTE:
            with self.subTest(name):
                self.assertEqual(self.ask(f"known@{name}.test").code, 250)
                entry = self.daemon.verdict(f"known@{name}.test")
                self.assertEqual((entry["reason"], entry["source"]), ("accepted", "probe"))

    def test_one_that_does_not_is_rejected_in_dovecots_words(self):
        for name in BY_MTA + BY_ROUTE:
            with self.subTest(name):
                reply = self.ask(f"nobody@{name}.test")
                self.assertEqual((reply.code, reply.enhanced), (550, "5.1.1"))
                self.assertIn("User doesn't exist", reply.text)
                self.assertEqual(self.daemon.verdict(f"nobody@{name}.test")["reason"],
                                 "unknown_user")

    def test_a_full_mailbox_is_rejected_as_full(self):
        for name in BY_MTA + BY_ROUTE:
            with self.subTest(name):
                reply = self.ask(f"full@{name}.test")
                self.assertEqual((reply.code, reply.enhanced), (552, "5.2.2"))
                self.assertEqual(self.daemon.verdict(f"full@{name}.test")["reason"],
                                 "mailbox_full")

    def test_many_recipients_travel_in_one_session(self):
        with SmtpClient("127.0.0.1", self.mta.port("lmtp")) as client:
            client.mail()
            codes = [client.rcpt(f"{user}@tcp.test").code
                     for user in ("known", "missing1", "known", "missing2")]
        self.assertEqual(codes, [250, 550, 250, 550])

    def test_the_tool_asks_by_tcp_and_by_socket(self):
        for options in (("--lmtp", "--host", "127.0.0.1", "--port", self.dovecot.port),
                        ("--host", f"unix:{self.dovecot.socket}")):
            for user, code, reason in (("known", 0, "accepted"), ("nobody", 1, "unknown_user"),
                                       ("full", 1, "mailbox_full")):
                with self.subTest(f"{user} {options}"):
                    exit_code, found = self.query(f"{user}@tcp.test", *options)
                    self.assertEqual((exit_code, found["reason"], found["stage"]),
                                     (code, reason, "rcpt"))

    def test_no_mailbox_gets_a_message(self):
        for name in BY_MTA:
            self.ask(f"known@{name}.test")
            self.assertEqual(self.dovecot.mails(f"known@{name}.test"), 0)


class BehindASocketOfPostfix(SharedSandbox, unittest.TestCase):
    """As contrib/doc/postfix.md has it: Dovecot's socket is Postfix' alone, and it has a second one
    for the daemon's group."""

    @classmethod
    def fill(cls):
        cls.mta = Postfix(cls.box)
        cls.private = f"{cls.mta.home}/queue/private/dovecot-lmtp"
        ours = cls.box.path("callforward-lmtp")
        group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
        cls.dovecot = Dovecot(
            cls.box, {"known@private.test": "x", "known@ours.test": "x"}, socket=cls.private,
            mode="0600",
            listeners=f"unix_listener {ours} {{\n mode = 0660\n group = {group}\n}}")
        for name in ("private.test", "ours.test"):
            cls.mta.routes[name] = "lmtp:unix:private/dovecot-lmtp"
        cls.daemon = Daemon(cls.box, "lmtp", start=False)
        cls.daemon.configure(f"""\
[scope]
exempt_clients = []
[routing]
queue_directory = "{cls.mta.home}/queue"
[domain."ours.test"]
route = ["lmtp:unix:{ours}"]
""")
        cls.mta.listen("lmtp", cls.daemon.milter)
        cls.mta.start()
        cls.dovecot.start()
        os.chmod(os.path.dirname(cls.private), 0o700)
        cls.daemon.start("--set", 'milter.user="nobody"')

    def ask(self, recipient):
        with SmtpClient("127.0.0.1", self.mta.port("lmtp")) as client:
            client.mail()
            return client.rcpt(recipient).code

    def test_a_socket_of_its_own_is_asked(self):
        self.assertEqual(self.ask("known@ours.test"), 250)
        self.assertEqual(self.ask("nobody@ours.test"), 550)
        self.assertEqual(self.daemon.verdict("known@ours.test")["reason"], "accepted")

    def test_postfix_own_one_cannot_be_and_the_log_says_once_what_to_do(self):
        for user in ("known", "other"):
            self.assertEqual(self.ask(f"{user}@private.test"), 451)
            self.assertIn("Permission denied", self.daemon.verdict(f"{user}@private.test")["text"])
        advice = f"callforward may not open {self.private}: see MTA SETUP in callforward-milter(8)"
        self.daemon.wait_for_line(re.escape(advice))
        self.assertEqual(sum(advice in line for line in self.daemon.lines()), 1)


if __name__ == "__main__":
    unittest.main()
