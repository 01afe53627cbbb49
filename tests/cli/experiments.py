#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/experiments/run: its options; and with `long` as an argument, short runs of the experiments that need nothing but nfold and the
tests' guests. What they measure is this machine's business: asked is that each gives a result, and that the page has it."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "bench" / "experiments" / "run"
REAL = (1, 3, 4, 6, 10, 11)
NOT_DRAWN = 2  # python3-matplotlib is not a test's package


class Experiments(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nfold-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_it(self, *words, seconds=60):
        words = [sys.executable, str(RUN), "--nfold", os.environ["NFOLD"], "--json", str(self.folder / "results.json"), "--out", str(self.folder / "docs"), *words]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False)


class Options(Experiments):
    def test_the_list_has_all_of_them(self):
        result = self.run_it("--list")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([int(line.split()[0]) for line in result.stdout.splitlines()], list(range(1, 12)))

    def test_a_number_that_is_none(self):
        result = self.run_it("--only", "99")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("no such experiment: 99", result.stderr)
        self.assertFalse((self.folder / "docs").exists())

    def test_a_failure_is_on_the_page(self):
        nothing = self.folder / "nfold"
        nothing.write_text("#!/bin/sh\necho 'nfold: not today' >&2; exit 3\n", encoding="utf-8")
        nothing.chmod(0o755)
        result = self.run_it("--only", "1", "--short", "--nfold", str(nothing))
        self.assertNotEqual(result.returncode, 0)
        page = (self.folder / "docs" / "experiments.md").read_text(encoding="utf-8")
        self.assertIn("not today", page)


class Real(Experiments):
    def test_short_runs(self):
        only = [word for number in REAL for word in ("--only", str(number))]
        result = self.run_it("--short", *only, seconds=1500)
        self.assertIn(result.returncode, (0, NOT_DRAWN), result.stdout + result.stderr)
        results = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))["experiments"]
        page = (self.folder / "docs" / "experiments.md").read_text(encoding="utf-8")
        for number in REAL:
            done = results[str(number)]
            self.assertNotIn("error", done)
            self.assertTrue(done["targets"] and done["tables"][0]["rows"], number)
            for target in done["targets"]:
                self.assertIn(target["value"], page)
                self.assertTrue(target["met"] or target["reason"], target)


if __name__ == "__main__":
    names = ["Real"] if sys.argv[1:] == ["long"] else ["Options"]
    unittest.main(argv=sys.argv[:1], defaultTest=names, verbosity=2)
