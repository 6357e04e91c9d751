"""A raw SMTP client: sends exactly what a test says and keeps the dialogue, because smtplib is too
polite for tests."""

import re
import socket
from dataclasses import dataclass


@dataclass
class Reply:
    code: int
    lines: list  # texts without code, str; bytes above 127 as latin-1
    raw: bytes

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def words(self):
        """The text without the trace id, which is another one each time."""
        return re.sub(r" \(cf-[a-z2-7]{7}\)$", "", self.text)

    @property
    def trace_id(self):
        found = re.search(r"\((cf-[a-z2-7]{7})\)$", self.text)
        return found.group(1) if found else ""

    @property
    def enhanced(self):
        found = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)", self.lines[0])
        return found.group(0) if found else ""

    def __str__(self):
        return f"{self.code} {self.text}"


class SmtpClient:
    """One session. `transcript` holds ("C" or "S", line) pairs; `source` is the client address the
    server will see."""

    def __init__(self, address, port, source=None, greet=True, timeout=30.0):
        self.transcript = []
        self._buffer = b""
        self._socket = socket.create_connection(
            (address, port), timeout, (source, 0) if source else None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.greeting = self.reply()
        if greet:
            self.ehlo = self.command("EHLO client.test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def send(self, data):
        self._socket.sendall(data)

    def command(self, line):
        self.transcript.append(("C", line))
        self.send(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.reply()

    def pipeline(self, *lines):
        """Sends all lines in one write, then reads as many replies."""
        self.transcript.extend(("C", line) for line in lines)
        self.send(b"".join(line.encode() + b"\r\n" for line in lines))
        return [self.reply() for _ in lines]

    def mail(self, sender="sender@sender.test", parameters=""):
        return self.command(f"MAIL FROM:<{sender}>{parameters}")

    def rcpt(self, recipient):
        return self.command(f"RCPT TO:<{recipient}>")

    def quit(self):
        reply = self.command("QUIT")
        self.close()
        return reply

    def reply(self):
        lines, raw = [], b""
        while True:
            line = self._line()
            raw += line
            text = line.rstrip(b"\r\n").decode("latin-1")
            self.transcript.append(("S", text))
            if not re.match(r"\d{3}([ -]|$)", text):
                raise AssertionError(f"not an SMTP reply: {line!r}")
            lines.append(text[4:])
            if text[3:4] != "-":
                return Reply(int(text[:3]), lines, raw)

    def _line(self):
        while b"\n" not in self._buffer:
            try:
                try:
                    chunk = self._socket.recv(65536)
                except ConnectionResetError:  # it hung up with a command of ours unread
                    chunk = b""
            except TimeoutError:
                raise AssertionError(f"no reply in time; so far: {self.transcript}") from None
            if not chunk:
                raise AssertionError(f"the server hung up; dialogue so far: {self.transcript}")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"
