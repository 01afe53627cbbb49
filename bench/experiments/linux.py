# SPDX-License-Identifier: MIT
"""Linux guests of an experiment's host, driven through their consoles: Debian's kernel, busybox, duty.c and echo.c."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import benches  # puts the folder of the guests' helpers on the path
from hosts import HostError, summed_clocks

guest = benches.guest
FOLDER = Path(__file__).resolve().parent
BOOT_SECONDS = 300
SHELL_SECONDS = 120
COMPILER = ("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Wshadow", "-Wconversion")
MEMORY = "128M"


def prepare(words):
    result = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise HostError(f"{words[0]}: {(result.stderr.strip() or 'failed').splitlines()[-1]}")


def initramfs(context):
    """With /duty and /echo, and the drivers of virtio disks and networks."""
    archive, files = context.folder / "duty.cpio.gz", []
    if not archive.exists():
        for name in ("duty", "echo"):
            prepare([*COMPILER, "-o", context.folder / name, FOLDER / f"{name}.c"])
            files += ["--file", f"{context.folder / name}=/{name}"]
        modules = "linux-image-cloud-amd64=virtio_pci,virtio_blk,virtio_net"
        prepare([benches.ROOT / "tools" / "make-initramfs", "-o", archive, "--modules", modules, *files])
    return archive


@dataclass(frozen=True)
class Reading:
    """The guest's own figures and the host's, at about one moment."""

    clock: float  # of the guest, in seconds
    rounds: int
    loops: int
    sleeps: int
    turns: dict  # the scheduler's, in nanoseconds
    clocks: dict  # the ledger's


class Linux:
    """A guest of the host, from its start to the end of the host. `words` are options of nfold create."""

    def __init__(self, context, host, name, *words, append=""):
        self.host, self.name = host, name
        host.create(
            name, "--kernel", guest.GUEST / "vmlinuz", "--initrd", initramfs(context), "--memory", MEMORY, "--append", f"console=ttyS0 quiet {append}".strip(), *words
        )
        host.start(name)
        host.wait_running(name)
        self.console = guest.Guest(["env", f"XDG_RUNTIME_DIR={host.folder}", str(host.nfold), "console", name])
        try:
            self.console.boot(BOOT_SECONDS)
        except guest.GuestError as error:
            self.close()
            raise HostError(f"{name}: {error}") from None

    def close(self):
        self.console.__exit__()

    def shell(self, line):
        """What a line of shell prints in the guest; it must succeed."""
        try:
            output, status = self.console.shell(line, SHELL_SECONDS)
        except guest.GuestError as error:
            raise HostError(f"{self.name}: {error}; {self.state()}; its last line: {self.console.tail(1).splitlines()[0]}") from None
        if status != 0:
            raise HostError(f"{self.name}: {line}: status {status}: {output.strip()[-200:]}")
        return output

    def state(self):
        shown = self.host.show(self.name)
        return shown.get("end", {}).get("reason") or f"it is {shown['state']}"

    def numbers(self, line):
        return [int(word) for word in self.shell(line).split()]

    def calibrate(self):
        """Loops of work a millisecond."""
        return self.numbers("/duty calibrate")[0]

    def work(self, threads, loops, sleep_us, spread="constant"):
        """In place of what ran before. Not a job of the shell: busybox's may end when one dies while it reads a line."""
        self.rest()
        self.shell(f"(/duty run {threads} {int(loops)} {int(sleep_us)} {spread} &); sleep 0.3; [ -e /run/duty ]")

    def rest(self):
        self.shell("while killall duty 2>/dev/null; do sleep 0.05; done; rm -f /run/duty")

    def read(self):
        clock, rounds, loops, sleeps = self.numbers("/duty read")
        return Reading(clock / 1e9, rounds, loops, sleeps, self.host.turns(self.name), summed_clocks(self.host.stats(self.name)))

    def late(self, reading):
        """Since that reading: how many sleeps ended, and the median and the 99th percentile of how late, in microseconds."""
        count, middle, high, _ = self.numbers(f"/duty late {reading.sleeps}")
        return count, middle / 1e3, high / 1e3


class Stretch:
    """What guests did between two readings each, by name."""

    def __init__(self, guests, seconds):
        before = {each.name: each.read() for each in guests}
        dispatch = guests[0].host.dispatch()
        time.sleep(seconds)
        after = {each.name: each.read() for each in guests}
        end = guests[0].host.dispatch()
        self.dispatch = {key: end[key] - dispatch[key] for key in ("late", "grants", "wall_ns", "cpu_ns", "decisions")}
        self.late = {each.name: each.late(before[each.name]) for each in guests if after[each.name].sleeps > before[each.name].sleeps}
        self.before, self.after = before, after

    def seconds(self, name):
        return self.after[name].clock - self.before[name].clock

    def rate(self, name, figure="rounds"):
        """A second of the guest's."""
        return (getattr(self.after[name], figure) - getattr(self.before[name], figure)) / self.seconds(name)

    def turn(self, name, state):
        """Of the guest's processors together, in processors."""
        before, after = self.before[name].turns, self.after[name].turns
        return (after[state] - before[state]) / 1e9 / self.seconds(name)

    def clock(self, name, *states):
        before, after = self.before[name].clocks, self.after[name].clocks
        return sum(after[state] - before[state] for state in states) / 1e9 / self.seconds(name)
