# SPDX-License-Identifier: MIT
"""The small guests: what they do, and how much of it they have done by their own count."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from hosts import HostError, gained, running_ns, summed_clocks, wait_for

SOURCE = Path(__file__).parent / "guest.S"
UNIT = 200000  # rounds of its loop that a guest counts as one: a fraction of a millisecond
TINY_MEMORY = "4M"
GAUGES = ("processors", "guests", "slice_ns", "preemption_p50_us", "preemption_p99_us")  # of host.dispatch; the rest counts


def assemble(folder, unit=UNIT):
    """The kernel that computes and counts, by the compiler's assembler."""
    kernel, compiler = Path(folder) / "work", os.environ.get("CC", "gcc").split()
    commands = (
        [*compiler, "-m32", "-c", f"-DUNIT={unit}", "-o", f"{kernel}.o", str(SOURCE)],
        ["ld", "-m", "elf_i386", "-N", "--no-warn-rwx-segments", "-Ttext", "0x100000", "-e", "_start", "-o", str(kernel), f"{kernel}.o"],
    )
    for words in commands:
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise HostError(f"{words[0]}: {result.stderr.strip().splitlines()[-1]}")
    return kernel


@dataclass
class Stretch:
    """What happened between two moments. By guest: `work` in units, `clocks` of its ledger, `turns` of the scheduler, `walls` of its ledger."""

    seconds: float
    work: dict
    clocks: dict
    turns: dict
    walls: dict
    dispatch: dict

    @property
    def rate(self):
        """Units a second, of all guests together."""
        return sum(self.work.values()) / self.seconds

    def clock(self, *keys):
        """Of all guests, as a part of one processor's time."""
        return sum(clocks[key] / self.walls[name] for name, clocks in self.clocks.items() for key in keys)

    def part_running(self, name):
        """Of a guest's time: its threads on processors of the host."""
        return running_ns(self.clocks[name]) / self.walls[name]

    @property
    def running(self):
        """Processors that the guests' threads had."""
        return sum(self.part_running(name) for name in self.clocks)

    @property
    def speed(self):
        """Units for each second on a processor."""
        return self.rate / self.running

    @property
    def dispatcher(self):
        """Processors that the dispatcher's own thread took."""
        return self.dispatch["cpu_ns"] / self.dispatch["wall_ns"]

    @property
    def late(self):
        return self.dispatch["late"]


class Workers:
    """Guests that compute and count, in a host."""

    def __init__(self, host):
        self.host = host
        self.kernel = assemble(host.folder)
        self.running = []

    def log(self, name):
        return self.host.folder / f"{name}.count"

    def create(self, name, *words):
        self.log(name).touch()
        self.host.create(name, "--kernel", self.kernel, "--memory", TINY_MEMORY, "--serial", self.log(name), "--rng", "off", *words)

    def start(self, *names):
        """Returns when all of them work."""
        for name in names:
            self.log(name).write_bytes(b"")  # as the guest's start would, but before its count is looked at
            self.host.start(name)
            self.running.append(name)
        for name in names:
            self.host.wait_running(name)
        wait_for(lambda: all(self.count(name) > 1 for name in names), "all guests work", 300)

    def stop(self):
        for name in self.running:
            self.host.kill(name)
        self.running = []

    def count(self, name):
        """Units done since the guest's last start: it writes a byte for each."""
        return self.log(name).stat().st_size

    def figures(self):
        stats = {name: self.host.stats(name) for name in self.running}
        return (
            {name: summed_clocks(each) for name, each in stats.items()},
            {name: each["vcpus"][0]["wall_ns"] for name, each in stats.items()},
            {name: self.host.turns(name) for name in self.running},
            self.host.dispatch(),
        )

    def measure(self, seconds):
        """What the running guests do in the next seconds."""
        before = self.figures()
        start, counts = time.monotonic(), {name: self.count(name) for name in self.running}
        time.sleep(seconds)
        end, done = time.monotonic(), {name: self.count(name) - counts[name] for name in self.running}
        after = self.figures()
        clocks, turns = ({name: gained(before[i][name], after[i][name]) for name in self.running} for i in (0, 2))
        walls = {name: after[1][name] - before[1][name] for name in self.running}
        return Stretch(end - start, done, clocks, turns, walls, gained(before[3], after[3]) | {key: after[3][key] for key in GAUGES})

    def run(self, names, seconds, settle=0.5):
        """Starts the guests, measures, and ends them."""
        self.start(*names)
        time.sleep(settle)
        stretch = self.measure(seconds)
        self.stop()
        return stretch
