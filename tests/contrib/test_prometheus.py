"""Prometheus takes the alerts, and each of them comes when it should."""

import os
import re
import unittest

from places import CONTRIB, run

HERE = os.path.dirname(os.path.abspath(__file__))
RULES = os.path.join(CONTRIB, "prometheus", "callforward.rules.yml")


class Alerts(unittest.TestCase):
    def assert_fine(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_prometheus_takes_the_alerts(self):
        self.assert_fine(run("promtool", "check", "rules", RULES))

    def test_alerts_come_when_they_should_and_stay_away_otherwise(self):
        self.assert_fine(run("promtool", "test", "rules", "callforward.rules.test.yml", cwd=HERE))

    def test_every_alert_has_a_test(self):
        with open(RULES, encoding="utf-8") as file:
            alerts = set(re.findall(r"- alert: (\w+)", file.read()))
        with open(os.path.join(HERE, "callforward.rules.test.yml"), encoding="utf-8") as file:
            text = file.read()
        fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", text))
        self.assertEqual(alerts, fired)
