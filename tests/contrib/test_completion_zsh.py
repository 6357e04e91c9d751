"""zsh completes what bash does, with what --help says about each word."""

import os
import unittest

from cli_help import DAEMON, TOOL, all_commands, words_of
from harness.sandbox import binary
from places import CONTRIB, run

FILE = os.path.join(CONTRIB, "completion", "_callforward")
# compsys' own functions, replaced by ones that print what they are given.
SCRIPT = """
_describe() { shift 3; print -rl -- "${(@P)1}" }
_files() { print FILES }
_hosts() { print HOSTS }
_message() { print -r -- "MESSAGE $*" }
compadd() { print -rl -- "$@" }
source "$1"; shift
words=("$@"); CURRENT=$#
_callforward
"""


def complete(program, *words):
    done = run("zsh", "-f", "-c", SCRIPT, "zsh", FILE, binary(*program), *words)
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


def names(lines):
    return sorted(line.split(":")[0] for line in lines)


class Zsh(unittest.TestCase):
    def test_the_file_is_zsh(self):
        self.assertEqual((run("zsh", "-n", FILE).returncode, run("zsh", "-n", FILE).stderr), (0, ""))

    def test_every_option_of_every_subcommand_is_completed(self):
        for command in all_commands():
            with self.subTest(" ".join(command)):
                self.assertEqual(names(complete(TOOL, *command, "-")), words_of(TOOL, *command)[0])
        self.assertEqual(names(complete(DAEMON, "-")), words_of(DAEMON)[0])

    def test_every_subcommand_is_completed(self):
        for command in all_commands():
            if commands := words_of(TOOL, *command)[1]:
                with self.subTest(" ".join(command)):
                    self.assertEqual(names(complete(TOOL, *command, "")), commands)

    def test_words_come_with_what_help_says_about_them(self):
        self.assertIn("--rcptto:Recipient to ask about", complete(TOOL, "query", "-"))
        self.assertIn("--helo:Name to say in EHLO; this host's if not given",
                      complete(TOOL, "query", "-"))

    def test_values_are_completed_by_their_kind(self):
        self.assertEqual(complete(TOOL, "query", "--host", ""), ["HOSTS"])
        self.assertIn("dane-only", complete(TOOL, "query", "--tls", ""))
        self.assertEqual(complete(TOOL, "query", "--rcptto", ""), ["MESSAGE value of --rcptto"])
        self.assertEqual(complete(DAEMON, "--config", ""), ["FILES"])
        self.assertEqual(complete(TOOL, "status", "--socket", ""), ["FILES"])
