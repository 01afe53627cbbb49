# SPDX-License-Identifier: MIT
"""The paper's rules of thumb: does the share of privileged or interrupt time foretell what a program costs in a guest?"""

import json
import statistics
import subprocess

from benches import NATIVE, NFOLD, ROWS, Programs
from benches import GUEST_NAME as NAME
from hosts import HostError

NUMBER = 9
TITLE = "The rules of thumb: privileged and interrupt time"
KINDS = (NATIVE, NFOLD)
ROUNDS = 3
SHORT = ("compute/sha256", "compute/hash", "compute/simd-avx2", "system/getppid", "system/fork-exec", "system/fault", "system/pipe", "system/files")
PROCESS_TIMES = slice(11, 15)  # of /proc/PID/stat behind the name: utime, stime, cutime, cstime: proc_pid_stat(5)
ENOUGH = 4  # programs, for a line through them
# What is looked at beside the overhead: key, title, and whether the paper names it.
PREDICTORS = (
    ("privileged", "privileged time natively, %", True),
    ("interrupt_time", "interrupt time in the guest, %", True),
    ("interrupt_rate", "interrupts delivered a second in the guest", False),
    ("executed", "instructions executed in C", False),
    ("walks", "page walks", False),
    ("exceptions", "exceptions delivered", False),
    ("translated", "blocks translated", False),
    ("all", "walks, instructions in C and exceptions together", False),
)
EXECUTED = ("control", "flags", "model", "transfer", "string", "port", "integer", "vector")


def processes(session):
    """Ticks that the session's processes and those they waited for spent in user mode and in the kernel."""
    output, _ = session.shell("cat /proc/[0-9]*/stat 2>/dev/null; true")
    times = [[int(word) for word in line.rpartition(")")[2].split()[PROCESS_TIMES]] for line in output.splitlines() if ")" in line]
    return {"user": sum(each[0] + each[2] for each in times), "kernel": sum(each[1] + each[3] for each in times)}


def ledger(context):
    """Of the guest, by nfold stats: sums over its one processor."""
    result = subprocess.run([str(context.nfold), "stats", NAME, "--json"], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0:
        raise HostError(f"nfold stats: {result.stderr.strip()}")
    vcpu = json.loads(result.stdout)["vcpus"][0]
    counts, kinds = vcpu["counts"], vcpu["kinds"]
    figures = {"interrupts": counts["interrupt"], "walks": counts["tlb_miss"], "exceptions": counts["exception"], "translated": counts["block_translated"]}
    figures["executed"] = sum(kinds[kind]["count"] for kind in EXECUTED)
    figures["all"] = figures["walks"] + figures["executed"] + figures["exceptions"]
    return figures


def kernel_view(session):
    """The guest's own ticks: user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5)."""
    output, _ = session.shell("grep '^cpu ' /proc/stat")
    ticks = [int(word) for word in output.split()[1:9]]
    return {"ticks": sum(ticks), "interrupt_ticks": ticks[5] + ticks[6]}


class Watch:
    """Takes the figures around each measured run of a program."""

    def __init__(self, context):
        self.context = context
        self.last = {}

    def figures(self, session):
        if session.subject.kind == NATIVE:
            return processes(session)
        return kernel_view(session) | ledger(self.context)

    def __call__(self, session, run):
        before = self.figures(session)
        sample = run()
        after = self.figures(session)
        self.last = {key: after[key] - before[key] for key in after}
        return sample


def measure(context):
    """By row and kind: a list of (seconds, figures)."""
    watch = Watch(context)
    paths = SHORT if context.short else list(ROWS)
    taken = {path: {kind: [] for kind in KINDS} for path in paths}
    with Programs(context, watch) as programs:
        for number in range(1 if context.short else ROUNDS):
            for path in paths:
                for kind in KINDS:
                    watch.last = {}
                    sample = programs.sample(path, kind)
                    if sample and watch.last:
                        taken[path][kind].append((sample.seconds, watch.last))
            context.say(f"round {number + 1}")
            programs.renew()
    return taken, programs.notes


def figure(samples, key):
    return sum(figures[key] for _, figures in samples)


def summary(samples):
    """A program's overhead and what may foretell it. Counts are for each second that it takes natively."""
    native, nfold = (statistics.median(seconds for seconds, _ in samples[kind]) for kind in KINDS)
    times = figure(samples[NATIVE], "user") + figure(samples[NATIVE], "kernel")
    runs = len(samples[NFOLD]) * native
    row = {key: figure(samples[NFOLD], key) / runs for key in ("executed", "walks", "exceptions", "translated", "all")}
    row["interrupt_rate"] = figure(samples[NFOLD], "interrupts") / sum(seconds for seconds, _ in samples[NFOLD])
    row["privileged"] = 100 * figure(samples[NATIVE], "kernel") / times if times else 0
    row["interrupt_time"] = 100 * figure(samples[NFOLD], "interrupt_ticks") / max(figure(samples[NFOLD], "ticks"), 1)
    return row | {"native": native, "nfold": nfold, "overhead": 100 * (nfold / native - 1)}


def correlation(xs, ys):
    """Pearson's; 0 where one does not vary."""
    return statistics.correlation(xs, ys) if len(set(xs)) > 1 and len(set(ys)) > 1 else 0.0


def ranks(values):
    """Mean places of equal values."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def line(xs, ys):
    """Least squares: intercept, slope."""
    if len(set(xs)) < 2:
        return statistics.mean(ys), 0.0
    fitted = statistics.linear_regression(xs, ys)
    return fitted.intercept, fitted.slope


def predictors(rows):
    """How well each goes with the overhead."""
    found, overhead = {}, [row["overhead"] for row in rows.values()]
    for key, _, _ in PREDICTORS:
        values = [row[key] for row in rows.values()]
        intercept, slope = line(values, overhead)
        found[key] = {
            "r": correlation(values, overhead),
            "rank": correlation(ranks(values), ranks(overhead)),
            "intercept": intercept,
            "slope": slope,
            "miss": statistics.median(abs(intercept + slope * value - real) for value, real in zip(values, overhead)),
        }
    return found


def foretold_counts(rows):
    """Whether the privileged share goes with what nfold counts, by ranks."""
    privileged = ranks([row["privileged"] for row in rows.values()])
    return {key: correlation(privileged, ranks([row[key] for row in rows.values()])) for key, _, named in PREDICTORS if not named}


def program_table(rows):
    columns = ["program", "native, s", "nfold, s", "overhead, %", "privileged natively, %", "interrupt time in the guest, %", "interrupts/s in the guest", "page walks", "in C", "exceptions"]
    cells = [
        [path, f"{row['native']:.3f}", f"{row['nfold']:.3f}", f"{row['overhead']:.0f}", f"{row['privileged']:.0f}", f"{row['interrupt_time']:.1f}", f"{row['interrupt_rate']:.0f}",
         *[f"{row[key]:,.0f}" for key in ("walks", "executed", "exceptions")]]
        for path, row in rows.items()
    ]  # fmt: skip
    return {"title": "Programs; the last three columns are for each second that the program takes natively", "columns": columns, "rows": cells}


def predictor_table(found, counts):
    columns = ["figure", "correlation with the overhead (r)", "by ranks", "fitted line: overhead in % =", "half of the programs are off by more than, points", "privileged time goes with it, by ranks"]
    cells = [
        [title + (" (the paper's rule)" if named else ""), f"{found[key]['r']:.2f}", f"{found[key]['rank']:.2f}", f"{found[key]['intercept']:.0f} + {found[key]['slope']:.3g} x",
         f"{found[key]['miss']:.0f}", "" if named else f"{counts[key]:.2f}"]
        for key, title, named in PREDICTORS
    ]  # fmt: skip
    return {"title": "What goes with the overhead", "columns": columns, "rows": cells}


def chart(rows, found, name, key, title, axis):
    """Points, one series for each group of programs, and the fitted line."""
    groups = {path.split("/")[0]: [] for path in rows}
    for path, row in rows.items():
        groups[path.split("/")[0]].append((row[key], row["overhead"]))
    series = [{"name": group, "x": [x for x, _ in points], "y": [y for _, y in points], "hollow": True} for group, points in groups.items()]
    ends = [min(row[key] for row in rows.values()), max(row[key] for row in rows.values())]
    fitted = {"name": "fitted line", "x": ends, "y": [found[key]["intercept"] + found[key]["slope"] * end for end in ends], "dashed": True}
    return {"name": name, "kind": "lines", "title": title, "x": axis, "y": "overhead in nfold, %", "series": [*series, fitted]}


def judged(title, result):
    explained = max(result["r"], 0) ** 2
    words = "a fair guess" if explained >= 0.5 else "a poor guess" if explained >= 0.2 else "no guess"
    return (
        f"{title}: r = {result['r']:.2f}, which accounts for {100 * explained:.0f} % of the differences between programs; by its line half of them are off by more than "
        f"{result['miss']:.0f} points. That is {words}."
    )


def verdict(found, counts, rows):
    """In words, what the rules are worth."""
    named = {key for key, _, is_named in PREDICTORS if is_named}
    titles = {key: title for key, title, _ in PREDICTORS}
    best = max(counts, key=lambda key: found[key]["rank"])
    with_counts = max(counts, key=lambda key: counts[key])
    beyond = statistics.median(row["overhead"] - row["interrupt_time"] for row in rows.values())
    return [
        *[judged(f"Overhead in proportion to {titles[key]}", found[key]) for key in sorted(named, reverse=True)],
        f"The second rule, that interrupts cost about their native time: overhead is {beyond:.0f} points above it in the median. The guest's kernel books interrupt time only by what its ticks fall into, "
        "so that the column is coarse.",
        f"Of nfold's counts, {titles[best]} go best with the overhead ({found[best]['rank']:.2f} by ranks; privileged time {found['privileged']['rank']:.2f}).",
        f"Privileged time does go with what is counted: {titles[with_counts]} {counts[with_counts]:.2f} by ranks.",
    ]


def run(context):
    taken, notes = measure(context)
    rows = {path: summary(samples) for path, samples in taken.items() if all(samples[kind] for kind in KINDS)}
    if len(rows) < ENOUGH:
        raise HostError("; ".join(notes) or "too few programs ran")
    found, counts = predictors(rows), foretold_counts(rows)
    return {
        "question": "The paper lets one guess a guest's overhead from native measurements: privileged instructions in proportion to % Privileged Time, interrupts about % Interrupt Time + % DPC Time. Is that so?",
        "method": (
            "The programs of `make bench`, groups compute, system and real, natively and in nfold in turns. Privileged time is the kernel's part of the native processor time of all the processes, servers "
            "included. Interrupt time is irq + softirq in the guest's /proc/stat: the native machine's cannot be had by program. Counts are the guest's ledger's. Overhead is time in nfold over time "
            "natively, less 1; lines are least squares over all programs; ranks because some programs cost ten times others."
        ),
        "tables": [predictor_table(found, counts), program_table(rows)],
        "charts": [
            chart(rows, found, "privileged", "privileged", "Overhead against privileged time", "privileged time natively, % of the processor time"),
            chart(rows, found, "interrupts", "interrupt_time", "Overhead against interrupt time", "interrupt time in the guest, %"),
        ],
        "targets": [],  # the rules are the paper's: how well they do is a finding
        "notes": [*verdict(found, counts, rows), *notes],
    }
