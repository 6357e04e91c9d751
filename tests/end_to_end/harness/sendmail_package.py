"""Sendmail unpacked from Debian's packages into the build folder: it can not be installed beside
Postfix.

contrib/install-deps does it. Run before sandbox.isolate(): this is the only step that needs a
mirror, and it needs none once the folder is complete.
"""

import glob
import os
import subprocess

PROJECT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def folder():
    return os.path.join(os.path.abspath(os.environ["CALLFORWARD_BUILD"]), "end_to_end", "sendmail")


def unpack():
    """Makes folder() complete; quick when it is."""
    subprocess.run([os.path.join(PROJECT, "contrib", "install-deps"), "--sendmail", folder()],
                   check=True)
    for program in (binary(), m4()):
        if not os.access(program, os.X_OK):
            raise AssertionError(f"contrib/install-deps --sendmail left no {program}")


def binary():
    return os.path.join(folder(), "usr", "libexec", "sendmail", "sendmail")


def m4():
    return os.path.join(folder(), "usr", "bin", "m4")


def cf_folder():
    return os.path.join(folder(), "usr", "share", "sendmail", "cf")


def environment():
    """LD_LIBRARY_PATH with the unpacked libraries, whatever the architecture."""
    folders = glob.glob(os.path.join(folder(), "usr", "lib", "*-linux-gnu*"))
    folders += glob.glob(os.path.join(folder(), "lib", "*-linux-gnu*"))
    return dict(os.environ, LD_LIBRARY_PATH=":".join(folders))
