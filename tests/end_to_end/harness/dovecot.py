"""A private Dovecot: LMTP over TCP and a Unix socket with real mailboxes, and a SASL server for
Postfix; folders, ports and log in the sandbox, nothing of /etc used.
"""

import os
import pwd
import subprocess

from harness.sandbox import free_port, listens, wait_until

CONFIGURATION = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
login_trusted_networks = 127.0.0.0/8
protocols = lmtp
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %Lu
default_internal_user = dovecot
default_login_user = dovenull
mail_location = maildir:{home}/mail/%u
first_valid_uid = 1
lmtp_rcpt_check_quota = yes
haproxy_trusted_networks = 127.0.0.0/8
haproxy_timeout = 3s
mail_plugins = $mail_plugins quota
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {home}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {home}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener behind_proxy {{
    address = 127.0.0.1
    port = {proxied_port}
    haproxy = yes
  }}
  unix_listener {socket} {{
    mode = {mode}
  }}
{listeners}
}}
service auth {{
  unix_listener {home}/auth {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    """`users` are addresses with a password each; those in `full` have no room left. `mode` is the
    socket's; `listeners` are further ones of the LMTP service."""

    def __init__(self, sandbox, users, full=(), socket=None, name="dovecot", mode="0666",
                 listeners=""):
        self.home = sandbox.path(name)
        self.socket = socket or f"{self.home}/lmtp"
        self.port, self.proxied_port = free_port(), free_port()
        self.sasl = f"{self.home}/auth"
        self._process = None
        for folder in ("run", "state", "mail"):
            os.makedirs(f"{self.home}/{folder}")
        owner = pwd.getpwnam("nobody")
        os.chown(f"{self.home}/mail", owner.pw_uid, owner.pw_gid)
        with open(f"{self.home}/users", "w", encoding="utf-8") as file:
            for user, password in users.items():
                quota = "userdb_quota_rule=*:messages=1" if user in full else ""
                file.write(f"{user}:{{PLAIN}}{password}:{owner.pw_uid}:{owner.pw_gid}::"
                           f"{self.home}/home/{user}::{quota}\n")
        for user in full:
            self._put_mail(user, owner)
        with open(f"{self.home}/dovecot.conf", "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(home=self.home, port=self.port, socket=self.socket,
                                            proxied_port=self.proxied_port, mode=mode,
                                            listeners=listeners))
        sandbox.add(self)

    def start(self):
        self._process = subprocess.Popen(["dovecot", "-F", "-c", f"{self.home}/dovecot.conf"],
                                         stdin=subprocess.DEVNULL)
        wait_until(lambda: listens("127.0.0.1", self.port) and os.path.exists(self.socket),
                   f"Dovecot; it said {self.log()}")

    def stop(self):
        if self._process:
            self._process.terminate()
            self._process.wait(15)
            self._process = None

    def log(self):
        try:
            with open(f"{self.home}/log", encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def mails(self, user):
        """How many messages its mailbox has: call-forwards leave none."""
        folder = f"{self.home}/mail/{user}/new"
        return len(os.listdir(folder)) if os.path.isdir(folder) else 0

    def _put_mail(self, user, owner):
        folder = f"{self.home}/mail/{user}"
        for part in ("", "/new", "/cur", "/tmp"):
            os.makedirs(folder + part, exist_ok=True)
            os.chown(folder + part, owner.pw_uid, owner.pw_gid)
        path = f"{folder}/new/1.M1P1.mx.test"
        with open(path, "w", encoding="utf-8") as file:
            file.write("Subject: the only one\n\nthere is room for\n")
        os.chown(path, owner.pw_uid, owner.pw_gid)
