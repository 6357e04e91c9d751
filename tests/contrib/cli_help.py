"""What --help of the programs lists: the measure of what completion has to offer."""

import re

from harness.sandbox import binary
from places import run

TOOL, DAEMON = ("milter", "tool", "callforward"), ("milter", "callforward-milter")


def words_of(program, *subcommands):
    """(options, commands) of --help."""
    done = run(binary(*program), *subcommands, "--help")
    options, commands, section = [], [], ""
    for line in done.stdout.splitlines():
        if re.fullmatch(r"\S.*:", line):
            section = line[:-1]
        elif (match := re.match(r"  (\S+)", line)) and not section.startswith(
                ("Not yet", "Positionals")):
            names = match[1].split(",")
            (options if names[0].startswith("-") else commands).extend(names)
    return sorted(options), sorted(commands)


def all_commands():
    """Every subcommand of the tool, nested ones too, as tuples of words."""
    waiting, found = [()], []
    while waiting:
        at = waiting.pop()
        found.append(at)
        waiting += [at + (name,) for name in words_of(TOOL, *at)[1]]
    return found
