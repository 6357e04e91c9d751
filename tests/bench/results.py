"""Runs to medians, both to targets, and all of it to Markdown and SVG."""

import os
import platform
import statistics
import subprocess

from workloads import SYSTEMS, WORKLOADS


def medians(runs):
    """The median of every number, whatever it is nested in."""
    first = runs[0]
    if isinstance(first, dict):
        keys = dict.fromkeys(key for run in runs for key in run)
        return {key: medians([run.get(key, 0) for run in runs]) for key in keys}
    if isinstance(first, (int, float)):
        return statistics.median(value for value in runs if isinstance(value, (int, float)))
    return first


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def codes(group):
    total = sum(group["codes"].values()) or 1
    parts = [code if share == total else f"{code} ({100 * share / total:.1f} %)"
             for code, share in sorted(group["codes"].items(), key=lambda pair: -pair[1]) if share]
    lost = group["lost"] + group["failed"]
    return ", ".join(parts) + (f", {lost:.0f} lost" if lost else "")


HEAD = ("| system | clients | verdicts/s | p50 ms | p99 ms | max ms | replies | CPU s/1000 | system busy "
        "| load, hop, others busy | probes | connections | at once (a host) | recipients each (least) | MiB |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")


def rows(letter, cell):
    lines = []
    for name, group in cell["groups"].items():
        first = not lines
        hop = cell["hop"]
        tail = [f"{cell['cpu_per_1000']:.3f}", f"{100 * cell['cpu_busy']:.0f} %",
                f"{100 * cell['load_busy']:.0f}, {100 * cell['hop_busy']:.0f}, "
                f"{100 * cell['others_busy']:.0f} %",
                f"{hop['recipients']:.0f}", f"{hop['connections']:.0f}",
                f"{hop['max_concurrent']:.0f} ({hop['max_concurrent_host']:.0f})",
                f"{hop['recipients_per_connection_avg']:.1f} "
                f"({hop['recipients_per_connection_min']:.0f})", f"{cell['memory']:.1f}"]
        label = f"({letter}) {SYSTEMS[letter]}" if not letter.startswith("raw") else SYSTEMS[letter]
        lines.append("| " + " | ".join(
            [label if first else "", name, number(group["rate"]), number(group["p50_ms"]),
             number(group["p99_ms"]), number(group["max_ms"]), codes(group)]
            + (tail if first else [""] * len(tail))) + " |")
    return "\n".join(lines)


FULL_CORE = 0.95  # busy so much of the time


def at(found, path):
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


class Targets:
    """Each target of the project against what was measured; what was not measured is said so."""

    def __init__(self, cells, fill, runs):
        self.cells, self.fill, self.runs, self.lines, self.missed = cells, fill, runs, [], 0

    def value(self, workload, letter, *path):
        return at(self.cells.get((workload, letter)), path)

    def add(self, title, unit, measured, least=None, most=None):
        if least is None and most is None:  # what a target is to be read beside
            if measured is not None:
                self.lines.append(f"| {title} | | {number(measured)}{unit} | to compare with |")
            return
        bound = f"at least {least:g}" if least is not None else f"at most {most:g}"
        if least is not None and least == most:
            bound = f"exactly {least:g}"
        if measured is None:
            self.lines.append(f"| {title} | {bound}{unit} | | not measured |")
            return
        reached = (least is None or measured >= least) and (most is None or measured <= most)
        self.missed += not reached
        self.lines.append(f"| {title} | {bound}{unit} | {number(measured)}{unit} | "
                          f"{'reached' if reached else '**not reached**'} |")

    def quotient(self, one, other):
        """Of runs that were made in turns the median of their quotients: the machine may have been slower in some."""
        (top, bottom) = ([at(run, path[2:]) for run in self.runs.get(path[:2], [])]
                         for path in (one, other))
        if len(top) != len(bottom):
            top, bottom = [self.value(*one)], [self.value(*other)]
        if not top or None in top or not all(bottom):
            return None
        return statistics.median(a / b for a, b in zip(top, bottom))

    def ratio(self, title, one, other, **bounds):
        self.add(title, "", self.quotient(one, other), **bounds)

    def many_clients(self, title, many, few):
        """Eight times the rate, or as much as its core can bear."""
        busy = self.value(*many, "cpu_busy") or 0
        rate = ("groups", "all", "rate")
        times = self.quotient(many + rate, few + rate)
        if times is None or times >= 8 or busy < FULL_CORE:
            self.add(title, "", times, least=8)
            return
        self.lines.append(f"| {title} | at least 8, or bound by the CPU | "
                          f"{number(times)}, core {100 * busy:.0f} % busy | reached |")

    def all(self):
        rate, p99 = ("groups", "all", "rate"), ("groups", "all", "p99_ms")
        e, f = ("W1", "e"), ("W1", "f")
        self.ratio("Hot, milter protocol: rate against no-op", e + rate, f + rate, least=0.9)
        self.ratio("The same, of a no-op milter that works for 2 microseconds", ("W1", "fs") + rate,
                   f + rate)
        self.ratio("The same, of a no-op milter in callforward's sandbox", ("W1", "fx") + rate, f + rate)
        self.ratio("Hot, milter protocol: p99 against no-op", e + p99, f + p99, most=1.5)
        self.ratio("Hot, milter protocol: CPU against no-op", e + ("cpu_per_1000",),
                   f + ("cpu_per_1000",), most=1.3)
        self.ratio("The same, of a no-op milter that works for 2 microseconds",
                   ("W1", "fs", "cpu_per_1000"), f + ("cpu_per_1000",))
        self.ratio("The same, of a no-op milter in callforward's sandbox", ("W1", "fx", "cpu_per_1000"),
                   f + ("cpu_per_1000",))
        self.ratio("Hot, Postfix: rate against no-op (no measurable difference)",
                   ("W1", "a") + rate, ("W1", "c") + rate, least=0.97)
        cold = ("W2d20", "e")
        self.add("Cold 20 ms, milter protocol: verdicts/s (92 % of 50 / 20 ms)", "",
                 self.value(*cold, *rate), least=2300)
        self.add("Cold 20 ms, milter protocol: connections at once", "",
                 self.value(*cold, "hop", "max_concurrent_host"), most=20)
        self.add("Cold 20 ms, milter protocol: p50", " ms",
                 self.value(*cold, "groups", "all", "p50_ms"), most=26)
        self.add("Cold 20 ms, milter protocol: CPU s per 1000", "",
                 self.value(*cold, "cpu_per_1000"), most=0.10)
        self.many_clients("Cold 20 ms, 500 clients against 50", ("W8d20", "e"), cold)
        self.ratio("The same, of a no-op milter that waits a round trip", ("W8d20", "fw") + rate,
                   ("W2d20", "fw") + rate)
        self.add("Cold 20 ms, a no-op milter that waits: CPU s per 1000", "",
                 self.value("W2d20", "fw", "cpu_per_1000"))
        self.add("Cold 0 ms, milter protocol, a core that is never idle: CPU s per 1000", "",
                 self.value("W2d0", "e", "cpu_per_1000"))
        self.ratio("Cold 20 ms, Postfix: rate against no-op", ("W2d20", "a") + rate,
                   ("W2d20", "c") + rate, least=0.8)
        self.ratio("The same, of a no-op milter that waits a round trip", ("W2d20", "cw") + rate,
                   ("W2d20", "c") + rate)
        self.ratio("The same, of a milter that does nothing but ask", ("W2d20", "cq") + rate,
                   ("W2d20", "c") + rate)
        self.ratio("Cold 0 ms, Postfix: rate against no-op", ("W2d0", "a") + rate,
                   ("W2d0", "c") + rate, least=0.9)
        self.ratio("The same, of a no-op milter that waits 0.1 ms", ("W2d0", "cw") + rate,
                   ("W2d0", "c") + rate)
        self.ratio("The same, of a milter that does nothing but ask", ("W2d0", "cq") + rate,
                   ("W2d0", "c") + rate)
        self.ratio("Cold 20 ms, Postfix: rate against Postfix's verification",
                   ("W2d20", "a") + rate, ("W2d20", "b") + rate, least=45)
        for letter, where in (("e", "milter protocol"), ("a", "Postfix")):
            self.ratio(f"STARTTLS against clear, {where}: rate", ("W7d20", letter) + rate,
                       ("W2d20", letter) + rate, least=0.9)
        for letter, where in (("e", "milter protocol"), ("a", "Postfix")):
            attack = ("W3", letter)
            self.add(f"Dictionary attack, {where}: connections at once at a host", "",
                     self.value(*attack, "hop", "max_concurrent_host"), most=20)
            self.add(f"Dictionary attack, {where}: recipients a connection", "",
                     self.value(*attack, "hop", "recipients_per_connection_avg"), least=8)
            self.ratio(f"Dictionary attack, {where}: others' p99 with and without",
                       attack + ("groups", "others", "p99_ms"),
                       ("W3quiet", letter, "groups", "others", "p99_ms"), most=1.2)
            if letter == "a":
                self.ratio("The same, Postfix with the no-op milter",
                           ("W3", "c", "groups", "others", "p99_ms"),
                           ("W3quiet", "c", "groups", "others", "p99_ms"))
            dead = ("W5", letter, "groups")
            self.ratio(f"A dead next hop, {where}: the others' p99 with and without",
                       dead + ("healthy", "p99_ms"),
                       ("W5quiet", letter, "groups", "healthy", "p99_ms"), most=1.2)
            if letter == "a":
                self.ratio("The same, Postfix with the no-op milter",
                           ("W5", "c", "groups", "healthy", "p99_ms"),
                           ("W5quiet", "c", "groups", "healthy", "p99_ms"))
            self.add(f"A dead next hop, {where}: longest answer (answer_within)", " ms",
                     self.value(*dead, "dead", "max_ms"), most=12100)
            self.add(f"A dead next hop, {where}: p50 (at once after the first failures)", " ms",
                     self.value(*dead, "dead", "p50_ms"), most=50)
            self.add(f"200 sessions, one new recipient, {where}: probes", "",
                     self.value("W6", letter, "hop", "recipients"), least=1, most=1)
        fill = self.fill or {}
        self.add("Memory for a million known recipients", " MiB",
                 fill["resident"] * 1e6 / fill["recipients"]
                 if fill and fill["recipients"] == 1000000 else None, most=200)
        kept = fill.get("store", "memory") != "memory"  # else there is nothing to come back to
        self.add("Restart with them: ready", " s", fill["restart"] if kept else None, most=1)
        self.add("Restart with them: asked again, of 1000", "",
                 fill["probes_after_restart"] if kept else None, most=0)
        return self.lines


def machine():
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    postfix = subprocess.run(["postconf", "-dh", "mail_version"], capture_output=True, text=True)
    return (f"{len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release()}, "
            f"Postfix {postfix.stdout.strip() or 'none'}")


def markdown(cells, fill, about, raw_runs):
    targets = Targets(cells, fill, raw_runs)
    lines = targets.all()
    text = ["# Measured\n", "Written by `tests/bench/run`; how to read it is in "
            "[README.md](README.md). Compare within one file only.\n",
            f"{about}\n", "## Targets\n", "| target | | measured | |\n|---|---|---|---|"]
    text += lines
    text += ["\n![verdicts a second](rates.svg)\n", "![latency](latency.svg)\n"]
    for key, workload in WORKLOADS.items():
        letters = [letter for letter in workload.systems if (key, letter) in cells]
        if not letters:
            continue
        text.append(f"## {key}: {workload.title}\n")
        text.append(HEAD + "\n".join(rows(letter, cells[key, letter]) for letter in letters))
        spread = [f"({letter}) " + ", ".join(number(run["groups"][name]["rate"])
                                             for run in raw_runs[key, letter])
                  for letter in letters for name in list(raw_runs[key, letter][0]["groups"])[:1]]
        text.append("\nVerdicts/s of the single runs: " + "; ".join(spread) + "\n")
    if fill:
        text.append("## W9: many recipients known, and a restart\n")
        text.append("| recipients | store | learnt/s | own MiB | mapped of files, MiB | peak of both | bytes a recipient | "
                    "ready after restart, s | asked again, of 1000 |\n|---|---|---|---|---|---|---|---|---|")
        text.append(f"| {fill['recipients']:,} | {fill['store']} | {number(fill['rate'])} | {fill['resident']:.1f} | "
                    f"{fill['mapped']:.1f} | {fill['peak']:.1f} | {fill['grown'] * 1048576 / fill['recipients']:.0f} | "
                    f"{fill['restart']:.2f} | {fill['probes_after_restart']} |\n")
    return "\n".join(text), lines, targets.missed


PLOT = """\
set terminal svg size 1200,600 font "sans-serif,12" background "white"
set output "{path}"
set title "{title}"
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.85 border -1
set boxwidth 0.9
set logscale y
set grid ytics
set key outside bottom center horizontal maxcols 2 Left reverse
set yrange [{least}:*]
set ylabel "{axis}"
set datafile missing "-"
plot {series}
"""


COLOURS = {"a": "#1b6ca8", "b": "#c0392b", "b1": "#e59866", "c": "#7f8c8d", "cq": "#f0b27a", "cw": "#af7ac5",
           "d": "#d5d8dc", "e": "#27ae60", "f": "#34495e", "fq": "#76d7c4", "fs": "#85929e", "fw": "#a569bd", "fx": "#5d6d7e",
           "raw": "#f4d03f"}


def plot(cells, folder, name, title, axis, field):
    """One SVG: a bar for each system in each workload."""
    shown = [key for key in WORKLOADS if any((key, s) in cells for s in SYSTEMS)
             and not key.endswith("quiet") and key != "W6"]
    letters = [s for s in SYSTEMS if s != "rawb" and any((key, s) in cells for key in shown)]
    if not shown:
        return
    data = []
    for key in shown:
        values = []
        for letter in letters:
            cell = cells.get((key, letter))
            group = next(iter(cell["groups"].values())) if cell else None
            values.append(f"{group[field]:g}" if group and group[field] > 0 else "-")
        data.append(f'"{key}" ' + " ".join(values))
    table = "$data << EOD\n" + "\n".join(data) + "\nEOD\n"
    series = ", ".join(
        f'$data using {column}:xtic(1) title "({letter}) {SYSTEMS[letter]}" noenhanced '
        f'linecolor rgb "{COLOURS[letter]}"'
        for column, letter in enumerate(letters, 2))
    script = table + PLOT.format(path=os.path.join(folder, name), title=title, axis=axis,
                                 least=5 if field == "rate" else 0.1, series=series)
    subprocess.run(["gnuplot"], input=script, text=True, check=True, capture_output=True)
