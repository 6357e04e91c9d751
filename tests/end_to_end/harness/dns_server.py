"""A small authoritative DNS server (UDP and TCP on one loopback port) for A, AAAA, MX and TXT.

`add` makes records, `replace` makes others of them, `fail` makes a name answer SERVFAIL or nothing at all. A name with records of
another type gives NODATA, any other name NXDOMAIN, both with an SOA.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28}
SERVFAIL, NXDOMAIN = 2, 3


def encode_name(name):
    name = name.rstrip(".")
    labels = name.split(".") if name else []
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def encode_data(kind, value):
    if kind == "MX":
        return struct.pack("!H", value[0]) + encode_name(value[1])
    if kind == "CNAME":
        return encode_name(value)
    if kind == "TXT":
        return bytes([len(value)]) + value.encode()
    return ipaddress.ip_address(value).packed


def record(name, kind, data, ttl=60):
    return encode_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(data)) + data


class DnsServer:
    def __init__(self, address="127.0.0.1", port=0, ttl=60):
        self.ttl = ttl  # of what is found
        self._records, self._failing = {}, {}
        self.questions = []  # (name, type)
        self._tcp = socket.socket()
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind((address, port))
        self._tcp.listen(16)
        self.address, self.port = self._tcp.getsockname()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, self.port))
        for loop in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=loop, daemon=True).start()

    def stop(self):
        for listener in (self._tcp, self._udp):
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def add(self, name, kind, *values):
        self._records.setdefault(name.lower(), {}).setdefault(kind, []).extend(values)

    def replace(self, name, kind, *values):
        self._records.setdefault(name.lower(), {})[kind] = list(values)

    def fail(self, name, how):
        """how: "SERVFAIL" or "SILENCE"."""
        self._failing[name.lower()] = how

    def answer(self, query):
        """The whole reply, or None for silence."""
        identifier, flags = struct.unpack("!HH", query[:4])
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += query[at] + 1
        name = ".".join(labels).lower()
        question = query[12:at + 5]
        number = struct.unpack("!H", query[at + 1:at + 3])[0]
        kind = next((text for text, value in TYPES.items() if value == number), str(number))
        self.questions.append((name, kind))
        how = self._failing.get(name)
        if how == "SILENCE":
            return None
        answers, authority, status = [], [], 0
        if how == "SERVFAIL":
            status = SERVFAIL
        else:
            answers, status = self._find(name, kind)
            if not answers:
                soa = encode_name("ns.test") + encode_name("root.test") + struct.pack("!5I", 1, 60,
                                                                                      60, 60, 60)
                authority = [record("test", "SOA", soa)]
        header = struct.pack("!HHHHHH", identifier, 0x8480 | (flags & 0x0100) | status, 1,
                             len(answers),
                             len(authority), 0)
        return header + question + b"".join(answers) + b"".join(authority)

    def _find(self, name, kind):
        answers = []
        for _ in range(8):  # a CNAME chain
            held = self._records.get(name)
            if held is None:
                exists = any(other.endswith("." + name) for other in self._records)
                return answers, 0 if exists or answers else NXDOMAIN
            if "CNAME" in held and kind != "CNAME":
                answers.append(record(name, "CNAME", encode_data("CNAME", held["CNAME"][0])))
                name = held["CNAME"][0].rstrip(".").lower()
                continue
            return answers + [record(name, kind,
                                     encode_data(kind, value), self.ttl)
                              for value in held.get(kind, [])], 0
        return answers, SERVFAIL

    def _serve_udp(self):
        while True:
            try:
                query, peer = self._udp.recvfrom(4096)
                if reply := self.answer(query):
                    self._udp.sendto(reply, peer)
            except OSError:
                return
            except (IndexError, struct.error):
                continue  # not a question

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_stream, args=(connection,), daemon=True).start()

    def _serve_stream(self, connection):
        with connection, connection.makefile("rb") as stream:
            while len(size := stream.read(2)) == 2:
                reply = self.answer(stream.read(struct.unpack("!H", size)[0]))
                if reply is None:
                    return
                connection.sendall(struct.pack("!H", len(reply)) + reply)
