"""A programmable next hop: SMTP or LMTP over TCP or a Unix socket, one thread for each session.

What it answers is data that a test may change at any time: `greeting`, `ehlo`, `helo`, `mail`, and
`rcpt`, a table from exact address to answer, with "*" for all others. An answer is text ("550 5.1.1
no", lines split at newlines), bytes (sent as they are), CLOSE, RESET, STALL, Delayed(seconds,
answer), Held (answered when the test lets go), Endless, a list of these one after the other, or a
function of the address that gives one. Every command line is kept in `commands`.
"""

import os
import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass


class Signal:
    def __init__(self, name):
        self.name = name


CLOSE = Signal("close")  # end the connection in order
RESET = Signal("reset")  # end it with RST
STALL = Signal("stall")  # say nothing more until the peer leaves


@dataclass
class Delayed:
    seconds: float
    answer: object


class Held:
    """An answer that waits for release(): a slow host without a clock."""

    def __init__(self, answer):
        self.answer = answer
        self._released = threading.Event()

    def release(self):
        self._released.set()

    def wait(self, stopped):
        while not self._released.wait(0.02) and not stopped.is_set():
            pass


@dataclass
class Endless:
    """The same bytes again and again until the peer has enough."""
    piece: bytes


def by_local_part(address):
    """The usual table: addresses that begin with "known" exist, all others do not."""
    if address.lower().startswith("known"):
        return "250 2.1.5 Ok"
    return f"550 5.1.1 <{address}>: Recipient address rejected: no such mailbox here"


class NextHop:
    def __init__(self, address="127.0.0.1", port=0, unix_path=None, lmtp=False, certificate=None):
        self.address, self.port, self.unix_path, self.lmtp = address, port, unix_path, lmtp
        self.greeting = "220 hop.test " + ("LMTP" if lmtp else "ESMTP")
        self.extensions = ["PIPELINING", "8BITMIME", "SIZE 10240000", "ENHANCEDSTATUSCODES"]
        self.ehlo = None  # None: 250 with the extensions
        self.helo = "250 hop.test"
        self.mail = "250 2.1.0 Ok"
        self.rcpt = {"*": by_local_part}
        self.commands = []
        self.sessions = 0
        self._tls = None
        if certificate:
            self.extensions.append("STARTTLS")
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._listener = None
        self._stopped = threading.Event()
        self._open = set()
        self._lock = threading.Lock()
        self.start()

    def start(self):
        self._stopped = threading.Event()
        if self.unix_path:
            if os.path.exists(self.unix_path):
                os.unlink(self.unix_path)
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(self.unix_path)
            os.chmod(self.unix_path, 0o666)
        else:
            family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
            self._listener = socket.socket(family)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((self.address, self.port))
            self.port = self._listener.getsockname()[1]
        self._listener.listen(128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """Refuses new sessions and cuts the open ones; start() opens the same port again."""
        self._stopped.set()
        if self._listener:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            except OSError:
                pass
            self._listener.close()
            self._listener = None
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def asked(self, recipient):
        """How often RCPT named this address, as sent."""
        wanted = f"RCPT TO:<{recipient}>"
        return sum(line == wanted or line.startswith(wanted + " ") for line in list(self.commands))

    def open_sessions(self):
        with self._lock:
            return len(self._open)

    def said(self, beginning):
        return [line for line in list(self.commands) if line.upper().startswith(beginning.upper())]

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not self.unix_path:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.sessions += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        session = _Session(self, connection, self._stopped)
        try:
            session.run()
        except (OSError, ssl.SSLError):
            pass  # the peer left, or the test cut the line
        finally:
            with self._lock:
                self._open.discard(connection)
            session.connection.close()


class _Session:
    def __init__(self, hop, connection, stopped):
        self.hop, self.connection, self.stopped = hop, connection, stopped
        self.buffer = b""

    def run(self):
        if not self.answer(self.hop.greeting):
            return
        while (line := self.line()) is not None:
            self.hop.commands.append(line)
            if not self.obey(line):
                return

    def line(self):
        while b"\n" not in self.buffer:
            chunk = self.connection.recv(65536)
            if not chunk:
                return None
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode("utf-8", "backslashreplace")

    def obey(self, line):
        verb = line.split(" ", 1)[0].upper()
        path = re.search(r":\s*<(.*)>", line)
        address = path.group(1) if path else ""
        if verb in ("EHLO", "LHLO"):
            return self.answer(self.hop.ehlo or "\n".join(
                f"250{'-' if i < len(self.hop.extensions) else ' '}{text}"
                for i, text in enumerate(["hop.test"] + self.hop.extensions)))
        if verb == "HELO":
            return self.answer(self.hop.helo)
        if verb == "STARTTLS" and self.hop._tls:
            self.answer("220 2.0.0 Ready")
            self.connection = self.hop._tls.wrap_socket(self.connection, server_side=True)
            self.buffer = b""
            return True
        if verb == "MAIL":
            return self.answer(self.hop.mail, address)
        if verb == "RCPT":
            return self.answer(self.hop.rcpt.get(address, self.hop.rcpt["*"]), address)
        if verb == "QUIT":
            self.answer("221 2.0.0 Bye")
            return False
        if verb in ("RSET", "NOOP"):
            return self.answer("250 2.0.0 Ok")
        if verb == "DATA":
            return self.answer("354 go ahead")
        return self.answer("502 5.5.2 not here")

    def answer(self, what, address=""):
        """Sends it; false when the session is over."""
        if callable(what):
            what = what(address)
        if isinstance(what, list):
            return all(self.answer(part, address) for part in what)
        if isinstance(what, Delayed):
            if self.stopped.wait(what.seconds):
                return False
            what = what.answer
        elif isinstance(what, Held):
            what.wait(self.stopped)
            what = what.answer
        if what is CLOSE:
            return False
        if what is RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if what is STALL:
            while self.connection.recv(65536):
                pass
            return False
        if isinstance(what, Endless):
            while not self.stopped.is_set():
                self.connection.sendall(what.piece)
            return False
        data = what if isinstance(what, bytes) else (what.replace("\n", "\r\n") + "\r\n").encode()
        self.connection.sendall(data)
        return True
