"""The place a test runs in: root, namespaces of its own, a folder that unprivileged daemons can
enter, bounded waits.

Everything that is started is registered with a Sandbox and stopped in reverse order; nothing
outside the folder is written.
"""

import atexit
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SYSTEM_TRUST = "/etc/ssl/certs"

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x1 | 0x40


def require_root():
    """Postfix and Sendmail start as root and drop to their own users: without root there is nothing
    to test."""
    if os.geteuid() != 0:
        sys.exit("end-to-end tests: must run as root, because Postfix and Sendmail must be "
                 "started by root (in CI: run the job in a container, or with sudo)")


def isolate():
    """Goes on in a child that has namespaces of its own; the parent only waits and passes on the
    exit code.

    Network: loopback only, with port 25 free at every address, and room for what Postfix logs. Processes: whatever way the child
    ends, the kernel ends all that it started. Host name: mx.test, because Sendmail sleeps 60 s at
    its start where the name has no dot. Where this is forbidden (an unprivileged container) it does
    nothing: the tests run on the machine's own network, on free ports.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS) != 0:
        return
    sys.stdout.flush()
    if child := os.fork():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child gets it from the terminal, too
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    libc.mount(b"proc", b"/proc", b"proc", 0, None)  # the leak sanitizer reads it
    socket.sethostname("mx.test")
    os.environ["CALLFORWARD_TEST_ISOLATED"] = "1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP_RUNNING, b""))
    # Postfix' postlogd logs to its own socket while it starts, and waits for ever where that is full; the
    # kernel's own 10 datagrams are full when a few smtpd begin at once.
    with open("/proc/sys/net/unix/max_dgram_qlen", "w", encoding="ascii") as most:
        most.write("1000")


def ask_dns_at(address, sandbox):
    """From now on /etc/resolv.conf names this server, for this run only. False where that cannot
    be: then the machine's own is left as it is."""
    if not os.environ.get("CALLFORWARD_TEST_ISOLATED"):
        return False
    servers = sandbox.write("resolv.conf", f"nameserver {address}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.mount(servers.encode(), b"/etc/resolv.conf", None, MS_BIND, None) == 0


class SystemTrust:
    """Until stop(): the system trusts these certificates and no others, for this run only."""

    def __init__(self, sandbox, *certificates):
        if not os.environ.get("CALLFORWARD_TEST_ISOLATED"):
            raise AssertionError("what this system trusts cannot be changed for a test alone: "
                                 "namespaces are forbidden here")
        texts = []
        for path in certificates:
            with open(path, encoding="ascii") as file:
                texts.append(file.read())
        bundle = sandbox.write("trust/ca-certificates.crt", "".join(texts))
        self._libc = ctypes.CDLL(None, use_errno=True)
        if self._libc.mount(os.path.dirname(bundle).encode(), SYSTEM_TRUST.encode(), None, MS_BIND,
                            None) != 0:
            raise AssertionError(f"mount: {os.strerror(ctypes.get_errno())}")
        sandbox.add(self)

    def stop(self):
        if self._libc.umount2(SYSTEM_TRUST.encode(), MNT_DETACH) != 0:
            raise AssertionError(f"umount: {os.strerror(ctypes.get_errno())}")


def interrupt_on_sigterm():
    """SIGTERM ends the run as Ctrl-C does, so that what was started is stopped."""
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, 0))
        return probe.getsockname()[1]


def smtp_port(address):
    """25 where it can be had (Sendmail's macros do not tell the port of a next hop), else any free
    port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, 25))
            return 25
        except OSError:
            return free_port(address)


def wait_until(check, what, seconds=60.0):
    """Polls `check` until it gives something true, which is returned; fails loudly, saying what was
    waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.01)


def listens(address, port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def binary(*parts):
    """A program below the build folder (environment CALLFORWARD_BUILD)."""
    build = os.environ.get("CALLFORWARD_BUILD")
    if not build:
        raise AssertionError("CALLFORWARD_BUILD is not set: say --build DIR")
    path = os.path.join(os.path.abspath(build), *parts)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is missing: build it first")
    return path


def cached(name):
    """A variable of the build's CMake cache; "" where it has none."""
    with open(os.path.join(os.environ["CALLFORWARD_BUILD"], "CMakeCache.txt"), encoding="utf-8") as file:
        return next((line.partition("=")[2].strip() for line in file if line.startswith(name + ":")), "")


def sanitizers():
    """Of the build: "address,undefined", "thread" or ""."""
    return cached("CALLFORWARD_SANITIZE")


def sanitizer_library():
    """Of the build's sanitizers; to be loaded first where the program was built without."""
    name = "libtsan.so" if "thread" in sanitizers() else "libasan.so"
    return subprocess.run(["g++", f"-print-file-name={name}"], check=True, capture_output=True,
                          text=True).stdout.strip()


class Sandbox:
    """A temporary folder and the things that were started in it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="callforward-test-")
        os.chmod(self.folder, 0o755)
        self._running = []
        atexit.register(self.stop)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def add(self, thing):
        """Registers something that has stop(); it is stopped with the sandbox, last one first."""
        self._running.append(thing)
        return thing

    def stop(self):
        atexit.unregister(self.stop)
        problems = []
        while self._running:
            try:
                self._running.pop().stop()
            except Exception as problem:  # the others must be stopped all the same
                problems.append(str(problem))
        shutil.rmtree(self.folder, ignore_errors=True)
        if problems:
            raise AssertionError("; ".join(problems))
