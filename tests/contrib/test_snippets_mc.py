"""The lines for Sendmail's .mc file are taken by m4 and Sendmail's own macros."""

import os
import re
import subprocess
import unittest

from harness import sendmail_package
from places import CONTRIB
from test_snippets import blocks


class SendmailMc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sendmail_package.unpack()

    def check(self, text):
        include = os.path.join(sendmail_package.cf_folder(), "m4", "cf.m4")
        mc = (f"include(`{include}')dnl\nOSTYPE(`linux')dnl\n{text}"
              "MAILER(`local')dnl\nMAILER(`smtp')dnl\n")
        done = subprocess.run([sendmail_package.m4(),
                               f"-D_CF_DIR_={sendmail_package.cf_folder()}/", "-"],
                              input=mc, capture_output=True, text=True, check=False,
                              env=sendmail_package.environment())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for socket in re.findall(r"`S=([^,']+)", text):
            self.assertRegex(done.stdout, rf"(?m)^Xcallforward, S={re.escape(socket)}, F=T")

    def test_in_the_documents(self):
        found = list(blocks("mc"))
        self.assertGreaterEqual(len(found), 2)
        for place, text in found:
            with self.subTest(place):
                self.check(text)

    def test_in_contrib(self):
        with open(os.path.join(CONTRIB, "sendmail", "callforward.mc"), encoding="utf-8") as file:
            self.check(file.read())
