"""The milter socket: who may use it, and what may stand at its path when the daemon starts."""

import grp
import os
import socket
import stat
import unittest

from harness.daemon import Daemon, is_ready
from harness.sandbox import Sandbox


class MilterSocket(unittest.TestCase):
    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)
        self.path = self.box.path("milter.sock")

    def daemon(self, name="daemon", start=True):
        return Daemon(self.box, name, socket=f"unix:{self.path}", start=start)

    def refused(self, name="refused"):
        """Starts a daemon that must give up: its exit code and what it said."""
        daemon = self.daemon(name, start=False)
        daemon.start(ready=False)
        code = daemon.wait()
        self.assertFalse(any(is_ready(line) for line in daemon.lines()), daemon.lines())
        return code, "\n".join(daemon.lines())

    def assert_listens(self):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.path)

    def test_mode_and_group_let_postfix_in(self):
        self.daemon()
        found = os.stat(self.path)
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o660)
        self.assertEqual(grp.getgrgid(found.st_gid).gr_name, "postfix")

    def test_a_stale_socket_file_is_replaced(self):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
        self.daemon()
        self.assert_listens()

    def test_a_live_socket_is_left_alone(self):
        first = self.daemon("first")
        code, said = self.refused()
        self.assertIn(code, (69, 78), said)
        self.assertIn(self.path, said)
        self.assertTrue(first.alive())
        self.assert_listens()

    def test_a_regular_file_is_left_alone(self):
        self.box.write("milter.sock", "precious")
        code, said = self.refused()
        self.assertIn(code, (69, 78), said)
        self.assertIn(self.path, said)
        with open(self.path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")

    def test_a_folder_and_a_dangling_link_are_left_alone(self):
        os.mkdir(self.path)
        self.assertIn(self.refused()[0], (69, 78))
        os.rmdir(self.path)
        os.symlink(self.box.path("nowhere"), self.path)
        self.assertIn(self.refused("linked")[0], (69, 78))
        self.assertTrue(os.path.islink(self.path))

    def test_a_port_in_use_is_refused_with_a_reason(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            daemon = Daemon(self.box, "port", socket=f"inet:{taken.getsockname()[1]}@127.0.0.1",
                            start=False)
            daemon.start(ready=False)
            self.assertIn(daemon.wait(), (69, 78))
            self.assertIn("in use", "\n".join(daemon.lines()))
