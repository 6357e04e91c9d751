"""Sendmail unpacked from Debian's packages into the build folder: it can not be installed beside Postfix.

contrib/install-deps --sendmail DIR does the work where it exists; what is still missing (m4, libraries) is unpacked
beside it. Run once, before the private network is entered: this is the only step that needs a mirror.
"""

import glob
import os
import re
import subprocess

PACKAGES = ["sendmail-bin", "sendmail-base", "sendmail-cf", "m4"]
LIBRARIES = {"libwrap.so.0": "libwrap0", "libnsl.so.2": "libnsl2", "libtirpc.so.3": "libtirpc3",
             "libldap-2.5.so.0": "libldap-2.5-0", "liblber-2.5.so.0": "libldap-2.5-0",
             "libsasl2.so.2": "libsasl2-2", "libdb-5.3.so": "libdb5.3"}
PROJECT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def folder():
    return os.path.join(os.path.abspath(os.environ["CALLFORWARD_BUILD"]), "end_to_end", "sendmail")


def unpack():
    """Makes folder() complete; quick when it is."""
    home = folder()
    os.makedirs(home, exist_ok=True)
    install = os.path.join(PROJECT, "contrib", "install-deps")
    if not os.path.exists(binary()):
        if os.access(install, os.X_OK):
            subprocess.run([install, "--sendmail", home], check=True)
        else:
            _unpack_packages(home, PACKAGES)
    os.chmod(binary(), 0o755)  # a set-group-ID program ignores LD_LIBRARY_PATH
    if not find_m4():
        _unpack_packages(home, ["m4"])
    missing = {LIBRARIES.get(name, name) for name in _missing_libraries()}
    if missing:
        _unpack_packages(home, sorted(missing))
    if still := _missing_libraries():
        raise AssertionError(f"libraries that Sendmail needs are missing: {still}")


def binary():
    return os.path.join(folder(), "usr", "libexec", "sendmail", "sendmail")


def cf_folder():
    return os.path.join(folder(), "usr", "share", "sendmail", "cf")


def find_m4():
    for candidate in (os.path.join(folder(), "usr/bin/m4"), "/usr/bin/m4"):
        if os.access(candidate, os.X_OK):
            return candidate
    return None


def environment():
    """LD_LIBRARY_PATH with the unpacked libraries, whatever the architecture."""
    folders = glob.glob(os.path.join(folder(), "usr", "lib", "*-linux-gnu*"))
    return dict(os.environ, LD_LIBRARY_PATH=":".join(folders)) if folders else dict(os.environ)


def _unpack_packages(home, names):
    subprocess.run(["apt-get", "download", "-q", *names], cwd=home, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name in sorted(os.listdir(home)):
        if name.endswith(".deb"):
            subprocess.run(["dpkg", "-x", name, "."], cwd=home, check=True)
            os.unlink(os.path.join(home, name))


def _missing_libraries():
    listing = subprocess.run(["ldd", binary()], env=environment(), capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(\S+) => not found", listing)))
