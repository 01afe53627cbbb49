#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold plan fit: an estate in, a plan out, and one line for everything that cannot be."""

import csv
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

STATUS_INPUT = 2
HOST = "cpus=16,ghz=2.6,memory=128G,disk=1000MB/s,iops=20000,net=10Gb/s"


class PlanFit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        cls.estate = str(cls.path / "estate.nfp")
        subprocess.run([os.environ["ESTATE_MAKE"], cls.estate, "30", "7"], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_fit(self, *options, estate=None):
        words = [os.environ["NFOLD"], "plan", "fit", estate or self.estate, *options]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    def fit(self, *options):
        result = self.run_fit(*options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def refuse(self, *options, says="", estate=None):
        result = self.run_fit(*options, estate=estate)
        self.assertEqual(result.returncode, STATUS_INPUT, result.stdout)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn(says, result.stderr)

    def plan(self, *options, name="plan.json"):
        path = self.path / name
        self.fit(*options, "-o", str(path))
        return json.loads(path.read_text(encoding="utf-8"))

    def rules(self, rules):
        path = self.path / "rules.json"
        path.write_text(json.dumps(rules), encoding="utf-8")
        return ["--rules", str(path)]

    def place(self, plan):
        return {guest["name"]: plan["hosts"][guest["host"]]["name"] for guest in plan["guests"]}

    def test_the_answer(self):
        self.assertEqual(self.fit("--host", HOST),
                         "30 guests fit 3 hosts; fewer than 3 cannot do.\nAdding up peaks would take 7.\n")

    def test_json_and_csv_say_the_same(self):
        table = self.path / "plan.csv"
        plan = self.plan("--host", HOST, "--csv", str(table))
        self.assertEqual((plan["format"], plan["version"]), ("nfold-plan", 1))
        self.assertEqual(plan["answer"]["hosts"], len(plan["hosts"]))
        self.assertEqual(plan["bound"]["hosts"], 3)
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual({row["guest"]: row["host"] for row in rows}, self.place(plan))
        self.assertEqual([row["flags"] for row in rows if row["guest"] == "db0"], ["io-bound"])
        self.assertGreater(sum(guest["gap_samples"] for guest in plan["guests"]), 0)
        for host in plan["hosts"]:
            for resource in host["resources"].values():
                self.assertLessEqual(resource["share"], 1)
                self.assertEqual(len(resource["chart"]), len(host["guests"]))
                peak = max(map(sum, zip(*resource["chart"])))
                self.assertAlmostEqual(peak, resource["peak"], delta=resource["peak"] * 0.01)
        self.assertEqual(len(plan["risks"]), 10)
        self.assertTrue(all(row["source"] for row in plan["overhead"]))

    def test_threads_do_not_matter(self):
        texts = set()
        for threads in ("1", "2", "4"):
            self.fit("--host", HOST, "--threads", threads, "-o", str(self.path / "t.json"))
            texts.add((self.path / "t.json").read_text(encoding="utf-8"))
        self.assertEqual(len(texts), 1)

    def test_engine_headroom_and_growth_cost_hosts(self):
        def hosts(*options):
            return self.plan("--host", HOST, *options)["answer"]["hosts"]
        native = hosts("--engine", "native", "--headroom", "0%")
        self.assertLessEqual(native, hosts("--engine", "kvm"))
        self.assertLess(hosts("--engine", "kvm"), hosts("--engine", "translate"))
        self.assertLess(native, hosts("--growth", "cpu=100%"))
        self.assertLess(native, hosts("--headroom", "cpu=50%"))
        plan = self.plan("--host", HOST)
        self.assertEqual(plan["choices"]["native"]["machines"], 30)
        self.assertLessEqual(plan["choices"]["one_os"]["machines"], plan["choices"]["virtual"]["machines"])

    def test_calibration(self):
        path = self.path / "calibration.json"
        path.write_text('{"engines": {"kvm": {"user": {"value": 2.0, "source": "measured here"}}}}', encoding="utf-8")
        plan = self.plan("--host", HOST, "--calibration", str(path))
        self.assertGreater(plan["answer"]["hosts"], 3)
        self.assertIn("measured here", {row["source"] for row in plan["overhead"]})
        path.write_text('{"engines": {"kvm": {"memory_share": 0.5, "guest_memory": 10}}}', encoding="utf-8")
        more = self.plan("--host", HOST, "--calibration", str(path))["guests"]
        for guest, native in zip(more, self.plan("--host", HOST, "--engine", "native")["guests"]):
            wanted = native["peak"]["memory"] * 1.5 + 10
            self.assertAlmostEqual(guest["peak"]["memory"], wanted, delta=1 + wanted / 1000)  # four digits
        for bad, says in (('{"engines": {"kvm": {"user": -1}}}', "user"), ('{"engines": {"kvm": {"x": 1}}}', "'x'"),
                          ("{}", "engines"), ('{"engines"', "calibration.json:1:"), ("\xff", "calibration.json:1:")):
            path.write_text(bad, encoding="latin-1")
            self.refuse("--host", HOST, "--calibration", str(path), says=says)

    def test_ratings(self):
        """A server counts what its processors do by their rating; a MHz is one of the first kind of host."""
        path = self.path / "ratings.csv"
        path.write_text('model,server,rating\n"Xeon * 6430",,8\n"xeon*",,4\n,web*,2\n,*,4\n', encoding="utf-8")
        words = ("--ratings", str(path), "--engine", "native")
        plan = self.plan("--host", HOST + ",model=XEON Gold 6430", *words)
        clocks = {guest["name"]: guest for guest in self.plan("--host", HOST, "--engine", "native")["guests"]}
        self.assertEqual((plan["classes"][0]["rating"], plan["options"]["rated"]), (8, True))
        for guest in plan["guests"]:
            rating = 2 if guest["name"].startswith("web") else 4
            self.assertAlmostEqual(guest["peak"]["cpu"] / clocks[guest["name"]]["peak"]["cpu"], rating / 8 * 2600 / 2400, delta=1e-3)
        twice = self.plan("--host", HOST + ",model=Xeon 1", *words)
        self.assertAlmostEqual(twice["guests"][0]["peak"]["cpu"], 2 * plan["guests"][0]["peak"]["cpu"], delta=1)
        kinds = self.plan("--host", HOST + ",rating=8,count=1", "--host", "name=b,cpus=8,ghz=9,memory=64G,disk=1000MB/s,iops=20000,net=10Gb/s,rating=16", *words)
        self.assertEqual([kind["capacity"]["cpu"] for kind in kinds["classes"]], [16 * 2600, 8 * 2600 * 2])
        result = subprocess.run([os.environ["NFOLD"], "plan", "simulate", str(self.path / "plan.json"), "--minutes", "0.05"],
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.refuse("--host", HOST, *words, says="rating= or model=")
        self.refuse("--host", HOST + ",model=Opteron", *words, says="'Opteron'")
        self.refuse("--host", HOST + ",rating=8", "--engine", "native", says="has no rating")
        for bad, says in (("", "no rating"), ("model,rating\n", "no rating"), ("model,x\n", "ratings.csv:1:2:"), ("rating\n1\n", "'model' or 'server'"),
                          ("model,rating\nx,-1\n", "ratings.csv:2:2:"), ("model,server,rating\nx,y,1\n", "ratings.csv:2:"),
                          ("model,rating\nx\n", "ratings.csv:2:2:")):
            path.write_text(bad, encoding="utf-8")
            self.refuse("--host", HOST + ",model=x", *words, says=says)

    def test_rules(self):
        rules = {"apart": [["web0", "web3", "batch1"]], "together": [["web4", "batch5"]], "sites": {"old": "host"},
                 "pin": {"db*": "old"}, "barred": {"web3": []}}
        place = self.place(self.plan("--host", HOST, *self.rules(rules)))
        self.assertEqual(len({place[name] for name in ("web0", "web3", "batch1")}), 3)
        self.assertEqual(place["web4"], place["batch5"])
        self.assertEqual(place["db0"], "old")

    def test_keep(self):
        plan = self.plan("--host", HOST)
        place = self.place(plan)
        rules = {"sites": {name: "host" for name in place.values()}, "now": place}
        kept = self.plan("--host", HOST, "--keep", *self.rules(rules))
        self.assertEqual(kept["answer"]["moved"], 0)
        self.assertEqual(self.place(kept), place)

    def test_bad_rules(self):
        for rules, says in (({"apart": [["nobody"]]}, "nobody"), ({"apart": "x"}, "apart"), ({"x": 1}, "'x'"),
                            ({"sites": {"a": "none"}}, "'a'"), ({"pin": {"web0": "a"}}, "pin"), ([], "object"),
                            ({"barred": {"web0": ["none"]}}, "web0"), ({"barred": {"web0": ["host"]}}, "web0"),
                            ({"together": [["web0", "web1"]], "apart": [["web0", "web1"]]}, "web1")):
            self.refuse("--host", HOST, *self.rules(rules), says=says)

    def test_several_kinds_and_costs(self):
        text = self.fit("--host", "name=big,cost=3," + HOST, "--host", "name=small,cpus=8,ghz=2.6,memory=32G,disk=500MB/s,"
                        "iops=8000,net=10Gb/s,cost=2")
        self.assertRegex(text, r"^30 guests fit \d hosts \(\d big, \d small\); fewer than \d cannot do; cost \d+, at least ")

    @unittest.skipUnless(shutil.which("cbc"), "cbc is not installed")
    def test_exact(self):
        self.assertIn("fit 3 hosts; fewer than 3 cannot do", self.fit("--host", HOST, "--exact"))
        self.refuse("--host", HOST, "--exact", "--percentile", "99", says="--exact")

    def test_spares(self):
        plan = self.plan("--host", HOST, "--spares", "1")
        self.assertEqual([host["spare"] for host in plan["hosts"]].count(True), 1)
        self.assertEqual(plan["bound"]["hosts"], 4)

    def test_no_fit_says_why(self):
        self.refuse("--host", "cpus=1,ghz=1,memory=128G", says="of cpu")
        self.refuse("--host", "cpus=16,ghz=2.6,memory=4G", says="of memory")
        self.refuse("--host", HOST + ",count=1", says="sample")

    def test_bad_words(self):
        self.refuse(says="--host")
        for host in ("", "cpus", "cpus=0,ghz=1,memory=1G", "cpus=-1", "cpus=nan", "cpus=0x10", "cpus=1e400", "memory=5X",
                     "cpus=1,cpus=2", "cpus=8,ghz=2", "speed=3", "x" * 600, HOST + ",count=1.5", HOST + ",name=",
                     HOST + ",name=a b", HOST + ",count=9999999"):
            self.refuse("--host", host, says="--host")
        self.refuse("--host", HOST, "--host", HOST, says="name=")
        self.refuse("--host", HOST, "--host", "name=b,cost=1," + HOST, says="cost=")
        for option, value in (("--headroom", "x"), ("--headroom", "100%"), ("--headroom", "cpu=5"), ("--growth", "ram=5%"),
                              ("--percentile", "49"), ("--percentile", "101"), ("--percentile", "nan"), ("--spares", "x"),
                              ("--interval", "9999999"), ("--keep", "--no-balance")):
            self.refuse("--host", HOST, option, value)
        self.refuse("--host", HOST, estate=os.environ["NFOLD"])


if __name__ == "__main__":
    unittest.main()
