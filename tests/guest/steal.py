# SPDX-License-Identifier: MIT
"""Steal time: what Linux in the guest says was taken from it, against the host's ledger, beside a native hog on the same processor."""

import contextlib
import os
import re
import subprocess
import sys
import time

from waiting import stats

HOG = "while True: pass"
ENOUGH_TICKS = 50  # of 10 ms
SECONDS = 120
TAKEN = ("ready", "costop", "limited", "preempted")


@contextlib.contextmanager
def hog_beside(guest):
    """Guest and hog share one processor."""
    processor = {min(os.sched_getaffinity(0))}
    for pid in guest.vm_pids():
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), processor)
    with subprocess.Popen([sys.executable, "-c", HOG], preexec_fn=lambda: os.sched_setaffinity(0, processor)) as hog:
        try:
            yield
        finally:
            hog.kill()


def guest_ticks(guest):
    """The steal column of /proc/stat: proc_stat(5)."""
    output, _ = guest.shell("grep '^cpu ' /proc/stat")
    return int(re.search(r"^cpu +(?:\d+ ){7}(\d+)", output, re.MULTILINE).group(1))


def ledger_ticks(name):
    return sum(vcpu["clocks_ns"][state] for vcpu in stats(name) for state in TAKEN) / 1e7


def check(group, guest, name):
    guest.shell("(while :; do :; done) &")
    host_before, before = ledger_ticks(name), guest_ticks(guest)
    with hog_beside(guest):
        end = time.monotonic() + SECONDS
        while guest_ticks(guest) - before < ENOUGH_TICKS and time.monotonic() < end:
            time.sleep(0.5)
    # Read in this order, the guest's figure lies between the two of the host.
    low = ledger_ticks(name) - host_before
    taken = guest_ticks(guest) - before
    high = ledger_ticks(name) - host_before
    group.report("steal time grows beside a hog", None if taken >= ENOUGH_TICKS else f"{taken} ticks")
    # A tick and the part of one that was not told yet, each way.
    good = taken <= high + 5 and taken >= 0.8 * low - 10
    group.report("and agrees with the ledger", None if good else f"the guest says {taken} ticks, the ledger {low:.1f} to {high:.1f}")
