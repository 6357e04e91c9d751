"""bash completes every subcommand and option that --help names."""

import os
import tempfile
import unittest

from cli_help import DAEMON, TOOL, all_commands, words_of
from harness.sandbox import binary
from places import CONTRIB, run

SCRIPT = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_callforward "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(program, *words, folder=None):
    done = run("bash", "-c", SCRIPT, "bash",
               os.path.join(CONTRIB, "completion", "callforward.bash"), binary(*program), *words,
               cwd=folder)
    assert done.stderr == "", done.stderr
    return sorted(done.stdout.split())


class Bash(unittest.TestCase):
    def test_every_option_of_every_subcommand_is_completed(self):
        for command in all_commands():
            with self.subTest(" ".join(command)):
                self.assertEqual(complete(TOOL, *command, "-"), words_of(TOOL, *command)[0])

    def test_every_subcommand_is_completed(self):
        for command in all_commands():
            if commands := words_of(TOOL, *command)[1]:
                with self.subTest(" ".join(command)):
                    self.assertEqual(complete(TOOL, *command, ""), commands)

    def test_query_is_among_them(self):
        self.assertIn("query", complete(TOOL, "q"))
        self.assertIn("--rcptto", complete(TOOL, "query", "--r"))

    def test_the_daemons_options_are_completed(self):
        self.assertEqual(complete(DAEMON, "-"), words_of(DAEMON)[0])

    def test_the_value_of_an_option_is_no_subcommand(self):
        self.assertEqual(complete(TOOL, "query", "--rcptto", "query", "--rc"), ["--rcptto"])

    def test_tls_levels_and_files_are_completed(self):
        self.assertEqual(complete(TOOL, "query", "--tls", "dane"), ["dane", "dane-only"])
        folder = self.folder()
        self.assertIn("snippets.toml", complete(DAEMON, "--config", "snip", folder=folder))
        self.assertIn("snippets.toml", complete(TOOL, "status", "--socket", "snip", folder=folder))

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        open(os.path.join(folder.name, "snippets.toml"), "w", encoding="utf-8").close()
        return folder.name
