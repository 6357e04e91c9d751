"""A next hop with a fault at a stage: everything else it does well.

Stages: banner, ehlo, helo, starttls, handshake, ehlo_tls, mail, rcpt, rset, quit, and idle, which is
after the reply to RSET. A fault is an answer of harness.next_hop, or Drip, or Then(function of the
good answer).
"""

import threading
import time
from dataclasses import dataclass

from harness.next_hop import CLOSE, RESET, STALL, Endless, NextHop, _Session, by_local_part

GARBAGE = b"\x00\xff\xfe\x01 not a reply\r\n"


@dataclass
class Drip:
    """The good answer, one byte a time."""
    seconds: float = 1.0


@dataclass
class Then:
    """What a function makes of the good answer's bytes."""
    make: object


class Hop(NextHop):
    def __init__(self, faults=None, certificate=None, first_only=False, **more):
        self.faults = faults or {}
        self.first_only = first_only  # the faults are of the first connection alone
        self.most_at_once = 0
        super().__init__(certificate=certificate, **more)
        self.rcpt = {"*": by_local_part}

    @property
    def route(self):
        return f"[{self.address}]:{self.port}"

    def _serve(self, connection):
        with self._lock:
            number = self.sessions
            self.most_at_once = max(self.most_at_once, len(self._open))
        session = FaultySession(self, connection, self._stopped)
        session.faults = {} if self.first_only and number > 1 else self.faults
        try:
            session.run()
        except OSError:
            pass  # the peer left, or the test cut the line
        finally:
            with self._lock:
                self._open.discard(connection)
            try:
                session.connection.close()
            except OSError:
                pass


class FaultySession(_Session):
    faults = {}
    secure = False

    def run(self):
        if not self.say("banner", self.hop.greeting):
            return
        while (line := self.line()) is not None:
            self.hop.commands.append(line)
            if not self.obey(line):
                return

    def obey(self, line):
        verb = line.split(" ", 1)[0].upper()
        if verb in ("EHLO", "LHLO"):
            stage = "ehlo_tls" if self.secure else "ehlo"
            if self.secure or self.hop._tls is None:
                words = [word for word in self.hop.extensions if word != "STARTTLS"]
            else:
                words = self.hop.extensions
            lines = ["hop.test"] + words
            good = "\n".join(f"250{'-' if i < len(words) else ' '}{text}"
                             for i, text in enumerate(lines))
            return self.say(stage, good)
        if verb == "STARTTLS":
            if "handshake" in self.faults and "starttls" not in self.faults:
                return self.answer("220 2.0.0 Ready") and self.answer(self.faults["handshake"])
            if "starttls" in self.faults:
                return self.say("starttls", "220 2.0.0 Ready")
            done = super().obey(line)
            self.secure = True
            return done
        if verb == "MAIL":
            return self.say("mail", self.hop.mail)
        if verb == "RCPT":
            address = line[line.find("<") + 1:line.rfind(">")]
            what = self.hop.rcpt.get(address, self.hop.rcpt["*"])
            return self.say("rcpt", what(address) if callable(what) else what)
        if verb == "RSET":
            done = self.say("rset", "250 2.0.0 Ok")
            if done and "idle" in self.faults:
                threading.Thread(target=self._be_idle, daemon=True).start()
            return done
        if verb == "QUIT" and "quit" in self.faults:
            return self.answer(self.faults["quit"])
        return super().obey(line)

    def say(self, stage, good):
        fault = self.faults.get(stage)
        if fault is None or stage == "idle":
            return self.answer(good)
        data = good if isinstance(good, bytes) else (good.replace("\n", "\r\n") + "\r\n").encode()
        if isinstance(fault, Then):
            return self.answer(fault.make(data))
        if isinstance(fault, Drip):
            for i in range(len(data)):
                if self.stopped.wait(fault.seconds):
                    return False
                self.connection.sendall(data[i:i + 1])
            return True
        return self.answer(fault)

    def _be_idle(self):
        time.sleep(0.1)
        try:
            if self.answer(self.faults.get("idle", b"")):
                return
            self.connection.shutdown(2)
        except OSError:
            pass


FAULTS = {
    "refuse": "502 5.5.1 not implemented",
    "stall": STALL,
    "drip": Drip(),
    "close": CLOSE,
    "reset": RESET,
    "garbage": GARBAGE,
    "endless": Endless(b"250-5.1.1 and so on\r\n" * 64),
    "wrong_order": "354 go ahead",
    "extra": Then(lambda good: good + b"250 2.1.5 and more\r\n"),
    "4xx": "450 4.3.0 not now",
    "5xx": "550 5.1.1 no such user",
    "421": ["421 4.3.2 closing", CLOSE],
}
