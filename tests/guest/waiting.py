# SPDX-License-Identifier: MIT
"""Guests that never halt, and what they take of the host's processors while they wait."""

import json
import subprocess
import time

from guest import nfold_path

LIMIT = 0.2  # of a processor's time
WINDOW_NS = 2_000_000_000
SECONDS = 60


def stats(name):
    result = subprocess.run([nfold_path(), "stats", name, "--json"], capture_output=True, timeout=30, check=True)
    return json.loads(result.stdout)["vcpus"]


def running(vcpus):
    return sum(vcpu["clocks_ns"][key] for vcpu in vcpus for key in ("guest", "exit", "translate", "device"))


def share_running(name):
    """Of one processor's next two seconds, what all vCPUs together ran. Waiting for a processor is not in it."""
    before = after = stats(name)
    while after[0]["wall_ns"] - before[0]["wall_ns"] < WINDOW_NS:
        time.sleep(0.2)
        after = stats(name)
    return (running(after) - running(before)) / (after[0]["wall_ns"] - before[0]["wall_ns"])


def waits(group, name):
    """It comes to rest within a minute. A busy host may see it at work now and then: any window will do."""
    end = time.monotonic() + SECONDS
    share = share_running(name)
    while share >= LIMIT and time.monotonic() < end:
        share = share_running(name)
    group.report("waiting takes little of a processor", None if share < LIMIT else f"{share:.2f} of a processor")
