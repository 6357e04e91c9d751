"""What the cases of the fault suite share: a daemon, good hops beside the faulty ones, and the laws
that hold whatever happens.

A case is a name, the rows of the catalogue of faults that it stands for, and a function that gives
what was seen, in few words, or raises AssertionError. All cases of a group run at once, against one
daemon. The laws: no answer is wrong, none is 421, none comes later than its bound, live hops stay
unharmed, and the daemon stays alive. A case that fails because an answer was late, or put off what
has one, is tried once more: a right program does so only where the machine stalls.
"""

import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.daemon import Daemon
from harness.milter_client import POSTFIX, MilterClient

WITHIN = 1.5  # answer_within of the daemons here
HEAD = """\
[milter]
socket = "{socket}"
socket_mode = "0660"
answer_within = "{answer_within}"
[log]
target = "stderr"
"""
SETTINGS = """\
[scope]
exempt_clients = []
[policy]
connect_timeout = "1s"
reply_timeout = "3s"
timeout = "5s"
[limits]
unknown_per_client = 0
host_penalty = "0s"
[cache]
store = "memory"
undetermined = "0s"
[domain."encrypt.test"]
tls = "encrypt"
[domain."open.test"]
on_unreachable = "accept"
"""


PENDING = "verification is in progress"


def in_time(ask):
    """What `ask` gives. On a machine with much else to do the answer may be late: the next try has it."""
    answer = ask()
    for _ in range(5):
        if PENDING not in answer.text:
            break
        answer = ask()
    return answer


def start_daemon(sandbox, name, settings=SETTINGS, within=WITHIN):
    daemon = Daemon(sandbox, name, start=False, answer_within=f"{int(within * 1000)}ms")
    daemon.configure(settings, HEAD)
    daemon.start()
    return daemon


@dataclass
class Case:
    name: str
    rows: str
    run: object
    bound: float = WITHIN  # for each answer; the world's slack comes on top


@dataclass
class Result:
    case: Case
    passed: bool
    seen: str
    slowest: float
    skipped: bool = False


class PutOff(AssertionError):
    """An answer came late, or put off (450, 451) a recipient that has one."""


def failure(what, *codes):
    """What to raise for answers that were not the right ones."""
    return (PutOff if codes and set(codes) <= {450, 451} else AssertionError)(what)


class CannotBe(Exception):
    """A case that this build, or this machine, makes impossible, and why."""


class World:
    """One daemon and what is asked of it. Thread: any."""

    def __init__(self, daemon, slack):
        self.daemon, self.slack = daemon, slack
        self._lock = threading.Lock()
        self.answers = 0
        self.local = threading.local()

    def client(self, **more):
        return MilterClient(self.daemon.milter, **more)

    def ask(self, recipient, host, bound=None, client=None, version=POSTFIX, **more):
        """One RCPT in a session of its own, or of `client`; checked against the laws."""
        own = client or self.client(version=version)
        try:
            answer = own.rcpt(recipient, host, **more)
        finally:
            if client is None:
                own.close()
        return self.check(answer, recipient, bound)

    def check(self, answer, recipient, bound=None):
        limit = (self.local.case.bound if bound is None else bound) + self.slack
        with self._lock:
            self.answers += 1
        self.local.slowest = max(self.local.slowest, answer.seconds)
        assert answer.action, f"{recipient}: the filter hung up"
        assert answer.code != 421, f"{recipient}: 421 would end the client's session"
        if answer.seconds > limit:
            raise PutOff(f"{recipient}: answered after {answer.seconds:.2f} s")
        return answer

    def expect(self, recipient, host, allowed, **more):
        """allowed: letters of A accept, T tempfail, J reject."""
        def ask():
            return self.ask(recipient, host, **more)

        answer = ask() if "T" in allowed else in_time(ask)
        letter = {2: "A", 4: "T", 5: "J"}[answer.code // 100]
        if letter not in allowed:
            raise failure(f"{recipient}: {answer}, expected {allowed}", answer.code)
        return f"{letter} {answer}" if letter != "A" else "A"

    def run(self, case):
        self.local.case, self.local.slowest, self.local.started = case, 0.0, []
        try:
            seen = self._run(case)
            assert self.daemon.alive(), "the daemon has ended"
            return Result(case, True, seen, self.local.slowest)
        except CannotBe as why:
            return Result(case, False, str(why), self.local.slowest, skipped=True)
        except AssertionError as wrong:
            return Result(case, False, str(wrong), self.local.slowest)
        except Exception as broken:  # a fault of the suite, or a hung-up filter: a failure
            where = traceback.extract_tb(broken.__traceback__)[-1]
            return Result(case, False, f"{broken!r} at {os.path.basename(where.filename)}:"
                          f"{where.lineno}", self.local.slowest)

    def _run(self, case):
        try:
            return case.run(self) or ""
        except PutOff as why:
            for daemon in self.local.started:
                daemon.kill()
                assert not daemon.report(), "\n".join(daemon.report())
            self.local.slowest = 0.0
            return f"{case.run(self) or ''} (at the second try: {why})"

    def starts(self, daemon):
        """A case's own daemon, which a second try of it must not find at its socket."""
        self.local.started.append(daemon)
        return daemon


def run_at_once(world, cases, at_once=48):
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(world.run, cases))


class Heartbeat:
    """Asks a good hop all the time, for fresh recipients: faults elsewhere must not be felt. A stall of
    the machine makes an answer late, a hop that waits for others makes many so."""

    def __init__(self, world, hop, every=0.05):
        self.world, self.hop, self.every = world, hop, every
        self.wrong, self.seconds, self.late = [], [], 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        client = self.world.client()
        while not self._ends.wait(self.every):
            number += 1
            for name, code in (("known", 250), ("nobody", 550)):
                answer = in_time(lambda: self._ask(client, f"{name}.{number}.{id(self)}@alive.test"))
                if answer.code != code:
                    self.wrong.append(f"{name}.{number}: {answer}")
                if not answer.action:
                    client = self.world.client()
        client.close()

    def _ask(self, client, recipient):
        answer = client.rcpt(recipient, self.hop.route)
        self.seconds.append(answer.seconds)
        self.late += PENDING in answer.text
        return answer

    def stop(self):
        self._ends.set()
        self._thread.join(30)
        if self.late > 3 + len(self.seconds) // 20:
            self.wrong.append(f"{self.late} of {len(self.seconds)} answers were late")

    def percentile(self, share):
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def wait(seconds):
    time.sleep(seconds)
