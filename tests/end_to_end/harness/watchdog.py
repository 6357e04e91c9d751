"""A test that hangs fails, and says where: nothing in a suite waits for longer than a few minutes.

Without it a hang is seen when CTest ends the whole suite, which tells nothing.
"""

import faulthandler
import os
import signal
import sys
import unittest

LONGEST = 240  # seconds for one test, or for what a class sets up; the longest takes 30 on two cores


def processes():
    """Of this namespace: number, state, where in the kernel it waits, and its command line."""
    for number in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode("utf-8", "backslashreplace").strip()
            with open(f"/proc/{number}/stat", "rb") as file:
                state = file.read().rpartition(b")")[2].split()[0].decode()
            with open(f"/proc/{number}/wchan", encoding="ascii") as file:
                waits = file.read()
        except OSError:
            continue  # it ended meanwhile
        if words:
            yield f"{number:>7} {state} {waits:20.20} {words:.200}"


def tell(*_):
    signal.alarm(LONGEST)  # what is cleaned up now may hang, too
    print(f"\nno test has ended for {LONGEST} s; the stacks and processes now:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    print("\n".join(processes()), file=sys.stderr, flush=True)
    raise AssertionError(f"hangs: no test has ended for {LONGEST} s")


def wind_up():
    signal.alarm(LONGEST)
    # Should the interpreter itself be stuck (at its end, or in a call without signals), no handler runs.
    faulthandler.dump_traceback_later(LONGEST + 60, exit=True)


class WatchedResult(unittest.TextTestResult):
    """Winds the watchdog up whenever a test begins or ends; it stays wound up until the process ends."""

    def startTestRun(self):
        super().startTestRun()
        signal.signal(signal.SIGALRM, tell)
        wind_up()

    def startTest(self, test):
        wind_up()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        wind_up()
