#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The planner on real measurements, in a folder that NFOLD_PLAN_DATA names: never more than one host above the bound, nine
tenths of what can be saved against adding up peaks, and the same answer with any number of threads."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
SIZES = [(16, 128), (24, 256), (32, 256), (48, 512), (64, 512), (96, 1024)]


def fit(estate, cpus, memory, threads):
    words = [os.environ["FIT_SCALE"], estate, "120", "0", str(cpus), str(memory), "50000", str(threads)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout)


def main():
    folder = os.environ.get("NFOLD_PLAN_DATA")
    if not folder:
        print("skipped: NFOLD_PLAN_DATA names no folder with measurements")
        return SKIPPED
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        estate = str(Path(work) / "estate.nfp")
        subprocess.run([os.environ["NFOLD"], "plan", "import", "--keep-going", "-o", estate, folder], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
        for cpus, memory in SIZES:
            row = fit(estate, cpus, memory, 2)
            print(row, flush=True)
            saved, possible = row["by_peaks"] - row["hosts"], row["by_peaks"] - row["bound"]
            if not row["bound"] <= row["hosts"] <= row["bound"] + 1 or saved < 0.9 * possible:
                print(f"hosts with {cpus} processors: {row['hosts']} hosts, bound {row['bound']}, peaks {row['by_peaks']}")
                wrong += 1
        placements = {fit(estate, 32, 256, threads)["placement"] for threads in (1, 2, 4)}
        wrong += len(placements) != 1
    return 1 if wrong else 0


sys.exit(main())
