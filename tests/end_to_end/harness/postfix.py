"""A private Postfix: configuration, queue, data and log in the sandbox, loopback ports, no chroot,
nothing of /etc used.

Each entry of `services` is one smtpd with its own milter, so that one start serves several daemons.
Routes are written once, before start(): smtpd remembers what its resolver said.
"""

import os
import pwd
import re
import subprocess

from harness.sandbox import free_port, listens, wait_until

HOST = "mx.test"

MAIN = """\
compatibility_level = 3.6
config_directory = {home}
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log
maillog_file_prefixes = {home}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.test
mydestination = mx.test, local.test
local_recipient_maps = static:all
alias_maps =
alias_database =
mynetworks = 127.0.9.0/24
inet_interfaces = 127.0.0.1
inet_protocols = all
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_sasl_auth_enable = yes
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
relay_domains = {relay_domains}
transport_maps = texthash:{home}/transport
virtual_alias_domains = {alias_domains}
virtual_alias_maps = texthash:{home}/virtual
milter_default_action = tempfail
notify_classes =
{more}"""

MASTER = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    knows_ports = True  # {rcpt_host} carries the port of a next hop

    def __init__(self, sandbox, name="postfix"):
        self.home = sandbox.path(name)
        self.routes, self.aliases, self.services = {}, {}, {}
        self.more = ""  # further lines of main.cf
        self._started = False
        sandbox.add(self)

    def route(self, domain, address, port, transport="smtp"):
        self.routes[domain] = f"{transport}:[{address}]:{port}"

    def listen(self, name, milter=None, address="127.0.0.1", port=0, **options):
        """One smtpd; `milter` as in smtpd_milters ("inet:127.0.0.1:8891"), `options` of this
        service alone, as in main.cf. Gives its port."""
        if milter:
            options["smtpd_milters"] = milter
        self.services[name] = (address, port or free_port(address), options)
        return self.services[name][1]

    def port(self, service):
        return self.services[service][1]

    def start(self):
        os.makedirs(f"{self.home}/queue")
        os.makedirs(f"{self.home}/data")
        os.chown(f"{self.home}/data", pwd.getpwnam("postfix").pw_uid, -1)
        self._write("transport",
                    "".join(f"{domain} {hop}\n" for domain, hop in self.routes.items()))
        self._write("virtual",
                    "".join(f"{alias} {target}\n" for alias, target in self.aliases.items()))
        alias_domains = sorted({alias.rpartition("@")[2] for alias in self.aliases})
        self._write("main.cf", MAIN.format(home=self.home, relay_domains=", ".join(self.routes),
                                           alias_domains=", ".join(alias_domains), more=self.more))
        self._write("master.cf", MASTER + "".join(
            f"{address}:{port} inet n - n - - smtpd\n"
            + "".join(f"  -o {{ {name} = {value} }}\n" for name, value in options.items())
            for address, port, options in self.services.values()))
        self._postfix("start")
        self._started = True
        for address, port, _ in self.services.values():
            wait_until(lambda a=address, p=port: listens(a, p), f"Postfix at {address}:{port}")

    def stop(self):
        if self._started:
            self._started = False
            self._postfix("stop")

    def reload(self):
        self._postfix("reload")

    def log(self):
        with open(f"{self.home}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for_line(self, pattern):
        """postlogd writes a line after the client has its answer."""
        return wait_until(lambda: re.search(pattern, self.log()),
                          f"a line like {pattern!r} in Postfix' log")

    def _write(self, name, text):
        with open(f"{self.home}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def _postfix(self, command):
        try:
            done = subprocess.run(["postfix", "-c", self.home, command], capture_output=True, text=True,
                                  timeout=120)
            problem = f"{done.stdout}{done.stderr}" if done.returncode != 0 else ""
        except subprocess.TimeoutExpired:
            problem = "it hangs; "
        if problem:
            log = self.log() if os.path.exists(f"{self.home}/log") else ""
            raise AssertionError(f"postfix {command} failed: {problem}{log}")
