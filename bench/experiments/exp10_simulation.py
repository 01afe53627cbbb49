# SPDX-License-Identifier: MIT
"""The schedules of experiments 1 to 6 on a large simulated host, and the simulation against real guests."""

from schedules import backup, latency, shares, shelden
from simulate import group, simulate

NUMBER = 10
TITLE = "Simulation: 64 processors and 500 guests, and against reality"
PROCESSORS, GUESTS = 64, 500
LIMIT = 0.05
SHARES = (1000, 2000, 4000, 8000)
SHELDEN = {
    "none": {"coscheduling": "none"},
    "relaxed": {"coscheduling": "relaxed"},
    "strict": {"coscheduling": "strict"},
    "strict, idle not noticed": {"coscheduling": "strict", "blind": True},
}
THREADS = 2 * GUESTS
# Two threads each that ask for 110 % of all processors together, as 4 threads at 55 % do on 2.
SHELDEN_WORK_US = 11000
SHELDEN_SLEEP_US = SHELDEN_WORK_US * (THREADS / (1.1 * PROCESSORS) - 1)
IO_GUESTS, IO_WORK_US, IO_SLEEP_US = 64, 300, 4000
ECHO_GUESTS, ECHO_WORK_US, ECHO_SLEEP_US = 100, 50, 10000
SWITCH_US = 20  # lost where a processor changes hands, in the rows that say so


class Large:
    """Rows about the large host: what was asked, what came, and what the scheduler's decisions took."""

    def __init__(self, context):
        self.context = context
        self.seconds = 30 if context.short else 60
        self.rows, self.decision_us = [], []

    def simulate(self, guests, **policy):
        result = simulate(self.context, PROCESSORS, self.seconds, guests, **policy)
        self.decision_us.append(result.decision_us)
        return result

    def row(self, schedule, figure, value, result):
        self.rows.append([schedule, figure, value, f"{result.decisions:,.0f}"])


def completion(large):
    """Experiments 1 and 2."""
    for slice_ms in (10, 5):
        result = large.simulate([group("all", count=GUESTS)], slice_ms=slice_ms, switch_us=SWITCH_US)
        work = result.work("all")
        text = f"{100 * result.busy:.2f} % of the theoretical, each guest {100 * min(work) * GUESTS / PROCESSORS:.2f} to {100 * max(work) * GUESTS / PROCESSORS:.2f} %"
        large.row(f"CPU-bound, slices of {slice_ms} ms, {SWITCH_US} us lost at each change", "work done", text, result)


def large_shares(large):
    """Experiment 3. Returns the worst guest's distance from its share."""
    result = large.simulate([group(str(share), count=GUESTS // len(SHARES), shares=share) for share in SHARES])
    total = sum(SHARES) * GUESTS / len(SHARES)
    ideal = {share: share / total * PROCESSORS for share in SHARES}
    worst = max(abs(work / ideal[share] - 1) for share in SHARES for work in result.work(str(share)))
    large.row("shares 1:2:4:8, 125 guests of each", "the guest furthest from its share", f"{100 * worst:.2f} % off", result)
    return worst


def large_shelden(large):
    """Experiment 4. Returns the busy part by kind of co-scheduling."""
    busy = {}
    for name, policy in SHELDEN.items():
        result = large.simulate([group("all", SHELDEN_WORK_US, SHELDEN_SLEEP_US, count=GUESTS, vcpus=2, spread="uniform", **policy)])
        busy[name] = result.busy
        large.row(f"two threads each, 110 % asked for in all, {name}", "processors at work for guests", f"{100 * result.busy:.1f} %", result)
    return busy


def large_backup(large):
    """Experiment 5. Returns the least pace of an I/O-bound guest, as a part of its pace alone."""
    result = large.simulate([group("io", IO_WORK_US, IO_SLEEP_US, count=IO_GUESTS), group("hog", count=GUESTS - IO_GUESTS)])
    alone = 1e6 / (IO_WORK_US + IO_SLEEP_US)
    pace = min(result.rounds("io")) / alone
    large.row(f"{IO_GUESTS} I/O-bound guests ({IO_WORK_US} us of work, {IO_SLEEP_US} us of waiting) beside {GUESTS - IO_GUESTS} CPU-bound", "pace of the slowest I/O-bound guest", f"{100 * pace:.1f} % of alone", result)
    return pace


def large_latency(large):
    """Experiment 6. Returns the 99th percentile from a wake-up to a processor, in ms."""
    result = large.simulate([group("echo", ECHO_WORK_US, ECHO_SLEEP_US, count=ECHO_GUESTS, spread="exponential"), group("hog", count=GUESTS - ECHO_GUESTS)])
    late = result.wake_us("echo", "p99") / 1e3
    longest = result.wake_us("echo", "longest") / 1e3
    large.row(f"{ECHO_GUESTS} guests that wake every 10 ms beside {GUESTS - ECHO_GUESTS} CPU-bound", "from a wake-up to a processor", f"99th percentile {late:.3f} ms, longest {longest:.1f} ms", result)
    return late


def target(text, limit, value, met, reason):
    return {"text": text, "limit": limit, "value": value, "met": met, "reason": None if met else reason}


def large_targets(worst, pace, late):
    schedule = "this is the policy alone: the simulated host loses nothing to Linux or to its dispatcher; a guest's share is a whole number of slices"
    return [
        target("64 processors, 500 guests: each guest's share", "within 1 %", f"{100 * worst:.2f} % off", worst <= 0.01, schedule),
        target("64 processors, 500 guests: I/O-bound beside CPU-bound guests", "at least 90 % of alone", f"{100 * pace:.1f} %", pace >= 0.9, schedule),
        target("64 processors, 500 guests: from a wake-up to a processor, 99th percentile", "below 2 ms", f"{late:.3f} ms", late < 2, schedule),
    ]


def compare(context):
    """Simulated and real, for each schedule; one that fails leaves the others."""
    seconds = 3 if context.short else 20
    pairs, notes = [], []
    for measure in (shares, shelden, backup, latency):
        try:
            pairs += measure(context, seconds)
        except Exception as error:  # pylint: disable=broad-exception-caught
            notes.append(f"failed: {measure.__name__}: {error}")
        context.say(notes[-1] if notes and measure.__name__ in notes[-1] else f"{measure.__name__}: done")
    return pairs, notes


def compare_table(pairs):
    rows = [[pair.schedule, pair.figure, f"{pair.simulated:.4g}", f"{pair.real:.4g}", f"{100 * pair.difference:+.1f} %"] for pair in pairs]
    return {"title": "The same schedules simulated and by real guests on this machine", "columns": ["schedule", "figure", "simulated", "real", "difference"], "rows": rows}


def compare_targets(pairs):
    """One for each experiment that the schedules come from: its worst figure."""
    targets = []
    for source in dict.fromkeys(pair.source for pair in pairs if pair.is_target):
        worst = max((pair for pair in pairs if pair.source == source and pair.is_target), key=lambda pair: abs(pair.difference))
        text = f"simulation against reality, {source}"
        targets.append(target(text, "within 5 %", f"{100 * worst.difference:+.1f} % ({worst.schedule}: {worst.figure})", abs(worst.difference) <= LIMIT, worst.cause))
    return targets


def compare_chart(pairs):
    kept = [pair for pair in pairs if pair.is_target]
    return {
        "name": "simulation",
        "kind": "bars",
        "title": "Simulated, as a part of what real guests did",
        "x": "",
        "y": "simulated / real",
        "ymin": 0,
        "limit": 1,
        "categories": [pair.label for pair in kept],
        "series": [{"name": "simulated / real", "y": [round(1 + pair.difference, 3) for pair in kept]}],
    }


def shelden_chart(busy):
    return {
        "name": "coscheduling",
        "kind": "bars",
        "title": "500 guests of two threads on 64 processors, by co-scheduling",
        "x": "",
        "y": "processors at work for guests, %",
        "ymin": 0,
        "ymax": 108,
        "categories": list(busy),
        "series": [{"name": "simulated", "y": [round(100 * value, 1) for value in busy.values()]}],
    }


def run(context):
    large = Large(context)
    completion(large)
    worst = large_shares(large)
    busy = large_shelden(large)
    pace, late = large_backup(large), large_latency(large)
    pairs, notes = compare(context)
    return {
        "question": "Would the schedules hold on a host far larger than this one, and may the simulation that says so be believed?",
        "method": (
            f"The policy that the running host uses (`src/sched`) on virtual time, {large.seconds} s for each row; guests work and sleep in turns. Then the schedules of experiments 3 to 6 by real guests on "
            "this machine's processors, and simulated with the same number of processors: what a round of work and sleep takes is measured with the guest alone and given to the simulation; "
            "useful work is rounds a second times the processor time of a round alone. Deciding took "
            f"{min(large.decision_us):.1f} to {max(large.decision_us):.1f} us of this machine's processor each, the simulation around it included."
        ),
        "tables": [
            {"title": f"Simulated host of {PROCESSORS} processors, {GUESTS} guests", "columns": ["schedule", "figure", "value", "decisions a second"], "rows": large.rows},
            compare_table(pairs),
        ],
        "charts": [shelden_chart(busy), *([compare_chart(pairs)] if pairs else [])],
        "targets": [*large_targets(worst, pace, late), *compare_targets(pairs)],
        "notes": notes,
    }
