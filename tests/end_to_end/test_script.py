"""The policy script under Postfix: what it says is what the client hears, and when it fails the policy
holds."""

import unittest

from harness.daemon import Daemon, check
from harness.next_hop import NextHop
from harness.postfix import Postfix
from harness.sandbox import Sandbox
from harness.smtp_client import SmtpClient

CLIENT = "127.0.5.1"
SECTIONS = """\
[scope]
exempt_clients = ["127.0.7.0/24"]
[policy]
script = "policy.lua"
"""
SCRIPT = """\
function before(envelope)
    if envelope.local_part == "skipped" then return {skip = "by name"} end
    if envelope.local_part == "known.failing" then error("with intent") end
    if envelope.local_part == "nobody.endless" then while true do end end
end

function after(envelope, verdict)
    log(envelope.rcpt .. " was " .. verdict.reason)
    if envelope.local_part == "nobody.reworded" then return {text = "Not with us any more"} end
    if envelope.local_part == "known.unwanted" then return {action = "reject"} end
end
"""


class Script(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()
        cls.hop = cls.box.add(NextHop("127.0.3.1"))
        cls.box.write("policy.lua", SCRIPT)
        cls.daemon = Daemon(cls.box, "scripted", SECTIONS)
        cls.postfix = Postfix(cls.box)
        cls.postfix.route("hop.test", cls.hop.address, cls.hop.port)
        cls.postfix.listen("scripted", cls.daemon.milter)
        cls.postfix.start()

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()

    def rcpt(self, recipient):
        client = SmtpClient("127.0.0.1", self.postfix.port("scripted"), source=CLIENT)
        try:
            client.command("MAIL FROM:<alice@sender.test>")
            reply = client.command(f"RCPT TO:<{recipient}>")
            return f"{reply.code} {reply.words}"
        finally:
            client.close()

    def test_the_client_hears_what_the_script_chose(self):
        self.assertEqual(self.rcpt("nobody.reworded@hop.test"), "550 5.1.1 Not with us any more")
        self.assertEqual(self.rcpt("known.unwanted@hop.test"),
                         "550 5.7.1 Recipient address rejected by local policy")
        line = self.daemon.verdict("known.unwanted@hop.test")
        self.assertEqual((line["outcome"], line["action"]), ("deliverable", "reject"))
        self.assertIn("decided by the policy script", line["text"])
        self.daemon.wait_for_line("known.unwanted@hop.test was accepted")

    def test_a_recipient_that_is_skipped_is_not_asked_about(self):
        self.assertTrue(self.rcpt("skipped@hop.test").startswith("250 "))
        self.assertEqual(self.hop.asked("skipped@hop.test"), 0)
        self.assertEqual(self.daemon.verdict("skipped@hop.test")["reason"], "exempt")

    def test_a_script_that_fails_leaves_it_to_the_policy(self):
        self.assertTrue(self.rcpt("known.failing@hop.test").startswith("250 "))
        self.assertTrue(self.rcpt("nobody.endless@hop.test").startswith("550 5.1.1 "))
        self.daemon.wait_for_line("the policy script failed.*before.*policy:3: with intent")
        self.daemon.wait_for_line("the policy script failed.*too many instructions|"
                                  "the policy script failed.*too much processor time")

    def test_a_script_that_is_no_lua_is_refused_with_its_line(self):
        self.box.write("bad.lua", "function after()\n  retrun 5\nend\n")
        done = check(self.box.write("bad.toml", '[policy]\nscript = "bad.lua"\n'))
        self.assertEqual(done.returncode, 78, done)
        self.assertRegex(done.stderr, r"/bad\.lua:2: ")
        self.assertIn("syntax error", done.stderr)

    def test_a_reload_takes_a_new_script_and_keeps_the_old_one_when_it_is_broken(self):
        try:
            since = len(self.daemon.lines())
            self.box.write("policy.lua", "function after( end\n")
            self.daemon.signal()
            self.daemon.wait_for_line(r"reload failed.*policy\.lua:1: ", since)
            self.assertEqual(self.rcpt("nobody.reworded@hop.test"),
                             "550 5.1.1 Not with us any more")
            self.box.write("policy.lua", 'function after() return {text = "Other words"} end\n')
            self.daemon.signal()
            self.daemon.wait_for_line("configuration reloaded", since)
            self.assertEqual(self.rcpt("nobody.reworded@hop.test"), "550 5.1.1 Other words")
        finally:
            since = len(self.daemon.lines())
            self.box.write("policy.lua", SCRIPT)
            self.daemon.signal()
            self.daemon.wait_for_line("configuration reloaded", since)
