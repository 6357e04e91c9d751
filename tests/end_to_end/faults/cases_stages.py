"""Every fault at every stage of the conversation with a next hop (rows 11-16, 18, 20-22, 28, 29,
33, 34, 36, 39 of the catalogue)."""

import socket

from faults.hop import CLOSE, FAULTS, RESET, STALL, Hop
from faults.suite import Case, wait

# What may be said for a recipient that exists and for one that does not: A accept, J reject, T
# tempfail. Only an answer to RCPT is a verdict; before it a fault is lost time, or is survived.
RIGHT = ("A", "J")  # the fault must be survived
LATER = ("T", "T")
EITHER = ("AT", "JT")

EXPECTED = {
    "banner": LATER,
    "ehlo": LATER,
    "mail": LATER,
    "rset": EITHER,
    "idle": EITHER,
    "rcpt": LATER,
}
# Stage and fault where it is otherwise.
EXCEPTIONS = {
    ("ehlo", "refuse"): RIGHT,  # HELO
    ("ehlo", "5xx"): RIGHT,
    ("mail", "refuse"): ("TJ", "TJ"),  # the original sender is refused
    ("mail", "5xx"): ("J", "J"),
    ("rcpt", "5xx"): ("J", "J"),
    # Under PIPELINING one reply too many stands in the next one's place, until RSET's tells.
    ("mail", "extra"): EITHER,
    ("rcpt", "extra"): EITHER,
}
# STARTTLS under `may`: what is refused in order goes on in clear; what is broken may be tried again
# in clear. Under `encrypt` nothing but TLS counts.
MAY_IN_CLEAR = {("starttls", "refuse"), ("starttls", "4xx"), ("starttls", "5xx")}


def expected(stage, fault, domain):
    if (stage, fault) in EXCEPTIONS:
        return EXCEPTIONS[stage, fault]
    if stage in ("starttls", "handshake", "ehlo_tls"):
        if domain == "encrypt.test":
            return LATER
        return RIGHT if (stage, fault) in MAY_IN_CLEAR else EITHER
    return EXPECTED[stage]


def stage_case(stage, fault, domain, certificate):
    secure = stage in ("starttls", "handshake", "ehlo_tls")

    def run(world):
        faults = {stage: FAULTS[fault]}
        hop = Hop(faults, certificate if secure else None)
        try:
            good, bad = expected(stage, fault, domain)
            name = f"{stage}.{fault}"
            seen = [world.expect(f"known.{name}@{domain}", hop.route, good)]
            if stage == "idle":
                wait(0.4)  # what comes in the middle of a conversation nobody can tell from a reply
            seen.append(world.expect(f"nobody.{name}@{domain}", hop.route, bad))
            if stage == "idle":
                wait(0.4)
            # The same again on what is left of the session, and then on a host that is well.
            seen.append(world.expect(f"known.again.{name}@{domain}", hop.route, good + "T"))
            hop.faults.clear()
            world.expect(f"known.well.{name}@{domain}", hop.route, "AT")
            return "; ".join(seen)
        finally:
            hop.stop()

    return Case(f"{stage} {fault}" + (" under encrypt" if domain == "encrypt.test" else ""),
                "11-16,20-22,28,29,33,34", run)


def port_closed(world):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return world.expect("known.closed@may.test", f"[127.0.0.1]:{port}", "T", bound=1.0)


def syn_dropped(world):
    """A full queue of connections drops what comes then."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            host = f"[127.0.0.1]:{listener.getsockname()[1]}"
            return world.expect("known.dropped@may.test", host, "T")
        finally:
            for filler in fillers:
                filler.close()


def at_once(answer):
    def run(world):
        hop = Hop({"banner": answer})
        try:
            return world.expect(f"known.{id(hop)}@may.test", hop.route, "T")
        finally:
            hop.stop()
    return run


def fallback_case(name, answer):
    """The first hop of two has the fault; the second one answers."""
    def run(world):
        broken, well = Hop({"banner": answer}), Hop()
        try:
            routes = f"{broken.route}, {well.route}"
            seen = [world.expect(f"known.next.{name}@may.test", routes, "AT"),
                    world.expect(f"nobody.next.{name}@may.test", routes, "JT")]
            return "; ".join(seen)
        finally:
            broken.stop()
            well.stop()
    return Case(f"first of two hops: {name}", "49", run)


def right_in_spite_of(name, rows, faults, certificate=None):
    """Faults that come after the answer, and may not cost it."""
    def run(world):
        hop = Hop(faults, certificate)
        try:
            return "; ".join([world.expect(f"known.{name}@may.test", hop.route, "A"),
                              world.expect(f"nobody.{name}@may.test", hop.route, "J"),
                              world.expect(f"known.{name}.again@may.test", hop.route, "A")])
        finally:
            hop.stop()
    return Case(f"after the answer: {name}", rows, run)


def cases(certificate):
    found = [right_in_spite_of("quit.unanswered", "18", {"quit": STALL}),
             right_in_spite_of("no.close_notify", "37", {"rset": CLOSE}, certificate),
             right_in_spite_of("reset.under.tls", "37", {"rset": RESET}, certificate)]
    found += [Case("connect refuse", "15", port_closed), Case("connect stall", "15", syn_dropped),
             Case("connect close", "11", at_once(CLOSE)), Case("connect reset", "11", at_once(RESET)),
             Case("connect silence", "11", at_once(STALL))]
    for stage in ("banner", "ehlo", "mail", "rcpt", "rset", "idle"):
        found += [stage_case(stage, fault, "may.test", certificate) for fault in FAULTS
                  if not (stage == "idle" and fault in ("drip", "extra"))]
    for domain in ("may.test", "encrypt.test"):
        for stage in ("starttls", "handshake", "ehlo_tls"):
            found += [stage_case(stage, fault, domain, certificate) for fault in FAULTS
                      if not (stage == "handshake" and fault in ("drip", "extra"))]
    found += [fallback_case(fault, FAULTS[fault])
              for fault in ("close", "reset", "garbage", "4xx", "421", "stall")]
    return found
