# SPDX-License-Identifier: MIT
"""The paper's backup: an I/O-bound guest and a CPU-bound one on the same processor."""

import statistics
import subprocess
import time
from dataclasses import dataclass

from guests import Workers
from hosts import RUNNING, die_with_parent, gained, wait_for
from linux import Linux

NUMBER = 5
TITLE = "Backup beside a CPU-bound guest"
DISK_MS = (1, 5)  # what each request takes
LEAST = 90  # percent of the throughput alone
HOG_LEAST = 50  # percent of its pace alone: its share
BLOCK = 64 << 10
SECTOR = 512
READ = f"while :; do dd if=/dev/vda of=/dev/null bs={BLOCK} iflag=direct; done 2>/dev/null & echo $! >/run/reader"


class Server:
    """A disk of 64 MiB in memory, by nbdkit, that takes its time for each request."""

    def __init__(self, context, delay_ms):
        self.socket = context.folder / f"disk{delay_ms}"
        words = ["nbdkit", "--foreground", "--unix", str(self.socket), "--filter=delay", "memory", "64M", f"rdelay={delay_ms}ms"]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_for(self.socket.exists, "nbdkit serves")

    def __enter__(self):
        return f"nbd+unix:///?socket={self.socket},device=virtio"

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


@dataclass
class Pace:
    """Of the reading guest by its own clock and counts, and of the hog by its own count."""

    reads: float  # bytes a second
    part: float  # of a processor that the reader's thread had
    ready: float  # of the time it waited for its turn
    preempted: float
    hog: float  # units a second
    hog_part: float
    late: int
    grants: int


def reader_figures(guest):
    uptime, stat = guest.shell("cat /proc/uptime /sys/block/vda/stat").strip().splitlines()[-2:]
    return float(uptime.split()[0]), int(stat.split()[2]) * SECTOR, guest.host.stats(guest.name)


def measure(guest, workers, seconds):
    """What both do in the next seconds; the hog runs or not."""
    time.sleep(0.5)
    before = reader_figures(guest)
    stretch = workers.measure(seconds)
    after = reader_figures(guest)
    wall = after[2]["vcpus"][0]["wall_ns"] - before[2]["vcpus"][0]["wall_ns"]
    clocks = {key: value / wall for key, value in gained(before[2]["vcpus"][0]["clocks_ns"], after[2]["vcpus"][0]["clocks_ns"]).items()}
    return Pace(
        (after[1] - before[1]) / (after[0] - before[0]), sum(clocks[key] for key in RUNNING), clocks["ready"], clocks["preempted"],
        stretch.rate, stretch.running, stretch.late, stretch.dispatch["grants"],
    )  # fmt: skip


def play(context, delay_ms):
    """The hog alone; then for each round the reader alone, both, and the reader alone again."""
    seconds, rounds = (2, 1) if context.short else (8, 2)
    together, alone = [], []
    with Server(context, delay_ms) as disk, context.host() as host:
        workers = Workers(host)
        guest = Linux(context, host, "reader", "--affinity", 0, "--disk", disk)
        workers.create("hog", "--affinity", 0)
        workers.start("hog")
        hog = measure(guest, workers, seconds)
        workers.stop()
        guest.shell(READ)
        alone.append(measure(guest, workers, seconds))
        for number in range(rounds):
            workers.start("hog")
            together.append(measure(guest, workers, seconds))
            workers.stop()
            alone.append(measure(guest, workers, seconds))
            context.say(f"{delay_ms} ms, round {number + 1} of {rounds}: {100 * together[-1].reads / alone[-1].reads:.1f} % of the throughput alone")
        guest.close()
    return hog, alone, together


def summary(delay_ms, hog, alone, together):
    def median(paces, key):
        return statistics.median(getattr(pace, key) for pace in paces)

    near = [(alone[i], each, alone[i + 1]) for i, each in enumerate(together)]
    return {
        "delay": delay_ms,
        "alone": median(alone, "reads"),
        "together": median(together, "reads"),
        "kept": statistics.median(100 * each.reads * 2 / (before.reads + after.reads) for before, each, after in near),
        "hog": statistics.median(100 * each.hog / hog.hog for each in together),
        "hog_part": median(together, "hog_part"),
        "part_alone": median(alone, "part"),
        "part": median(together, "part"),
        "ready": median(together, "ready"),
        "preempted": median(together, "preempted"),
        "preempted_alone": median(alone, "preempted"),
        "late": sum(each.late for each in together),
        "grants": sum(each.grants for each in together),
    }


def reason(row):
    return (
        f"beside the CPU-bound guest the reader waited {100 * row['ready']:.1f} % of the time for its turn and {100 * row['preempted']:.1f} % because Linux ran something else (alone {100 * row['preempted_alone']:.1f} %), and had "
        f"{100 * row['part']:.1f} % of the processor (alone {100 * row['part_alone']:.1f} %); {row['late']} of {row['grants']} tokens came back late"
    )


def targets(row):
    found = []
    for text, value, least in (("throughput of the reader, of that alone", row["kept"], LEAST), ("pace of the CPU-bound guest, of that alone", row["hog"], HOG_LEAST)):
        met = value >= least
        found.append({"text": f"{text}, disk of {row['delay']} ms", "limit": f"at least {least} %", "value": f"{value:.1f} %", "met": met, "reason": None if met else reason(row)})
    return found


def run(context):
    rows = [summary(delay, *play(context, delay)) for delay in DISK_MS]
    columns = ["response of the disk", "alone, MB/s", "together, MB/s", "kept, %", "CPU-bound guest, % of alone", "processor of the reader, alone and together, %", "ready, %", "kept by Linux, %", "late tokens"]
    cells = [
        [f"{row['delay']} ms", f"{row['alone'] / 1e6:.2f}", f"{row['together'] / 1e6:.2f}", f"{row['kept']:.1f}", f"{row['hog']:.1f}", f"{100 * row['part_alone']:.1f}, {100 * row['part']:.1f}",
         f"{100 * row['ready']:.1f}", f"{100 * row['preempted']:.1f}", row["late"]]
        for row in rows
    ]  # fmt: skip
    categories = [f"disk of {row['delay']} ms" for row in rows]
    return {
        "question": "What is left of a backup's throughput when the guest beside it computes, on the same processor?",
        "method": (
            f"A Debian kernel reads its virtio disk in blocks of {BLOCK >> 10} KiB, one after the other, past its cache. The disk is an NBD server (nbdkit) that takes a fixed time for each request, so that the reader "
            "waits for its disk and not for this machine's. Both guests may run on processor 0 alone, with equal shares. The reader's throughput is by its own clock and disk statistics, that of the other by its own "
            "count. Each time with both lies between two without the CPU-bound guest. The paper: half or less is left."
        ),
        "tables": [{"title": "The reader alone and beside the CPU-bound guest", "columns": columns, "rows": cells}],
        "charts": [
            {
                "name": "backup",
                "kind": "bars",
                "title": "A reader and a CPU-bound guest on one processor",
                "x": "",
                "y": "% of the guest alone",
                "categories": categories,
                "ymin": 0,
                "ymax": 110,
                "series": [
                    {"name": "throughput of the reader", "y": [round(row["kept"], 1) for row in rows]},
                    {"name": "pace of the CPU-bound guest", "y": [round(row["hog"], 1) for row in rows]},
                ],
                "limit": LEAST,
            }
        ],
        "targets": [target for row in rows for target in targets(row)],
        "notes": [],
    }
