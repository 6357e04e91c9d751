"""Every configuration that the documents show is taken by the program that it is for.

A fenced block says by its first word what it is: toml (callforward), main.cf and master.cf
(Postfix), mc (Sendmail, in test_snippets_mc).
"""

import os
import re
import tempfile
import textwrap
import unittest

from harness import daemon
from places import CONTRIB, PROJECT, documents, run

BLOCK = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.M | re.S)


def blocks(kind):
    """(file:line, text) of all blocks of a kind."""
    for path, text in documents():
        for match in BLOCK.finditer(text):
            if match[2] == kind:
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}", textwrap.dedent(match[3])


class Snippets(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def check_all(self, kind, check, at_least):
        found = list(blocks(kind))
        self.assertGreaterEqual(len(found), at_least, f"documents with {kind} blocks")
        for place, text in found:
            with self.subTest(place):
                check(text)

    def test_callforwards_own(self):
        def check(text):
            # Files of the reader's machine: ones without entries here.
            for path in re.findall(r'"@?(/[^"\s]*/(?!\.)[^"/\s]+)"', text):
                if path.startswith(("/etc/", "/srv/")):
                    here = self.write(path.replace("/", "_"), "#\n")  # a comment, or a password
                    os.chmod(here, 0o600)  # a file with a password has to be
                    text = text.replace(path, here)
            done = daemon.check(self.write("callforward.toml", text))
            self.assertEqual(done.returncode, 0, done.stderr)
        self.check_all("toml", check, 10)

    def test_the_sample_and_the_empty_file_are_one_configuration(self):
        sample = daemon.check(os.path.join(CONTRIB, "callforward.toml"))
        empty = daemon.check(self.write("empty.toml", ""))
        self.assertEqual((sample.returncode, sample.stdout), (0, empty.stdout), sample.stderr)

    def postconf(self, text, *options):
        self.write("main.cf", "compatibility_level = 3.6\n" + text)
        master = os.path.join(self.folder, "master.cf")
        if not os.path.exists(master):
            self.write("master.cf", "smtp inet n - y - - smtpd\nrelay unix - - y - - smtp\n")
        done = run("postconf", "-c", self.folder, *options)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_postfix_main_cf(self):
        def check(text):
            shown = self.postconf(text, "-n")
            for name in re.findall(r"^([a-z_0-9]+) *=", text, re.M):
                self.assertRegex(shown, rf"(?m)^{name} =")
        self.check_all("main.cf", check, 4)
        with open(os.path.join(CONTRIB, "postfix", "main.cf.callforward"), encoding="utf-8") as file:
            check(file.read())

    def test_a_misspelt_parameter_of_postfix_would_be_found(self):
        with self.assertRaises(AssertionError):
            self.postconf("smtpd_milterz = inet:127.0.0.1:8891\n", "-n")

    def test_postfix_master_cf(self):
        def check(text):
            self.write("master.cf", text)
            self.postconf("", "-M")
            for name in re.findall(r"-o ([a-z_]+)=", text):
                self.assertEqual(run("postconf", "-c", self.folder, name).stderr, "")
        self.check_all("master.cf", check, 1)

    def test_links_between_the_documents_lead_somewhere(self):
        for path, text in documents():
            for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
                where = os.path.join(PROJECT, os.path.dirname(path), target)
                self.assertTrue(os.path.exists(where), f"{path}: {target}")
