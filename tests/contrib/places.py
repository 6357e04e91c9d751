"""Where things are, and what runs them."""

import os
import shutil
import subprocess

PROJECT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
CONTRIB = os.path.join(PROJECT, "contrib")


def run(*command, **options):
    """A CompletedProcess with text; a program that is missing fails, with what to do."""
    if not shutil.which(command[0]):
        raise AssertionError(f"{command[0]} is missing: contrib/install-deps --package installs it")
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                          **options)


def documents():
    """Path and text of everything that shows configuration to a reader."""
    folders = [PROJECT, os.path.join(CONTRIB, "doc")]
    for folder in folders:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".md"):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    yield os.path.relpath(path, PROJECT), file.read()
