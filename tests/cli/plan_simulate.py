#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold plan simulate: a plan in, what its guests feel out, and one line for everything that cannot be."""

import csv
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

STATUS_INPUT = 2
HOST = "cpus=16,ghz=2.6,memory=128G,disk=1000MB/s,iops=20000,net=10Gb/s"


class PlanSimulate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        cls.estate, cls.plan = str(cls.path / "estate.nfp"), str(cls.path / "plan.json")
        subprocess.run([os.environ["ESTATE_MAKE"], cls.estate, "30", "3"], check=True)
        subprocess.run([os.environ["NFOLD"], "plan", "fit", cls.estate, "--host", HOST, "-o", cls.plan], check=True,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_nfold(self, *words):
        return subprocess.run([os.environ["NFOLD"], "plan", *words], capture_output=True, text=True, timeout=120, check=False)

    def simulate(self, *words):
        result = self.run_nfold("simulate", self.plan, "--minutes", "0.5", "--windows", "3", *words)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def simulation(self, *words):
        return json.loads(self.simulate("--json", *words))

    def refuse(self, *words, says, command="simulate"):
        result = self.run_nfold(command, *words)
        self.assertEqual((result.returncode, result.stdout), (STATUS_INPUT, ""))
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn(says, result.stderr)

    def file(self, name, content):
        path = self.path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    def test_windows_are_the_riskiest(self):
        plan, made = json.loads(Path(self.plan).read_text(encoding="utf-8")), self.simulation()
        self.assertEqual([w["host"] for w in made["windows"]], [risk["host"] for risk in plan["risks"][:3]])
        for window, risk in zip(made["windows"], plan["risks"]):
            self.assertEqual(window["name"], plan["hosts"][risk["host"]]["name"])
            self.assertEqual([g["guest"] for g in window["guests"]], plan["hosts"][risk["host"]]["guests"])
            self.assertTrue(window["time"] <= risk["time"] < window["time"] + 300)
            self.assertEqual((window["seconds"], window["processors"]), (30, 16))
            self.assertTrue(0 < window["used"] <= 1)
            for guest in window["guests"]:
                self.assertLessEqual(guest["used"] + guest["ready"] + guest["co_stop"] + guest["limited"], 1.0001)
        self.assertTrue(all(row["source"] for row in made["assumptions"]))

    def test_networks(self):
        """Messages wait for the host's network, longer where it is slower; a plan without net= has none."""
        plan = json.loads(Path(self.plan).read_text(encoding="utf-8"))
        fast = self.simulation("--windows", "1")["windows"][0]
        self.assertTrue(fast["network"] and 0 < fast["network_busy"] < 1)
        plan["classes"][0]["capacity"]["net"] *= fast["network_busy"] / 0.9
        path, args = self.file("slow.json", plan), ("--json", "--minutes", "0.5", "--windows", "1")
        slow = json.loads(self.run_nfold("simulate", path, *args).stdout)["windows"][0]
        self.assertGreater(slow["network_busy"], fast["network_busy"])
        for one, other in zip(fast["guests"], slow["guests"]):
            if one["messages"] > 100:
                self.assertGreater(other["network_queue_ms"], one["network_queue_ms"])
        self.assertGreater(sum(guest["messages"] for guest in fast["guests"]), 100)
        without = str(self.path / "without.json")
        self.assertEqual(self.run_nfold("fit", self.estate, "--host", HOST.replace(",net=10Gb/s", ""), "-o", without).returncode, 0)
        none = json.loads(self.run_nfold("simulate", without, *args).stdout)["windows"][0]
        self.assertFalse(none["network"] or any(guest["messages"] for guest in none["guests"]))

    def test_use_is_what_was_measured(self):
        """The processors are as busy as the plan says, within what two minutes of random bursts varies."""
        plan, made = json.loads(Path(self.plan).read_text(encoding="utf-8")), self.simulation("--minutes", "2")
        for window, risk in zip(made["windows"], plan["risks"]):
            if risk["resource"] == "cpu" and not any(guest["saturated"] for guest in window["guests"]):
                usable = plan["classes"][0]["usable"]["cpu"] / plan["classes"][0]["capacity"]["cpu"]
                self.assertAlmostEqual(window["used"], risk["share"] * usable, delta=0.05)

    def test_same_again_with_any_threads(self):
        texts = {self.simulate("--json", "--threads", threads) for threads in ("1", "2", "3")}
        self.assertEqual(len(texts), 1)
        self.assertNotEqual(texts, {self.simulate("--json", "--seed", "2")})
        first = self.simulation("--windows", "1")["windows"]
        self.assertEqual(first, self.simulation()["windows"][:1])

    def test_text_csv_and_page(self):
        table, output, page = (str(self.path / name) for name in ("s.csv", "s.json", "s.html"))
        text = self.simulate("--csv", table, "-o", output)
        made = json.loads(Path(output).read_text(encoding="utf-8"))
        self.assertEqual(text.count("processors"), 3)
        self.assertIn(made["windows"][0]["name"], text)
        with open(table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        guests = [(w["name"], g["name"], g["vcpus"]) for w in made["windows"] for g in w["guests"]]
        self.assertEqual([(r["host"], r["guest"], int(r["vcpus"])) for r in rows], guests)
        result = self.run_nfold("report", self.plan, "--simulation", output, "-o", page)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn('"nfold-simulation"', Path(page).read_text(encoding="utf-8"))

    def test_limits_and_shares(self):
        free = {g["name"]: g for g in self.simulation("--windows", "1")["windows"][0]["guests"]}
        name = max(free, key=lambda guest: free[guest]["used"] * free[guest]["vcpus"])
        settings = self.file("guests.json", {"*": {"coscheduling": "none"}, name: {"limit_mhz": 500, "vcpus": 1}})
        bound = {g["name"]: g for g in self.simulation("--windows", "1", "--guests", settings)["windows"][0]["guests"]}
        self.assertEqual(free[name]["limited"], 0)
        self.assertGreater(bound[name]["limited"], 0.1)
        self.assertLessEqual(bound[name]["used"], 500 / 2600 * 1.01)
        self.assertEqual(sum(g["co_stop"] for g in bound.values()), 0)

    def test_moved_estate(self):
        moved = self.path / "moved.nfp"
        moved.write_bytes(Path(self.estate).read_bytes())
        plan = json.loads(Path(self.plan).read_text(encoding="utf-8"))
        plan["demand"]["estate"] = "/nonexistent/estate.nfp"
        path = self.file("moved.json", plan)
        self.refuse(path, says="/nonexistent/estate.nfp")
        result = self.run_nfold("simulate", path, str(moved), "--minutes", "0.1", "--windows", "1")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_refusals(self):
        other = str(self.path / "other.nfp")
        subprocess.run([os.environ["ESTATE_MAKE"], other, "29", "3"], check=True)
        self.refuse(self.plan, other, says="not the estate")
        plan = json.loads(Path(self.plan).read_text(encoding="utf-8"))
        old = json.loads(json.dumps(plan))
        del old["classes"][0]["processors"]
        self.refuse(self.file("old.json", old), says="how many processors")
        large = json.loads(json.dumps(plan))
        large["classes"][0]["processors"] = 1e9
        self.refuse(self.file("large.json", large), says="256")
        self.refuse(self.plan, "--burst", "0.01", "--minutes", "1440", says="too many")
        for words, says in ((("--minutes", "x"), "minutes"), (("--burst-cv", "11"), "burst_cv"), (("--channels", "0"), "disk_channels"), (("--message", "0"), "message_kib"),
                            (("--coscheduling", "x"), "coscheduling")):
            self.refuse(self.plan, *words, says=says)
        for content, says in (({"nobody": {}}, "nobody"), ({"*": {"shares": 0}}, "shares"), ({"*": 1}, "object"), ([], "object"),
                              ('{"*":', "guests.json:1:"), ({"*": {"reservation_mhz": 1e9}}, "reserv")):
            self.refuse(self.plan, "--guests", self.file("guests.json", content), says=says)

    def test_report_refuses_other_simulations(self):
        made = self.simulation("--windows", "1")
        page = str(self.path / "no.html")
        for change, says in ((lambda s: s.update(format="x"), "not a simulation"), (lambda s: s["windows"][0].update(host=99), "windows[0]"),
                             (lambda s: s["windows"][0].update(name="x"), "windows[0]"),
                             (lambda s: s["windows"][0]["guests"][0].update(ready="1"), "windows[0]"),
                             (lambda s: s["assumptions"][1].update(value=None), "assumptions[1]")):
            bad = json.loads(json.dumps(made))
            change(bad)
            self.refuse(self.plan, "--simulation", self.file("bad.json", bad), "-o", page, says=says, command="report")
        self.refuse(self.plan, "--simulation", self.file("bad.json", "{"), "-o", page, says="bad.json:1:", command="report")
        self.assertFalse(Path(page).exists())


if __name__ == "__main__":
    unittest.main()
