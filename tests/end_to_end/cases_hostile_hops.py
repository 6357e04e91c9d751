"""Broken, slow and lying next hops: no recipient is refused because of them, and nothing odd
reaches the client."""

from harness.daemon import elapsed
from harness.next_hop import CLOSE, RESET, STALL, Endless, Held
from harness.sandbox import wait_until


class HostileHopCases:
    def test_a_refusing_banner_never_rejects(self):
        self.hops["greeting"].greeting = "554 5.7.1 go away"
        self.assert_tempfail(self.ask("anybody@greeting.test"))
        self.assertEqual(self.daemon.verdict("anybody@greeting.test")["class"], "refused")

    def test_a_refused_ehlo_and_helo_never_reject(self):
        self.hops["ehlo"].ehlo = "550 5.7.1 no"
        self.hops["ehlo"].helo = "550 5.1.1 no"
        self.assert_tempfail(self.ask("anybody@ehlo.test"))
        self.assertEqual(self.daemon.verdict("anybody@ehlo.test")["class"], "refused")

    def test_a_refused_null_sender_never_rejects(self):
        self.hops["mail"].mail = "550 5.1.1 no such user"
        self.assert_tempfail(self.ask("anybody@null.test"))
        entry = self.daemon.verdict("anybody@null.test")
        self.assertEqual((entry["class"], entry["reason"], entry["stage"]),
                         ("refused", "sender_refused", "mail"))

    def test_a_refused_original_sender_is_told_as_such(self):
        self.hops["mail"].mail = "550 5.1.1 no such user"
        reply = self.ask("anybody@mail.test", sender="bad@sender.test")
        self.assertEqual(reply.code, 550)
        self.assertEqual(self.daemon.verdict("anybody@mail.test")["class"], "sender_refused")

    def test_a_4xx_to_rcpt_is_passed_on(self):
        self.main_hop.rcpt["busy@main.test"] = "452 4.2.2 mailbox is full today"
        reply = self.ask("busy@main.test")
        self.assertEqual(reply.code, 452)
        self.assertIn("4.2.2", reply.text)
        self.assertIn("mailbox is full today", reply.text)

    def test_a_421_never_ends_the_clients_session(self):
        self.main_hop.rcpt["leaving@main.test"] = ["421 4.3.2 shutting down", CLOSE]
        with self.session() as client:
            client.mail()
            self.assert_tempfail(client.rcpt("leaving@main.test"))
            self.assertEqual(client.rcpt("known.afterwards@main.test").code, 250)

    def test_a_contradicting_enhanced_code_is_made_to_agree(self):
        self.main_hop.rcpt["soft@main.test"] = "450 5.1.1 soft bounce"
        with self.session() as client:
            client.mail()
            reply = client.rcpt("soft@main.test")
            self.assertEqual(reply.code, 450)
            self.assertIn("4.1.1", reply.text)
            self.assertEqual(client.rcpt("known.next@main.test").code, 250)

    def test_a_policy_refusal_never_rejects(self):
        self.main_hop.rcpt["blocked@main.test"] = "554 5.7.1 your address is on a block list"
        self.assert_tempfail(self.ask("blocked@main.test"))
        self.assertEqual(self.daemon.verdict("blocked@main.test")["class"], "refused")

    def test_cut_answers_give_451(self):
        for name, answer in {"digits": [b"25", CLOSE], "half": [b"550-5.1.1 no\r\n", CLOSE],
                             "fin": CLOSE,
                             "rst": RESET}.items():
            with self.subTest(name):
                self.hops["cut"].rcpt[f"{name}@cut.test"] = answer
                self.assertEqual(self.ask(f"{name}@cut.test").code, 451)
                self.assertEqual(self.daemon.verdict(f"{name}@cut.test")["class"], "unreachable")

    def test_garbage_gives_451(self):
        for name, answer in {"binary": b"\x00\xff\xfe\x01\r\n",
                             "http": b"HTTP/1.1 550 5.1.1 no\r\n",
                             "long": b"5500 5.1.1 no\r\n",
                             "mixed": b"550-5.1.1 no\r\n250 yes\r\n"}.items():
            with self.subTest(name):
                self.hops["garbage"].rcpt[f"{name}@garbage.test"] = answer
                self.assertEqual(self.ask(f"{name}@garbage.test").code, 451)
                self.assertEqual(self.daemon.verdict(f"{name}@garbage.test")["class"],
                                 "unreachable")

    def test_endless_answers_give_451(self):
        for name, piece in {"line": b"5" * 4096, "lines": b"550-5.1.1 and so on\r\n" * 64}.items():
            with self.subTest(name):
                self.hops["endless"].rcpt[f"{name}@endless.test"] = Endless(piece)
                self.assertEqual(self.ask(f"{name}@endless.test").code, 451)
                self.assertEqual(self.daemon.verdict(f"{name}@endless.test")["class"],
                                 "unreachable")

    def test_the_clients_view_of_hostile_text_is_clean(self):
        texts = {"percent": b"550 5.1.1 mailbox 100% full of %s and %n\r\n",
                 "control": b"550 5.1.1 bell \x07 escape \x1b[31m tab\t end\r\n",
                 "eightbit": "550 5.1.1 größe unbekannt\r\n".encode(),
                 "long": b"550 5.1.1 " + b"x" * 2000 + b"\r\n",
                 "lines": b"".join(b"550-5.1.1 line %d\r\n" % n for n in range(39)) +
                 b"550 5.1.1 last\r\n"}
        with self.session() as client:
            client.mail()
            for name, answer in texts.items():
                with self.subTest(name):
                    self.main_hop.rcpt[f"{name}@main.test"] = answer
                    reply = client.rcpt(f"{name}@main.test")
                    self.assertEqual(reply.code, 550, str(reply))
                    self.assertIn("5.1.1", reply.text)
                    self.assertRegex(reply.raw, rb"\A([ -~]*\r\n)+\Z")
                    self.assertLess(len(reply.raw), 1024)
                    if name == "percent":
                        self.assertIn("100% full of %s and %n", reply.text)
            self.assertEqual(client.rcpt("known.after.text@main.test").code, 250)

    def test_a_forged_log_line_stays_one_line(self):
        self.main_hop.rcpt["forger@main.test"] = (
            b'550 5.1.1 x" outcome=deliverable rcpt=<evil@main.test> \x0boutcome=\r\n')
        self.ask("forger@main.test")
        self.assertEqual(self.daemon.verdict("forger@main.test")["outcome"], "undeliverable")
        self.assertEqual(self.daemon.verdicts("evil@main.test"), [])

    def test_a_slow_hop_is_answered_for_in_time_and_its_answer_kept(self):
        for name, answer, code in (("known.held", "250 2.1.5 Ok", 250),
                                   ("nobody.held", "550 5.1.1 no such mailbox here", 550)):
            with self.subTest(name):
                recipient, held = f"{name}@main.test", Held(answer)
                self.main_hop.rcpt[recipient] = held
                reply, seconds = elapsed(lambda r=recipient: self.ask(r, service="brisk"))
                self.assertEqual(reply.code, 450, str(reply))
                self.assertIn("4.2.0", reply.text)
                self.assertTrue(1.5 < seconds < 10, seconds)  # Postfix would be given 12 s by itself
                held.release()
                self.ask_until(recipient, code, "brisk")
                self.assertEqual(self.ask(recipient, service="brisk").code, code)
                # Log lines are written after the answer. The first that follows the hop's own answer may still be of a
                # recipient that joined the question; the one of the last RCPT above is from the cache.
                wait_until(lambda r=recipient: self.brisk.verdict(r)["source"] == "cache",
                           f"the log line of {recipient} from the cache")
                self.assertEqual(self.main_hop.asked(recipient), 1)

    def test_a_stalling_hop_is_answered_for_in_time(self):
        self.main_hop.rcpt["stalled@main.test"] = STALL
        with self.session("brisk") as client:
            client.mail()
            reply, seconds = elapsed(lambda: client.rcpt("stalled@main.test"))
            self.assertEqual(reply.code, 450, str(reply))
            self.assertTrue(1.5 < seconds < 10, seconds)  # Postfix would be given 12 s by itself
            # On a slow machine it may be late, too.
            wait_until(lambda: client.rcpt("known.after.stall@main.test").code == 250, "the next recipient's answer")
