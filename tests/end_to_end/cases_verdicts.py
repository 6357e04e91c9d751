"""What becomes of a RCPT, with no routing configured in callforward: the same table for every
MTA."""

from mta_fixture import EXEMPT_CLIENT


class VerdictCases:
    def test_a_known_recipient_is_accepted(self):
        reply = self.ask("known.first@main.test")
        self.assertEqual(reply.code, 250)
        entry = self.daemon.verdict("known.first@main.test")
        self.assertEqual((entry["outcome"], entry["reason"], entry["action"], entry["source"],
                          entry["stage"]),
                         ("deliverable", "accepted", "accept", "probe", "rcpt"))
        self.assertEqual(self.main_hop.asked("known.first@main.test"), 1)

    def test_an_unknown_recipient_is_refused_with_the_next_hops_words(self):
        reply = self.ask("nobody@main.test")
        self.assertEqual(reply.code, 550)
        self.assertIn("5.1.1", reply.text)
        self.assertIn("no such mailbox here", reply.text)
        entry = self.daemon.verdict("nobody@main.test")
        self.assertEqual((entry["outcome"], entry["reason"], entry["class"], entry["action"],
                          entry["code"],
                          entry["enhanced"]),
                         ("undeliverable", "unknown_user", "undeliverable", "reject", "550",
                          "5.1.1"))

    def test_the_log_line_has_every_field_of_the_contract(self):
        self.ask("nobody.logged@main.test")
        entry = self.daemon.verdict("nobody.logged@main.test")
        for field in ("rcpt from client domain route host address tls stage code enhanced outcome "
                      "reason class action mode source elapsed_ms text").split():
            self.assertIn(field, entry)
        self.assertIn("127.0.1.1", entry["client"])
        self.assertEqual(entry["domain"], "main.test")
        self.assertEqual(entry["from"].strip("<>"), "sender@sender.test")
        self.assertEqual(entry["mode"], "enforce")
        self.assertTrue(entry["elapsed_ms"].isdigit(), entry)

    def test_a_next_hop_that_is_down_gives_451(self):
        reply = self.ask("known@down.test")
        self.assertEqual(reply.code, 451)
        self.assertIn("4.4.1", reply.text)
        entry = self.daemon.verdict("known@down.test")
        self.assertEqual((entry["class"], entry["reason"], entry["action"]),
                         ("unreachable", "connect_failed", "tempfail"))

    def test_recipients_of_one_message_are_decided_one_by_one(self):
        with self.session() as client:
            client.mail()
            codes = [client.rcpt(f"{name}@main.test").code
                     for name in ("known.one", "nobody.one", "known.two", "nobody.two")]
            self.assertEqual(codes, [250, 550, 250, 550])

    def test_pipelined_recipients_are_decided_one_by_one(self):
        with self.session() as client:
            names = ("nobody.three", "known.three", "nobody.four", "known.four")
            replies = client.pipeline("MAIL FROM:<s@sender.test>",
                                      *(f"RCPT TO:<{n}@main.test>" for n in names))
            self.assertEqual([reply.code for reply in replies], [250, 550, 250, 550, 250])

    def test_a_second_message_in_the_session_is_verified_too(self):
        with self.session() as client:
            client.mail()
            self.assertEqual(client.rcpt("known.five@main.test").code, 250)
            self.assertEqual(client.command("RSET").code, 250)
            client.mail()
            self.assertEqual(client.rcpt("nobody.five@main.test").code, 550)

    def test_a_local_user_is_never_asked_for(self):
        self.assertEqual(self.ask("root@local.test").code, 250)
        self.assert_never_asked("root@local.test", "local")

    def test_an_authenticated_client_is_never_verified(self):
        self.assertEqual(self.ask_authenticated("nobody.auth@main.test").code, 250)
        self.assert_never_asked("nobody.auth@main.test", "exempt")

    def test_an_exempt_client_is_never_verified(self):
        self.assertEqual(self.ask("nobody.exempt@main.test", source=EXEMPT_CLIENT).code, 250)
        self.assert_never_asked("nobody.exempt@main.test", "exempt")

    def test_postmaster_is_exempt(self):
        self.assertEqual(self.ask("postmaster@main.test").code, 250)
        self.assert_never_asked("postmaster@main.test", "exempt")

    def test_a_domain_off_the_enable_list_is_never_verified(self):
        self.assertEqual(self.ask("nobody@never.test").code, 250)
        self.assert_never_asked("nobody@never.test", "not_in_scope")

    def test_monitor_mode_logs_what_it_would_do_and_accepts(self):
        self.assertEqual(self.ask("nobody@monitor.test").code, 250)
        entry = self.daemon.verdict("nobody@monitor.test")
        self.assertEqual((entry["outcome"], entry["action"], entry["mode"]),
                         ("undeliverable", "reject", "monitor"))
        self.assertEqual(self.main_hop.asked("nobody@monitor.test"), 1)

    def test_mode_off_asks_nobody(self):
        self.assertEqual(self.ask("nobody@off.test").code, 250)
        self.assert_never_asked("nobody@off.test", "off")

    def test_a_domain_may_accept_while_its_hop_is_unreachable(self):
        self.assertEqual(self.ask("anybody@deaf.test").code, 250)
        entry = self.daemon.verdict("anybody@deaf.test")
        self.assertEqual((entry["outcome"], entry["action"]), ("undetermined", "accept"))

    def test_a_domain_with_its_own_route_list_uses_it_in_order(self):
        self.assertEqual(self.ask("known@listed.test").code, 250)
        self.assertEqual(self.ask("nobody@listed.test").code, 550)
        self.assertEqual(self.daemon.verdict("nobody@listed.test")["address"],
                         self.main_hop.address)

    def test_the_case_of_the_local_part_reaches_the_next_hop(self):
        self.assertEqual(self.ask("Known.MiXed@main.test").code, 250)
        self.assertEqual(self.main_hop.asked("Known.MiXed@main.test"), 1, self.main_hop.commands)

    def test_a_second_question_is_answered_from_the_cache(self):
        for expected, name in ((250, "known.twice"), (550, "nobody.twice")):
            recipient = f"{name}@main.test"
            first, second = self.ask(recipient), self.ask(recipient)
            self.assertEqual((first.code, second.code), (expected, expected))
            self.assertEqual(first.words, second.words)
            self.assertEqual(self.daemon.verdict(recipient, 2)["source"], "cache")
            self.assertEqual(self.main_hop.asked(recipient), 1)

    def test_starttls_is_used_where_it_is_offered(self):
        self.assertEqual(self.ask("known@tls.test").code, 250)
        self.assertRegex(self.daemon.verdict("known@tls.test")["tls"], r"^TLSv1\.[23]")

    def test_the_dialogue_never_reaches_content(self):
        self.ask("known.content@main.test")
        self.assertEqual(self.main_hop.said("DATA"), [])

    def test_a_real_postfix_as_next_hop(self):
        self.assertEqual(self.ask("known@real.test").code, 250)
        reply = self.ask("nobody@real.test")
        self.assertEqual(reply.code, 550)
        self.assertIn("5.1.1", reply.text)
        self.assertIn("User unknown in relay recipient table", reply.text)
