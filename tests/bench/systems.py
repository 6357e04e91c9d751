"""What is measured, and what it is measured with: processes on their cores, and what they used.

A system has start() and stop() around one run, cpu() in seconds and memory() in MiB over all its
processes, and load(), the arguments that point bench-load at it. Postfix is started once for all.
"""

import collections
import json
import os
import re
import signal
import struct
import subprocess
import threading

from harness.postfix import Postfix
from harness.sandbox import free_port, wait_until

SYSTEM_CPU, LOAD_CPU = 0, 1
UNDER_POSTFIX = ("a", "b", "b1", "c", "cq", "cw", "d")
DOMAINS = 250
TICKS = os.sysconf("SC_CLK_TCK")

DAEMON = """\
[milter]
socket = "{socket}"
socket_mode = "0666"
[scope]
exempt_clients = []
[routing]
deny = []
[cache]
store = "{store}"
[log]
target = "stderr"
"""

POSTFIX = """\
default_process_limit = 700
smtpd_junk_command_limit = 1000000
smtpd_soft_error_limit = 1000000
smtpd_hard_error_limit = 1000000
unverified_recipient_reject_code = 550
smtp_tls_security_level = may
in_flow_delay = 0
"""

POSTFIX_SERVICES = """\
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
127.0.0.1:{b} inet n - n - - smtpd
  -o smtpd_recipient_restrictions=reject_unverified_recipient
127.0.0.1:{b1} inet n - n - - smtpd
  -o smtpd_recipient_restrictions=reject_unverified_recipient
  -o address_verify_poll_delay=1s
"""


def pinned(cpu):
    """The words before a command that keep it on one core, where there are several."""
    return ["taskset", "-c", str(cpu)] if len(os.sched_getaffinity(0)) > 1 else []


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # the process has gone
        return ""


def cpu_of(pid, with_children=False):
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not fields:
        return 0.0
    return sum(int(field) for field in fields[11:15 if with_children else 13]) / TICKS


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if fields and int(fields[1]) == pid:
                found.append(int(name))
    return found


def _kib(text, key):
    for line in text.splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def become_urgent(pid):
    """Before other work: by nice, and where the scheduler groups by session, the session's."""
    os.setpriority(os.PRIO_PROCESS, pid, -15)
    if pid == os.getpid() and os.getsid(0) != pid:
        try:
            os.setsid()
        except PermissionError:  # leads a group of processes already
            pass
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="utf-8") as file:
            file.write("-15")
    except OSError:  # no such grouping
        pass


def keep_awake():
    """While what it gives is open, no core sleeps: an idle one polls. Waking one that sleeps costs the
    waker (in a guest, microseconds for each reply), and would be counted as the measured system's.
    Nothing where the machine does not let its cores' sleep be chosen."""
    try:
        if _read("/sys/devices/system/cpu/cpuidle/current_driver").strip() in ("", "none"):
            return None
        longest_wait = open("/dev/cpu_dma_latency", "wb", buffering=0)
        longest_wait.write(struct.pack("i", 0))
        return longest_wait
    except OSError:
        return None


def machine_cpu():
    """CPU seconds that all of the machine has spent busy, stolen ones included."""
    fields = [int(field) for field in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


class Profile:
    """perf record of a process while it lives; stop() appends what cost most to a file."""

    def __init__(self, box, pid, path, title):
        self._data, self._path, self._title = box.path("perf.data"), path, title
        self._process = subprocess.Popen(
            ["perf", "record", "-q", "-F", "1999", "-e", "cpu-clock", "--call-graph",
             "dwarf,8192", "-o", self._data, "-p",
             str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def stop(self):
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        with open(self._path, "a", encoding="utf-8") as out:
            for title, options in (("functions", ["--no-children", "-g", "none"]),
                                   ("with what they call", ["--children", "-g", "none"])):
                done = subprocess.run(["perf", "report", "--stdio", "-i", self._data,
                                       "--no-inline", "--percent-limit", "0.3", *options],
                                      capture_output=True, text=True, stdin=subprocess.DEVNULL)
                # What calls the kernel says more than what is called inside it.
                lines = [line[:200] for line in done.stdout.splitlines()
                         if line and line[0] != "#" and not ("--children" in options
                                                             and ("[k]" in line or " 0x" in line))]
                out.write(f"== {self._title}: {title}\n" + "\n".join(lines[:120]) + "\n\n")


class Process:
    """A child on one core that says "ready"; its stderr goes to a file, which tells when it fails."""

    def __init__(self, box, name, command, cpu, ready="stdout"):
        self.name, self._log = name, box.path(f"{name}.log")
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(pinned(cpu) + command, stdin=subprocess.DEVNULL,
                                             stdout=subprocess.PIPE, stderr=log, text=True)
        self.pid = self._process.pid
        if ready == "stdout":
            line = self._process.stdout.readline()
            if line.strip() != "ready":
                raise AssertionError(f"{name} did not start: {line}{_read(self._log)}")
        else:
            wait_until(lambda: self._process.poll() is not None or " ready " in _read(self._log),
                       f"{name} to be ready", 60)
            if self._process.poll() is not None:
                raise AssertionError(f"{name} did not start: {_read(self._log)}")

    def ask(self, number):
        """The line of JSON that the signal makes it print."""
        self._process.send_signal(number)
        return json.loads(self._process.stdout.readline())

    def cpu(self):
        return cpu_of(self.pid)

    def peak(self):
        return _kib(_read(f"/proc/{self.pid}/status"), "VmHWM") / 1024

    def resident(self):
        """Its own memory, and what it has mapped of files: the system's cache, dropped at need."""
        status = _read(f"/proc/{self.pid}/status")
        own = _kib(status, "RssAnon") + _kib(status, "RssShmem")
        return own / 1024, _kib(status, "RssFile") / 1024

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()


class Bench:
    """The sandbox, the programs and Postfix, shared by all runs."""

    def __init__(self, box, daemon, programs, overrides, wants_postfix, profile=None,
                 urgent=False):
        self.box, self.daemon, self.programs, self.overrides = box, daemon, programs, overrides
        self.port, self.profile, self.urgent = free_port(), profile, urgent
        self.certificate = None
        self.milters = {name: f"unix:{box.path(name + '.sock')}" for name in ("a", "c", "cq", "cw")}
        self.ports, self._master, self.postfix = {}, 0, None
        if wants_postfix:
            self._start_postfix()

    def program(self, name):
        return os.path.join(self.programs, name)

    def _start_postfix(self):
        self.postfix = postfix = BenchPostfix(self.box)
        for number in range(DOMAINS):
            address = f"127.0.{3 + number // 250}.{1 + number % 250}"
            postfix.route(f"d{number}.bench.test", address, self.port)
        postfix.more = POSTFIX
        for name in ("a", "c", "cq", "cw"):
            self.ports[name] = postfix.listen(name, self.milters[name])
        self.ports["d"] = postfix.listen("d")
        self.ports["b"], self.ports["b1"] = free_port(), free_port()
        postfix.extra = POSTFIX_SERVICES.format(**{k: self.ports[k] for k in ("b", "b1")})
        before = os.sched_getaffinity(0)
        if len(before) > 1:
            os.sched_setaffinity(0, {SYSTEM_CPU})  # what Postfix starts inherits it
        try:
            postfix.start()
        finally:
            os.sched_setaffinity(0, before)
        self._master = int(_read(f"{postfix.home}/queue/pid/master.pid"))
        if self.urgent:
            become_urgent(self._master)  # it has a session of its own

    def postfix_cpu(self):
        live = sum(cpu_of(pid) for pid in children_of(self._master))
        return live + cpu_of(self._master, with_children=True)

    def postfix_memory(self):
        return sum(_kib(_read(f"/proc/{pid}/smaps_rollup"), "Pss")
                   for pid in [self._master] + children_of(self._master)) / 1024

    def start_daemon(self, socket, store="memory"):
        path = self.box.write("callforward.toml", DAEMON.format(socket=socket, store=store))
        command = [self.daemon, "--config", path]
        for override in self.overrides:
            command += ["--set", override]
        return Process(self.box, "callforward", command, SYSTEM_CPU, ready="stderr")

    def start_next_hop(self, workload):
        command = [self.program("bench-next-hop"), "--port", str(self.port), "--hosts",
                   str(workload.hosts), "--delay", str(workload.delay)]
        if workload.dead is not None:
            command += ["--dead", str(workload.dead)]
        if workload.tls:
            if not self.certificate:
                from harness.certificate import make_certificate
                self.certificate = make_certificate(self.box)
            command += ["--certificate", self.certificate[0], "--key", self.certificate[1]]
        return Process(self.box, "next-hop", command, LOAD_CPU)

    def run_load(self, arguments, groups, seconds, warm, tag, at_start=lambda: None):
        """One run of bench-load; `at_start` is called when the counted time begins."""
        command = pinned(LOAD_CPU) + [self.program("bench-load"), *arguments, "--seconds",
                                      str(seconds), "--warm", str(warm), "--tag", tag]
        for group in groups:
            command += ["--group", group]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as load:
            guard = threading.Timer(seconds + warm + 90, load.kill)
            guard.start()
            try:
                if load.stdout.readline().strip() == "start":
                    at_start()
                line = load.stdout.readline()
            finally:
                guard.cancel()
            if not line:
                raise AssertionError(f"bench-load gave no result: {load.stderr.read()}")
        return json.loads(line)


class BenchPostfix(Postfix):
    extra = ""

    def complaints(self):
        """Its warnings, process numbers and times removed, the most frequent first."""
        found = re.findall(r"postfix/(\S+)\[\d+\]: (?:warning|fatal|error): (.*)", self.log())
        found = [(who, what) for who, what in found if who != "postfix-script"]  # its folder is odd
        return collections.Counter(f"{who}: {what[:150]}" for who, what in found).most_common(5)

    def _write(self, name, text):
        if name == "master.cf":
            text += self.extra
        if name == "main.cf":  # the last of two lines for one key wins, without a warning
            lines = {line.partition("=")[0].strip(): line for line in text.splitlines()}
            text = "\n".join(lines.values()) + "\n"
        super()._write(name, text)


# What the no-op milters are told; "wait" is of a round trip.
LEAST_WAIT = 0.1  # ms: about what a question on the loopback takes, where nobody else asks
NOOP = {"c": (), "cq": ("ask",), "cw": ("wait",), "f": (), "fq": ("ask",), "fs": ("work=2",),
        "fw": ("wait",), "fx": ("sandbox",)}


class System:
    """One letter of the table."""

    def __init__(self, bench, letter, workload, store="memory"):
        self.bench, self.letter, self.store, self.process = bench, letter, store, None
        self._delay = workload.delay
        self._profile = None

    def profile(self, title):
        """From now on, if it was asked for."""
        if self.bench.profile and self.process:
            self._profile = Profile(self.bench.box, self.process.pid, self.bench.profile, title)

    def start(self):
        bench = self.bench
        if self.letter in ("a", "e"):
            self.process = bench.start_daemon(bench.milters["a"], self.store)
        elif self.letter in NOOP:
            socket = bench.milters[self.letter if self.letter in bench.milters else "c"]
            command = [bench.program("bench-noop-milter"), socket]
            command += [f"wait={max(self._delay, LEAST_WAIT)}" if word == "wait" else word
                        for word in NOOP[self.letter]]
            self.process = Process(bench.box, "noop", command, SYSTEM_CPU)

    def stop(self):
        if self._profile:
            self._profile.stop()
        if self.process:
            self.process.stop()

    def load(self):
        if self.letter in UNDER_POSTFIX:
            return ["--smtp", f"127.0.0.1:{self.bench.ports[self.letter]}"]
        if self.letter.startswith("raw"):
            return ["--smtp", f"127.0.3.1:{self.bench.port}"]
        socket = self.bench.milters["a" if self.letter == "e" else "c"]
        return ["--milter", socket, "--next-hop-port", str(self.bench.port)]

    def cpu(self):
        own = self.process.cpu() if self.process else 0.0
        return own + (self.bench.postfix_cpu() if self.letter in UNDER_POSTFIX else 0.0)

    def memory(self):
        if self.process:
            return self.process.peak()
        return 0.0 if self.letter.startswith("raw") else self.bench.postfix_memory()


def counters(hop):
    return hop.ask(signal.SIGUSR1)
