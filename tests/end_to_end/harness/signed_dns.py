"""A zone signed by dnssec-signzone(1), served by named(8), and validated by unbound(8): what a
resolver on the same machine says about it, with the AD bit.

Both servers are children in the foreground, with a folder and ports of their own; nothing of /etc
is read.
"""

import os
import re
import subprocess

from harness.sandbox import free_port, listens, wait_until

NAMED = "127.0.0.1"  # named listens only at addresses that an interface has
UNBOUND = "127.0.6.2"

NAMED_CONF = """\
options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify no;
}};
controls {{ }};
{zones}"""

UNBOUND_CONF = """\
server:
    interface: {address}
    port: {port}
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    do-not-query-localhost: no
    num-threads: 1
    module-config: "validator iterator"
    trust-anchor-file: "{anchor}"
    local-zone: "test." nodefault
    access-control: 127.0.0.0/8 allow
    val-bogus-ttl: 1
remote-control:
    control-enable: no
{stubs}"""

HEAD = """\
$TTL 300
@ SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 60
@ NS ns
ns A {address}
"""


class SignedDns:
    """`signed` and `plain` are the records of zones SIGNED and PLAIN, as lines of a zone file.

    `forge` is a function of the lines of the signed zone file: what an attacker would do.
    """

    def __init__(self, sandbox, signed_zone, signed, plain_zone, plain, forge=lambda lines: lines):
        self.folder = sandbox.path("signed-dns")
        os.mkdir(self.folder)
        self.address, self.port = UNBOUND, free_port(UNBOUND)
        named_port = free_port(NAMED)
        self._processes = []
        sandbox.add(self)
        anchor = self._sign(signed_zone, signed, forge)
        self._write(f"{plain_zone}.zone", HEAD.format(zone=plain_zone, address=NAMED) + plain)
        zones = "".join(f'zone "{zone}" {{ type primary; file "{zone}.zone"; }};\n'
                        for zone in (signed_zone, plain_zone))
        self._write("named.conf", NAMED_CONF.format(folder=self.folder, address=NAMED,
                                                    port=named_port, zones=zones))
        stubs = "".join(f"stub-zone:\n    name: {zone}\n    stub-addr: {NAMED}@{named_port}\n"
                        for zone in (signed_zone, plain_zone))
        self._write("unbound.conf", UNBOUND_CONF.format(folder=self.folder, address=UNBOUND,
                                                        port=self.port, anchor=anchor, stubs=stubs))
        self._start("named", "-g", "-c", "named.conf", listening=(NAMED, named_port))
        self._start("unbound", "-d", "-c", "unbound.conf", listening=(UNBOUND, self.port))

    def stop(self):
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def _sign(self, zone, records, forge):
        """The file with the trust anchor."""
        keys = [self._run("dnssec-keygen", "-a", "ECDSAP256SHA256", *options, zone).strip()
                for options in ((), ("-f", "KSK"))]
        source = self._write("source", HEAD.format(zone=zone, address=NAMED) + records)
        self._run("dnssec-signzone", "-S", "-O", "full", "-o", zone, "-f", "signed", source)
        with open(os.path.join(self.folder, "signed"), encoding="utf-8") as file:
            lines = [re.sub(r"\s+", " ", line) for line in file if not line.startswith(";")]
        self._write(f"{zone}.zone", "\n".join(forge(lines)) + "\n")
        return os.path.join(self.folder, keys[1] + ".key")

    def _run(self, *command):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{command} failed: {done.stderr}")
        return done.stdout

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _start(self, *command, listening):
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        self._processes.append(process)
        wait_until(lambda: process.poll() is not None or listens(*listening), command[0])
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended with {process.returncode}: {self.log()}")
