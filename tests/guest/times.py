# SPDX-License-Identifier: MIT
"""What nfold-guest says in a guest of two processors, one of them busy beside a native hog, against the host's ledger."""

import json
import re
import subprocess
import time
from pathlib import Path

from group import without_kernel_lines
from guest import ROOT, GuestError, nfold_path
from steal import hog_beside
from waiting import stats

STATES = {
    "used_ns": ("guest", "exit", "translate", "device"),
    "ready_ns": ("ready", "limited", "preempted"),
    "costop_ns": ("costop",),
    "wait_ns": ("idle", "paging", "paused", "blocked"),
}
TICK_NS = 10_000_000
ENOUGH_NS = 500_000_000
SECONDS = 120
TURNS = 40


def make_initrd(folder):
    image = Path(folder) / "times.cpio.gz"
    command = Path(nfold_path()).parent / "nfold-guest"
    subprocess.run([str(ROOT / "tools" / "make-initramfs"), "-o", str(image), "--file", f"{command}=/bin/nfold-guest"], check=True, stdout=subprocess.DEVNULL)
    return image


def guest_times(guest):
    output, status = guest.shell("nfold-guest --json")
    found = re.search(r"^\{.*\}$", output, re.MULTILINE)
    if status != 0 or not found:
        raise GuestError(f"nfold-guest: status {status}, {output.strip()!r}")
    return json.loads(found.group(0))


def ledger_times(name):
    return [{key: sum(vcpu["clocks_ns"][state] for state in states) for key, states in STATES.items()} for vcpu in stats(name)]


def outside(low, guest, high):
    """What the guest was told that does not lie between two of the host's readings, to a tick or 1 %."""
    wrong = []
    for number, (least, told, most) in enumerate(zip(low, guest["processors"], high, strict=True)):
        for key in STATES:
            slack = max(TICK_NS, most[key] // 100)
            if not least[key] - slack <= told[key] <= most[key] + slack:
                wrong.append(f"processor {number}, {key}: the guest says {told[key]}, the ledger {least[key]} to {most[key]}")
    return "\n".join(wrong) or None


def sums(guest):
    """Of each processor the parts sum to what elapsed; and the processors, read one after the other, to at least what all had before."""
    wrong = [each for each in [*guest["processors"], guest["all"]] if sum(each[key] for key in STATES) != each["elapsed_ns"]]
    for key in STATES:
        if sum(each[key] for each in guest["processors"]) < guest["all"][key]:
            wrong.append(key)
    return str(wrong) if wrong else None


def went_back(before, after):
    return [
        f"processor {number}, {key}: {old[key]}, then {new[key]}"
        for number, (old, new) in enumerate(zip(before["processors"], after["processors"], strict=True))
        for key in (*STATES, "elapsed_ns")
        if new[key] < old[key]
    ]


def two_at_a_time(group, guest):
    """They take each other's snapshots, and must notice: each sees whole ones that never go back."""
    one = "for i in $(seq $1); do nfold-guest --json || echo bad; done"
    output, _ = guest.shell(f"echo '{one}' >/tmp/ask; (sh /tmp/ask {TURNS} >/tmp/1 & sh /tmp/ask {TURNS} >/tmp/2; wait); cat /tmp/1 /tmp/2", SECONDS)
    lines = [line for line in without_kernel_lines(output).splitlines() if line]
    seen = [json.loads(line) if line.startswith("{") else None for line in lines]
    wrong = lines[:3] if len(seen) != 2 * TURNS or None in seen else [problem for each in seen if (problem := sums(each))]
    for each in (seen[:TURNS], seen[TURNS:]):
        wrong += [] if wrong else [back for old, new in zip(each, each[1:], strict=False) for back in went_back(old, new)]
    group.report(f"two ask at a time, {TURNS} times each", "\n".join(wrong) or None)


def check(group, guest, name):
    """The shell loop has one processor; hog and guest share one of the host's, so that the guest waits for it."""
    guest.shell("(while :; do :; done) &")
    before, back = guest_times(guest), []
    last = before
    with hog_beside(guest):
        end = time.monotonic() + SECONDS
        while last["all"]["ready_ns"] - before["all"]["ready_ns"] < ENOUGH_NS and time.monotonic() < end:
            now = guest_times(guest)
            back += went_back(last, now)
            last = now
            time.sleep(0.2)
        low = ledger_times(name)
        told = guest_times(guest)
        high = ledger_times(name)
    gained = {key: told["all"][key] - before["all"][key] for key in STATES}
    enough = gained["used_ns"] >= TICK_NS and gained["ready_ns"] >= ENOUGH_NS
    group.report("nfold-guest: used and ready grow beside a hog", None if enough else str(gained))
    group.report("two processors", None if len(told["processors"]) == 2 else str(told))
    group.report("it agrees with the ledger to a tick or 1 %", outside(low, told, high))
    group.report("the parts sum to what elapsed", sums(told))
    group.report("nothing goes back", "\n".join(back) or None)
    two_at_a_time(group, guest)
    group.commands(guest, [
        ("as a table", "nfold-guest | awk 'NF < 6 { print } END { print NR, $1 }'", "4 all"),
        ("not for users", "su nobody -s /bin/sh -c 'nfold-guest 2>&1'; [ $? = 1 ]", "nfold-guest: it needs root's right to use ports: Operation not permitted"),
    ])  # fmt: skip
