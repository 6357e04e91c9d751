"""callforward query against programmable next hops: options, exit codes, JSON, transcript."""

import json
import subprocess
import tempfile
import time
import unittest

from harness.certificate import make_certificate
from harness.next_hop import STALL, Endless, NextHop
from harness.sandbox import Sandbox, binary, free_port

FIELDS = {"rcptto", "mailfrom", "outcome", "reason", "stage", "code", "enhanced", "text", "host",
          "address", "port",
          "tls", "mx", "elapsed_ms"}
KNOWN, UNKNOWN = "known@hop.test", "nobody@hop.test"


def callforward(*arguments):
    return subprocess.run([binary("milter", "tool", "callforward"), *map(str, arguments)],
                          capture_output=True,
                          text=True, timeout=90)


class Query(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()
        cls.hop = cls.box.add(NextHop("127.0.3.1"))
        cls.hop.rcpt["later@hop.test"] = "450 4.2.0 later"
        cls.hop.rcpt["stalled@hop.test"] = STALL
        cls.hop.rcpt["blocked@hop.test"] = "554 5.7.1 blocked"
        cls.hop.rcpt["endless@hop.test"] = Endless(b"550-5.1.1 more\r\n" * 64)
        cls.certificate, key = make_certificate(cls.box)
        cls.tls_hop = cls.box.add(NextHop("127.0.3.2", certificate=(cls.certificate, key)))
        cls.lmtp_hop = cls.box.add(NextHop(unix_path=cls.box.path("lmtp"), lmtp=True))

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()

    def query(self, recipient, *options, hop=None):
        hop = hop or self.hop
        return callforward("query", "--rcptto", recipient, "--host", hop.address, "--port",
                           hop.port, *options)

    def query_json(self, recipient, *options, hop=None):
        done = self.query(recipient, "--json", *options, hop=hop)
        return done.returncode, json.loads(done.stdout)

    def test_exit_codes_tell_the_outcome(self):
        for recipient, code in ((KNOWN, 0), (UNKNOWN, 1), ("later@hop.test", 75),
                                ("blocked@hop.test", 75),
                                ("endless@hop.test", 75)):
            with self.subTest(recipient):
                done = self.query(recipient)
                self.assertEqual(done.returncode, code, done)
                self.assertTrue(done.stdout.strip())

    def test_json_has_every_field(self):
        code, found = self.query_json(UNKNOWN, "--mailfrom", "foo@foo.test")
        self.assertEqual(code, 1)
        self.assertEqual(set(found), FIELDS)
        self.assertEqual((found["rcptto"], found["mailfrom"], found["outcome"], found["reason"],
                          found["stage"]),
                         (UNKNOWN, "foo@foo.test", "undeliverable", "unknown_user", "rcpt"))
        self.assertEqual((found["code"], found["enhanced"], found["address"], found["port"]),
                         (550, "5.1.1", self.hop.address, self.hop.port))
        self.assertIn("no such mailbox here", found["text"])
        self.assertIsNone(found["tls"])
        self.assertIsInstance(found["elapsed_ms"], (int, float))

    def test_unknown_json_fields_are_null(self):
        done = callforward("query", "--json", "--rcptto", KNOWN, "--host", "127.0.3.1", "--port",
                           free_port("127.0.3.1"), "--timeout", 5)
        found = json.loads(done.stdout)
        self.assertEqual((done.returncode, found["outcome"], found["reason"]),
                         (75, "undetermined", "connect_failed"))
        self.assertEqual(set(found), FIELDS)
        for field in ("code", "enhanced", "address", "tls", "mx"):
            self.assertIsNone(found[field], found)

    def test_mailfrom_and_helo_reach_the_next_hop(self):
        self.hop.commands.clear()
        self.query(KNOWN, "--mailfrom", "foo@foo.test", "--helo", "probe.example")
        self.assertIn("EHLO probe.example", self.hop.commands)
        self.assertTrue(self.hop.said("MAIL FROM:<foo@foo.test>"), self.hop.commands)

    def test_without_mailfrom_the_null_sender_is_used(self):
        self.hop.commands.clear()
        self.query(KNOWN)
        self.assertTrue(self.hop.said("MAIL FROM:<>"), self.hop.commands)

    def test_a_bracketed_host_is_used_as_it_is(self):
        done = callforward("query", "--rcptto", KNOWN, "--host", f"[{self.hop.address}]", "--port",
                           self.hop.port)
        self.assertEqual(done.returncode, 0, done)

    def test_an_lmtp_socket_is_asked(self):
        host = f"unix:{self.lmtp_hop.unix_path}"
        done = callforward("query", "--rcptto", KNOWN, "--host", host)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(callforward("query", "--rcptto", UNKNOWN, "--host", host).returncode, 1)
        self.assertTrue(self.lmtp_hop.said("LHLO"), self.lmtp_hop.commands)

    def test_lmtp_over_tcp_is_asked_when_told_so(self):
        hop = self.box.add(NextHop("127.0.3.3", lmtp=True))
        self.assertEqual(self.query(KNOWN, "--lmtp", hop=hop).returncode, 0)
        self.assertTrue(hop.said("LHLO"), hop.commands)

    def test_verbose_shows_the_dialogue_on_stderr(self):
        done = self.query(UNKNOWN, "-v", "--json")
        json.loads(done.stdout)
        self.assertRegex(done.stderr, r"(?m)^\s*S: 220 hop\.test")
        self.assertRegex(done.stderr, r"(?m)^\s*C: EHLO ")
        self.assertRegex(done.stderr, rf"(?m)^\s*C: RCPT TO:<{UNKNOWN}>")
        self.assertRegex(done.stderr, r"(?m)^\s*S: 550 5\.1\.1 ")
        self.assertEqual(self.query(UNKNOWN).stderr, "")

    def test_timeout_bounds_the_whole_call(self):
        start = time.monotonic()
        code, found = self.query_json("stalled@hop.test", "--timeout", 1)
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual((code, found["reason"]), (75, "timed_out"))

    def test_tls_levels(self):
        code, found = self.query_json(KNOWN, hop=self.tls_hop)
        self.assertEqual(code, 0)
        self.assertRegex(found["tls"]["version"], r"^TLSv1\.[23]$")
        self.assertTrue(found["tls"]["cipher"])
        self.assertEqual(found["tls"]["verified"], False)
        self.assertEqual(self.query_json(KNOWN, "--tls", "encrypt", hop=self.tls_hop)[0], 0)
        self.assertIsNone(self.query_json(KNOWN, "--tls", "none", hop=self.tls_hop)[1]["tls"])

    def test_a_certificate_is_verified_by_a_ca_or_a_fingerprint(self):
        trusted = ("--tls-ca-file", self.certificate, "--tls-match", "hop.test")
        fingerprint = subprocess.run(
            ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", self.certificate],
            check=True, capture_output=True, text=True).stdout.strip().split("=")[1]
        for by, options in (("ca", ("--tls", "verify", *trusted)),
                            ("ca", ("--tls", "secure", *trusted)),
                            ("fingerprint",
                             ("--tls", "fingerprint", "--tls-fingerprint", fingerprint))):
            with self.subTest(options):
                code, found = self.query_json(KNOWN, *options, hop=self.tls_hop)
                self.assertEqual((code, found["tls"]["verified"], found["tls"]["by"]),
                                 (0, True, by))
        text = self.query(KNOWN, "--tls", "verify", *trusted, hop=self.tls_hop).stdout
        self.assertIn(", verified by ca", text)

    def test_a_certificate_that_is_not_the_wanted_one_is_undetermined_and_the_cause_told(self):
        for words, options in (("self-signed", ("--tls", "verify", "--tls-match", "hop.test")),
                               ("is for CN = hop.test; wanted is one for other.test",
                                ("--tls", "verify", "--tls-match", "other.test", "--tls-ca-file",
                                 self.certificate)),
                               ("has fingerprint",
                                ("--tls", "fingerprint", "--tls-fingerprint", "0" * 64))):
            with self.subTest(options):
                code, found = self.query_json(KNOWN, *options, hop=self.tls_hop)
                self.assertEqual((code, found["reason"], found["stage"]),
                                 (75, "certificate", "handshake"))
                self.assertIn(words, found["text"])
        code, found = self.query_json(KNOWN, "--tls", "dane-only", hop=self.tls_hop)
        self.assertEqual((code, found["reason"]), (75, "dane_failed"))

    def test_a_tls_level_that_can_not_be_met_is_undetermined(self):
        code, found = self.query_json(KNOWN, "--tls", "encrypt")
        self.assertEqual((code, found["outcome"], found["reason"]),
                         (75, "undetermined", "tls_not_offered"))

    def test_a_domain_whose_dns_does_not_answer_is_undetermined_in_time(self):
        took = []
        while not took or (took[-1] >= 4.8 and len(took) < 3):  # a machine may stall in one of them
            start = time.monotonic()
            done = callforward("query", "--rcptto", "anybody@unreachable.test", "--timeout", 1)
            took.append(time.monotonic() - start)
            self.assertEqual(done.returncode, 75, done)
        self.assertLess(took[-1], 4.8, took)  # DNS alone would take 5 s

    def test_an_impossible_address_is_undeliverable_and_never_sent(self):
        before = self.hop.sessions
        code, found = self.query_json("a\r\nRSET@hop.test")
        self.assertEqual((code, found["reason"]), (1, "bad_address"))
        self.assertEqual(self.hop.sessions, before)

    def test_wrong_usage_is_64(self):
        for arguments in ((), ("query",), ("query", "--nonsense"), ("nonsense",),
                          ("query", "--rcptto", KNOWN, "--port", "70000"),
                          ("query", "--rcptto", KNOWN, "--timeout", "soon"),
                          ("query", "--rcptto", KNOWN, "--tls", "maybe"),
                          ("query", "--rcptto", KNOWN, "--lmtp"),
                          ("query", "--rcptto", "postmaster"),
                          ("query", "--rcptto", "<Postmaster>", "--host", "127.0.3.1"),
                          ("query", "--rcptto", KNOWN, "--tls", "fingerprint"),
                          ("query", "--rcptto", KNOWN, "--tls-match", "hostnam"),
                          ("query", "--rcptto", KNOWN, "--tls-fingerprint", "ab")):
            with self.subTest(arguments):
                done = callforward(*arguments)
                self.assertEqual(done.returncode, 64, done)
                self.assertTrue(done.stderr.startswith("callforward: "), done)

    def test_wrong_usage_is_told_by_what_is_wanted(self):
        query = ("query", "--rcptto", KNOWN)
        for words, code, arguments in (
                ('no subcommand "stauts"; see --help', 64, ("stauts",)),
                ('no subcommand "cache shwo"; see --help', 64, ("cache", "shwo")),
                ("--timeout: seconds, as a number", 64, (*query, "--timeout", "10s")),
                ("--port: a port is a number", 64, (*query, "--port", "smtp")),
                ("--host says port 26", 64, (*query, "--host", "[127.0.3.1]:26", "--port", "25")),
                ("--host: it is empty", 64, (*query, "--host", "")),
                ("No such file", 66, (*query, "--tls-ca-file", "/no/such/file"))):
            with self.subTest(arguments):
                done = callforward(*arguments)
                self.assertEqual(done.returncode, code, done)
                self.assertTrue(done.stderr.startswith("callforward: "), done)
                self.assertIn(words, done.stderr)

    def test_output_that_cannot_be_written_is_told(self):
        tool = binary("milter", "tool", "callforward")
        for command in ("query --rcptto a..b@", "--help", "--version"):
            for to in (">/dev/full", ">&-"):
                with self.subTest(command + to):
                    done = subprocess.run(["sh", "-c", f"exec {tool} {command} {to}"],
                                          stderr=subprocess.PIPE, text=True, timeout=90)
                    self.assertEqual(done.returncode, 74, done)
                    self.assertIn("standard output cannot be written", done.stderr)

    def test_version_and_help(self):
        self.assertEqual(callforward("--help").returncode, 0)
        self.assertIn("--rcptto", callforward("query", "--help").stdout)
        self.assertRegex(callforward("--version").stdout, r"\d+\.\d+\.\d+")


class Configuration(unittest.TestCase):
    """With an /etc of its own, where the default file has a mistake."""

    def run_there(self, text, *arguments):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            script = ('set -e; mount -t tmpfs none /etc; mkdir /etc/callforward; '
                      'cp "$1" /etc/callforward/callforward.toml; shift; exec "$@"')
            return subprocess.run(
                ["unshare", "-m", "sh", "-c", script, "sh", file.name,
                 binary("milter", "tool", "callforward"), *arguments],
                capture_output=True, text=True, timeout=90)

    def test_where_nobody_answers_a_mistake_in_the_default_file_is_told(self):
        mistaken = '[control]\nsocket = "/nowhere/control.sock"\n[policy]\nmoode = "off"\n'
        done = self.run_there(mistaken, "reload")
        self.assertEqual(done.returncode, 78, done)
        self.assertRegex(done.stderr, r"callforward\.toml:4:\d+: unknown key \"moode\"")
        self.assertIn("/run/callforward/control.sock nobody answers", done.stderr)
        good = '[control]\nsocket = "/nowhere/control.sock"\n'
        done = self.run_there(good, "reload")
        self.assertEqual(done.returncode, 69, done)
        self.assertIn("cannot reach the daemon at /nowhere/control.sock", done.stderr)
