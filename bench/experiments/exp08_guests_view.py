# SPDX-License-Identifier: MIT
"""What a guest says about its processor and its disk, against what its ledger says, alone and beside another guest."""

import os
import re
from dataclasses import dataclass

from guests import Workers
from hosts import RUNNING
from linux import Linux, Stretch

NUMBER = 8
TITLE = "The guest's own view"
LIMIT_POINTS = 5  # how far % Processor Time of a guest with steal time may be from the ledger's
DISK_MIB = 64
READS = 3000
# Part of the time at work by itself: milliseconds of work, microseconds of sleep.
LOADS = {"30 % busy": (3, 7000), "always busy": (10, 0)}
KINDS = {"told": "", "untold": "nopv"}  # with that Linux looks for no host, and so for no steal time
TAKEN = ("ready", "costop", "limited", "preempted")
READ_DISK = "dd if=/dev/vda of=/dev/null bs=4k count={count} iflag=direct 2>/dev/null"


@dataclass
class View:
    """Of one guest under one load, in percent of a processor."""

    kind: str
    load: str
    crowd: str
    guest_busy: float  # as % Processor Time: all that is not idle
    guest_used: float  # user and system, by what its clock ticks fell into, as top shows it
    guest_stolen: float
    used: float  # by the ledger: on a processor
    waited: float  # by the ledger: wanted one and had none

    @property
    def error(self):
        return self.guest_used - self.used

    @property
    def busy_error(self):
        return self.guest_busy - self.used


def ticks(guest):
    """user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5), in hundredths of a second; and the guest's clock in these."""
    words = guest.shell("grep '^cpu ' /proc/stat; cat /proc/uptime").split()
    return [*map(int, words[1:9]), 100 * float(words[11])]


def look(guest, kind, load, crowd, seconds):
    work_ms, sleep_us = LOADS[load]
    guest.work(1, guest.loops * work_ms, sleep_us)
    before = ticks(guest)
    stretch = Stretch([guest], seconds)
    after = ticks(guest)
    guest.rest()
    gained = [end - start for start, end in zip(before, after)]
    part = [100 * value / gained[8] for value in gained]
    return View(
        kind, load, crowd, 100 - part[3] - part[4], part[0] + part[1] + part[2] + part[5] + part[6], part[7],
        100 * stretch.clock(guest.name, *RUNNING), 100 * stretch.clock(guest.name, *TAKEN),
    )  # fmt: skip


@dataclass
class Disk:
    """Response times of small reads, in microseconds."""

    kind: str
    crowd: str
    program: float  # time of the program by read
    kernel: float  # the guest's /proc/diskstats
    ledger: float


def disk_figures(guest):
    """Reads and their milliseconds by the guest's kernel; reads and their nanoseconds by the ledger; the guest's clock."""
    fields = re.search(r" vda (\d+) \d+ \d+ (\d+)", guest.shell("cat /proc/diskstats"))
    uptime = float(guest.shell("cat /proc/uptime").split()[0])
    read = guest.host.stats(guest.name)["disks"][0]["read"]
    return int(fields.group(1)), int(fields.group(2)), read["count"], read["total_ns"], uptime


def look_at_disk(guest, kind, crowd, count):
    before = disk_figures(guest)
    guest.shell(READ_DISK.format(count=count))
    after = disk_figures(guest)
    reads, kernel_ms, host_reads, host_ns, seconds = (end - start for start, end in zip(before, after))
    return Disk(kind, crowd, seconds * 1e6 / reads, kernel_ms * 1e3 / reads, host_ns / 1e3 / host_reads)


def measure(context):
    """Each kind of guest alone, and beside one that computes without end on the same processor, with the same shares."""
    seconds, count = (3, 500) if context.short else (10, READS)
    views, disks = [], []
    with context.host() as host:
        workers = Workers(host)
        workers.create("hog", "--affinity", 0)
        for kind, append in KINDS.items():
            disk = host.folder / f"{kind}.img"
            disk.write_bytes(os.urandom(DISK_MIB << 20))  # a hole is not read from the disk
            guest = Linux(context, host, kind, "--affinity", 0, "--disk", f"{disk},device=virtio,cache=none", append=append)
            guest.loops = guest.calibrate()
            for crowd in ("alone", "beside a hog"):
                if crowd != "alone":
                    workers.start("hog")
                views += [look(guest, kind, load, crowd, seconds) for load in LOADS]
                disks.append(look_at_disk(guest, kind, crowd, count))
                context.say(f"{kind}, {crowd}: done")
            workers.stop()
            guest.close()
            host.kill(kind)
    return views, disks


def told_target(views):
    worst = max((view for view in views if view.kind == "told"), key=lambda view: abs(view.error))
    met = abs(worst.error) <= LIMIT_POINTS
    reason = (
        f"{worst.load}, {worst.crowd}: the guest says {worst.guest_used:.1f} % and that {worst.guest_stolen:.1f} % were stolen, the ledger {worst.used:.1f} % and {worst.waited:.1f} % waited for; "
        "Linux takes what was stolen, waits after wake-ups included, off the next ticks of user and system"
    )
    return {
        "text": "user and system time of a guest that is told its steal time, against the ledger",
        "limit": f"within {LIMIT_POINTS} points",
        "value": f"{worst.error:+.1f} points ({worst.load}, {worst.crowd})",
        "met": met,
        "reason": None if met else reason,
    }


def verdict(views, disks):
    notes = []
    for kind, words in (("untold", "Without"), ("told", "With")):
        mine = [view for view in views if view.kind == kind]
        worst, ticking = (max(mine, key=lambda view, key=key: abs(getattr(view, key))) for key in ("busy_error", "error"))
        notes.append(
            f"{words} steal time, % Processor Time (all that is not idle) is off by up to {abs(worst.busy_error):.0f} points ({worst.load}, {worst.crowd}: {worst.guest_busy:.0f} %, and it had "
            f"{worst.used:.0f} %), user and system time by up to {abs(ticking.error):.0f} ({ticking.load}, {ticking.crowd}: {ticking.guest_used:.0f} %, and it had {ticking.used:.0f} %)."
        )
    notes.append("Busy less steal is no better: the waits after wake-ups are steal time, but idle time to the guest, so that they would be taken off twice.")
    for crowd in ("alone", "beside a hog"):
        kernel, ledger = (sum(getattr(disk, key) for disk in disks if disk.crowd == crowd) for key in ("kernel", "ledger"))
        notes.append(f"Disk, {crowd}: the guest's response time is {kernel / ledger:.1f} times the ledger's: it ends when the guest has taken the interrupt, the ledger's when the device is done.")
    return notes


def chart(views):
    return {
        "name": "processor-time",
        "kind": "bars",
        "title": "% Processor Time: the guest's and the ledger's",
        "x": "told, untold: with steal time, without; + hog: beside a guest that computes",
        "y": "% of a processor",
        "ymin": 0,
        "categories": [f"{view.load}\n{view.crowd}\n{view.kind}".replace("always ", "100 % ").replace("beside a ", "+ ") for view in views],
        "series": [
            {"name": "guest: not idle", "y": [round(view.guest_busy) for view in views]},
            {"name": "guest: user, system", "y": [round(view.guest_used) for view in views]},
            {"name": "ledger: used", "y": [round(view.used) for view in views]},
        ],
    }


def run(context):
    views, disks = measure(context)
    ordered = sorted(views, key=lambda view: (view.crowd, view.load))
    return {
        "question": "How wrong are a guest's own % Processor Time and disk response time, and does steal time mend it?",
        "method": (
            "A Debian guest whose program works 3 ms and sleeps 7 ms, or never sleeps, alone and beside a guest that computes without end on the same processor with the same shares. Busy, used and steal are the guest's "
            "/proc/stat: busy is all that is not idle, as % Processor Time is; used is busy without steal; user and system are what its clock ticks fell into. The guest `untold` boots with `nopv` and so asks for no steal time. Disk: direct reads of 4 KiB one after "
            "the other from an image without the host's cache, by the program's clock, by the guest's /proc/diskstats, and by the ledger."
        ),
        "tables": [
            {
                "title": "Processor, in % of one",
                "columns": ["load", "", "steal time", "guest: busy", "guest: user, system", "guest: steal", "ledger: used", "ledger: waited for one", "busy is off by, points", "user, system by"],
                "rows": [
                    [view.load, view.crowd, view.kind, *[f"{value:.1f}" for value in (view.guest_busy, view.guest_used, view.guest_stolen, view.used, view.waited)],
                     f"{view.busy_error:+.1f}", f"{view.error:+.1f}"]
                    for view in ordered
                ],  # fmt: skip
            },
            {
                "title": "Disk response time of a read, us",
                "columns": ["", "steal time", "by the program", "guest: /proc/diskstats", "ledger", "guest / ledger"],
                "rows": [[disk.crowd, disk.kind, f"{disk.program:.0f}", f"{disk.kernel:.0f}", f"{disk.ledger:.0f}", f"{disk.kernel / disk.ledger:.1f}"] for disk in disks],
            },
        ],
        "charts": [chart(ordered)],
        "targets": [told_target(views)],
        "notes": verdict(views, disks),
    }
