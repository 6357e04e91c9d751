"""What the programs take and what the manual pages say are the same."""

import os
import re
import subprocess
import tomllib
import unittest

from harness.daemon import program
from harness.sandbox import binary

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MANUALS = os.path.join(ROOT, "man")
EVERYWHERE = {"--help", "--version"}


def help_of(*command):
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done
    return done.stdout


def options_of(text):
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", "\n".join(
        line[:40] for line in text.splitlines() if re.match(r"\s+-", line))))


def subcommands_of(text):
    listed = re.split(r"^Subcommands:$", text, flags=re.M)
    return re.findall(r"^  ([a-z]+) ", listed[1], re.M) if len(listed) > 1 else []


def page(name):
    with open(os.path.join(MANUALS, name), encoding="utf-8") as file:
        return file.read()


def section_of(text, title):
    return re.search(rf"^\.Sh {title}\n(.*?)^\.Sh ", text, re.M | re.S)[1]


def sources(folder):
    for at, _, names in os.walk(os.path.join(ROOT, folder)):
        for name in names:
            if name.endswith(".cpp"):
                with open(os.path.join(at, name), encoding="utf-8") as file:
                    yield file.read()


def options_in(text):
    return {"--" + name for name in re.findall(r"Fl -([a-z][a-z-]*)", text)}


def synopses(text):
    """(what stands behind .Nm, its options) of each form in the page's SYNOPSIS. "options" stands
    for those of all commands that speak with the daemon."""
    for form in section_of(text, "SYNOPSIS").split(".Nm\n")[1:]:
        words = re.search(r"^\.Cm (.*)", form, re.M)[1]
        options = options_in(form)
        if "Ar options" in form:
            options |= {"--socket", "--config", "--json"}
        if "Fl c Ar file" in form:
            options.add("--config")
        if re.search(r"Fl v$", form, re.M):
            options.add("--verbose")
        yield words, options


def commands_of(words):
    """"cache show | forget" is ("cache", "show") and ("cache", "forget")."""
    first, *others = re.split(r" \| ", words)
    *group, last = first.split(" ")
    return [tuple(group) + (name,) for name in (last, *others)]


def keys_of_page(text):
    """"section.key" of each key in callforward.toml(5), and the tables that may be repeated."""
    section, keys, repeated = "", set(), set()
    for line in text.splitlines():
        if match := re.match(r"\.Ss (\[\[?)([a-z]+)\]", line):
            section = match[2]
            if match[1] == "[[":
                repeated.add(section)
        elif line.startswith((".Sh", ".Ss")):
            section = ""
        elif section and (match := re.match(r"\.It Ic ([a-z_]+)", line)):
            keys.add((section, match[1]))
    return keys, repeated


def defaults_of_page(text):
    """A configuration that gives each key the default that the page says."""
    lines = []
    for line in text.splitlines():
        if match := re.match(r"\.Ss (\[[a-z]+\])", line):
            lines.append(match[1])
        elif match := re.match(r"\.It Ic ([a-z_]+) No = (.*)", line):
            value = match[2].replace(r"\(dq", '"')
            quoted = re.match(r"Qq ?(.*)", value)
            lines.append(f"{match[1]} = " + (f'"{quoted[1]}"' if quoted else value.replace("Bq", "[]")))
    return "\n".join(lines)


def defaults_of_sample():
    with open(os.path.join(ROOT, "contrib", "callforward.toml"), encoding="utf-8") as file:
        text = re.sub(r"^#\[.*\n(#[a-z_]+ = .*\n)+", "", file.read(), flags=re.M)  # examples
        return re.sub(r"^#(?=[a-z_]+ = )", "", text, flags=re.M)


class Manual(unittest.TestCase):
    def test_every_message_of_the_log_is_among_the_diagnostics(self):
        section = section_of(page("callforward-milter.8"), "DIAGNOSTICS")
        found = set()
        for text in sources("milter"):
            for said in re.findall(r'log::say\(\s*log_level::\w+,\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', text):
                found.add("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', said)))
        self.assertGreater(len(found), 20)
        # Behind a colon follows what is explained there.
        self.assertEqual([m for m in sorted(found) if m.split(":")[0] not in section], [])

    def test_every_exit_code_of_the_tool_is_in_its_page(self):
        section = section_of(page("callforward.1"), "EXIT STATUS")
        used = {getattr(os, name) for text in sources("milter/tool")
                for name in re.findall(r"\bEX_[A-Z]+\b", text)}
        self.assertEqual(used - {int(code) for code in re.findall(r"^\.It (\d+)$", section, re.M)}, set())

    def test_every_stage_and_reason_is_in_the_page(self):
        text = page("callforward-milter.8")
        for table in ("stage", "reason"):
            with self.subTest(table):
                names = {name for source in sources("smtpclient") for name in
                         re.findall(rf'pair{{{table}::\w+, std::string_view\("(\w+)"\)}}', source)}
                self.assertGreater(len(names - {"none"}), 10)
                missing = [name for name in names - {"none"}
                           if not re.search(rf"^\.(It )?Li (.* )?{name}\b", text, re.M)]
                self.assertEqual(missing, [])

    def test_every_option_of_the_daemon_is_in_its_page_and_every_one_of_the_page_exists(self):
        self.assertEqual(options_of(help_of(program())) - EVERYWHERE,
                         options_in(page("callforward-milter.8")) - EVERYWHERE)

    def test_every_option_of_the_tool_is_in_its_page_and_every_one_of_the_page_exists(self):
        tool, found = binary("milter", "tool", "callforward"), set()
        commands = subcommands_of(help_of(tool))
        self.assertIn("explain", commands)
        text = page("callforward.1")
        for command in commands:
            with self.subTest(command):
                help_text = help_of(tool, command)
                found |= options_of(help_text)
                self.assertRegex(text, rf"Cm [a-z |]*\b{command}\b")
                for inner in subcommands_of(help_text):
                    found |= options_of(help_of(tool, command, inner))
                    self.assertRegex(text, rf"Cm {command} (\w+ \| )*{inner}\b")
        self.assertEqual(found - EVERYWHERE, options_in(text) - EVERYWHERE)

    def test_the_synopsis_has_each_subcommand_with_its_own_options(self):
        tool, shown = binary("milter", "tool", "callforward"), {}
        for words, options in synopses(page("callforward.1")):
            for command in commands_of(words):
                self.assertNotIn(command, shown)
                shown[command] = options
        real = {}
        for command in subcommands_of(help_of(tool)):
            text = help_of(tool, command)
            for words in [(command, inner) for inner in subcommands_of(text)] or [(command,)]:
                real[words] = options_of(help_of(tool, *words)) - EVERYWHERE
        self.assertEqual(shown, real)

    def test_every_key_that_is_read_is_in_the_page_and_every_one_of_the_page_is_read(self):
        keys, repeated = keys_of_page(page("callforward.toml.5"))
        printed = subprocess.run([program(), "--config", os.devnull, "--check"], text=True,
                                 capture_output=True, timeout=30, check=True).stdout
        effective = {(section, key) for section, table in tomllib.loads(printed).items()
                     for key in (table if isinstance(table, dict) else table[0])}
        self.assertEqual(effective, {key for key in keys if key[0] not in repeated})
        # All at once, each with a value that most of them refuse: but none is unknown.
        refused = self.wrong_with(keys, repeated)
        self.assertNotRegex(refused, "unknown key|unknown section|and [0-9]+ more")
        for key in (("milter", "sockt"), ("classify", "stge")):
            self.assertIn("unknown key", self.wrong_with([key], repeated))

    def test_the_defaults_of_the_page_and_of_the_sample_are_the_real_ones(self):
        def in_force(text):
            return subprocess.run([program(), "--config", "/dev/stdin", "--check"], text=True, input=text,
                                  capture_output=True, timeout=30, check=True).stdout

        real = in_force("")
        for text in (defaults_of_page(page("callforward.toml.5")), defaults_of_sample()):
            self.assertEqual({(section, key) for section, table in tomllib.loads(text).items() for key in table},
                             {(section, key) for section, table in tomllib.loads(real).items() for key in table})
            self.assertEqual(in_force(text), real)

    def wrong_with(self, keys, repeated):
        sets = []
        for section, key in sorted(keys):
            sets.append(f"{section}=[{{{key} = true}}]" if section in repeated
                        else f"{section}.{key}=true")
        words = [word for value in sets for word in ("--set", value)]
        done = subprocess.run([program(), "--config", os.devnull, *words, "--check"], text=True,
                              capture_output=True, timeout=30, check=False)
        self.assertNotEqual(done.stderr, "")
        return done.stderr


if __name__ == "__main__":
    unittest.main()
