"""Dashboard and alerts speak of the metrics that there are, and the dashboard of all of them."""

import json
import os
import re
import unittest

from places import CONTRIB, PROJECT

METRICS = {
    "verdicts_total", "monitored_total", "probes_total", "probe_seconds", "answer_seconds", "connections", "host_up",
    "pending", "cache_entries", "cache_evictions_total", "store_up", "dns_queries_total",
    "tls_handshakes_total", "interlock", "config_reloads_total",
}


def metrics_in(text):
    return {re.sub("_bucket$", "", name) for name in re.findall(r"callforward_([a-z_]+)", text)}


class Metrics(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(CONTRIB, "grafana", "callforward.json"), encoding="utf-8") as file:
            self.dashboard = json.load(file)

    def expressions(self):
        return [target["expr"] for panel in self.dashboard["panels"]
                for target in panel["targets"]]

    def test_the_dashboard_shows_every_metric(self):
        self.assertEqual(metrics_in(" ".join(self.expressions())), METRICS)

    def test_the_manual_page_explains_them(self):
        page = os.path.join(PROJECT, "man", "callforward-milter.8")
        with open(page, encoding="utf-8") as file:
            self.assertEqual(metrics_in(file.read()), METRICS)

    def test_every_panel_has_a_title_an_explanation_and_a_place_of_its_own(self):
        taken = set()
        for panel in self.dashboard["panels"]:
            self.assertTrue(panel["title"] and panel["description"], panel["id"])
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    self.assertLess(x, 24, panel["title"])
                    taken.add((x, y))
        ids = [panel["id"] for panel in self.dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_every_expression_can_be_narrowed_to_an_instance(self):
        for expression in self.expressions():
            selectors = re.findall(r"callforward_[a-z_]+(\{[^}]*\})?", expression)
            for selector in selectors:
                self.assertIn('instance=~"$instance"', selector, expression)

    def test_the_alerts_speak_of_metrics_that_exist(self):
        path = os.path.join(CONTRIB, "prometheus", "callforward.rules.yml")
        with open(path, encoding="utf-8") as file:
            used = metrics_in("".join(line for line in file if "job" not in line))
        self.assertLessEqual(used, METRICS)
