"""A shared store behind TLS: whose certificate it must be, who it is that asks, and how its
sentinels are spoken to."""

import os
import unittest

from fleet_fixture import Edges
from harness.certificate import make_certificate
from harness.redis import Redis, Sentinel
from harness.sandbox import wait_until


class StoreBehindTls(Edges, unittest.TestCase):
    EDGES = 2

    def setUp(self):
        super().setUp()
        self.certificate = make_certificate(self.box, "store.test", "IP:127.0.0.1")

    def url(self, redis, **parameters):
        given = {"ca_file": self.certificate[0]} | parameters
        return redis.url + "?" + "&".join(f"{name}={file}" for name, file in given.items())

    def assert_shared(self):
        self.used()
        for daemon in self.edges:
            self.assertEqual(self.ask(daemon, "known@one.test"), "")
        self.assertEqual(self.hop.asked("known@one.test"), 1)
        self.assertIn(self.source(self.edges[1], "known@one.test"), ("cache", "shared"))

    def assert_not_used(self, why):
        """Recipients are asked about as without a store, by each edge for itself."""
        for daemon in self.edges:
            daemon.wait_for_line("the shared store is not used.*" + why)
        for daemon in self.edges:
            self.assertEqual(self.ask(daemon, "known@one.test"), "")
            self.assertRegex(self.ask(daemon, "nobody@one.test"), "^550")
        self.assertEqual(self.hop.asked("known@one.test"), 2)
        self.assertEqual([line for daemon in self.edges for line in daemon.lines()
                          if "the shared store is used" in line], [])

    def test_a_server_is_used_whose_certificate_the_given_file_verifies(self):
        redis = Redis(self.box, tls=self.certificate)
        self.start(self.url(redis))
        self.assert_shared()

    def test_a_server_is_not_used_whose_certificate_nobody_verifies(self):
        redis = Redis(self.box, tls=self.certificate)
        self.start(redis.url)
        self.assert_not_used("no TLS: self-signed certificate")
        self.assertEqual(redis("DBSIZE"), 0)

    def test_a_server_is_not_used_whose_certificate_is_of_another_name(self):
        elsewhere = make_certificate(self.box, "elsewhere.test", "DNS:elsewhere.test",
                                     "IP:127.0.0.2")
        redis = Redis(self.box, tls=elsewhere)
        self.start(self.url(redis, ca_file=elsewhere[0]))
        self.assert_not_used("no TLS: IP address mismatch")
        self.assertEqual(redis("DBSIZE"), 0)

    def test_the_name_in_the_setting_is_what_the_certificate_must_have(self):
        named = make_certificate(self.box, "localhost", "DNS:localhost")
        redis = Redis(self.box, tls=named)
        redis.url = f"rediss://localhost:{redis.port}"
        self.start(self.url(redis, ca_file=named[0]))
        self.assert_shared()

    def test_a_server_without_tls_is_not_used_where_tls_is_asked_for(self):
        redis = Redis(self.box, port=True)
        redis.url = f"rediss://127.0.0.1:{redis.port}"
        self.start(self.url(redis))
        self.assert_not_used("(no TLS|no connection)")

    def test_a_server_that_wants_a_certificate_gets_it(self):
        redis = Redis(self.box, tls=self.certificate, ask_clients=True)
        self.start(self.url(redis, cert_file=self.certificate[0], key_file=self.certificate[1]))
        self.assert_shared()

    def test_a_server_that_wants_a_certificate_is_not_used_without(self):
        redis = Redis(self.box, tls=self.certificate, ask_clients=True)
        self.start(self.url(redis))
        self.assert_not_used("certificate required")

    def test_a_user_and_its_password_go_over_tls(self):
        redis = Redis(self.box, tls=self.certificate)
        self.assertEqual(redis("ACL", "SETUSER", "callforward", "on", ">secret", "~callforward:*",
                               "&callforward:*", "+@all"), "OK")
        self.assertEqual(redis("ACL", "SETUSER", "default", "off"), "OK")
        secret = self.box.write("secret", "secret\n")
        os.chmod(secret, 0o640)
        self.start(self.url(redis), 'cache.store_user="callforward"',
                   f'cache.store_password_file="{secret}"')
        self.assert_shared()
        self.assertNotIn("secret\n", "\n".join(line for daemon in self.edges
                                               for line in daemon.lines()))

    def test_a_wrong_password_is_said_and_never_shown(self):
        redis = Redis(self.box, tls=self.certificate)
        redis("ACL", "SETUSER", "callforward", "on", ">secret", "~callforward:*", "+@all")
        wrong = self.box.write("wrong", "Open-Sesame\n")
        os.chmod(wrong, 0o640)
        self.start(self.url(redis), 'cache.store_user="callforward"',
                   f'cache.store_password_file="{wrong}"')
        self.assert_not_used("WRONGPASS")
        self.assertNotIn("Sesame", "\n".join(line for daemon in self.edges
                                             for line in daemon.lines()))

    def test_sentinels_and_the_master_that_they_name_are_spoken_to_over_tls(self):
        master = Redis(self.box, "master", tls=self.certificate)
        replica = Redis(self.box, "replica", "--replicaof", "127.0.0.1", str(master.port),
                        tls=self.certificate)
        wait_until(lambda: "master_link_status:up" in replica("INFO", "replication"),
                   "the replica to follow", 20)
        sentinel = Sentinel(self.box, master)
        self.start(f"rediss+sentinel://127.0.0.1:{sentinel.port}/main"
                   f"?ca_file={self.certificate[0]}")
        self.assert_shared()
        wait_until(lambda: replica("DBSIZE") >= 2, "the record on the replica")
        before = [len(daemon.lines()) for daemon in self.edges]
        master.kill()
        wait_until(lambda: sentinel.master() == replica.port, "the sentinel to choose", 120)
        for daemon, since in zip(self.edges, before):
            daemon.wait_for_line("the shared store is used", since, 120)
        self.assertEqual(self.ask(self.edges[1], "known@one.test"), "")
        self.assertEqual(self.hop.asked("known@one.test"), 1)


if __name__ == "__main__":
    unittest.main()
