"""The daemon's own life under load: signals, reloads, too few descriptors, too many sessions, an
attack, floods (rows 20, 32, 54, 73, 76-81 of the catalogue). One case after the other, each with a
daemon of its own."""

import os
import resource
import signal
import subprocess
import threading
import time

from faults.hop import Hop
from faults.suite import (HEAD, SETTINGS, WITHIN, CannotBe, Case, Heartbeat, World, failure,
                          in_time, start_daemon)
from harness.milter_client import HungUp
from harness.next_hop import STALL, Endless, Held
from harness.sandbox import cached, sanitizers, wait_until


def own_world(world, name, settings=SETTINGS, within=WITHIN):
    own = World(world.starts(start_daemon(world.box, name, settings, within)), world.slack)
    own.local, own.box = world.local, world.box
    return own


def resident_kib(daemon):
    with open(f"/proc/{daemon._process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def cpu_seconds(daemon):
    with open(f"/proc/{daemon._process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon._process.pid}/fd"))


def threads(daemon):
    with open(f"/proc/{daemon._process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Threads"))


def sigterm_while_busy(world):
    # Long enough for the held answer on a machine that stalls; the stalled one ends by answer_within.
    within = 8.0
    own = own_world(world, "sigterm", SETTINGS.replace(
        'timeout = "5s"', 'timeout = "60s"').replace('reply_timeout = "3s"', 'reply_timeout = "60s"'), within)
    hop = Hop()
    held = hop.rcpt["known.held@may.test"] = Held("250 2.1.5 ok")
    hop.rcpt["known.stalled@may.test"] = STALL
    answers = {}

    def ask(recipient):
        with own.client() as client:
            answers[recipient] = client.rcpt(recipient, hop.route).code

    asking = [threading.Thread(target=ask, args=(f"known.{name}@may.test",))
              for name in ("held", "stalled")]
    for thread in asking:
        thread.start()
    wait_until(lambda: hop.asked("known.held@may.test") and hop.asked("known.stalled@may.test"), "both questions")
    begin = time.monotonic()
    own.daemon.signal(signal.SIGTERM)
    threading.Timer(0.2, held.release).start()
    code = own.daemon.wait(20)
    took = time.monotonic() - begin
    for thread in asking:
        thread.join(20)
    hop.stop()
    assert code == 0, f"exit code {code}"
    assert took < within + 1 + world.slack, f"took {took:.2f} s"
    assert answers.get("known.held@may.test") == 250, answers
    assert answers.get("known.stalled@may.test", 0) // 100 == 4, answers
    return f"all answered, exit 0 after {took:.2f} s"


def signal_storm(world):
    own = own_world(world, "signals")
    hop = Hop()
    beat = Heartbeat(own, hop, 0.01)
    for number in range(200):
        own.daemon.signal((signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGWINCH)[number % 4])
        time.sleep(0.002)
    time.sleep(0.5)
    beat.stop()
    own.expect("known.after.signals@may.test", hop.route, "A")
    own.daemon.stop()
    hop.stop()
    assert not beat.wrong, beat.wrong[:3]
    return f"200 signals, {len(beat.seconds)} answers, none wrong"


def reload_storm(world):
    own = own_world(world, "reloads")
    hop = Hop()
    beat = Heartbeat(own, hop, 0.01)
    for number in range(40):
        broken = number % 2 == 0
        own.daemon.configure("[policy\nbroken" if broken else
                             SETTINGS + f'[domain."d{number}.test"]\nmode = "off"\n', HEAD)
        own.daemon.signal()
        time.sleep(0.03)
    own.daemon.configure(SETTINGS, HEAD)
    own.daemon.signal()
    time.sleep(0.3)
    beat.stop()
    own.expect("known.after.reloads@may.test", hop.route, "A")
    own.expect("nobody.after.reloads@may.test", hop.route, "J")
    own.daemon.stop()
    hop.stop()
    assert not beat.wrong, beat.wrong[:3]
    return f"41 reloads, every second file broken; {len(beat.seconds)} answers, none wrong"


def leave_no_descriptor_to_a_sanitizer():
    if "undefined" in sanitizers():
        raise CannotBe("the undefined-behaviour sanitizer reads an object's type through a pipe, and takes "
                       "a pipe that it cannot have for an object that is none")


def few_descriptors(world):
    leave_no_descriptor_to_a_sanitizer()
    own = own_world(world, "descriptors")
    hop = Hop()
    own.expect("known.first@may.test", hop.route, "A")
    pid, now = own.daemon._process.pid, descriptors(own.daemon)
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (now + 12, most))
    sessions, answers = [], []
    for number in range(30):
        try:
            client = own.client(negotiate=False, patience=1.0)
            sessions.append(client)
        except OSError:
            break
    cpu, begin = cpu_seconds(own.daemon), time.monotonic()
    time.sleep(1.0)
    share = (cpu_seconds(own.daemon) - cpu) / (time.monotonic() - begin)
    for client in sessions[:6]:
        client.close()
    for number in range(6):
        try:
            with own.client(patience=3.0) as client:
                answers.append(client.rcpt(f"known.few.{number}@may.test", hop.route).code)
        except (OSError, HungUp):
            answers.append(0)
    for client in sessions:
        client.close()
    time.sleep(0.5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (now + 200, most))
    own.expect("known.recovered@may.test", hop.route, "A")
    own.expect("nobody.recovered@may.test", hop.route, "J")
    own.daemon.stop()
    hop.stop()
    assert all(code // 100 in (0, 2, 4) for code in answers), answers
    return f"out of descriptors: {answers}, {share:.0%} of a processor, recovered"


def no_descriptor_for_a_hop(world):
    """Sessions of the MTA are there, and no descriptor is left to ask a next hop: no fault of the host, which
    is not left alone for it."""
    leave_no_descriptor_to_a_sanitizer()
    own = own_world(world, "nodescriptor", SETTINGS.replace('host_penalty = "0s"', 'host_penalty = "60s"'))
    hops = [Hop() for _ in range(6)]
    own.expect("known.first@may.test", hops[0].route, "A")
    clients = [own.client() for _ in hops]
    pid = own.daemon._process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(own.daemon), most))
    seen = []
    for turn in range(3):
        for number, (client, hop) in enumerate(zip(clients, hops)):
            if number:
                # One that the daemon has just given back may be there for a call or two.
                seen.append(own.expect(f"known.{turn}.{number}@may.test", hop.route, "TA",
                                       client=client, bound=3.0))
    late = [each for each in seen if each != "A"]
    assert late, "nobody was put off"
    assert all(" 4.3.2 " in each for each in late), late
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    for number, (client, hop) in enumerate(zip(clients, hops)):
        own.expect(f"known.after.{number}@may.test", hop.route, "A", client=client, bound=3.0)
        own.expect(f"nobody.after.{number}@may.test", hop.route, "J", client=client, bound=3.0)
        client.close()
    own.daemon.stop()
    for hop in hops:
        hop.stop()
    return f"{len(late)} of {len(seen)} put off: {late[0]}; then all right"


def flood(world):
    own = own_world(world, "flood")
    hop = Hop()
    hop.rcpt = {"*": Endless(b"250-5.1.1 and so on\r\n" * 512)}
    own.expect("known.flood@may.test", hop.route, "T")
    before = resident_kib(own.daemon)
    clients = [own.client() for _ in range(24)]
    for number, client in enumerate(clients):
        client.ask_rcpt(f"known.flood.{number}@may.test", hop.route)
    for number, client in enumerate(clients):
        answer = own.check(client.answer(), f"known.flood.{number}", world.within + 2)
        assert answer.code // 100 == 4, str(answer)
        client.close()
    grown = resident_kib(own.daemon) - before
    own.daemon.stop()
    hop.stop()
    assert grown < 8192 * world.memory, f"{grown} KiB more"
    return f"24 floods at once: {grown} KiB more"


def attack(world):
    """A dictionary attack through callforward: the next hop sees few connections, and few of the
    names twice."""
    own = own_world(world, "attack")
    hop = Hop()
    hop.rcpt = {"*": "550 5.1.1 no such user"}
    wrong = []

    def harvest(number):
        with own.client(client=f"192.0.2.{number}") as client:
            for name in range(8):
                answer = client.rcpt(f"a{name}.{number}@may.test", hop.route)
                if answer.code // 100 == 2:
                    wrong.append(str(answer))

    threads = [threading.Thread(target=harvest, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    most, sessions = hop.most_at_once, hop.sessions
    own.daemon.stop()
    hop.stop()
    assert not wrong, wrong[:3]
    assert most <= 20, f"{most} connections at once"
    return f"400 names from 50 clients at once: {most} connections at once, {sessions} in all"


def blocked(world, count):
    """Sessions that wait for a stalled next hop, and others beside them."""
    within = 8.0 if count < 1000 else 25.0
    own = own_world(world, "blocked", SETTINGS.replace(
        "[limits]\n", "[limits]\npending = 100000\npending_share = 100\n").replace(
            'timeout = "5s"', 'timeout = "60s"').replace('reply_timeout = "3s"', 'reply_timeout = "60s"'),
                    within)
    alive, dead = Hop(), Hop({"rcpt": STALL})

    def others(seconds):
        beat = Heartbeat(own, alive, 0.0)
        time.sleep(seconds)
        beat.stop()
        assert not beat.wrong, beat.wrong[:3]
        return beat

    usual = others(2.5)
    clients = [own.client() for _ in range(count)]
    begin = time.monotonic()
    for number, client in enumerate(clients):
        client.ask_rcpt(f"known.{number}@dead.test", dead.route)
    while threads(own.daemon) < count and time.monotonic() - begin < within - 4:
        time.sleep(0.05)
    settled = time.monotonic() - begin
    beside = others(2.5)
    late = time.monotonic() - begin > within - 1
    for client in clients:
        answer = client.answer()
        assert answer.code // 100 == 4, f"{answer}"
        client.close()
    own.daemon.stop()
    alive.stop()
    dead.stop()
    return (f"{count} blocked, each with its thread after {settled:.1f} s: others' p50 {beside.percentile(0.5) * 1000:.1f} ms and p99 "
            f"{beside.percentile(0.99) * 1000:.1f} ms in {len(beside.seconds)} answers, usually "
            f"{usual.percentile(0.5) * 1000:.1f} ms and {usual.percentile(0.99) * 1000:.1f} ms"
            + (" (measured too late)" if late else ""))


def one_dead_among_live(world):
    own = own_world(world, "onedead")
    hops = [Hop() for _ in range(8)]
    dead = Hop({"banner": STALL})
    wrong = []

    def ask(number):
        with own.client() as client:
            for turn in range(10):
                hop = hops[(number + turn) % len(hops)]
                for name, code in (("known", 250), ("nobody", 550)):
                    got = in_time(lambda: client.rcpt(f"{name}.{number}.{turn}@may.test", hop.route))
                    if got.code != code:
                        wrong.append(got)
                if turn == 5 and number % 4 == 0:
                    got = client.rcpt(f"known.{number}@dead.test", dead.route)
                    if got.code // 100 != 4:
                        wrong.append(got)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    own.daemon.stop()
    for hop in hops + [dead]:
        hop.stop()
    if wrong:
        raise failure([str(got) for got in wrong[:3]], *[got.code for got in wrong])
    return "600 recipients at 8 live hops and a dead one: none wrong"


def too_many_connections(world):
    """[limits] connections: over all hosts together."""
    own = own_world(world, "connections", SETTINGS.replace("[limits]\n", "[limits]\nconnections = 6\n"))
    hops = [Hop({"rcpt": STALL}) for _ in range(20)]
    clients = [own.client() for _ in hops]
    for number, (client, hop) in enumerate(zip(clients, hops)):
        client.ask_rcpt(f"known.{number}@may.test", hop.route)
    codes = [str(own.check(client.answer(), "connections"))[:9] for client in clients]
    opened = sum(hop.sessions for hop in hops)
    for client in clients:
        client.close()
    own.daemon.stop()
    for hop in hops:
        hop.stop()
    assert all(code.startswith("4") for code in codes), codes
    assert opened <= 6, f"{opened} connections"
    assert "451 4.3.2" in codes, codes
    return f"20 stalling hosts: {opened} connections, {codes.count('451 4.3.2')} overloaded"


def little_memory(world):
    """An address space that holds no more threads: nobody is rejected, and what ends says so."""
    if sanitizers():
        raise CannotBe(f"the {sanitizers()} sanitizer has terabytes of address space, and cannot do with less")
    own = own_world(world, "memory")
    hop = Hop({"rcpt": STALL})
    pid = own.daemon._process.pid
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (now + (48 << 20), most))
    codes, clients = [], []
    for number in range(60):
        try:
            client = own.client(patience=2.0)
            client.ask_rcpt(f"known.{number}@may.test", hop.route)
            clients.append(client)
        except (OSError, HungUp):
            codes.append(0)
    for client in clients:
        try:
            codes.append(client.answer().code)
        except OSError:
            codes.append(0)
        client.close()
    hop.faults.clear()
    alive = own.daemon.alive()
    if alive:
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
        # libmilter may have ended, and the daemon be about to: it answers who waits before.
        try:
            own.client(patience=2.0).close()
        except ConnectionRefusedError:
            alive = False
    if not alive:
        code = own.daemon.wait()
        assert code == 69, f"it ended with {code}: {own.daemon.lines()[-3:]}"
        own.daemon.start()
    own.expect("known.memory@may.test", hop.route, "A", bound=8.0)
    own.expect("nobody.memory@may.test", hop.route, "J", bound=8.0)
    own.daemon.stop()
    hop.stop()
    assert all(code // 100 in (0, 4) for code in codes), codes
    put_off = sum(code // 100 == 4 for code in codes)
    return (f"{put_off} of 60 put off, the others hung up on; the daemon "
            + ("lived on" if alive else "ended with 69, and was started again"))


def hardened(world):
    """What the running process and its file say about themselves."""
    own = own_world(world, "hardened")
    pid = own.daemon._process.pid
    program = f"/proc/{pid}/exe"
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        both = [line for line in file if "w" in line.split()[1] and "x" in line.split()[1]]
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    def read(*options):
        return subprocess.run(["readelf", "-W", *options, os.path.realpath(program)],
                              capture_output=True, text=True, check=True).stdout

    headers = read("-h", "-l")
    wrong = []
    if "DYN (" not in headers:
        wrong.append("no position-independent executable")
    if not any("GNU_STACK" in line and " RW " in line for line in headers.splitlines()):
        wrong.append("an executable stack")
    if "GNU_RELRO" not in headers:
        wrong.append("no RELRO")
    if not sanitizers():
        if status["Seccomp"] != "2" or status["NoNewPrivs"] != "1":
            wrong.append(f"no sandbox: Seccomp {status['Seccomp']}")
        if both:
            wrong.append(f"memory written and executed: {both[0].strip()}")
    if cached("CMAKE_BUILD_TYPE") == "RelWithDebInfo":
        if "BIND_NOW" not in read("-d"):
            wrong.append("not bound at the start")
        symbols = read("--dyn-syms")
        if "__stack_chk_fail" not in symbols:
            wrong.append("no stack protector")
        if "_chk@" not in symbols:
            wrong.append("no fortified functions")
    own.daemon.stop()
    assert not wrong, "; ".join(wrong)
    return f"{cached('CMAKE_BUILD_TYPE')}: PIE, RELRO, no executable stack, no memory both written and executed"


def cases(count):
    def case(name, rows, function, *more):
        return Case(f"operation: {name}", rows, lambda world: function(world, *more), bound=3.0)
    return [case("SIGTERM while busy", "73", sigterm_while_busy),
            case("signal storm", "78", signal_storm), case("reload storm", "76", reload_storm),
            case("out of descriptors", "77", few_descriptors), case("no descriptor for a next hop", "77", no_descriptor_for_a_hop),
            case("flood of replies", "20", flood),
            case("attack on a next hop", "32,54", attack),
            case("one dead hop among live ones", "79-81", one_dead_among_live),
            case("no memory for threads", "77", little_memory),
            case("connections in all", "32", too_many_connections),
            case("hardened process and program", "-", hardened),
            case(f"{count} blocked sessions", "81", blocked, count)]
