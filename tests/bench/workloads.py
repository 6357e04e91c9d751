"""What is asked of whom, and one run of it."""

import dataclasses
import time

from systems import NOOP, System, counters, machine_cpu

SYSTEMS = {
    "a": "callforward under Postfix",
    "b": "Postfix reject_unverified_recipient",
    "b1": "Postfix reject_unverified_recipient, polling each second",
    "c": "Postfix with a no-op milter",
    "cq": "Postfix with a milter that does nothing but ask",
    "cw": "Postfix with a no-op milter that waits a round trip",
    "d": "Postfix alone",
    "e": "callforward, milter protocol",
    "f": "no-op milter, milter protocol",
    "fq": "milter that does nothing but ask, milter protocol",
    "fs": "no-op milter that works for 2 microseconds, milter protocol",
    "fw": "no-op milter that waits a round trip, milter protocol",
    "fx": "no-op milter in callforward's sandbox, milter protocol",
    "raw": "no system: load to next hop, sessions reused",
    "rawb": "no system: load to next hop, batches of 20",
}

# Seconds below which a system shows nothing: Postfix looks again after 3 s, or after 1 s.
SLOW = {"b": 7.0, "b1": 4.0}

FIFTY = "name=all,clients=50"
OTHERS = "name=others,clients=10,domains=10,first=1"
HEALTHY = "name=healthy,clients=40,domains=40"


@dataclasses.dataclass(frozen=True)
class Workload:
    title: str
    systems: tuple
    groups: tuple
    delay: int = 0  # round trip to the next hop, ms
    hosts: int = 1
    dead: int | None = None  # the host that leaves SYNs unanswered
    tls: bool = False
    hot: bool = False  # the addresses are made known before
    once: bool = False  # until all clients have asked, without warming up
    least_seconds: float = 0.0
    fill: bool = False  # the memory case


COLD = FIFTY + ",pattern=cold"
WORKLOADS = {
    "W1": Workload("hot: 50 clients, 1000 known recipients", ("d", "c", "a", "b", "f", "fs", "fx", "e"),
                   (FIFTY + ",pattern=hot",), hot=True),
    "W2d0": Workload("cold, next hop at 0 ms",
                     ("d", "c", "cw", "cq", "a", "b", "b1", "f", "fq", "e", "raw", "rawb"), (COLD,)),
    "W2d20": Workload("cold, next hop at 20 ms",
                      ("d", "c", "cw", "cq", "a", "b", "b1", "f", "fw", "e", "raw", "rawb"), (COLD,),
                      delay=20),
    "W2d100": Workload("cold, next hop at 100 ms", ("c", "a", "b1", "fw", "e", "raw"), (COLD,),
                       delay=100),
    "W3": Workload("dictionary attack: 50 clients, all unknown, 20 ms; 10 others on 10 hosts",
                   ("c", "a", "b1", "e"),
                   ("name=attack,clients=50,pattern=unknown,session=10", OTHERS), delay=20,
                   hosts=11),
    "W3quiet": Workload("the 10 others without the attack", ("c", "a", "b1", "e"), (OTHERS,), delay=20,
                        hosts=11),
    "W4": Workload("cold, 200 domains on 200 hosts, 20 ms", ("c", "a", "b1", "e"),
                   (COLD + ",domains=200",), delay=20, hosts=200),
    "W5": Workload("one dead next hop (10 clients) beside 40 healthy ones, 20 ms", ("c", "a", "e"),
                   (HEALTHY, "name=dead,clients=10,first=40"), delay=20, hosts=41, dead=40,
                   least_seconds=16),
    "W5quiet": Workload("the 40 healthy ones alone", ("c", "a", "e"), (HEALTHY,), delay=20, hosts=41),
    "W6": Workload("200 sessions, one new recipient, 500 ms", ("a", "b1", "e"),
                   ("name=all,clients=200,pattern=one,each=1",), delay=500, once=True,
                   least_seconds=15),
    "W7d20": Workload("cold over STARTTLS, 20 ms", ("a", "b1", "e"), (COLD,), delay=20, tls=True),
    "W8d20": Workload("cold, 500 clients, 20 ms", ("fw", "e", "raw"),
                      ("name=all,clients=500,pattern=cold",), delay=20),
    "W9": Workload("many recipients known, and a restart", ("e",), (), fill=True),
}


def with_batch(groups, letter):
    batch = {"raw": 1, "rawb": 20}.get(letter)
    return [group + (f",batch={batch},session=0" if batch else "") for group in groups]


class Measurement:
    def __init__(self, bench, seconds, warm):
        self.bench, self.seconds, self.warm = bench, seconds, warm
        self._number, self._hot_in_postfix = 0, False

    def run(self, workload, letter):
        self._number += 1
        tag = f"r{self._number}"
        hop = self.bench.start_next_hop(workload)
        try:
            system = System(self.bench, letter, workload)
            system.start()
            try:
                return self._measure(workload, system, hop, tag, f"{workload.title}, ({letter})")
            finally:
                system.stop()
        finally:
            hop.stop()

    def _make_hot(self, system):
        if system.letter == "d" or system.letter in NOOP:  # nothing there knows anything
            return
        load, clients = system.load(), 50
        if system.letter == "b":  # quicker through the one that polls more often: one cache
            if self._hot_in_postfix:
                return
            load, clients = System(self.bench, "b1", WORKLOADS["W1"]).load(), 200
            self._hot_in_postfix = True
        group = f"name=all,clients={clients},pattern=hot,count=1000"
        self.bench.run_load(load, [group], 60, 0, "hot")

    def _measure(self, workload, system, hop, tag, title):
        if workload.hot:
            self._make_hot(system)
        before = {}

        def begin():
            before["hop"] = counters(hop) if not workload.once else {"cpu": 0.0}
            before["cpu"], before["machine"] = system.cpu(), machine_cpu()

        seconds = max(self.seconds, workload.least_seconds, SLOW.get(system.letter, 0))
        # What comes first is part of what is measured where something is dead.
        warm = 0 if workload.once or workload.dead is not None else self.warm
        system.profile(title)
        load = self.bench.run_load(system.load(), with_batch(workload.groups, system.letter),
                                   seconds, warm, tag, begin)
        cpu, machine = system.cpu() - before["cpu"], machine_cpu() - before["machine"]
        after = counters(hop)
        hop_cpu = after["cpu"] - before["hop"]["cpu"]
        verdicts = sum(group["verdicts"] for group in load["groups"].values())
        return {
            "groups": load["groups"], "verdicts": verdicts,
            "cpu_per_1000": 1000 * cpu / verdicts if verdicts else 0.0,
            "cpu_busy": cpu / load["seconds"],
            "load_busy": load["load_cpu"] / load["seconds"],
            "hop_busy": hop_cpu / load["seconds"],
            # Of the whole machine: what disturbed the measurement.
            "others_busy": max(0.0, machine - cpu - load["load_cpu"] - hop_cpu) / load["seconds"],
            "memory": system.memory(), "hop": after,
        }

    def fill(self, recipients):
        """Memory for so many known recipients, and the restart with them."""
        workload = WORKLOADS["W9"]
        hop = self.bench.start_next_hop(workload)
        system = System(self.bench, "e", workload, "lmdb:" + self.bench.box.path("store"))
        try:
            try:
                system.start()
            except AssertionError:  # a daemon without that store
                system.store = "memory"
                system.start()
            empty, _ = system.process.resident()
            group = f"name=all,clients=400,pattern=cold,count={recipients}"
            load = self.bench.run_load(system.load(), [group], 900, 0, "fill")["groups"]["all"]
            (full, mapped), peak = system.process.resident(), system.process.peak()
            system.stop()
            counters(hop)
            begin = time.monotonic()
            system.start()
            ready = time.monotonic() - begin
            known = min(1000, recipients)
            again = f"name=all,clients=50,pattern=cold,count={known}"
            self.bench.run_load(system.load(), [again], 60, 0, "fill")
            return {"recipients": recipients, "verdicts": load["verdicts"], "rate": load["rate"],
                    "resident": full, "mapped": mapped, "peak": peak, "grown": full - empty,
                    "restart": ready,
                    "store": system.store.partition(":")[0],
                    "probes_after_restart": counters(hop)["recipients"]}
        finally:
            system.stop()
            hop.stop()
