# SPDX-License-Identifier: MIT
"""What an experiment is told, and what its page says about the machine."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from hosts import Host


@dataclass(frozen=True)
class Context:
    """What an experiment gets. `folder` is temporary and its own."""

    nfold: Path
    short: bool
    folder: Path

    @property
    def processors(self):
        return len(os.sched_getaffinity(0))

    @property
    def build(self):
        return self.nfold.parent

    def host(self, *words):
        """A host for a with block; `words` are options of nfold host start."""
        return Host(self.nfold, *words)

    @staticmethod
    def say(text):
        print(f"  {text}", flush=True)


def processor_name():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        return next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")


def first_line(words, folder):
    try:
        result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return result.stdout.splitlines()[0].strip() if result.returncode == 0 and result.stdout else "unknown"


def machine_facts(root, nfold):
    """Kept with each result: experiments may run at different times."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": first_line(["git", "rev-parse", "--short=12", "HEAD"], root),
        "nfold": first_line([nfold, "--version"], root),
        "processor": processor_name(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": f"Linux {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
    }
