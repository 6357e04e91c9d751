"""callforward-milter as a child process, with its log read as it comes.

The configuration is the test's own sections below a head that keeps the daemon inside the sandbox:
a Unix socket that Postfix can use, memory for the cache, the log on stderr.
"""

import os
import re
import signal
import subprocess
import threading
import time

from harness.logfmt import parse_logfmt
from harness.sandbox import binary, wait_until

HEAD = """\
[milter]
socket = "{socket}"
socket_mode = "0660"
socket_group = "postfix"
answer_within = "{answer_within}"
[cache]
store = "memory"
[control]
socket = "{control}"
[log]
target = "stderr"
format = "logfmt"
"""


# The suites play one client, and next hops that come and go: what limits has cases of its own.
NO_LIMITS = """\
[limits]
unknown_per_client = 0
host_penalty = "0s"
"""


REPORT = re.compile(r"(ERROR|WARNING|SUMMARY): \w*Sanitizer|: runtime error: ")


def program():
    return binary("milter", "callforward-milter")


def check(config_path, *options):
    """callforward-milter --check: a CompletedProcess with text."""
    return subprocess.run([program(), "--config", config_path, "--check", *options],
                          capture_output=True, text=True,
                          timeout=30)


class Daemon:
    def __init__(self, sandbox, name, sections="", answer_within="auto", socket=None, start=True):
        self.name, self.answer_within = name, answer_within
        self.milter = socket or f"unix:{sandbox.path(name + '.sock')}"
        self.control = sandbox.path(name + ".control")
        self.config = sandbox.path(f"{name}.toml")
        self.configure(sections)
        self._lines, self._lock, self._process = [], threading.Lock(), None
        self.environment = {}  # beside the test's own
        sandbox.add(self)
        if start:
            self.start()

    def configure(self, sections, head=HEAD):
        """Writes the configuration; a running daemon reads it at its next reload."""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(head.format(socket=self.milter, answer_within=self.answer_within,
                                   control=self.control))
            file.write(sections if "[limits]" in sections else NO_LIMITS + sections)

    def start(self, *options, ready=True, in_child=None):
        """in_child: called before the program is begun."""
        before = len(self._lines)
        self._process = subprocess.Popen([program(), "--config", self.config, *options],
                                         stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         env={**os.environ, **self.environment},
                                         preexec_fn=in_child)
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,),
                                        daemon=True)
        self._reader.start()
        if ready:
            wait_until(lambda: self._ended() or any(is_ready(line) for line in self.lines(before)),
                       f"{self.name} to say ready; it said {self.lines(before)}")
            if self._ended():
                self._reader.join(30)
                raise AssertionError(f"{self.name} ended with {self._process.returncode}: "
                                     f"{self.lines(before)}")

    def stop(self):
        """Ends it with SIGTERM; a daemon that does not go within 30 s, goes with an error, or had
        something for a sanitizer to report, is a failure."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                code = self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"{self.name} did not stop on SIGTERM within 30 s") from None
            self._reader.join(5)
            if report := self.report():
                raise AssertionError(f"{self.name} ended with {code}: " + "\n".join(report))
            if code != 0:
                raise AssertionError(f"{self.name} ended with {code}; it said {self.lines()[-20:]}")

    def kill(self):
        if self._process:
            self._process.kill()
            self._process.wait()

    def signal(self, number=signal.SIGHUP):
        os.kill(self._process.pid, number)

    def wait(self, seconds=60.0):
        """The exit code."""
        code = self._process.wait(seconds)
        self._reader.join(30)
        return code

    def alive(self):
        return self._process.poll() is None

    def lines(self, since=0):
        with self._lock:
            return self._lines[since:]

    def report(self):
        """What a sanitizer has said, from its first line on."""
        lines = self.lines()
        first = next((n for n, line in enumerate(lines) if REPORT.search(line)), len(lines))
        return lines[first:first + 100]

    def verdicts(self, recipient, since=0):
        """The RCPT log lines of this address, as dictionaries, oldest first."""
        found = [parse_logfmt(line) for line in self.lines(since)]
        return [entry for entry in found
                if entry.get("rcpt", "").strip("<>").lower() == recipient.lower()
                and "outcome" in entry]

    def verdict(self, recipient, nth=1):
        """The latest of at least `nth` lines: a line may come a moment after the MTA's answer."""
        def latest():
            found = self.verdicts(recipient)
            return found[-1] if len(found) >= nth else None
        return wait_until(latest, f"log line {nth} of {recipient}")

    def wait_for_line(self, pattern, since=0, seconds=60.0):
        def first():
            return next((line for line in self.lines(since) if re.search(pattern, line)), None)
        return wait_until(first, f"a log line like {pattern!r}", seconds)

    def _ended(self):
        return self._process.poll() is not None

    def _read(self, stream):
        for line in stream:
            with self._lock:
                self._lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
        stream.close()


def is_ready(line):
    return re.search(r"(^|[\s=\"])ready(\"|\s|$)", line) is not None


def elapsed(call):
    """What `call` gives, and how long it took in seconds."""
    start = time.monotonic()
    result = call()
    return result, time.monotonic() - start
