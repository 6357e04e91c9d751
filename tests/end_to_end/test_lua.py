"""The Lua module under every Lua there is: answers, errors, sessions, many at once, Momentum's name."""

import os
import re
import resource
import shutil
import socket
import subprocess
import threading
import time
import unittest

from harness.certificate import make_certificate
from harness.dns_server import DnsServer
from harness.next_hop import STALL, NextHop
from harness.postfix import Postfix
from harness.sandbox import (Sandbox, ask_dns_at, binary, free_port, sanitizer_library, sanitizers,
                             wait_until)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = os.path.join(ROOT, "contrib", "lua")
EXAMPLES = os.path.join(MODULES, "examples")


def build():
    return os.path.abspath(os.environ["CALLFORWARD_BUILD"])


def lua_versions():
    """Program and version of each Lua that a module was built for."""
    found = []
    for version, programs in (("5.4", ("lua5.4",)), ("5.1", ("luajit", "lua5.1"))):
        if os.path.exists(os.path.join(build(), "contrib", "lua", version, "callforward.so")):
            found += [(program, version) for program in programs if shutil.which(program)]
    return found


def environment(version):
    of = dict(os.environ)
    of["LUA_CPATH"] = os.path.join(build(), "contrib", "lua", version, "?.so")
    of["LUA_PATH"] = os.path.join(MODULES, "?.lua")
    if sanitizers():  # lua itself is not, so the sanitizer comes first, and what it looks into
        of["LD_PRELOAD"] = " ".join((sanitizer_library(), "libstdc++.so.6"))
        of["ASAN_OPTIONS"] = "detect_leaks=1"
    return of


def run_lua(script, *arguments, lua=("lua5.4", "5.4"), given=None, descriptors=None, **more):
    """A script's text, or the path of one; gives the finished process."""
    program, version = lua
    place = [script] if os.path.exists(script) else ["-e", script]
    if arguments and place[0] == "-e":
        place = ["-e", "arg = {" + ", ".join(f"[==[{a}]==]" for a in arguments) + "} " + script]
        arguments = ()
    return subprocess.run([program, *place, *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, input=given, env={**environment(version), **more},
                          preexec_fn=descriptors and (lambda: resource.setrlimit(
                              resource.RLIMIT_NOFILE, (descriptors, descriptors))))


class Module(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()
        cls.hop = cls.box.add(NextHop("127.0.3.1"))
        cls.hop.rcpt["stalled@hop.test"] = STALL
        cls.hop.rcpt["later@hop.test"] = "450 4.2.0 later"

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()

    def lua(self, script, *arguments, expect=0, **more):
        done = run_lua(script, *arguments, **more)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout.splitlines() if expect == 0 else done.stderr

    def say(self, call, before="", **more):
        """The values of an expression, one a line."""
        return self.lua(f"local callforward = require('callforward') {before} "
                        f"local function show(...) for i = 1, select('#', ...) do "
                        f"print((tostring((select(i, ...))))) end end show({call})", **more)

    def place(self):
        return f"host='127.0.3.1', port={self.hop.port}"

    def test_answers_under_every_lua(self):
        versions = lua_versions()
        self.assertIn(("lua5.4", "5.4"), versions)
        for lua in versions:
            with self.subTest(lua[0]):
                res, err, detail = self.say(
                    f"callforward.query{{rcptto='known@hop.test', {self.place()}}}", lua=lua)
                self.assertEqual((res, err), ("true", "nil"))
                self.assertTrue(detail.startswith("table"))
                res, err, _ = self.say(
                    f"callforward.query{{rcptto='nobody@hop.test', {self.place()}}}", lua=lua)
                self.assertEqual(res, "false")
                self.assertRegex(err, r"^unknown_user: 550 5\.1\.1 .*no such mailbox here")

    def test_momentums_global_name_is_there_after_the_changed_require_line(self):
        call = f"msys.beta.rcptto_proxy.query({{rcptto='known@hop.test', {self.place()}}})"
        strict = "setmetatable(_G, {__index = function(_, n) error('undeclared ' .. n) end, " \
                 "__newindex = function(_, n) error('undeclared ' .. n) end}) "
        for lua in lua_versions():
            with self.subTest(lua[0]):
                script = f"require('callforward'); local res, err = {call} print(res, err)"
                self.assertEqual(self.lua(script, lua=lua), ["true\tnil"])
                self.assertEqual(self.lua(strict + script, lua=lua), ["true\tnil"])
                self.assertEqual(self.lua(
                    "msys = {core = 1, beta = {rcptto_proxy = 'theirs'}} require('callforward') "
                    "print(msys.core, msys.beta.rcptto_proxy)", lua=lua), ["1\ttheirs"])
                self.assertEqual(self.lua(
                    "msys = {core = 1} require('callforward') "
                    "print(msys.core, type(msys.beta.rcptto_proxy.query))", lua=lua),
                    ["1\tfunction"])
                self.assertEqual(self.lua(
                    "msys = 5 local c = require('callforward') print(msys, type(c.query))",
                    lua=lua), ["5\tfunction"])

    def test_detail_has_the_fields_of_the_tool(self):
        call = (f"callforward.query{{mailfrom='foo@foo.test', rcptto='nobody@hop.test', "
                f"{self.place()}}}")
        found = dict(line.split("=", 1) for line in self.say(
            "table.concat(lines, '\\n')",
            f"local _, _, detail = {call} local lines = {{}} "
            "for k, v in pairs(detail) do lines[#lines + 1] = k .. '=' .. tostring(v) end"))
        self.assertEqual(
            (found["rcptto"], found["mailfrom"], found["outcome"], found["reason"],
             found["stage"], found["code"], found["enhanced"], found["address"], found["port"]),
            ("nobody@hop.test", "foo@foo.test", "undeliverable", "unknown_user", "rcpt", "550",
             "5.1.1", "127.0.3.1", str(self.hop.port)))
        self.assertLess(int(found["elapsed_ms"]), 60000)
        self.assertNotIn("tls", found)

    def test_server_down_and_time_up_are_false_with_the_reason(self):
        down = free_port("127.0.3.1")
        res, err, _ = self.say(
            f"callforward.query{{rcptto='known@hop.test', host='127.0.3.1', port={down}}}")
        self.assertEqual(res, "false")
        self.assertRegex(err, "^connect_failed: ")
        begin = time.monotonic()
        res, err, _ = self.say(
            f"callforward.query{{rcptto='stalled@hop.test', timeout=0.5, {self.place()}}}")
        self.assertEqual(res, "false")
        self.assertRegex(err, "^timed_out: ")
        self.assertLess(time.monotonic() - begin, 20)

    def test_what_the_process_lacks_is_an_answer_like_any_other(self):
        for lua in lua_versions():
            with self.subTest(lua[0]):
                lines = self.say(
                    "res, err, detail.outcome, detail.reason, detail.rcptto, detail.text ~= nil",
                    "local res, err, detail = "
                    f"callforward.query{{rcptto='known@hop.test', {self.place()}}} ",
                    lua=lua, descriptors=4)
                self.assertEqual(lines[0], "false")
                self.assertRegex(lines[1], "^overloaded: .*Too many open files")
                self.assertEqual(lines[2:], ["undetermined", "overloaded", "known@hop.test", "true"])
                lines = self.say(
                    "#all, all[2].res, all[2].err, all[2].detail.outcome, all[2].detail.rcptto",
                    f"local all = callforward.query_many{{{self.place()}, "
                    "{rcptto='known@hop.test'}, {rcptto='nobody@hop.test'}}",
                    lua=lua, descriptors=4)
                self.assertEqual((lines[0], lines[1], lines[3], lines[4]),
                                 ("2", "false", "undetermined", "nobody@hop.test"))
                self.assertRegex(lines[2], "^overloaded: .*Too many open files")

    def test_wrong_arguments_are_errors_that_name_them(self):
        for arguments, words in (
                ("", "callforward.query: a table of named arguments is needed, not nil"),
                ("'bar@bar.com'", "a table of named arguments is needed, not string"),
                ("{}", "argument 'rcptto' is missing"),
                ("{rcptto=5}", "argument 'rcptto' must be a string, not 5"),
                ("{rcptto='a@b.test', port='smtp'}", "argument 'port' must be a port number"),
                ("{rcptto='a@b.test', port=65536}", "argument 'port' must be a port number"),
                ("{rcptto='a@b.test', port=2.5}", "argument 'port' must be a port number"),
                ("{rcptto='a@b.test', timeout=0}", "argument 'timeout' must be a number"),
                ("{rcptto='a@b.test', timeout=0/0}", "argument 'timeout' must be a number"),
                ("{rcptto='a@b.test', lmtp=1}", "argument 'lmtp' must be true or false, not 1"),
                ("{rcptto='a@b.test', tls='always'}", "tls: \"always\" is no TLS level"),
                ("{rcptto='a@b.test', tls='fingerprint'}",
                 "tls: \"fingerprint\" needs tls_fingerprints"),
                ("{rcptto='a@b.test', tls_fingerprints={'ab'}}",
                 "tls_fingerprints: \"ab\" is not 64 hexadecimal digits"),
                ("{rcptto='a@b.test', tls_match={'mx.b.test', 7}}",
                 "argument 'tls_match' must be a string, not 7"),
                ("{rcptto='a@b.test', tls_match='hostnames'}",
                 "tls_match: \"hostnames\" is none of hostname"),
                ("{rcptto='a@b.test', tls_ca_file='/nowhere'}",
                 "tls_ca_file: \"/nowhere\" can not be read"),
                ("{rcptto='a@b.test', helo='a b'}", "helo: \"a b\" is neither"),
                ("{rcptto='a@b.test', mailfrom='a'}", "mailfrom: \"a\" is not a mail address"),
                ("{rcptto='a@b.test', host='a b'}", "host: "),
                ("{rcptto='a@b.test', source_address='a'}", "source"),
                ("{rcptto='a@b.test', source_address={1}}",
                 "argument 'source_address' must be a string, not 1"),
                ("{rcptto='a@b.test', source_address=true}",
                 "argument 'source_address' must be a string or a list of strings, not boolean"),
                ("{rcptto='a@b.test', mailform='a'}", "unknown argument 'mailform'; known are"),
                ("{'a@b.test'}", "unknown argument 'number'"),
        ):
            for lua in lua_versions():
                with self.subTest(f"{lua[0]} {arguments}"):
                    ok, error = self.say(
                        f"pcall(callforward.query{', ' + arguments if arguments else ''})",
                        lua=lua)
                    self.assertEqual(ok, "false")
                    self.assertIn(words, error)

    def test_a_certificate_is_held_to_what_the_script_says(self):
        certificate = make_certificate(self.box, "tls.test", "DNS:mx.tls.test")
        hop = self.box.add(NextHop("127.0.3.2", certificate=certificate))
        digest = subprocess.run(
            ["openssl", "x509", "-in", certificate[0], "-noout", "-fingerprint", "-sha256"],
            check=True, capture_output=True, text=True).stdout.strip().rpartition("=")[2]
        ca = f"tls_ca_file='{certificate[0]}'"
        for arguments, expected in (
                (f"tls='fingerprint', tls_fingerprints='{digest}'", "fingerprint"),
                (f"tls='fingerprint', tls_fingerprints={{'{'0' * 64}', '{digest}'}}",
                 "fingerprint"),
                (f"tls='fingerprint', tls_fingerprints='{'0' * 64}'", "certificate"),
                (f"tls='verify', tls_match={{'other.test', 'mx.tls.test'}}, {ca}", "ca"),
                (f"tls='verify', tls_match='mx.tls.test'", "certificate"),
                (f"tls='verify', tls_match='other.test', {ca}", "certificate")):
            with self.subTest(arguments):
                found = self.say(
                    "detail.tls and detail.tls.by or detail.reason",
                    f"local _, _, detail = callforward.query{{rcptto='known@tls.test', "
                    f"host='127.0.3.2', port={hop.port}, {arguments}}}")
                self.assertEqual(found, [expected])

    def test_a_session_shares_a_connection(self):
        before = self.hop.sessions
        self.assertEqual(self.say(
            f"one, two, three",
            "local s = callforward.session() "
            f"local one = s:query{{rcptto='known1@hop.test', {self.place()}}} "
            f"local two = s:query{{rcptto='nobody@hop.test', {self.place()}}} "
            "s:close() s:close() "
            "local three = select(2, pcall(s.query, s, {rcptto='a@b.test'}))"),
            ["true", "false", "callforward.session: the session is closed"])
        self.assertEqual(self.hop.sessions, before + 1)

    def test_connections_come_from_the_source_address(self):
        with socket.create_server(("127.0.3.8", 0)) as listener:
            listener.settimeout(30)
            asking = threading.Thread(daemon=True, target=lambda: self.say(
                "callforward.query{rcptto='a@b.test', host='127.0.3.8', timeout=5, "
                f"port={listener.getsockname()[1]}, source_address='127.0.3.77'}}"))
            asking.start()
            connection, peer = listener.accept()
            connection.close()
            asking.join(60)
        self.assertEqual(peer[0], "127.0.3.77")

    def test_wrong_arguments_of_a_session(self):
        for call, words in (("callforward.session, {idle=-1}", "argument 'idle' must be"),
                            ("callforward.session, {idel=1}", "unknown argument 'idel'"),
                            ("callforward.session, {dns_servers={'x y'}}", "x y"),
                            ("callforward.session().query, 5", "callforward.session")):
            with self.subTest(call):
                ok, error = self.say(f"pcall({call})")
                self.assertEqual(ok, "false")
                self.assertIn(words, error)

    def test_many_answers_come_in_the_order_of_the_questions(self):
        script = (f"local all = callforward.query_many{{{self.place()}, timeout=30, "
                  "{rcptto='known1@hop.test'}, {rcptto='nobody@hop.test'}, "
                  "{rcptto='later@hop.test', mailfrom='foo@foo.test'}} "
                  "for _, each in ipairs(all) do print(each.res, each.detail.reason, each.err) end")
        self.assertEqual(
            [re.split(r"\t+", line)[:2] for line in self.lua("local callforward = "
                                                            "require('callforward') " + script)],
            [["true", "accepted"], ["false", "unknown_user"], ["false", "deferred"]])
        self.assertEqual(self.say("#callforward.query_many{}"), ["0"])
        ok, error = self.say("pcall(callforward.query_many, {{rcptto='a@b.test'}, {}})")
        self.assertIn("argument 'rcptto' is missing", error)

    def test_a_thousand_at_once_in_one_process(self):
        """A server that thinks for a second about each recipient, on a connection for each.

        Both go before other work: a connection has five seconds, and a machine that gives a process
        none of them is not what is tested.
        """
        first = ["nice", "-n", "-15"]
        rules = self.box.write("rules", "rcpt known* DELAY 1000 250 2.1.5 ok\n"
                                        "rcpt * DELAY 1000 550 5.1.1 no such user\n")
        log = self.box.path("smtp.log")
        with subprocess.Popen([*first, binary("tests", "support", "test-smtp-server"), "--listen",
                               "127.0.3.9:0", "--log", log, rules], stdout=subprocess.PIPE,
                              text=True) as server:
            try:
                port = server.stdout.readline().rsplit(":", 1)[1].strip()
                script = (
                    "local callforward = require('callforward') "
                    "local q = {host = '127.0.3.9', port = arg[1], timeout = 100, tls = 'none'} "
                    "for i = 1, 1000 do q[i] = {helo = 'c' .. i .. '.test', rcptto = "
                    "(i % 2 == 0 and 'known' or 'nobody') .. i .. '@hop.test'} end "
                    "local yes, no = 0, 0 "
                    "for i, a in ipairs(callforward.query_many(q)) do "
                    "if a.res and i % 2 == 0 then yes = yes + 1 end "
                    "if a.detail.reason == 'unknown_user' and i % 2 == 1 then no = no + 1 end "
                    "if a.detail.outcome == 'undetermined' then print(i, a.err) end end "
                    "print(yes, no)")
                limited = f"ulimit -n 8192; exec lua5.4 -e \"arg = {{{port}}} {script}\""
                done = subprocess.run([*first, "bash", "-c", limited], capture_output=True, text=True,
                                      timeout=120, env=environment("5.4"))
            finally:
                server.terminate()
                server.wait(60)
        self.assertEqual(done.stdout.split(), ["500", "500"], done)
        open_now, most = 0, 0
        with open(log, encoding="utf-8") as lines:
            for line in lines:
                if " connect" in line or line.startswith("connect"):
                    open_now += 1
                elif "disconnect" in line:
                    open_now -= 1
                most = max(most, open_now)
        self.assertEqual(most, 1000)

    def test_a_list_is_verified_by_the_example(self):
        done = run_lua(os.path.join(EXAMPLES, "verify_list.lua"),
                       given="".join(f"known{i}@hop.test\n" for i in range(600)) +  # batches
                       "\n nobody@hop.test \nlater@hop.test\n",
                       VERIFY_HOST="127.0.3.1", VERIFY_PORT=str(self.hop.port))
        self.assertEqual(done.returncode, 1, done)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r"^nobody@hop\.test  no: unknown_user: 550 5\.1\.1")
        self.assertRegex(lines[1], r"^later@hop\.test  ask again later: deferred: 450 4\.2\.0")


class Momentum(unittest.TestCase):
    """The example of Momentum's page, as it is written there, against hosts at its addresses."""

    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()
        cls.example = os.path.join(EXAMPLES, "momentum.lua")
        cls.dns = None

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()

    def resolve_to(self, address):
        if self.dns is None:
            type(self).dns = self.box.add(DnsServer("127.0.0.1", 53))
            if not ask_dns_at("127.0.0.1", self.box):
                self.fail("the example names smtp.foo.com: this needs a network of its own")
        self.dns.replace("smtp.foo.com", "A", address)

    def run_example(self, lua, **changes):
        with open(self.example, encoding="utf-8") as file:
            text = file.read()
        for old, new in changes.items():
            text = text.replace(f'{old} = 60', f'{old} = {new}')
        done = run_lua(self.box.write("as_written.lua", text), lua=lua)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout.strip().split("\t")

    def check_answers(self, lua, reached):
        """`reached` makes the host at smtp.foo.com answer "known", "unknown" or "down"."""
        reached("known")
        self.assertEqual(self.run_example(lua), ["true", "nil"])
        reached("unknown")
        res, err = self.run_example(lua)
        self.assertEqual(res, "false")
        self.assertRegex(err, r"^unknown_user: 550 5\.1\.1 ")
        reached("down")
        res, err = self.run_example(lua)
        self.assertEqual(res, "false")
        self.assertRegex(err, "^connect_failed: ")

    def test_against_a_scripted_server(self):
        self.resolve_to("127.0.3.5")
        hop = self.box.add(NextHop("127.0.3.5", 25))
        answers = {"known": "250 2.1.5 Ok", "unknown": "550 5.1.1 <bar@bar.com>: no such user"}

        def reached(how):
            if how == "down":
                hop.stop()
            else:
                hop.rcpt["*"] = answers[how]

        for lua in lua_versions():
            with self.subTest(lua[0]):
                self.check_answers(lua, reached)
                hop.start()
                hop.rcpt["*"] = STALL
                res, err = self.run_example(lua, timeout=5)  # the look-up of the name is part of it
                self.assertEqual(res, "false")
                self.assertRegex(err, "^timed_out: ")

    def test_against_a_real_postfix(self):
        self.resolve_to("127.0.0.1")
        postfix = Postfix(self.box)
        postfix.more = ("local_recipient_maps = texthash:{home}/recipients\n"
                        "mydestination = bar.com\n").replace("{home}", postfix.home)
        postfix.listen("smtp", port=25)
        # One that thinks about each recipient for longer than the script waits.
        postfix.listen("slow", address="127.0.3.6", port=25,
                       smtpd_recipient_restrictions="sleep 20")
        os.makedirs(postfix.home)
        self.box.write("postfix/recipients", "bar x\n")
        postfix.start()

        def reached(how):
            if how == "unknown":
                self.box.write("postfix/recipients", "someone x\n")
                postfix.reload()
                wait_until(lambda: self.run_example(("lua5.4", "5.4"))[0] == "false", "the reload")
            elif how == "down":
                postfix.stop()

        self.resolve_to("127.0.3.6")
        begin = time.monotonic()
        res, err = self.run_example(("lua5.4", "5.4"), timeout=5)
        self.assertEqual(res, "false")
        self.assertRegex(err, "^timed_out: ")
        self.assertLess(time.monotonic() - begin, 19)  # Postfix would take 20 s
        self.resolve_to("127.0.0.1")
        self.check_answers(("lua5.4", "5.4"), reached)
