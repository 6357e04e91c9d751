"""The control socket and the operator's tool, with the real daemon under a real Postfix."""

import contextlib
import json
import os
import socket
import stat
import subprocess
import threading
import unittest
import urllib.error
import urllib.request

from harness.daemon import HEAD, Daemon
from harness.next_hop import NextHop
from harness.postfix import Postfix
from harness.sandbox import Sandbox, binary, free_port, wait_until
from harness.smtp_client import SmtpClient

SECTIONS = """\
[scope]
exempt_clients = []
"""
CLASSES = {"deliverable", "undeliverable", "sender_refused", "deferred", "refused", "unreachable",
           "insecure", "skipped"}


class ControlFixture(unittest.TestCase):
    """One Postfix, one daemon with a store on disk, one next hop, for each test its own."""

    sections = SECTIONS

    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)
        self.hop = self.box.add(NextHop("127.0.5.1"))
        self.mta = Postfix(self.box)
        self.mta.route("one.test", self.hop.address, self.hop.port)
        self.mta.route("dead.test", "127.0.5.250", self.hop.port)
        milter = f"unix:{self.box.path('control.sock')}"
        self.mta.listen("control", milter)
        self.mta.start()
        self.daemon = Daemon(self.box, "control", self.sections, socket=milter, start=False)
        self.daemon.start("--set", f'cache.store="lmdb:{self.box.path("verdicts")}"')

    def ask(self, recipient, sender="sender@sender.test"):
        with SmtpClient("127.0.0.1", self.mta.port("control")) as client:
            client.mail(sender)
            return client.rcpt(recipient)

    def ask_and_see(self, recipient, nth=1):
        """The reply's code, and where it came from."""
        code = self.ask(recipient).code
        return code, self.daemon.verdict(recipient, nth)["source"]

    def tool(self, *arguments, code=0, text_in=None, socket_option=True):
        options = ["--socket", self.daemon.control] if socket_option else []
        done = subprocess.run([binary("milter", "tool", "callforward"), *arguments, *options],
                              input=text_in, capture_output=True, text=True, timeout=90)
        self.assertEqual(done.returncode, code, done)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        return done

    def json(self, *arguments, code=0):
        return json.loads(self.tool(*arguments, "--json", code=code).stdout)


class Watching(ControlFixture):
    def test_status_counts_each_recipient_once_in_its_class(self):
        for recipient, code in (("known@one.test", 250), ("known@one.test", 250),
                                ("nobody@one.test", 550), ("user@dead.test", 451)):
            self.assertEqual(self.ask(recipient).code, code)
        status = self.json("status")
        for span in ("last_minute", "last_hour", "since_start"):
            classes = status[span]["classes"]
            self.assertEqual(set(classes), CLASSES)
            self.assertEqual((classes["deliverable"], classes["undeliverable"],
                              classes["unreachable"]), (2, 1, 1), status)
            self.assertEqual(status[span]["total"], 4)
            self.assertAlmostEqual(status[span]["hit_ratio"], 0.25)
            self.assertGreater(status[span]["probe_ms"]["p50"], 0)
        self.assertEqual(status["since_start"]["probe_ms"]["count"], 3)
        self.assertEqual(status["pending"], 0)
        self.assertEqual(status["cache"]["memory"]["deliverable"], 1)
        self.assertEqual(status["configuration"]["file"], self.daemon.config)
        text = self.tool("status").stdout
        self.assertIn("deliverable", text)
        self.assertTrue(all(len(line) <= 200 for line in text.splitlines()), text)

    def test_hosts_shows_sessions_and_what_is_wrong_with_a_dead_one(self):
        self.ask("known@one.test")
        self.ask("user@dead.test")
        hosts = {host["host"]: host for host in self.json("hosts")["hosts"]}
        alive, dead = hosts["127.0.5.1"], hosts["127.0.5.250"]
        self.assertEqual((alive["port"], alive["state"]), (self.hop.port, "up"))
        self.assertEqual(alive["sessions"]["idle"] + alive["sessions"]["busy"], 1)
        self.assertIsNone(alive["last_error"])
        self.assertIn("refused", dead["last_error"])
        self.assertIn("127.0.5.250", self.tool("hosts").stdout)

    def test_a_host_under_penalty_is_named_in_status(self):
        self.daemon.configure(SECTIONS + '[limits]\nhost_penalty = "60s"\n')
        self.tool("reload")
        self.ask("user@dead.test")
        trouble = self.json("status")["hosts_in_trouble"]
        self.assertEqual([host["host"] for host in trouble], ["127.0.5.250"])
        self.assertGreater(trouble[0]["penalty_s"], 50)
        self.assertIn("left alone for", self.tool("status").stdout)

    def test_top_prints_once_where_there_is_no_terminal(self):
        self.ask("known@one.test")
        text = self.tool("top").stdout
        self.assertIn("since start", text)
        self.assertIn("127.0.5.1", text)
        self.assertEqual(set(self.json("top")), {"status", "hosts"})

    def test_top_fills_a_terminal_and_ends_with_q(self):
        self.ask("known@one.test")
        shown = run_in_terminal([binary("milter", "tool", "callforward"), "top", "--socket",
                                 self.daemon.control], b"q")
        self.assertIn(b"127.0.5.1", shown)
        self.assertTrue(shown.rstrip().endswith(b"\x1b[?1049l"), shown[-80:])


class Cache(ControlFixture):
    def test_show_tells_what_is_known_and_forget_makes_it_unknown(self):
        self.ask("nobody@one.test")
        found = self.json("cache", "show", "nobody@one.test")
        self.assertEqual([(entry["outcome"], entry["reason"], entry["code"])
                          for entry in found["memory"]],
                         [("undeliverable", "unknown_user", 550)])
        self.assertEqual([entry["recipient"] for entry in found["store"]], ["nobody@one.test"])
        self.assertGreater(found["store"][0]["expires_in_s"], 0)
        self.assertIn("no such mailbox", self.tool("cache", "show", "nobody@one.test").stdout)
        self.tool("cache", "forget", "nobody@one.test")
        self.hop.rcpt["nobody@one.test"] = "250 2.1.5 made a moment ago"
        self.assertEqual(self.ask_and_see("nobody@one.test", 2), (250, "probe"))

    def test_a_domain_is_shown_and_forgotten_as_a_whole(self):
        for recipient in ("known@one.test", "nobody@one.test"):
            self.ask(recipient)
        found = self.json("cache", "show", "one.test")
        self.assertEqual(found["memory"],
                         {"deliverable": 1, "undeliverable": 1, "undetermined": 0})
        self.assertEqual(len(found["store"]), 2)
        self.assertEqual(self.json("cache", "forget", "one.test"), {"forgotten": 2})
        self.assertEqual(self.json("cache", "show", "one.test")["store"], [])
        self.assertEqual(self.ask_and_see("known@one.test", 2), (250, "probe"))

    def test_imported_addresses_are_not_asked_about_and_bad_lines_are_named(self):
        names = [f"known{number}@one.test" for number in range(25000)]
        listed = self.box.write("list", "# people\n" + "\n".join(names[:12000]) +
                                "\nnot an address\n" + "\n".join(names[12000:]) + "\n")
        done = self.tool("cache", "import", listed, code=65)
        self.assertIn(f"{listed}:12002: not an address", done.stderr)
        self.assertIn("25000 addresses", done.stdout)
        self.assertEqual(self.ask_and_see("known24999@one.test"), (250, "cache"))
        self.assertEqual(self.hop.asked("known24999@one.test"), 0)
        exported = self.tool("cache", "export").stdout.splitlines()
        self.assertEqual(sorted(line.split("\t")[0] for line in exported), sorted(names))
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([binary("milter", "tool", "callforward"), "cache", "export",
                                   "--socket", self.daemon.control], stdout=full, timeout=90)
        self.assertEqual(done.returncode, 74)
        self.assertEqual(self.json("cache", "flush"), {"forgotten": 25000, "stored": 25000})
        self.assertEqual(self.tool("cache", "export").stdout, "")
        self.assertEqual(self.ask_and_see("known24999@one.test", 2), (250, "probe"))

    def test_import_takes_a_table_of_postfix_and_no_folder(self):
        table = self.box.write("relay_recipients", "# ours\nnobody@one.test OK\n")
        self.assertIn("1 addresses", self.tool("cache", "import", table).stdout)
        self.assertEqual(self.ask_and_see("nobody@one.test"), (250, "cache"))
        done = self.tool("cache", "import", self.box.path(""), code=66)
        self.assertIn("Is a directory", done.stderr)

    def test_a_full_disk_is_told_to_who_forgets_and_a_restart_believes_nothing(self):
        folder = self.box.path("small")
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)
        store = ("--set", f'cache.store="lmdb:{folder}/verdicts"')
        self.daemon.stop()
        self.daemon.start(*store)
        self.assertEqual(self.ask("known7@one.test").code, 250)
        self.assertEqual(self.tool("cache", "forget", "nobody@one.test").stderr, "")
        with open(f"{folder}/filler", "wb", buffering=0) as filler, self.assertRaises(OSError):
            while True:
                filler.write(b"x" * 4096)
        more = self.box.write("more", "".join(f"more{number}@one.test\n" for number in range(5000)))
        self.assertIn("cannot be written", self.tool("cache", "import", more, code=75).stderr)
        forgotten = self.tool("cache", "forget", "known7@one.test", code=75)
        self.assertIn("cannot be written", forgotten.stderr)
        self.assertIs(self.json("cache", "forget", "known7@one.test", code=75)["written"], False)
        self.assertIn("cannot be written", self.json("status")["cache"]["store_error"])
        self.daemon.stop()
        os.unlink(f"{folder}/filler")
        self.hop.rcpt["known7@one.test"] = "550 5.1.1 gone"
        self.daemon.start(*store)
        self.assertEqual(self.ask("known7@one.test").code, 550)
        self.daemon.stop()

    def test_import_reads_standard_input(self):
        self.assertIn("1 addresses", self.tool("cache", "import", "-", text_in="a@one.test\n").stdout)

    def test_of_an_export_the_deliverable_addresses_are_learnt_only(self):
        self.assertEqual(self.ask("known1@one.test").code, 250)
        self.assertEqual(self.ask("nobody@one.test").code, 550)
        exported = self.box.write("exported", self.tool("cache", "export").stdout)
        self.tool("cache", "flush")
        said = self.json("cache", "import", exported)
        self.assertEqual((said["known"], said["bad"], said["passed_over"]), (1, 0, 1))
        self.assertEqual(self.ask_and_see("known1@one.test", 2), (250, "cache"))
        self.assertEqual(self.ask_and_see("nobody@one.test", 2), (550, "probe"))

    def test_what_was_declared_outlives_a_restart(self):
        self.tool("cache", "import", "-", text_in="nobody@one.test\n")
        self.daemon.stop()
        self.daemon.start("--set", f'cache.store="lmdb:{self.box.path("verdicts")}"')
        self.assertEqual(self.ask_and_see("nobody@one.test"), (250, "cache"))


class Explaining(ControlFixture):
    def test_a_refused_client_gets_an_id_that_finds_decision_and_dialogue(self):
        reply = self.ask("nobody@one.test")
        self.assertRegex(reply.text, r"\(cf-[a-z2-7]{7}\)$")
        found = self.json("explain", "--id", reply.trace_id)
        self.assertEqual((found["decision"]["rcpt"], found["decision"]["reason"]),
                         ("nobody@one.test", "unknown_user"))
        self.assertEqual(found["decision"]["reply"], str(reply))
        self.assertTrue(found["dialogue"]["own"])
        self.assertIn("C: RCPT TO:<nobody@one.test>", found["dialogue"]["lines"])
        self.assertEqual("cf-" + self.daemon.verdict("nobody@one.test")["id"], reply.trace_id)
        again = self.ask("nobody@one.test")
        text = self.tool("explain", "--id", again.trace_id).stdout
        self.assertIn("answer from cache", text)
        self.assertIn(f"client got  {again}\n", text)
        self.assertIn("RCPT TO:<nobody@one.test>", text)
        self.tool("explain", "--id", "cf-aaaaaaa", code=75)
        self.tool("explain", "--id", "nonsense", code=64)

    def test_at_level_debug_the_log_has_what_is_said_with_next_hops(self):
        self.ask("known@one.test")
        self.assertEqual([line for line in self.daemon.lines() if "debug: dialogue" in line], [])
        self.daemon.stop()
        self.daemon.start("--set", 'log.level="debug"')
        self.ask("nobody@one.test")
        line = self.daemon.wait_for_line("debug: dialogue.*RCPT TO:<nobody@one.test>")
        self.assertIn(" id=" + self.daemon.verdict("nobody@one.test")["id"] + " ", line)
        self.daemon.wait_for_line("debug: dialogue.* line=\"S: 550")

    def test_explain_tells_the_whole_story_and_the_very_reply(self):
        route = f"smtp:[{self.hop.address}]:{self.hop.port}"
        story = self.json("explain", "nobody@one.test", "--from", "a@b.test", "--mta-route", route)
        given = self.ask("nobody@one.test", sender="a@b.test")
        self.assertEqual(story["decision"]["reply"], f"{given.code} {given.words}")
        self.assertIn("C: MAIL FROM:<a@b.test>", [line.split(" SIZE")[0] for line in story["dialogue"]])
        text = self.tool("explain", "nobody@one.test", "--mta-route", route).stdout
        for word in ("scope", "mode = ", "default", "RCPT TO:<nobody@one.test>", "built-in: 5.1.x",
                     "held undeliverable", "client gets"):
            self.assertIn(word, text)
        story = self.json("explain", "nobody@one.test", "--mta-route", route, "--dry")
        self.assertIsNone(story["decision"])

    def test_the_route_is_that_of_the_domains_last_recipient_or_said_to_be_assumed(self):
        reply = self.ask("nobody@one.test")
        story = self.json("explain", "known@one.test")
        self.assertEqual((story["route"], story["route_assumed"], story["route_from"]),
                         (f"[{self.hop.address}]:{self.hop.port}", False, reply.trace_id))
        self.assertEqual(story["decision"]["action"], "accept")
        self.assertIn(f"delivered its domain last: {reply.trace_id})",
                      self.tool("explain", "known@one.test").stdout)
        story = self.json("explain", "known@never.test", "--dry")
        self.assertEqual((story["route"], story["route_assumed"], story["route_from"]),
                         ("mx", True, None))
        self.assertIn("assumed", self.tool("explain", "known@never.test", "--dry").stdout)

    def test_what_is_no_recipient_is_told_as_such(self):
        story = self.json("explain", "a b@one.test")
        self.assertEqual(story["verdict"]["reason"], "bad_address")
        self.assertTrue(story["decision"]["reply"].startswith("553 5.1.3"), story)
        self.assertIn("--id", self.tool("explain", "zzzzzzz").stderr)
        self.assertIn("--id", self.tool("explain", "cf-aaaaaaa", code=64).stderr)
        self.tool("explain", "a@one.test", "--from", "foo", code=64)

    def test_without_a_daemon_the_configuration_file_is_explained(self):
        self.daemon.stop()
        route = f"smtp:[{self.hop.address}]:{self.hop.port}"
        done = self.tool("explain", "nobody@one.test", "--mta-route", route, "-c", self.daemon.config,
                         socket_option=False)
        self.assertIn("no daemon answers", done.stderr)
        self.assertIn("550 5.1.1", done.stdout)
        self.assertIn("client gets", done.stdout)

    def test_a_daemon_that_gives_no_answer_is_not_taken_for_none(self):
        path = self.box.path("silent.control")
        config = self.box.write("silent.toml", f'[control]\nsocket = "{path}"\n')

        def hang_up():
            with contextlib.suppress(OSError):  # the end
                while True:
                    listener.accept()[0].close()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            threading.Thread(target=hang_up, daemon=True).start()
            done = self.tool("explain", "nobody@one.test", "--dry", "-c", config, socket_option=False)
            listener.shutdown(socket.SHUT_RDWR)
        self.assertIn(f"cannot reach the daemon at {path}: it gave no answer", done.stderr)
        self.assertIn("from the configuration file", done.stderr)
        self.assertNotIn("no daemon answers", done.stderr)

    def test_what_monitor_would_have_refused_is_reported_and_outlives_a_restart(self):
        self.daemon.configure(SECTIONS + '[policy]\nmode = "monitor"\n')
        self.tool("reload")
        for recipient in ("nobody@one.test", "nobody.else@one.test", "known@one.test"):
            self.assertEqual(self.ask(recipient).code, 250)
        expected = [("one.test", "unknown_user", "reject", 2)]

        def rows(*options):
            found = self.json("report", *options)["rows"]
            return [(row["domain"], row["reason"], row["action"], row["count"]) for row in found]
        self.assertEqual(rows(), expected)
        self.assertEqual(rows("--domain", "one.test"), expected)
        self.assertEqual(rows("--domain", "other.test"), [])
        self.daemon.stop()
        self.daemon.start("--set", f'cache.store="lmdb:{self.box.path("verdicts")}"')
        self.assertEqual(rows("--since", "7d"), expected)
        self.assertIn("nobody@one.test", self.tool("report").stdout)
        self.tool("report", "--since", "yesterday", code=64)


class Metrics(ControlFixture):
    sections = SECTIONS + '[metrics]\nlisten = "127.0.0.1:{port}"\n'

    def setUp(self):
        self.port = free_port()
        self.sections = self.sections.replace("{port}", str(self.port))
        super().setUp()

    def get(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_metrics_have_every_name_of_the_contract(self):
        for recipient in ("known@one.test", "known@one.test", "nobody@one.test", "user@dead.test"):
            self.ask(recipient)
        status, text = self.get("/metrics")
        self.assertEqual(status, 200)
        for line in (
                'callforward_verdicts_total{outcome="deliverable",reason="accepted",'
                'action="accept",source="cache"} 1',
                'callforward_verdicts_total{outcome="undeliverable",reason="unknown_user",'
                'action="reject",source="probe"} 1',
                'callforward_probes_total{stage="rcpt",result="deliverable"} 1',
                "callforward_pending 0", 'callforward_connections{state="busy"} 0',
                'callforward_cache_entries{class="undeliverable"} 1',
                "callforward_cache_evictions_total 0", 'callforward_store_up{store="lmdb"} 1',
                'callforward_config_reloads_total{result="success"} 0',
                'callforward_answer_seconds_count 4', 'callforward_probe_seconds_count 3',
                f'callforward_host_up{{host="127.0.5.1:{self.hop.port}"}} 1'):
            self.assertIn(line, text)
        for name in ("dns_queries_total", "tls_handshakes_total", "interlock"):
            self.assertIn(f"# TYPE callforward_{name} ", text)
        self.assertNotIn("@", text)

    def test_health_page_and_data_can_be_read_and_nothing_can_be_done(self):
        self.ask("nobody@one.test")
        self.assertEqual(self.get("/healthz"), (200, "ok\n"))
        status, page = self.get("/")
        self.assertEqual(status, 200)
        self.assertNotRegex(page, r'(src|href)="?(https?:)?//')
        data = json.loads(self.get("/status.json")[1])
        self.assertEqual(data["status"]["since_start"]["classes"]["undeliverable"], 1)
        self.assertEqual(data["decisions"][0]["rcpt"], "one.test")
        self.assertNotIn("nobody", json.dumps(data))
        self.assertEqual(self.get("/v1/reload", "POST")[0], 405)
        self.assertEqual(self.get("/v1/status")[0], 404)

    def test_slow_clients_cost_nobody_anything(self):
        silent = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(50)]
        self.assertEqual(self.ask("nobody@one.test").code, 550)
        for client in silent:
            client.close()

        def is_answered():
            try:
                return self.get("/healthz")[0] == 200
            except OSError:  # no place is free yet: the server has not seen all of them close
                return False
        wait_until(is_answered, "the next answer", 20)


class AddressesShown(Metrics):
    sections = Metrics.sections + "show_addresses = true\n"

    def test_health_page_and_data_can_be_read_and_nothing_can_be_done(self):
        self.ask("nobody@one.test")
        data = json.loads(self.get("/status.json")[1])
        self.assertEqual(data["decisions"][0]["rcpt"], "nobody@one.test")


class Socket(ControlFixture):
    def test_a_provisioning_system_can_speak_http_itself(self):
        self.ask("nobody@one.test")
        done = subprocess.run(["curl", "-sS", "--unix-socket", self.daemon.control, "--json",
                               '{"address": "nobody@one.test"}', "http://localhost/v1/forget"],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(json.loads(done.stdout), {"forgotten": 1}, done)
        line = self.daemon.wait_for_line("action=forget")
        self.assertIn("about=nobody@one.test", line)
        self.assertIn("uid=0", line)

    def test_only_owner_and_group_may_use_it_and_it_goes_with_the_daemon(self):
        mode = os.stat(self.daemon.control).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o660)
        self.daemon.stop()
        self.assertFalse(os.path.exists(self.daemon.control))

    def test_a_reload_that_fails_says_why_and_changes_nothing(self):
        self.daemon.configure(SECTIONS + '[policy]\nmoode = "off"\n')
        done = self.tool("reload", code=78)
        self.assertIn('did you mean "mode"', done.stderr)
        status = self.json("status")["configuration"]
        self.assertIn("moode", status["last_error"])
        self.assertEqual(status["reloads"], {"good": 0, "failed": 1})
        self.assertEqual(self.ask("nobody@one.test").code, 550)
        self.daemon.configure(SECTIONS + '[policy]\nmode = "off"\n')
        self.assertIn("in use", self.tool("reload").stdout)
        self.assertEqual(self.ask("nobody@one.test").code, 250)
        self.assertIsNone(self.json("status")["configuration"]["last_error"])
        self.daemon.configure(SECTIONS + "[limits]\nshards = 7\n[metrics]\nshow_addresses = true\n")
        keys = ["limits.shards", "metrics.show_addresses"]
        self.assertEqual(self.json("reload"), {"reloaded": True, "restart_needed": keys})
        self.assertIn("next start: limits.shards, metrics.show_addresses\n", self.tool("reload").stdout)
        self.assertEqual(self.json("status")["configuration"]["restart_needed"], keys)

    def test_without_a_daemon_the_tool_says_where_it_looked_and_what_to_do(self):
        self.daemon.stop()
        done = self.tool("status", code=69)
        self.assertIn(self.daemon.control, done.stderr)
        self.assertIn("running?", done.stderr)

    def test_where_the_socket_was_changed_the_tool_says_where_the_daemon_may_be(self):
        moved = self.box.path("moved.control")
        self.daemon.configure(SECTIONS, head=HEAD.replace("{control}", moved))
        hint = "If [control] socket has just been changed"
        done = self.tool("reload", "-c", self.daemon.config, code=69, socket_option=False)
        self.assertIn(f"{moved}: No such file", done.stderr)
        self.assertIn(hint, done.stderr)
        self.assertIn("next start: control.socket", self.tool("reload").stdout)
        done = self.tool("reload", "--socket", moved, code=69, socket_option=False)
        self.assertNotIn(hint, done.stderr)

    def test_the_configuration_tells_the_tool_where_the_socket_is(self):
        self.assertIn("deliverable", self.tool("status", "-c", self.daemon.config,
                                               socket_option=False).stdout)
        nowhere = self.box.write("none.toml", '[control]\nsocket = ""\n')
        done = self.tool("reload", "-c", nowhere, code=69, socket_option=False)
        self.assertIn("kill -HUP", done.stderr)
        self.tool("status", "-c", self.box.path("missing.toml"), code=78, socket_option=False)

    def test_hostile_requests_are_refused_and_the_daemon_goes_on(self):
        for request in (b"\x00" * 100, b"GET /v1/nothing HTTP/1.1\r\n\r\n",
                        b"POST /v1/forget HTTP/1.1\r\nContent-Length: 9\r\n\r\n[[[[[[[[[",
                        b"POST /v1/known HTTP/1.1\r\nContent-Length: 18\r\n\r\n{\"addresses\": [7]}",
                        b"GET /v1/cache?address=%00%ff HTTP/1.1\r\n\r\n",
                        b"GET /v1/export?from=zz HTTP/1.1\r\n\r\n", b"G"):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self.daemon.control)
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(20)
                reply = b"".join(iter(lambda c=client: c.recv(4096), b""))
            self.assertTrue(reply == b"" or b" 4" in reply[:12] or b'"bad":[{' in reply, reply)
        self.assertEqual(self.json("status")["pending"], 0)

    def test_a_folder_that_is_missing_costs_only_the_control_socket(self):
        self.daemon.stop()
        before = len(self.daemon.lines())
        self.daemon.start("--set", 'control.socket="/nonexistent/callforward/control.sock"')
        self.daemon.wait_for_line("no control socket", before)
        self.assertEqual(self.ask("nobody@one.test").code, 550)


def run_in_terminal(command, keys):
    """What the command writes to a terminal of 80 columns and 24 lines, until it ends."""
    import fcntl
    import pty
    import struct
    import termios
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = b""

    def read_more():
        nonlocal shown
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            return True  # it has ended
        return False
    wait_until(lambda: read_more() or b"since start" in shown, "the first screen", 20)
    os.write(terminal, keys)
    wait_until(read_more, "the end", 20)
    os.waitpid(child, 0)
    os.close(terminal)
    return shown


if __name__ == "__main__":
    unittest.main()
