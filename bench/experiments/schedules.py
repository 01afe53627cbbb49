# SPDX-License-Identifier: MIT
"""Schedules of real guests on this machine, each beside the same schedule simulated: shares, Shelden's guests, backup, latency.

What a guest's round of work and sleep takes is measured alone, on the same host, and given to the simulator; what guests do to one another
is then the scheduler's doing, in both. `useful` work is rounds a second times the processor time of a round alone.
"""

from dataclasses import dataclass

from guests import Workers
from hosts import RUNNING
from linux import Linux, Stretch
from simulate import group, simulate

SHARES = (1000, 2000, 4000, 8000)
VARIANTS = {  # Shelden's guests: options of nfold set, and of the simulator
    "none": (("--coscheduling", "none", "--idle-detection", "on"), {"coscheduling": "none"}),
    "relaxed": (("--coscheduling", "relaxed"), {"coscheduling": "relaxed"}),
    "strict": (("--coscheduling", "strict"), {"coscheduling": "strict"}),
    "strict, idle not noticed": (("--coscheduling", "strict", "--idle-detection", "off"), {"coscheduling": "strict", "blind": True}),
}
SHORT_VARIANTS = ("none", "strict")
SIMULATED_SECONDS = 300
BACKUP_MS, BACKUP_SLEEP_US = 1, 4000
ECHO_MS, ECHO_SLEEP_US = 0.05, 10000
SHELDEN_MS, SHELDEN_SLEEP_US = 11, 9000


@dataclass
class Pair:
    """One figure, of the simulation and of the real guests."""

    source: str  # which experiment's schedule it is
    schedule: str
    label: str  # a short one, for charts
    figure: str
    simulated: float
    real: float
    cause: str  # what the measurement says about a difference
    is_target: bool = True

    @property
    def difference(self):
        return self.simulated / self.real - 1


@dataclass
class Alone:
    """A round of a guest that nobody competes with, in microseconds."""

    work_us: float
    sleep_us: float
    rounds: float  # a second

    def group(self, name, **policy):
        return group(name, self.work_us, self.sleep_us, **policy)


def alone(stretch, name):
    rounds = stretch.rate(name)
    return Alone(stretch.clock(name, *RUNNING) * 1e6 / rounds, stretch.clock(name, "idle") * 1e6 / rounds, rounds)


def cause(stretch, name, before=None):
    """Where time went that the simulation knows nothing of."""
    parts = [f"Linux gave {100 * stretch.clock(name, 'preempted'):.1f} % of a processor of {name}'s to others", f"{stretch.dispatch['late']} of {stretch.dispatch['grants']} tokens came back late"]
    if before:
        took = stretch.clock(name, *RUNNING) * 1e6 / stretch.rate(name)
        parts.insert(0, f"a round took {took:.0f} us of a processor, alone {before.work_us:.0f}")
    return ", ".join(parts)


def shares(context, seconds):
    """Two guests of each share on all processors, each with its part of the work done."""
    with context.host() as host:
        workers = Workers(host)
        names = {f"g{number}-{share}": share for share in SHARES for number in range(context.processors)}
        for name, share in names.items():
            workers.create(name, "--shares", share)
        stretch = workers.run(list(names), seconds)
    total = sum(stretch.work.values())
    groups = [group(str(share), count=context.processors, shares=share) for share in SHARES]
    simulated = simulate(context, context.processors, SIMULATED_SECONDS, groups)
    pairs = []
    for share in SHARES:
        real = sum(work for name, work in stretch.work.items() if names[name] == share) / total
        reason = f"{stretch.late} of {stretch.dispatch['grants']} tokens came back late, Linux gave {stretch.clock('preempted'):.3f} processors to others"
        pairs.append(Pair("shares", f"shares 1:2:4:8, {len(names)} guests", f"share\n{share}", f"part of the work, share {share}", sum(simulated.work(str(share))) / simulated.total, real, reason))
    return pairs


def shelden(context, seconds):
    """Two guests of two threads, busy for 55 % of the time alone, on two processors. Their scheduling changes while they run."""
    pairs, before = [], None
    with context.host() as host:
        guests = [Linux(context, host, name, "--cpus", 2, "--affinity", "0-1") for name in ("a", "b")]
        loops = guests[0].calibrate() * SHELDEN_MS
        for variant in SHORT_VARIANTS if context.short else VARIANTS:
            words, policy = VARIANTS[variant]
            for each in guests:
                host.command("set", *words, each.name)
            guests[0].work(2, loops, SHELDEN_SLEEP_US, "uniform")
            before = before or alone(Stretch(guests[:1], seconds), "a")
            guests[1].work(2, loops, SHELDEN_SLEEP_US, "uniform")
            stretch = Stretch(guests, seconds)
            simulated = simulate(context, 2, SIMULATED_SECONDS, [before.group("both", count=2, vcpus=2, spread="uniform", **policy)])
            real = sum(stretch.rate(each.name) for each in guests) * before.work_us / 2e6
            pairs.append(Pair("co-scheduling", f"two guests of two threads, {variant}", variant.replace(", ", ",\n"), "useful work, part of the processors", simulated.busy, real, cause(stretch, "a", before)))
        for each in guests:
            each.close()
    return pairs


def backup(context, seconds):
    """An I/O-bound guest and one that computes, on one processor."""
    with context.host() as host:
        workers = Workers(host)
        guest = Linux(context, host, "io", "--affinity", 0)
        guest.work(1, guest.calibrate() * BACKUP_MS, BACKUP_SLEEP_US)
        before = alone(Stretch([guest], seconds), "io")
        workers.create("hog", "--affinity", 0)
        workers.start("hog")
        stretch = Stretch([guest], seconds)
        guest.close()
    simulated = simulate(context, 1, SIMULATED_SECONDS, [before.group("io"), group("hog")])
    return [Pair("backup", "I/O-bound beside CPU-bound, one processor", "I/O-bound", "rounds a second of the I/O-bound", simulated.rounds("io")[0], stretch.rate("io"), cause(stretch, "io", before))]


def latency(context, seconds):
    """One that sleeps 10 ms at a time, beside 4 that compute, on all processors."""
    hogs = 4
    with context.host() as host:
        workers = Workers(host)
        guest = Linux(context, host, "echo")
        guest.work(1, guest.calibrate() * ECHO_MS, ECHO_SLEEP_US)
        first = Stretch([guest], seconds)
        before = alone(first, "echo")
        names = [f"hog{number}" for number in range(hogs)]
        for name in names:
            workers.create(name)
        workers.start(*names)
        stretch = Stretch([guest], seconds)
        guest.close()
    simulated = simulate(context, context.processors, SIMULATED_SECONDS, [before.group("echo"), group("hog", count=hogs)])
    schedule = f"one that wakes every 10 ms beside {hogs} that compute"
    real_late, alone_late = stretch.late["echo"][2], first.late["echo"][2]
    late = f"the simulated host takes no time to wake, decide and take back; alone the guest's 99th percentile was {alone_late:.0f} us"
    return [
        Pair("latency", schedule, "wakes often", "rounds a second", simulated.rounds("echo")[0], stretch.rate("echo"), cause(stretch, "echo", before)),
        Pair("latency", schedule, "late", "99th percentile of how late its sleeps ended, us", alone_late + simulated.wake_us("echo", "p99"), real_late, late, False),
    ]
