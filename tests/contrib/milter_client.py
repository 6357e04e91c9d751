"""Plays the MTA: enough of the milter protocol (version 6) to have a RCPT answered."""

import socket
import struct


class MilterClient:
    def __init__(self, address):
        """address: a path, or host and port."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.settimeout(30)
        self._socket.connect(address)
        self._send(b"O", struct.pack("!III", 6, 0x1ff, 0x1fffff))
        self._receive()

    def close(self):
        self._socket.close()

    def rcpt(self, recipient, sender="sender@sender.test", client="192.0.2.1",
             host="hop.test"):
        """The reply to one recipient: "c" (go on), or the SMTP reply as text."""
        self._macros(b"M", mail_addr=sender)
        self._send(b"M", f"<{sender}>".encode() + b"\0")
        self._macros(b"R", client_addr=client, rcpt_mailer="smtp", rcpt_host=host,
                     rcpt_addr=recipient, j="mx.test", v="Postfix 3.7.11")
        self._send(b"R", f"<{recipient}>".encode() + b"\0")
        command, data = self._receive()
        self._send(b"A", b"")
        return "c" if command == b"c" else data.rstrip(b"\0").decode()

    def _macros(self, stage, **values):
        pairs = b"".join(f"{{{k}}}\0{v}\0".encode() if len(k) > 1 else f"{k}\0{v}\0".encode()
                         for k, v in values.items())
        self._send(b"D", stage + pairs)

    def _send(self, command, data):
        self._socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def _receive(self):
        size = struct.unpack("!I", self._socket.recv(4, socket.MSG_WAITALL))[0]
        data = self._socket.recv(size, socket.MSG_WAITALL)
        return data[:1], data[1:]
