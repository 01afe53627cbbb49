#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold plan report: the page as a browser draws it, and plans that are not plans."""

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

STATUS_INPUT, STATUS_HOST = 2, 4
HOST = "name=big,cpus=16,ghz=2.6,memory=128G,disk=1000MB/s,iops=20000,net=10Gb/s,cost=3"
BROWSER = shutil.which("chromium")


class PlanReport(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        estate = str(cls.path / "estate.nfp")
        subprocess.run([os.environ["ESTATE_MAKE"], estate, "30", "7"], check=True)
        cls.plan_path = cls.path / "plan.json"
        subprocess.run([os.environ["NFOLD"], "plan", "fit", estate, "--host", HOST, "--spares", "1", "-o", str(cls.plan_path)],
                       check=True, capture_output=True, timeout=60)
        cls.plan = json.loads(cls.plan_path.read_text(encoding="utf-8"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def report(self, plan, page="page.html"):
        path = self.path / "input.json"
        if isinstance(plan, bytes):
            path.write_bytes(plan)
        else:
            path.write_text(json.dumps(plan), encoding="utf-8")
        return subprocess.run([os.environ["NFOLD"], "plan", "report", str(path), "-o", str(self.path / page)],
                              capture_output=True, text=True, timeout=60, check=False)

    def refuse(self, plan, says):
        result = self.report(plan, "refused.html")
        self.assertEqual((result.returncode, result.stdout), (STATUS_INPUT, ""), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertIn(says, result.stderr)
        self.assertFalse((self.path / "refused.html").exists())

    def drawn(self, plan):
        """The document after its script has run, as text without markup of scripts."""
        result = self.report(plan)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        profile = self.path / "profile"
        browser = subprocess.run([BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                                  "--window-size=1000,9000", "--virtual-time-budget=4000", "--dump-dom",
                                  (self.path / "page.html").as_uri()],
                                 capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(browser.returncode, 0, browser.stderr)
        return re.sub(r"<script.*?</script>", "", browser.stdout, flags=re.DOTALL)

    @unittest.skipUnless(BROWSER, "chromium is not installed")
    def test_a_browser_draws_it(self):
        self.plan["guests"][0]["name"] = "<img src=x onerror=document.title='hacked'>"
        page = self.drawn(self.plan)
        self.assertIn('data-drawn="yes"', page)
        self.assertNotIn("hacked</title>", page)
        self.assertNotIn("<img", page)
        text = html.unescape(re.sub(r"<[^>]*>", " ", page))
        self.assertIn("The 30 servers fit 4 hosts as guests under KVM, 1 of them spare; fewer cannot do.", text)
        self.assertIn("io-bound", text)
        self.assertIn("Friedman", text)
        for guest in self.plan["guests"]:
            self.assertIn(guest["name"], text)
        self.assertEqual(page.count("<canvas"), 1 + 3)
        self.assertEqual(len(re.findall(r"<canvas[^>]*width=\"[1-9]", page)), 4)
        self.assertEqual(len(re.findall(r"<tr>", page.split('id="risks"')[1].split("<h2>")[0])), 11)

    def test_the_page_needs_nothing_else(self):
        self.assertEqual(self.report(self.plan).returncode, 0)
        page = (self.path / "page.html").read_text(encoding="utf-8")
        self.assertNotRegex(page, r"<(script|img|iframe)[^>]*\bsrc=|<link|@import|fetch\(|XMLHttpRequest")
        self.assertIn("Permission is hereby granted", page)
        data = page.split('id="plan">')[1].split("</script>")[0]
        self.assertNotIn("<", data)
        self.assertEqual(json.loads(data)["answer"], self.plan["answer"])

    def test_a_plan_that_is_damaged(self):
        def without(*path, value=None):
            copy = json.loads(self.plan_path.read_text(encoding="utf-8"))
            place = copy
            for key in path[:-1]:
                place = place[key]
            if value is None:
                del place[path[-1]]
            else:
                place[path[-1]] = value
            return copy
        text = self.plan_path.read_bytes()
        self.refuse(b"", "input.json:")
        self.refuse(text[:5000], "input.json:")
        self.refuse(b"\xff\xfe" + text, "input.json:1:")
        self.refuse([], "not a plan")
        self.refuse({}, "not a plan")
        self.refuse(without("version", value=9), "version 9")
        for key in ("demand", "options", "answer", "bound", "choices", "classes", "overhead", "flags", "risks", "chart_points", "hosts",
                    "guests"):
            self.refuse(without(key), "nfold plan fit")
            self.refuse(without(key, value="x"), "nfold plan fit")
        for path, value, says in ((("hosts", 0, "guests", 0), 30, "hosts[0]"), (("hosts", 1, "class"), "none", "hosts[1]"),
                                  (("hosts", 0, "resources", "cpu", "chart", 0), [1], "hosts[0]"),
                                  (("guests", 3, "host"), 99, "guests[3]"), (("guests", 3, "host"), -1, "guests[3]"),
                                  (("guests", 2, "flags"), ["none"], "guests[2]"), (("risks", 0, "time"), 10**15, "risks[0]"),
                                  (("bound", "resource"), "love", "bound"), (("demand", "samples"), 10**12, "demand"),
                                  (("overhead", 0, "source"), 5, "overhead[0]")):
            self.refuse(without(*path, value=value), says)

    def test_files(self):
        self.assertEqual(self.report(self.plan, "no/folder.html").returncode, STATUS_HOST)
        missing = subprocess.run([os.environ["NFOLD"], "plan", "report", str(self.path / "none.json"), "-o", "x"],
                                 capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(missing.returncode, STATUS_INPUT)


if __name__ == "__main__":
    unittest.main()
