"""The store on disk: killed, damaged, full, read-only, somebody else's (rows 65-70 of the
catalogue). Each case has a daemon and a folder of its own."""

import ctypes
import glob
import os
import re
import shutil
import threading
import time

from faults.suite import SETTINGS, Case, World
from harness.daemon import Daemon
from harness.milter_client import HungUp
from harness.sandbox import sanitizer_library, sanitizers

HEAD = """\
[milter]
socket = "{socket}"
answer_within = "{answer_within}"
user = "%s"
[log]
target = "stderr"
"""
STORE = 'store = "lmdb:%s"\n'


def open_daemon(world, name, folder, user=""):
    daemon = world.starts(Daemon(world.box, name, start=False, answer_within="1500ms"))
    settings = SETTINGS.replace('store = "memory"\n', STORE % folder)
    daemon.configure(settings, HEAD % user)
    return daemon


def world_of(world, daemon):
    """The case's own daemon under the case's laws."""
    own = World(daemon, world.slack)
    own.local = world.local
    return own


def start(daemon):
    begin = time.monotonic()
    daemon.start()
    return time.monotonic() - begin


def fresh(own, hop, tag, count):
    with own.client() as client:
        for number in range(count):
            own.expect(f"known.{tag}.{number}@may.test", hop.route, "A", client=client)
            own.expect(f"nobody.{tag}.{number}@may.test", hop.route, "J", client=client)


def killed(world, hop, kills):
    folder = world.box.path("killed")
    daemon = open_daemon(world, "killed", folder)
    slowest, asked_again = 0.0, 0
    for kill in range(kills):
        slowest = max(slowest, start(daemon))
        own = world_of(world, daemon)
        if kill:
            with own.client() as client:
                for number in range(3):  # from before the kill: known or asked again, never wrong
                    own.expect(f"known.k{kill - 1}.{number}@may.test", hop.route, "A", client=client)
                    own.expect(f"nobody.k{kill - 1}.{number}@may.test", hop.route, "J", client=client)
                    asked_again += 2
        stop = threading.Event()

        def write(tag):
            number = 0
            try:
                with own.client() as client:
                    while not stop.is_set():
                        client.rcpt(f"known.{tag}.{number}@may.test", hop.route)
                        client.rcpt(f"nobody.{tag}.{number}@may.test", hop.route)
                        number += 1
            except (OSError, HungUp):
                pass

        writers = [threading.Thread(target=write, args=(f"k{kill}" if n == 0 else f"k{kill}w{n}",))
                   for n in range(3)]
        for writer in writers:
            writer.start()
        time.sleep(0.05 + 0.03 * (kill % 7))
        daemon.kill()
        stop.set()
        for writer in writers:
            writer.join(10)
    slowest = max(slowest, start(daemon))
    fresh(world_of(world, daemon), hop, "end", 3)
    daemon.stop()
    assert slowest < 1.0 + world.slack, f"a start took {slowest:.2f} s"
    return f"{kills} kills, slowest start {slowest:.2f} s, {asked_again} asked again, 0 wrong"


def flip(path, first=0, every=97, bits=0x55):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        for at in range(first, len(data), every):
            data[at] ^= bits
        file.seek(0)
        file.write(data)


def flip_data(path):
    """All but the first two pages, where LMDB keeps its own."""
    flip(path, 8192, 61, 0x21)


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


def zeroed(path):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.write(bytes(size))


def folder_instead(path):
    os.unlink(path)
    os.mkdir(path)


def damaged(damage):
    def run(world, hop):
        name = damage.__name__
        folder = world.box.path(f"store-{name}")
        daemon = open_daemon(world, name, folder)
        daemon.start()
        fresh(world_of(world, daemon), hop, name, 20)
        daemon.stop()
        files = [os.path.join(folder, file) for file in sorted(os.listdir(folder))]
        assert files, "the store has no files"
        for path in files:
            if os.path.isfile(path) and os.path.getsize(path) > 0:
                damage(path)
        took = start(daemon)
        own = world_of(world, daemon)
        fresh(own, hop, name, 20)
        fresh(own, hop, name + ".after", 20)
        daemon.stop()
        return f"started in {took:.2f} s, verdicts right"
    return run


def mounted(path, options):
    os.makedirs(path, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", path.encode(), b"tmpfs", 0, options.encode()) != 0:
        raise AssertionError(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    return lambda: libc.umount2(path.encode(), 2)


def disk_full(world, hop):
    folder = world.box.path("full")
    unmount = mounted(folder, "size=192k")
    try:
        daemon = open_daemon(world, "full", folder)
        daemon.start()
        own = world_of(world, daemon)
        fresh(own, hop, "full", 150)
        with open(os.path.join(folder, "filler"), "wb") as file:
            try:
                file.write(bytes(1 << 20))
            except OSError:
                pass
        fresh(own, hop, "fuller", 50)
        daemon.stop()
        daemon.start()
        fresh(world_of(world, daemon), hop, "fullest", 20)
        daemon.stop()
        return "440 verdicts right"
    finally:
        unmount()


TELLS_OF_STORE = "memory|store"  # a line of the log that says that it cannot be used


def read_only(world, hop):
    folder = world.box.path("readonly")
    unmount = mounted(folder, "size=1m,ro")
    try:
        libc = ctypes.CDLL(None)
        libc.mount(b"none", folder.encode(), b"tmpfs", 32 | 1, b"size=1m")  # remount, read-only
        daemon = open_daemon(world, "readonly", folder)
        daemon.start()
        fresh(world_of(world, daemon), hop, "readonly", 20)
        daemon.wait_for_line(TELLS_OF_STORE)
        daemon.stop()
        return "verdicts right, and the log says so"
    finally:
        unmount()


def wrong_owner(world, hop):
    folder = world.box.path("roots")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    daemon = open_daemon(world, "owner", folder, user="nobody")
    daemon.start()
    fresh(world_of(world, daemon), hop, "owner", 10)
    daemon.wait_for_line(TELLS_OF_STORE)
    daemon.stop()
    return "verdicts right, and the log says so"


def restarted(world, hop):
    """Row 65: what is known outlives a restart, and is asked for once."""
    folder = world.box.path("restarted")
    daemon = open_daemon(world, "restarted", folder)
    daemon.start()
    fresh(world_of(world, daemon), hop, "restart", 5)
    daemon.stop()
    before = hop.asked("known.restart.0@may.test")
    daemon.start()
    fresh(world_of(world, daemon), hop, "restart", 5)
    daemon.stop()
    after = hop.asked("known.restart.0@may.test")
    shutil.rmtree(folder, ignore_errors=True)
    assert (before, after) == (1, 1), f"asked {before} and {after} times"
    return "asked once"


DAY = 86400


def clock_steps(world, hop):
    """The wall clock goes back and far ahead, between starts and under the running daemon. Answers
    stay right, and nothing that was learnt in the future stays known for longer than its life."""
    library = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
    assert library, "libfaketime is missing: contrib/install-deps"
    if sanitizers():  # wants to be loaded before
        library = sanitizer_library() + " " + library
    folder, step = world.box.path("clock"), world.box.path("clock.step")
    daemon = open_daemon(world, "clock", folder)
    with open(daemon.config, encoding="utf-8") as file:
        settings = file.read().replace("[cache]\n", '[cache]\ndeliverable = "2s"\nundeliverable = "2s"\n')
    with open(daemon.config, "w", encoding="utf-8") as file:
        file.write(settings)
    # The clock that a machine steps; the monotonic one is not stepped by anybody.
    daemon.environment = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": step, "FAKETIME_NO_CACHE": "1",
                          "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}

    def set_clock(seconds):
        with open(step + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}s")
        os.rename(step + ".new", step)

    set_clock(0)
    own = world_of(world, daemon)
    start(daemon)
    steps = [0, -DAY, 3650 * DAY, 0, -3650 * DAY, 20000 * DAY, 0]
    for number, seconds in enumerate(steps):
        set_clock(seconds)
        if number % 2:
            daemon.stop()  # what is in memory is forgotten
            start(daemon)
        fresh(own, hop, f"clock{number}", 2)
        for earlier in range(number):
            fresh(own, hop, f"clock{earlier}", 2)
    daemon.stop()
    year = daemon_year(daemon)
    # Learnt in the future, asked about in the present: known again for one life, not for ten years.
    set_clock(3650 * DAY)
    start(daemon)
    fresh(own, hop, "future", 1)
    daemon.stop()
    then = daemon_year(daemon)
    assert then - year in (9, 10, 11), f"the clock did not step: {year}, {then}"
    set_clock(0)
    start(daemon)
    before = hop.asked("nobody.future.0@may.test")
    begin = time.monotonic()
    while hop.asked("nobody.future.0@may.test") == before:
        assert time.monotonic() - begin < 30, "a refusal that was learnt in the future is immortal"
        own.expect("nobody.future.0@may.test", hop.route, "J")
        time.sleep(0.1)
    again = time.monotonic() - begin
    daemon.stop()
    return f"{len(steps)} steps of up to 20,000 days, 0 wrong; of the future, asked again after {again:.1f} s"


def daemon_year(daemon):
    """By the last line of its log that has a time. The daemon has stopped: until then its last lines
    may not be written yet."""
    for line in reversed(daemon.lines()):
        if found := re.search(r"\b(19|20)\d\d(?=-\d\d-\d\d)", line):
            return int(found.group())
    raise AssertionError(f"no time in the log: {daemon.lines()[-3:]}")


def cases(hop, kills):
    def case(name, rows, function, *more):
        return Case(f"store: {name}", rows, lambda world: function(world, hop, *more), bound=3.0)
    found = [case("restart", "65", restarted), case(f"{kills} kills while writing", "66", killed, kills),
             case("disk full", "68", disk_full), case("read-only", "68", read_only),
             case("somebody else's folder", "68", wrong_owner), case("clock steps", "69", clock_steps)]
    for damage, name in ((flip, "bytes changed"), (flip_data, "bytes of the data changed"),
                         (cut, "cut in half"), (empty, "emptied"), (zeroed, "zeroed"),
                         (os.unlink, "removed"), (folder_instead, "folders in the files' places")):
        found.append(case(name, "67", damaged(damage)))
    return found
