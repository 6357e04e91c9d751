"""The MTA's side: packets that no MTA sends, halves of packets, sessions that do nothing, MTAs that
leave (rows 58-62 and 64 of the catalogue)."""

import struct

from faults.hop import Hop
from faults.suite import Case
from harness.milter_client import SENDMAIL, HungUp, MilterClient, packet, strings
from harness.next_hop import STALL, Held

NEGOTIATION = packet("O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF))
RCPT = packet("R", strings("<known.raw@may.test>"))


def raw_kinds():
    """name -> bytes, sent in a session of their own."""
    kinds = {
        "length 0": b"\0\0\0\0",
        "length 4 GiB": b"\xff\xff\xff\xff" + b"O" * 64,
        "length 2 GiB": b"\x7f\xff\xff\xff" + b"O" * 64,
        "length 16 MiB": b"\x01\x00\x00\x00" + b"B" * 4096,
        "negotiation of 4 bytes": packet("O", b"\0\0\0\6"),
        "negotiation without bytes": packet("O"),
        "version 0": packet("O", struct.pack("!III", 0, 0x1FF, 0x1FFFFF)),
        "version 1": packet("O", struct.pack("!III", 1, 0x1FF, 0x1FFFFF)),
        "version 99": packet("O", struct.pack("!III", 99, 0x1FF, 0x1FFFFF)),
        "all bits": packet("O", struct.pack("!III", 6, 0xFFFFFFFF, 0xFFFFFFFF)),
        "no bits": packet("O", struct.pack("!III", 6, 0, 0)) + RCPT,
        "negotiated twice": NEGOTIATION * 2,
        "RCPT first of all": RCPT,
        "RCPT without MAIL": NEGOTIATION + RCPT,
        "MAIL without arguments": NEGOTIATION + packet("M") + RCPT,
        "MAIL without NUL": NEGOTIATION + packet("M", b"<a@b>") + RCPT,
        "MAIL twice": NEGOTIATION + packet("M", strings("<a@b>")) * 2 + RCPT,
        "MAIL with 1000 parameters": NEGOTIATION + packet("M", strings("<a@b>", *["SIZE=1"] * 1000)) + RCPT,
        "RCPT without arguments": NEGOTIATION + packet("R"),
        "RCPT without NUL": NEGOTIATION + packet("R", b"<known@may.test>"),
        "RCPT of NULs": NEGOTIATION + packet("R", b"\0" * 100),
        "RCPT of 60 KB": NEGOTIATION + packet("R", strings("<" + "x" * 60000 + "@may.test>")),
        "RCPT of 900 KB": NEGOTIATION + packet("R", strings("<" + "x" * 900000 + "@may.test>")),
        "macros without NUL": NEGOTIATION + packet("D", b"Rj") + RCPT,
        "a macro without value": NEGOTIATION + packet("D", b"R" + strings("j")) + RCPT,
        "macros of no stage": NEGOTIATION + packet("D", b"\xff" + strings("j", "x")) + RCPT,
        "macros of nothing": NEGOTIATION + packet("D") + RCPT,
        "macros for negotiation": packet("D", b"O" + strings("j", "x")) + NEGOTIATION + RCPT,
        "1000 macros": NEGOTIATION + packet("D", b"R" + strings(*["{x}", "y"] * 1000)) + RCPT,
        "a macro of 500 KB": NEGOTIATION + packet("D", b"R" + strings("{rcpt_host}", "x" * 500000)) + RCPT,
        "odd macros": NEGOTIATION + packet("D", b"R" + strings(
            "{rcpt_mailer}", "smtp", "{rcpt_host}", "[[[:]:]:", "{rcpt_addr}", "\x01\x7f@@",
            "v", "Postfix \x1b[31m", "j", "%s%n", "{client_addr}", "IPv6:zz")) + RCPT,
        "CONNECT with a family of no kind": NEGOTIATION + packet("C", b"host\0Z\0\0\0"),
        "CONNECT without anything": NEGOTIATION + packet("C"),
        "CONNECT cut": NEGOTIATION + packet("C", b"host\0" + b"4\0"),
        "HELO without NUL": NEGOTIATION + packet("H", b"x"),
        "a header that was switched off": NEGOTIATION + packet("L", strings("Subject", "x")),
        "a header without value": NEGOTIATION + packet("L", b"Subject"),
        "a body that was switched off": NEGOTIATION + packet("B", b"x" * 60000),
        "end of message at once": NEGOTIATION + packet("E"),
        "data at once": NEGOTIATION + packet("T"),
        "abort at once": NEGOTIATION + packet("A") + RCPT,
        "500 aborts": NEGOTIATION + packet("A") * 500 + RCPT,
        "quit, and going on": NEGOTIATION + packet("Q") + RCPT,
        "QUIT_NC, and going on": NEGOTIATION + packet("K") + RCPT,
        "an unknown SMTP command": NEGOTIATION + packet("U", strings("XYZZY")),
        "a reply as a command": NEGOTIATION + packet("c"),
        "SMTP": b"EHLO client.test\r\nMAIL FROM:<>\r\n",
        "HTTP": b"GET / HTTP/1.0\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        "64 KiB of 0xff": b"\xff" * 65536,
    }
    for letter in "\0GIJNPSVWXYZ[\x7f\xff":
        kinds[f"command {letter!r}"] = NEGOTIATION + struct.pack("!I", 5) + letter.encode("latin-1") + b"abcd"
    return kinds


def raw_case(name, data, hop):
    def run(world):
        client = world.client(negotiate=False)
        client.socket.settimeout(4)
        seen = "closed"
        try:
            client.send(data)
            client.socket.shutdown(1)  # so that a filter that waits for more ends, too
            while True:
                command, reply = client.receive()
                seen = f"answered {command}"
                assert not (command == "y" and reply[:1] == b"5" and b"5.1.1" in reply), \
                    f"a reject: {reply!r}"
        except (HungUp, OSError):
            pass
        finally:
            client.close()
        world.expect(f"known.after.{abs(hash(name))}@may.test", hop.route, "A")
        return seen
    return Case(f"packet: {name}", "61,64", run)


def half_packets(hop):
    """A session cut after each byte of a good conversation."""
    def run(world):
        whole = NEGOTIATION + packet("D", b"R" + strings("{rcpt_mailer}", "smtp")) + RCPT
        for end in range(1, len(whole)):
            client = MilterClient(world.daemon.milter, negotiate=False)
            client.send(whole[:end])
            client.close()
        return world.expect("known.after.halves@may.test", hop.route, "A") + f" after {len(whole)}"
    return Case("a conversation cut at each byte", "61", run)


def idle_sessions(hop, count):
    def run(world):
        idle = []
        try:
            for number in range(count):
                client = MilterClient(world.daemon.milter, negotiate=number % 2 == 0)
                if number % 2:
                    client.send(NEGOTIATION[:number % 16])  # half of one
                idle.append(client)
            seen = [world.expect(f"known.{n}.beside.idle@may.test", hop.route, "A") for n in range(20)]
            return f"{len(seen)} answered beside {count} idle and half-open sessions"
        finally:
            for client in idle:
                client.close()
    # libmilter may leave a session to a worker that waits for the rest of a packet: 5 s, see door.
    return Case(f"{count} idle and half-open sessions", "62", run, bound=5.5)


def leaves_while_waiting(hop, count):
    """Row 60: the MTA leaves while we wait."""
    def run(world):
        held = Held("250 2.1.5 ok")
        hop.rcpt["held@may.test"] = held
        for number in range(count):
            client = world.client()
            client.ask_rcpt("held@may.test" if number == 0 else f"held.{number}@may.test", hop.route)
            client.close()
        held.release()
        return world.expect("known.after.leaving@may.test", hop.route, "A")
    return Case(f"{count} MTAs leave while they wait", "60", run)


def messages_of_a_connection(hop):
    """Row 59: state is reset between messages."""
    def run(world):
        with world.client() as client:
            for number in range(20):
                client.mail(f"s{number}@sender.test", "SIZE=100")
                world.expect(f"known.msg{number}@may.test", hop.route, "A", client=client)
                world.expect(f"nobody.msg{number}@may.test", hop.route, "J", client=client)
                client.abort()
        return "20 messages"
    return Case("20 messages of one connection", "59", run)


def negotiation(_hop):
    """Row 58: nothing is asked for that is not needed."""
    def run(world):
        client = world.client(negotiate=False)
        client.send(NEGOTIATION)
        _, data = client.receive()
        client.close()
        version, actions, steps = struct.unpack("!III", data[:12])
        assert version == 6 and actions & ~0x100 == 0, f"actions {actions:#x}"
        assert steps & 0x1 and steps & 0x10 and steps & 0x20, f"steps {steps:#x}"
        return f"actions {actions:#x}, steps {steps:#x}"
    return Case("negotiation", "58", run)


def no_progress_for_sendmail(_hop):
    def run(world):
        hop = Hop({"rcpt": STALL})
        try:
            client = world.client(version=SENDMAIL)
            client.ask_rcpt("known.slow@may.test", hop.route.partition(":")[0])
            command, _ = client.receive()
            client.close()
            assert command != "p", "Sendmail got a progress reply"
            return f"answered {command}"
        finally:
            hop.stop()
    return Case("no progress reply for Sendmail", "58", run)


def cases(hop, many):
    kinds = [raw_case(name, data, hop) for name, data in raw_kinds().items()]
    return kinds + [half_packets(hop), leaves_while_waiting(hop, 50), messages_of_a_connection(hop),
                    negotiation(hop), no_progress_for_sendmail(hop), idle_sessions(hop, many)]
