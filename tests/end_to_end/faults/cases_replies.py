"""What a next hop may answer to RCPT, and what the client is told (rows 1-9 and 20-27 of the
catalogue)."""

import re
import threading

from faults.hop import Hop
from faults.suite import Case, failure, in_time
from harness.next_hop import CLOSE, Delayed, Endless, Held

MANY_LINES = b"".join(b"550-5.1.1 line %d\r\n" % n for n in range(39)) + b"550 5.1.1 last\r\n"

# name, rows, the answer to RCPT, what the client gets: letter, code and enhanced code as a pattern.
TABLE = [
    ("550 5.1.1", "1", "550 5.1.1 no such user", "J", r"550 5\.1\.1 "),
    ("a bare 550", "1", "550 no such user", "J", r"550 5\.1\.1 "),
    ("550 5.1.10", "1", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", "J", r"550 5\.1\.10 "),
    ("551", "1", "551 5.1.6 user has moved", "J", r"551 5\.1\.6 "),
    ("553 bare", "1", "553 sorry, no mailbox here by that name", "J", r"553 5\.1\.1 "),
    ("554 5.1.1", "1", "554 5.1.1 unknown", "J", r"554 5\.1\.1 "),
    ("550 5.4.1", "2", "550 5.4.1 Recipient address rejected: Access denied", "J", r"550 5\.4\.1 "),
    ("550 5.2.1", "1", "550 5.2.1 mailbox disabled", "J", r"550 5\.2\.1 "),
    ("552 5.2.2", "4", "552 5.2.2 mailbox full", "J", r"552 5\.2\.2 "),
    ("251", "3", "251 2.1.5 will forward", "A", ""),
    ("252", "3", "252 2.1.5 cannot verify", "A", ""),
    ("450", "4", "450 4.2.0 later", "T", r"450 4\.2\.0 "),
    ("451", "4", "451 4.3.0 local error", "T", r"451 4\.3\.0 "),
    ("452 mailbox full", "4", "452 4.2.2 mailbox full", "T", r"452 4\.2\.2 "),
    ("452 too many recipients", "30", "452 4.5.3 too many recipients", "T", r"4"),
    ("554 5.7.1 block list", "5", "554 5.7.1 blocked using zen.example", "T", r"4\d\d 4\.7\.1 "),
    ("550 relay denied", "5", "550 relaying denied", "T", r"4"),
    ("530 authentication", "5", "530 5.7.0 authentication required", "T", r"4\d\d 4\.7\.0 "),
    ("503", "5", "503 5.5.1 sequence", "T", r"4"),
    ("500", "5", "500 5.5.1 what", "T", r"4"),
    ("555", "5", "555 5.5.4 parameters", "T", r"4"),
    ("450 with 5.1.1", "6", "450 5.1.1 soft bounce", "T", r"450 4\.1\.1 "),
    ("550 with 4.1.1", "6", "550 4.1.1 hard", "JT", r"(550 5|4\d\d 4)\."),
    ("250 with 5.1.1", "6", "250 5.1.1 ok", "A", ""),
    ("sender refused at RCPT", "9", "550 5.1.7 bad sender", "J", r"550 5\.1\.7 "),
    ("354", "21", "354 go ahead", "T", r"4"),
    ("an endless reply", "20", Endless(b"550-5.1.1 and so on\r\n" * 64), "T", r"451 4\.4\.1 "),
    ("an endless line", "20", Endless(b"5" * 4096), "T", r"451 4\.4\.1 "),
    ("a line of 1 MiB", "20", b"550 5.1.1 " + b"x" * 1048576 + b"\r\n", "T", r"451 4\.4\.1 "),
    ("a line of 3000 bytes", "26", b"550 5.1.1 " + b"x" * 3000 + b"\r\n", "J", r"550 5\.1\.1 "),
    ("39 lines", "26", MANY_LINES, "J", r"550 5\.1\.1 "),
    ("HTTP", "21", b"HTTP/1.1 550 no\r\n", "T", r"451 4\.4\.1 "),
    ("binary", "21", bytes(range(128, 256)) + b"\r\n", "T", r"451 4\.4\.1 "),
    ("NUL in the code", "21", b"55\x000 5.1.1 no\r\n", "T", r"451 4\.4\.1 "),
    ("four digits", "21", b"5500 5.1.1 no\r\n", "T", r"451 4\.4\.1 "),
    ("two digits", "21", b"55 5.1.1 no\r\n", "T", r"451 4\.4\.1 "),
    ("code 650", "21", b"650 5.1.1 no\r\n", "T", r"451 4\.4\.1 "),
    ("code 199", "21", b"199 5.1.1 no\r\n", "T", r"451 4\.4\.1 "),
    ("codes that differ", "22", b"550-5.1.1 no\r\n250 yes\r\n", "T", r"451 4\.4\.1 "),
    ("codes that differ, 250 first", "22", b"250-yes\r\n550 5.1.1 no\r\n", "T", r"451 4\.4\.1 "),
    ("LF only", "23", b"550 5.1.1 no\n", "J", r"550 5\.1\.1 "),
    ("CR only", "23", b"550 5.1.1 no\r", "T", r"4"),
    ("CR inside", "23", b"250 ok\r550 5.1.1 no\r\n", "A", ""),
    ("cut digits", "13", [b"25", CLOSE], "T", r"451 4\.4\.1 "),
    ("cut line", "13", [b"550 5.1.1 no", CLOSE], "T", r"451 4\.4\.1 "),
    ("cut continuation", "13", [b"550-5.1.1 no\r\n", CLOSE], "T", r"451 4\.4\.1 "),
    ("control and escape bytes", "24", b"550 5.1.1 a\x07b\x1b[31mc\td\r\n", "J", r"550 5\.1\.1 "),
    ("8-bit text", "24", "550 5.1.1 gr\u00f6\u00dfe".encode() + b"\r\n", "J", r"550 5\.1\.1 "),
    ("percent", "25", b"550 5.1.1 100% full %s%n%x\r\n", "J", r"550 5\.1\.1 100%% full %%s%%n%%x"),
    ("lines that are no text", "27", b"550-5.1.1 a\r\n550 250 2.1.5 ok\r\n", "J", r"550 5\.1\.1 "),
    ("a continuation each half second", "16", [Delayed(0.5, b"250-a\r\n")] * 20, "T", r"450 4\.2\.0 "),
    ("421", "12", ["421 4.3.2 closing", CLOSE], "T", r"45\d 4"),
    ("421 and going on", "30", "421 4.3.2 closing", "T", r"45\d 4"),
    ("a reply without text", "21", b"550\r\n", "J", r"550 5\.1\.1 "),
]


def reply_case(name, rows, answer, letters, pattern):
    def run(world):
        hop = Hop()
        hop.rcpt = {"*": answer}
        try:
            recipient = f"any.{re.sub('[^a-z0-9]', '.', name.lower())}@may.test"
            found = world.ask(recipient, hop.route)
            letter = {2: "A", 4: "T", 5: "J"}[found.code // 100]
            if letter not in letters:
                raise failure(f"{found}, expected {letters}", found.code)
            if letter != "A":
                # As on the wire: libmilter writes %% as it was given.
                if not re.match(pattern, found.text) and not re.match(pattern.replace("%%", "%"), found.text):
                    raise failure(f"{found.text!r} is not {pattern}", found.code)
                assert re.fullmatch(r"[ -~]*", found.text), f"not printable: {found.text!r}"
                assert len(found.text) <= 450, f"{len(found.text)} bytes of text"
                assert found.code // 100 == int(found.text[4]), f"classes disagree: {found.text}"
            return str(found)
        finally:
            hop.stop()
    return Case(f"RCPT answered: {name}", rows, run)


def greylisted(world):
    hop = Hop()
    recipient = "grey@may.test"
    try:
        hop.rcpt = {"*": "451 4.7.1 greylisted, come again"}
        world.expect(recipient, hop.route, "T")
        hop.rcpt = {"*": "250 2.1.5 ok"}
        return world.expect(recipient, hop.route, "A")
    finally:
        hop.stop()


def null_sender_refused(world):
    hop = Hop()
    hop.mail = "550 5.7.1 no null sender"
    try:
        with world.client() as client:
            client.mail("")
            first = world.expect("known.null@may.test", hop.route, "T", client=client)
        hop.mail = "250 2.1.0 ok"
        world.expect("known.null@may.test", hop.route, "A")  # it was not kept for the recipient
        return first
    finally:
        hop.stop()


def many_recipients_of_a_message(world):
    """Row 10: each its own answer."""
    hop = Hop()
    hop.rcpt["later@may.test"] = "450 4.2.0 later"
    try:
        with world.client() as client:
            for number in range(20):
                world.expect(f"known.m{number}@may.test", hop.route, "A", client=client)
                world.expect(f"nobody.m{number}@may.test", hop.route, "J", client=client)
            world.expect("later@may.test", hop.route, "T", client=client)
            return world.expect("known.last@may.test", hop.route, "A", client=client)
    finally:
        hop.stop()


def bad_addresses(world):
    """Rows 55, 63: refused or cleaned, and never more than one line to the next hop."""
    hop = Hop()
    odd = ["a\rb@may.test", "a\nRCPT TO:<x@may.test>@may.test", "a b@may.test", "a<b@may.test",
           "a>b@may.test", "<<a@may.test", "a@may.test> SIZE=1", "\"a@may.test", "a\x00b@may.test",
           "a\x7fb@may.test", "x" * 60000 + "@may.test", "a@" + "x." * 30000 + "test", "@may.test",
           "a@", "a@may..test", "a@-may.test"]
    fine = ['"quoted known"@may.test', "UPPER.KNOWN@MAY.TEST", "known.dot@may.test"]
    try:
        for address in odd:
            answer = world.ask(address.replace("\0", "\x01"), hop.route)
            assert answer.code != 250 or len(hop.commands) == 0, f"{address[:30]!r}: {answer}"
        for address in fine:
            world.ask(address, hop.route)
        for line in hop.commands:
            assert len(line) <= 600 and "\r" not in line, f"said to the next hop: {line[:80]!r}"
            assert not line.upper().startswith(("RCPT TO:<X@", "DATA", "SIZE"))
        return f"{len(odd)} refused or cleaned"
    finally:
        hop.stop()


def fail_open(world):
    """Row 17: only what was not answered is let pass."""
    hop, dead = Hop(), Hop({"banner": CLOSE})
    try:
        return "; ".join([world.expect("known.open@open.test", hop.route, "A"),
                          world.expect("nobody.open@open.test", hop.route, "J"),
                          world.expect("nobody.dead@open.test", dead.route, "A")])
    finally:
        hop.stop()
        dead.stop()


def lmtp_and_ipv6(world):
    """Row 19."""
    seen = []
    path = world.box.path("lmtp.sock")
    hops = [(Hop(unix_path=path, lmtp=True), "lmtp", f"unix:{path}"),
            (Hop(address="::1"), "smtp", "")]
    for hop, mailer, route in hops:
        try:
            route = route or f"[{hop.address}]:{hop.port}"
            seen += [world.expect(f"known.{mailer}@may.test", route, "A", mailer=mailer),
                     world.expect(f"nobody.{mailer}@may.test", route, "J", mailer=mailer)]
        finally:
            hop.stop()
    return "; ".join(seen)


def hundred_at_once(world):
    """Row 31: at one host, none swapped."""
    hop, wrong = Hop(), []
    codes = {"known": 250, "nobody": 550, "later": 450}
    for number in range(100):
        hop.rcpt[f"later.{number}@may.test"] = "450 4.2.0 later"

    def ask(number):
        name = ("known", "nobody", "later")[number % 3]
        with world.client() as client:
            answer = in_time(lambda: client.rcpt(f"{name}.{number}@may.test", hop.route))
            if answer.code != codes[name]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    hop.stop()
    if wrong:
        raise failure([str(answer) for answer in wrong[:3]], *[answer.code for answer in wrong])
    return "none swapped"


def one_question(world):
    """Row 32: 40 requests for one recipient are few questions."""
    hop = Hop()
    held = hop.rcpt["known.one@may.test"] = Held("250 2.1.5 ok")
    codes = []

    def ask():
        with world.client() as client:
            codes.append(in_time(lambda: client.rcpt("known.one@may.test", hop.route)).code)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    threading.Timer(0.4, held.release).start()
    for thread in threads:
        thread.join(30)
    asked = hop.asked("known.one@may.test")
    hop.stop()
    if codes != [250] * 40:
        raise failure(codes, *[code for code in codes if code != 250])
    assert asked == 1, f"asked {asked} times"
    return "asked once"


def cases():
    found = [reply_case(*row) for row in TABLE]
    return found + [
        Case("greylisted, then accepted", "8", greylisted),
        Case("the null sender refused", "9", null_sender_refused),
        Case("41 recipients of one message", "10", many_recipients_of_a_message),
        Case("odd addresses", "55,63", bad_addresses),
        Case("fail-open by configuration", "17", fail_open),
        Case("LMTP on a socket, and IPv6", "19", lmtp_and_ipv6),
        Case("100 at once at one host", "31", hundred_at_once),
        Case("40 requests for one recipient", "32", one_question),
    ]
