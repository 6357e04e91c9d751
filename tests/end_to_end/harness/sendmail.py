"""A private Sendmail: sendmail.cf made by m4 from sendmail-cf, every path in the sandbox, loopback
ports.

Sendmail's macros never tell the port of a next hop. Hops at port 25 use the mailer esmtp; for any
other port a mailer of its own is defined, as an administrator would, and `mailers` is what
[routing] mailers must say. Instead of AUTH, which would need a password database in /etc, senders
at authenticated.test get the macro {auth_authen} that AUTH would set.
"""

import os
import subprocess

from harness import sendmail_package
from harness.sandbox import free_port, listens, wait_until

HOST = "mx.test"

CONFIGURATION = """\
divert(0)dnl
VERSIONID(`callforward end-to-end test')
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mx.test')dnl
define(`confCW_FILE', `{home}/local-host-names')dnl
define(`confCT_FILE', `-o {home}/trusted-users')dnl
define(`ALIAS_FILE', `')dnl
define(`QUEUE_DIR', `{home}/queue')dnl
define(`STATUS_FILE', `{home}/statistics')dnl
define(`HELP_FILE', `{home}/helpfile')dnl
define(`confPID_FILE', `{home}/pid')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confHOST_STATUS_DIRECTORY', `')dnl
dnl A machine that builds and tests has any load; Sendmail turns connections away from 12 on.
define(`confREFUSE_LA', `10000')dnl
define(`confQUEUE_LA', `10000')dnl
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confTO_IDENT', `0')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confLOG_LEVEL', `9')dnl
define(`confSERVICE_SWITCH_FILE', `{home}/service.switch')dnl
define(`LOCAL_MAILER_PATH', `/bin/false')dnl
define(`LOCAL_MAILER_FLAGS', `Prn9')dnl
define(`confBIND_OPTS', `')dnl
FEATURE(`use_cw_file')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`mailertable', `text -k0 -v1 {home}/mailertable')dnl
FEATURE(`virtusertable', `text -k0 -v1 {home}/virtusertable')dnl
FEATURE(`no_default_msa')dnl
{filters}
{daemons}
VIRTUSER_DOMAIN_FILE(`{home}/alias-domains')dnl
RELAY_DOMAIN_FILE(`{home}/relay-domains')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
LOCAL_CONFIG
Kmacro macro
{mailers}
LOCAL_RULESETS
SLocal_check_mail
R$* authenticated.test $*\t$: $1 authenticated.test $2 $(macro {{auth_authen}} $@ alice $)
R$*\t$: OK
"""

MAILER = """\
M{name}, P=[IPC], F=mDFMuXa, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=990,
\tT=DNS/RFC822/SMTP, A=TCP $h {port}"""


class Sendmail:
    knows_ports = False

    def __init__(self, sandbox, name="sendmail"):
        self.home = sandbox.path(name)
        self.routes, self.aliases, self.services = {}, {}, {}
        self.mailers = {}  # for [routing] mailers
        self._process = None
        sandbox.add(self)

    def route(self, domain, address, port, transport="esmtp"):
        if port != 25:
            transport = f"esmtp{port}"
            self.mailers[transport] = f"smtp:{port}"
        self.routes[domain] = f"{transport}:[{address}]"

    def listen(self, name, milter=None, address="127.0.0.1", port=0):
        """One daemon port; `milter` as in INPUT_MAIL_FILTER's S= ("unix:/path"). Gives the port."""
        self.services[name] = (address, port or free_port(address), milter)
        return self.services[name][1]

    def port(self, service):
        return self.services[service][1]

    def start(self):
        os.makedirs(f"{self.home}/queue", mode=0o700)
        self._write("local-host-names", "mx.test\nlocal.test\n")
        self._write("trusted-users", "root\n")
        self._write("service.switch", "hosts files\naliases files\n")
        self._write("helpfile", "")
        self._write("statistics", "")
        self._write("relay-domains", "".join(f"{domain}\n" for domain in self.routes) + "127.0.9\n")
        self._write("mailertable",
                    "".join(f"{domain} {hop}\n" for domain, hop in self.routes.items()))
        self._write("virtusertable",
                    "".join(f"{alias} {target}\n" for alias, target in self.aliases.items()))
        self._write("alias-domains",
                    "".join(f"{alias.rpartition('@')[2]}\n" for alias in self.aliases))
        self._write("sendmail.mc", self._configuration())
        self._make_configuration()
        self._process = subprocess.Popen(
            [sendmail_package.binary(), "-C", f"{self.home}/sendmail.cf", "-bD", "-X",
             f"{self.home}/traffic"],
            env=sendmail_package.environment(), cwd=self.home, stdin=subprocess.DEVNULL,
            stdout=open(f"{self.home}/output", "wb"), stderr=subprocess.STDOUT,
            start_new_session=True)
        for address, port, _ in self.services.values():
            wait_until(lambda a=address, p=port: self._alive() and listens(a, p),
                       f"Sendmail at {address}:{port}", 90)

    def stop(self):
        if self._process:
            self._process.terminate()
            self._process.wait(15)
            self._process = None

    def _alive(self):
        if self._process.poll() is not None:
            with open(f"{self.home}/output", encoding="utf-8", errors="replace") as file:
                raise AssertionError(
                    f"Sendmail ended with {self._process.returncode}: {file.read()}")
        return True

    def _configuration(self):
        filters, daemons = [], []
        for name, (address, port, milter) in self.services.items():
            used = ""
            if milter:
                filters.append(f"MAIL_FILTER(`{name}', `S={milter}, F=T, T=S:60s;R:60s')dnl")
                used = f", InputMailFilters={name}"
            daemons.append(f"DAEMON_OPTIONS(`Name={name}, Family=inet, Addr={address}, "
                           f"Port={port}{used}')dnl")
        mailers = [MAILER.format(name=name, port=hop.partition(":")[2])
                   for name, hop in self.mailers.items()]
        return CONFIGURATION.format(home=self.home, filters="\n".join(filters),
                                    daemons="\n".join(daemons),
                                    mailers="\n".join(mailers))

    def _make_configuration(self):
        home = sendmail_package.cf_folder()
        made = subprocess.run(
            [sendmail_package.m4(), f"-D_CF_DIR_={home}/", f"{home}/m4/cf.m4",
             f"{self.home}/sendmail.mc"],
            capture_output=True, text=True)
        if made.returncode != 0:
            raise AssertionError(f"m4 failed: {made.stderr}")
        self._write("sendmail.cf", made.stdout)

    def _write(self, name, text):
        path = f"{self.home}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o600 if name == "sendmail.mc" else 0o644)
