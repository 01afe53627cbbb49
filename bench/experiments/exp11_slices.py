# SPDX-License-Identifier: MIT
"""What a time slice costs and what it buys: why the default is what it is."""

import statistics

from exp06_latency import play
from guests import Workers

NUMBER = 11
TITLE = "Time slices"
SLICES = (1, 2, 5, 10, 20, 50)  # milliseconds
GUESTS = 16
HOGS = 4
LEAST = 97  # percent of the total, at the default
LIMIT_US = 2000


def throughput(context, slice_ms):
    """Percent of what one guest a processor does: GUESTS guests that compute, medians of the rounds."""
    seconds, rounds = (1, 1) if context.short else (3, 3)
    parts, last = [], None
    with context.host("--slice", slice_ms) as host:
        workers = Workers(host)
        names = [f"g{number:02}" for number in range(GUESTS)]
        for name in names:
            workers.create(name)
        before = workers.run(names[: context.processors], seconds)
        for _ in range(rounds):
            last = workers.run(names, seconds)
            after = workers.run(names[: context.processors], seconds)
            parts.append(100 * last.rate / statistics.mean((before.rate, after.rate)))
            before = after
    return statistics.median(parts), last


def measure(context, slice_ms):
    total, crowd = throughput(context, slice_ms)
    echo = play(context, HOGS, True, "--slice", slice_ms, echoes=400)
    return {
        "slice": slice_ms,
        "total": total,
        "dispatcher": 100 * crowd.dispatcher / context.processors,
        "turns": crowd.dispatch["grants"] / crowd.seconds,
        "p50": echo["p50"],
        "p99": echo["p99"],
        "wait": slice_ms * (GUESTS / context.processors - 1),
    }


def default_of(context):
    with context.host() as host:
        return host.dispatch()["slice_ns"] / 1e6


def target(row, text, limit, value, met):
    reason = f"a slice of {row['slice']} ms: total {row['total']:.2f} %, dispatcher {row['dispatcher']:.2f} %, 99 % of the echoes within {row['p99']:.0f} us"
    return {"text": text, "limit": limit, "value": value, "met": met, "reason": None if met else reason}


def run(context):
    rows, default = [], default_of(context)
    for slice_ms in SLICES:
        rows.append(measure(context, slice_ms))
        context.say(f"{slice_ms} ms: {rows[-1]['total']:.2f} % of the work, 99 % of the echoes within {rows[-1]['p99']:.0f} us")
    chosen = next(row for row in rows if row["slice"] == default)
    names = [f"{row['slice']} ms" + (" (default)" if row is chosen else "") for row in rows]
    return {
        "question": "How long should a guest keep its processor when others wait for it?",
        "method": (
            f"For each time slice a host of its own. Total: {GUESTS} guests that compute as in experiment 1, in percent of what one guest a processor does, medians of {1 if context.short else 3} rounds. Echo: as in "
            f"experiment 6, beside {HOGS} guests that compute, all on one processor. The longest regular wait follows from the slice: that of a guest which computes, until the {GUESTS - 1} others had their turn."
        ),
        "tables": [
            {
                "title": "By time slice",
                "columns": ["time slice", "total, %", "dispatcher, % of the processors", "turns a second", "echo, half below, us", "echo, 99 % below, us", f"wait of one of {GUESTS}, ms"],
                "rows": [
                    [name, f"{row['total']:.2f}", f"{row['dispatcher']:.3f}", f"{row['turns']:.0f}", f"{row['p50']:.0f}", f"{row['p99']:.0f}", f"{row['wait']:.0f}"] for name, row in zip(names, rows)
                ],
            }
        ],
        "charts": [
            {
                "name": "slices",
                "kind": "bars",
                "title": f"Work of {GUESTS} guests by time slice",
                "x": "time slice",
                "y": "% of one guest a processor",
                "categories": names,
                "ymin": 0,
                "ymax": 112,
                "series": [{"name": "nfold", "y": [round(row["total"], 2) for row in rows]}],
                "limit": LEAST,
            }
        ],
        "targets": [
            target(chosen, f"total of {GUESTS} guests at the default slice", f"at least {LEAST} %", f"{chosen['total']:.2f} %", chosen["total"] >= LEAST),
            target(chosen, f"echo beside {HOGS} hogs at the default slice, 99th percentile", f"below {LIMIT_US / 1000:g} ms", f"{chosen['p99'] / 1000:.2f} ms", chosen["p99"] < LIMIT_US),
            target(chosen, f"the dispatcher's own time with {GUESTS} CPU-bound guests at the default slice", "below 1 % of the processors", f"{chosen['dispatcher']:.3f} %", chosen["dispatcher"] < 1),
        ],
        "notes": ["A guest that wakes for input or output gets a processor at once, whatever the slice is: so a longer slice costs only guests that compute, by a longer wait for their turn."],
    }
