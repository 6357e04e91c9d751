"""The status page in a real browser, without a display: light and dark, wide and as on a phone.

./check --browser runs it; contrib/install-deps --browser installs Chromium. With
CALLFORWARD_SCREENSHOTS=FOLDER the pictures stay there, to be looked at.
"""

import os
import re
import shutil
import subprocess
import unittest

from harness.sandbox import free_port
from test_control import SECTIONS, ControlFixture

SIZES = {"wide": "1100,1400", "phone": "500,2000"}
THEMES = {"light": "1", "dark": "0"}  # Blink's preferredColorScheme


class Page(ControlFixture):
    def setUp(self):
        self.port = free_port()
        self.sections = SECTIONS + f"""\
[metrics]
listen = "127.0.0.1:{self.port}"
show_addresses = true
[limits]
host_penalty = "60s"
"""
        super().setUp()
        self.hop.rcpt["script@one.test"] = "550 5.1.1 <script>document.title='hurt'</script>"
        for recipient in ("known@one.test", "nobody@one.test", "nobody@one.test", "user@dead.test",
                          "script@one.test"):
            self.ask(recipient)

    def browse(self, size, theme, *action):
        program = shutil.which("chromium")
        self.assertTrue(program, "chromium is missing: contrib/install-deps --browser installs it")
        done = subprocess.run(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", f"--user-data-dir={self.box.path('browser')}",
             "--virtual-time-budget=3000", f"--window-size={size}", "--enable-logging=stderr",
             f"--blink-settings=preferredColorScheme={theme}", *action,
             f"http://127.0.0.1:{self.port}/"], capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        self.assertNotIn("Uncaught", done.stderr)
        return done.stdout

    def test_the_page_shows_what_the_daemon_did_and_asks_nobody_else(self):
        dom = self.browse(SIZES["wide"], THEMES["light"], "--dump-dom")
        for text in ("1 next hop in trouble", "unknown_user", "nobody@one.test", "127.0.5.250:",
                     "reject", "no such mailbox here", "cache"):
            self.assertIn(text, dom)
        self.assertEqual(len(re.findall("<polygon", dom)), 8)
        self.assertNotRegex(dom, r'id="state"[^>]*>all is well<')
        self.assertIn("<title>callforward</title>", dom)
        self.assertIn("&lt;script&gt;document.title", dom)

    def test_it_can_be_looked_at_in_both_themes_and_on_a_phone(self):
        folder = os.environ.get("CALLFORWARD_SCREENSHOTS", self.box.folder)
        pictures = set()
        for size_name, size in SIZES.items():
            for theme_name, theme in THEMES.items():
                path = os.path.join(folder, f"status-{size_name}-{theme_name}.png")
                self.browse(size, theme, f"--screenshot={path}")
                with open(path, "rb") as file:
                    pictures.add(file.read())
        self.assertEqual(len(pictures), 4, "two of them are the same")
        self.assertGreater(min(len(picture) for picture in pictures), 10000)


if __name__ == "__main__":
    unittest.main()
