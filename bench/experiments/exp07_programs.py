# SPDX-License-Identifier: MIT
"""The paper's figure 3: programs natively, in nfold and in QEMU TCG."""

import statistics

from benches import NATIVE, NFOLD, QEMU, TITLES, Programs

NUMBER = 7
TITLE = "A CPU-bound program, a database, a web server"
KINDS = (NATIVE, NFOLD, QEMU)
# What of the benchmark stands for what of the paper's figure.
ROWS = {
    "compute/sha256": "SHA-256 (CPU-bound)",
    "compute/xz": "xz (CPU-bound)",
    "real/gcc": "gcc (build)",
    "real/sqlite-insert": "SQLite insert (database)",
    "real/sqlite-query": "SQLite query (database)",
    "real/redis": "Redis (database)",
    "real/nginx": "nginx (web server)",
}
SHORT = ("compute/sha256", "real/sqlite-query", "real/nginx")
ROUNDS = 3


def measure(context, programs):
    """Seconds by row and kind: the three take turns within each row, and who begins changes from round to round."""
    paths = SHORT if context.short else list(ROWS)
    rounds = 1 if context.short else ROUNDS
    seconds = {path: {kind: [] for kind in KINDS} for path in paths}
    for number in range(rounds):
        turn = number % len(KINDS)
        for path in paths:
            for kind in KINDS[turn:] + KINDS[:turn]:
                sample = programs.sample(path, kind)
                if sample:
                    seconds[path][kind].append(sample.seconds)
        context.say(f"round {number + 1} of {rounds}")
        programs.renew()
    return seconds


def medians(seconds):
    """Of the rows that all three ran."""
    return {path: {kind: statistics.median(taken[kind]) for kind in KINDS} for path, taken in seconds.items() if all(taken[kind] for kind in KINDS)}


def spread(seconds, path):
    """The widest of the three."""
    return max((max(values) - min(values)) / statistics.median(values) for values in seconds[path].values())


def table(seconds, middle):
    rows = []
    for path, row in middle.items():
        slower = [f"{row[kind] / row[NATIVE]:.2f}" for kind in KINDS[1:]]
        rows.append([ROWS[path], path, *[f"{row[kind]:.3f}" for kind in KINDS], *slower, f"{row[QEMU] / row[NFOLD]:.2f}", f"{100 * spread(seconds, path):.0f} %"])
    columns = ["program", "row of the benchmark", *[f"{TITLES[kind]}, s" for kind in KINDS], "nfold / native", "QEMU / native", "nfold faster than QEMU, times", "spread"]
    return {"title": "Time of one run, medians", "columns": columns, "rows": rows}


def chart(middle):
    return {
        "name": "programs",
        "kind": "bars",
        "title": "Throughput, native = 1",
        "x": "",
        "y": "as a part of native",
        "ymin": 0,
        "categories": [ROWS[path].replace(" (", "\n(") for path in middle],
        "series": [{"name": TITLES[kind], "y": [round(row[NATIVE] / row[kind], 3) for row in middle.values()], "dashed": kind == NATIVE} for kind in KINDS],
    }


def faster(middle):
    """Whether nfold is ahead of the other host that needs no hardware virtualization, everywhere."""
    worst = min(middle, key=lambda path: middle[path][QEMU] / middle[path][NFOLD])
    ratio = middle[worst][QEMU] / middle[worst][NFOLD]
    return {
        "text": "nfold is faster than QEMU TCG in every program",
        "limit": "above 1 times",
        "value": f"{ratio:.2f} times ({ROWS[worst]})",
        "met": ratio > 1,
        "reason": None if ratio > 1 else f"{worst} takes {middle[worst][NFOLD]:.3f} s in nfold and {middle[worst][QEMU]:.3f} s in QEMU",
    }


def run(context):
    with Programs(context) as programs:
        seconds = measure(context, programs)
    middle = medians(seconds)
    return {
        "question": "What does each kind of program keep of the machine's speed in a guest, where the processor offers no hardware virtualization?",
        "method": (
            "The rows of `make bench` that the paper's figure has: programs natively, in nfold and in QEMU's TCG, with the same files, the same guest kernel and one processor each. The three take "
            "turns; each round has new guests. Server and client of Redis and nginx run inside the same guest. The paper's figure (from Barham and others, SOSP 2003, other programs on other machines): "
            "VMware Workstation 3.2 kept 98 % of native in SPECint, 79 % in a kernel build and 29 % in SPEC WEB99."
        ),
        "tables": [table(seconds, middle)],
        "charts": [chart(middle)] if middle else [],
        "targets": [faster(middle)] if middle else [],
        "notes": programs.notes,
    }
