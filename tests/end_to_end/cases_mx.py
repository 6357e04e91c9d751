"""route = "mx" against the tests' own DNS: the same table for every MTA."""


class MxCases:
    def test_the_mx_host_is_asked(self):
        self.assertEqual(self.ask("known@found.test").code, 250)
        self.assertEqual(self.ask("nobody@found.test").code, 550)
        self.assertEqual(self.daemon.verdict("nobody@found.test")["host"].rstrip("."),
                         "live.hosts.test")

    def test_a_null_mx_is_556(self):
        reply = self.ask("anybody@nullmx.test")
        self.assertEqual(reply.code, 556)
        self.assertIn("5.1.10", reply.text)
        self.assertEqual(self.daemon.verdict("anybody@nullmx.test")["reason"], "null_mx")

    def test_no_such_domain_is_550(self):
        reply = self.ask("anybody@gone.test")
        self.assertEqual(reply.code, 550)
        self.assertIn("5.1.2", reply.text)
        self.assertEqual(self.daemon.verdict("anybody@gone.test")["reason"], "no_such_domain")

    def test_a_failing_name_server_is_a_tempfail(self):
        reply = self.ask("anybody@broken.test")
        self.assertEqual(reply.code, 451)
        self.assertEqual(self.daemon.verdict("anybody@broken.test")["reason"], "dns_unavailable")

    def test_a_silent_name_server_is_a_tempfail(self):
        reply = self.ask("anybody@silent.test")
        self.assertEqual(reply.code, 451)
        self.assertEqual(self.daemon.verdict("anybody@silent.test")["reason"], "dns_unavailable")

    def test_the_second_mx_is_asked_when_the_first_is_dead(self):
        self.assertEqual(self.ask("known@failover.test").code, 250)
        self.assertEqual(self.ask("nobody@failover.test").code, 550)
        self.assertEqual(self.daemon.verdict("nobody@failover.test")["address"],
                         self.main_hop.address)
