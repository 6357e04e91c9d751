"""redis-server as a child process, in the sandbox's folder, on a unix socket or a loopback port,
there with or without TLS; a replica and a sentinel of it; and one connection to say commands over.
"""

import os
import signal
import socket
import ssl
import subprocess

from harness.sandbox import free_port, wait_until


class RedisError(Exception):
    pass


def call(address, *words, timeout=5, tls=False):
    """One command; text, number, None, a list of these, or RedisError."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(timeout)
        client.connect(address)
        if tls:  # whose certificate it is matters to the daemon, not here
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client = context.wrap_socket(client)
        parts = [str(word).encode() for word in words]
        client.sendall(b"*%d\r\n" % len(parts) +
                       b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        with client.makefile("rb") as stream:
            return read_reply(stream)


def read_reply(stream):
    line = stream.readline().rstrip(b"\r\n").decode()
    kind, rest = line[:1], line[1:]
    if kind == "-":
        raise RedisError(rest)
    if kind == ":":
        return int(rest)
    if kind == "$":
        if rest == "-1":
            return None
        return stream.read(int(rest) + 2)[:-2].decode("utf-8", "backslashreplace")
    if kind == "*":
        return None if rest == "-1" else [read_reply(stream) for _ in range(int(rest))]
    return rest


def tls_options(port, certificate, ask_clients):
    """Of a server or a sentinel: TLS on this port, and towards others. What the test says itself
    goes over the unix socket."""
    chain, key = certificate
    return ["--port", "0", "--tls-port", str(port), "--tls-cert-file", chain,
            "--tls-key-file", key, "--tls-ca-cert-file", chain, "--tls-replication", "yes",
            "--tls-auth-clients", "yes" if ask_clients else "no"]


class Redis:
    """port: on 127.0.0.1 instead of a unix socket. tls: certificate and key, for that port;
    ask_clients: for a certificate that is signed by the server's own."""

    def __init__(self, sandbox, name="redis", *options, port=False, tls=None, ask_clients=False):
        self.folder = sandbox.path(name)
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port() if port or tls else 0
        self.tls = tls
        self.socket = os.path.join(self.folder, "socket")
        self.address = ("127.0.0.1", self.port) if port and not tls else self.socket
        scheme = "rediss" if tls else "redis"
        self.url = f"{scheme}://127.0.0.1:{self.port}" if self.port else f"redis+unix:{self.socket}"
        self._options, self._process = list(options), None
        if tls:
            self._options += tls_options(self.port, tls, ask_clients)
        sandbox.add(self)
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
             "--unixsocket", self.socket, "--dir", self.folder, "--save", "",
             "--appendonly", "no", *self._options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, "redis-server to answer")

    def answers(self):
        try:
            return self("PING") == "PONG"
        except RedisError as error:
            return "NOAUTH" in str(error)
        except OSError:
            return False

    def __call__(self, *words):
        return call(self.address, *words)

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()


class Sentinel:
    """One sentinel that watches one master, which it calls "main"."""

    def __init__(self, sandbox, master):
        self.port = free_port()
        folder = sandbox.path(f"sentinel{self.port}")
        os.makedirs(folder, exist_ok=True)
        config = os.path.join(folder, "sentinel.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
                       f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
                       "sentinel down-after-milliseconds main 500\n"
                       "sentinel failover-timeout main 3000\n")
        self._tls = bool(master.tls)
        options = tls_options(self.port, master.tls, False) if self._tls else []
        self._process = subprocess.Popen(
            ["redis-server", config, "--sentinel", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sandbox.add(self)
        wait_until(self.sees_replica, "the sentinel to find the replica", 20)

    def __call__(self, *words):
        return call(("127.0.0.1", self.port), *words, tls=self._tls)

    def master(self):
        return int(self("SENTINEL", "get-master-addr-by-name", "main")[1])

    def sees_replica(self):
        try:
            return self("SENTINEL", "replicas", "main")
        except (OSError, RedisError):
            return False

    def stop(self):
        self._process.kill()
        self._process.wait()
