"""The MTA's side of the milter protocol, version 6, without an MTA: many sessions of one test at
once, and packets that no MTA would send.

Lean where tests/support/mta.h is complete: callforward switches CONNECT and HELO off, so that MAIL
and RCPT are all there is. Not for more than one thread a session.
"""

import socket
import struct
import time
from dataclasses import dataclass

VERSION, ACTIONS, STEPS = 6, 0x1FF, 0x1FFFFF
NO_REPLY_TO_MAIL = 0x4000  # SMFIP_NR_MAIL
POSTFIX, SENDMAIL = "Postfix 3.7.11", "8.17.1.9"


@dataclass
class Answer:
    action: str  # of the protocol: c continue, t tempfail, r reject, y a reply, "" hung up
    text: str  # of y: "550 5.1.1 no such user"
    seconds: float

    @property
    def code(self):
        """As the SMTP client would see it; 0 when the filter hung up."""
        if self.action == "y":
            return int(self.text[:3])
        return {"c": 250, "t": 451, "r": 550}.get(self.action, 0)

    def __str__(self):
        return self.text or f"{self.code}"


class HungUp(Exception):
    """The filter closed the connection."""


def packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command.encode() + data


def strings(*texts):
    return b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)


class MilterClient:
    def __init__(self, where, version=POSTFIX, client="192.0.2.1", negotiate=True, patience=30.0):
        """where: as in [milter] socket."""
        self.version, self.client = version, client
        if where.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            address = where[5:]
        else:
            port, _, host = where.partition(":")[2].partition("@")
            self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            address = (host, int(port))
        self.socket.settimeout(patience)
        self.socket.connect(address)
        self.steps = 0
        self._mailed = False
        if negotiate:
            self.send(packet("O", struct.pack("!III", VERSION, ACTIONS, STEPS)))
            command, data = self.receive()
            if command != "O":
                raise AssertionError(f"the filter does not negotiate, it says {command!r}")
            self.steps = struct.unpack("!I", data[8:12])[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise HungUp from None

    def receive(self):
        size = struct.unpack("!I", self._exactly(4))[0]
        data = self._exactly(size)
        return data[:1].decode("latin-1"), data[1:]

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            try:
                chunk = self.socket.recv(size - len(data))
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise HungUp
            data += chunk
        return data

    def macros(self, stage, **values):
        """Names as in the protocol; those of one letter without braces."""
        texts = []
        for name, value in values.items():
            texts += [name if len(name) == 1 else "{" + name + "}", value]
        self.send(packet("D", stage.encode() + strings(*texts)))

    def mail(self, sender="sender@sender.test", *parameters):
        self._mailed = True
        self.send(packet("M", strings(f"<{sender}>", *parameters)))
        if not self.steps & NO_REPLY_TO_MAIL:
            self.receive()

    def ask_rcpt(self, recipient, host, mailer="smtp", **more):
        if not self._mailed:
            self.mail()
        values = {"j": "mx.test", "v": self.version, "rcpt_mailer": mailer, "rcpt_host": host,
                  "rcpt_addr": recipient, "client_addr": self.client, "client_port": "40000"}
        self.macros("R", **(values | more))
        self.send(packet("R", strings(f"<{recipient}>")))

    def answer(self):
        begin = time.monotonic()
        try:
            command, data = self.receive()
            while command == "p":
                command, data = self.receive()
        except HungUp:
            command, data = "", b""
        text = data.rstrip(b"\0").decode("latin-1") if command == "y" else ""
        return Answer(command, text, time.monotonic() - begin)

    def rcpt(self, recipient, host, mailer="smtp", **more):
        begin = time.monotonic()
        try:
            self.ask_rcpt(recipient, host, mailer, **more)
        except HungUp:
            return Answer("", "", time.monotonic() - begin)
        found = self.answer()
        found.seconds = time.monotonic() - begin
        return found

    def abort(self):
        self._mailed = False
        self.send(packet("A"))

    def quit(self):
        try:
            self.send(packet("A") + packet("Q"))
        except HungUp:
            pass
        self.close()
