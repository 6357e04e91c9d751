"""Reads logfmt: key=value pairs, values quoted where they hold spaces, quotes or escapes."""

import re

PAIR = re.compile(r'(?:^|(?<=\s))([A-Za-z_][A-Za-z0-9_.]*)=("(?:[^"\\]|\\.)*"|\S*)')
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def parse_logfmt(line):
    return {key: _unquote(value) for key, value in PAIR.findall(line)}


def _unquote(value):
    if not value.startswith('"'):
        return value
    return ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else NAMED.get(m[1], m[1]),
                      value[1:-1])
