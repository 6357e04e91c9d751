"""The programs that read the files in contrib/ take them."""

import os
import re
import shutil
import stat
import unittest

from harness.sandbox import Sandbox
from places import CONTRIB, PROJECT, run


class Programs(unittest.TestCase):
    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.stop)

    def contrib(self, *parts):
        return os.path.join(CONTRIB, *parts)

    def assert_fine(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_apparmor_takes_the_profile(self):
        profile = self.contrib("apparmor", "usr.sbin.callforward-milter")
        self.assert_fine(run("apparmor_parser", "--skip-kernel-load", "--skip-cache", profile))
        self.assert_fine(run("apparmor_parser", "--preprocess", profile))

    def test_apparmor_lets_root_make_sockets_in_a_folder_of_another_user(self):
        with open(self.contrib("apparmor", "usr.sbin.callforward-milter"), encoding="utf-8") as file:
            given = re.findall(r"^ *capability (\w+),$", file.read(), re.MULTILINE)
        for capability in ("chown", "dac_override", "dac_read_search", "setgid", "setuid"):
            self.assertIn(capability, given)

    def test_rsyslog_takes_its_lines(self):
        lines = self.contrib("rsyslog", "30-callforward.conf")
        main = self.box.write("rsyslog.conf", f'module(load="imuxsock")\ninclude(file="{lines}")\n')
        done = run("rsyslogd", "-N1", "-f", main)
        self.assert_fine(done)
        self.assertNotRegex(done.stderr, r"(?i)error|warning")

    def test_systemd_takes_the_units(self):
        """With the programs in their place, in a copy of what verify looks at."""
        for unit in ("callforward-milter.service", "callforward-milter.socket"):
            with open(self.contrib("systemd", unit), encoding="utf-8") as file:
                text = file.read()
            for program in re.findall(r"=(/usr/s?bin/callforward\S*)", text):
                here = self.box.write(program[1:], "#!/bin/sh\n")
                os.chmod(here, os.stat(here).st_mode | stat.S_IXUSR)
                text = text.replace(f"={program}", f"={here}")
            text = re.sub(r"(?m)^Documentation=.*\n", "", text)  # the pages are not installed
            self.box.write(f"units/{unit}", text)
        for unit in ("callforward-milter.service", "callforward-milter.socket"):
            done = run("systemd-analyze", "verify", "--man=no", self.box.path("units", unit))
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_the_service_is_confined(self):
        done = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                   "--threshold=20", self.contrib("systemd", "callforward-milter.service"))
        self.assertEqual(done.returncode, 0, done.stdout[-400:])
        score = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
        self.assertLess(float(score[1]), 2.0)

    def test_a_service_without_confinement_would_be_found(self):
        bare = self.box.write("bare.service", "[Service]\nExecStart=/bin/true\n")
        done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", bare)
        self.assertNotEqual(done.returncode, 0)

    def test_the_shell_scripts_are_clean(self):
        if not shutil.which("shellcheck"):
            self.fail("shellcheck is missing: contrib/install-deps --package installs it")
        scripts = [self.contrib("debian", name) for name in ("postinst", "prerm", "postrm")]
        self.assert_fine(run("shellcheck", *scripts))
        self.assert_fine(run("shellcheck", self.contrib("completion", "callforward.bash"),
                             "--shell=bash"))

    def test_the_licence_is_the_packages_copyright(self):
        with open(os.path.join(PROJECT, "LICENSE"), encoding="utf-8") as file:
            licence = re.sub(r"\s+", " ", file.read().split("\n\n", 2)[2])
        with open(self.contrib("debian", "copyright"), encoding="utf-8") as file:
            text = re.sub(r"(?m)^ \.$", "", file.read())
        self.assertIn(licence.strip(), re.sub(r"\s+", " ", text))
