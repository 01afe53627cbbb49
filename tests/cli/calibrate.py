#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold calibrate: short, for what it writes and that the planner reads it. Figures are for people, on a quiet machine."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from support import STATUS_HOST, STATUS_INPUT, CliTest, main

HOST = "cpus=16,ghz=2.6,memory=128G,disk=1000MB/s,iops=20000,net=10Gb/s"


class Calibrate(CliTest):
    def setUp(self):
        super().setUp()
        shutil.copy(os.environ["NFOLDD"], self.nfold.parent / "nfoldd")

    def test_a_calibration_is_measured_and_planned_with(self):
        folders = set(Path("/tmp").glob("nfold-calibrate-*"))
        output = self.succeed("calibrate", "-o", "cal.json", "--runs", "2", "--milliseconds", "10", seconds=210)
        for folder in set(Path("/tmp").glob("nfold-calibrate-*")) - folders:
            self.assertNotEqual(folder.stat().st_uid, os.geteuid(), f"{folder} is left")
        made = json.loads((self.folder / "cal.json").read_text(encoding="utf-8"))
        self.assertEqual((made["format"], made["version"], made["runs"]), ("nfold-calibration", 1, 2))
        (self.runtime / "switches").rmdir()  # the guests' own is gone
        self.assertEqual(len(made["costs"]), 17)
        for key, cost in made["costs"].items():
            self.assertIn(key, output)
            self.assertGreaterEqual(cost["ns"], 0, key)
            self.assertGreaterEqual(cost["spread"], 0, key)
        for key in ("page_fault", "interrupt", "mmio", "software_interrupt", "port", "disk_sector", "network_frame",
                    "native_syscall", "native_fault", "native_cycle", "native_interrupt", "tick"):
            self.assertGreater(made["costs"][key]["ns"], 0, key)
        noisy = any(cost["spread"] > 0.1 for key, cost in made["costs"].items() if key not in ("idle", "tick"))
        self.assertEqual((made["noisy"], "too noisy" in output), (noisy, noisy))
        memory, figures = made["memory"], made["engines"]["translate"]
        for key in ("in_use_mib", "host_mib", "guest_mib", "code_mib"):
            self.assertGreater(memory[key], 0.5, key)
        self.assertLess(memory["ram_share"], 0.05)
        self.assertEqual(set(figures) | {"interrupt"}, {"user", "kernel", "interrupt", "cycles_per_io", "guest_memory", "memory_share", "host_memory"})
        self.assertGreaterEqual(figures.get("interrupt", {"value": 1})["value"], 1)
        self.assertAlmostEqual(figures["guest_memory"]["value"], memory["guest_mib"] + memory["code_mib"], delta=0.2)
        self.assertAlmostEqual(figures["host_memory"]["value"], memory["in_use_mib"] + memory["host_mib"], delta=0.2)
        subprocess.run([os.environ["ESTATE_MAKE"], self.folder / "estate", "5", "1"], check=True)
        self.succeed("plan", "fit", "estate", "--host", HOST, "--engine", "translate", "--calibration", "cal.json", "-o", "plan.json")
        used = {row["key"]: row for row in json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))["overhead"]}
        for key, figure in figures.items():
            self.assertAlmostEqual(used[key]["value"], figure["value"])
            self.assertIn("nfold calibrate", used[key]["source"])

    def test_refusals(self):
        self.assertIn("-o FILE", self.refuse(STATUS_INPUT, "calibrate"))
        self.assertIn("--runs", self.refuse(STATUS_INPUT, "calibrate", "-o", "x", "--runs", "0"))
        line = self.refuse(STATUS_HOST, "calibrate", "-o", "/nonexistent/x", "--runs", "1")
        self.assertIn("/nonexistent/x", line)


if __name__ == "__main__":
    main()
