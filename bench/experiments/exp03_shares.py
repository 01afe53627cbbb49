# SPDX-License-Identifier: MIT
"""Shares 1:2:4:8: do guests get the work done that they were promised?"""

from guests import Workers

NUMBER = 3
TITLE = "Shares 1:2:4:8"
SHARES = (1000, 2000, 4000, 8000)
LIMIT = 1  # percent
SECONDS = 30


def measure(context, names, *words):
    """All guests of `names`, each with its shares."""
    with context.host() as host:
        workers = Workers(host)
        for name, share in names.items():
            workers.create(name, "--shares", share, *words)
        # As long as it takes until the first turns, of guests that came one after the other, weigh nothing.
        return workers.run(list(names), 4 if context.short else SECONDS, settle=1)


def rows_of(stretch, names):
    """One for each share: what its guests should have, and had: of the work, of the scheduler's turns, of the processors."""
    rows = []
    total = sum(stretch.work.values())
    turns = sum(each["running_ns"] for each in stretch.turns.values())
    ran = stretch.running
    for share in SHARES:
        mine = [name for name in names if names[name] == share]
        ideal = sum(names[name] for name in mine) / sum(names.values())
        work = sum(stretch.work[name] for name in mine) / total
        rows.append(
            {
                "share": share,
                "ideal": ideal,
                "work": work,
                "off": 100 * (work / ideal - 1),
                "turns": sum(stretch.turns[name]["running_ns"] for name in mine) / turns,
                "running": sum(stretch.part_running(name) for name in mine) / ran,
                "preempted": sum(stretch.clocks[name]["preempted"] / stretch.walls[name] for name in mine),
                "late": sum(stretch.turns[name]["late"] for name in mine),
            }
        )
    return rows


def reason(worst, stretch):
    return (
        f"the scheduler gave the guests of share {worst['share']} {100 * worst['turns']:.2f} % of the time, {100 * (worst['turns'] / worst['ideal'] - 1):+.2f} % from their part; on the machine's processors "
        f"they were for {100 * worst['running']:.2f} % of what all guests were (others of the machine took {stretch.clock('preempted'):.3f} processors from the guests, {worst['preempted']:.3f} of it from these; "
        f"{stretch.late} of {stretch.dispatch['grants']} tokens came back late)"
    )


def table(title, rows):
    return {
        "title": title,
        "columns": ["shares", "ideal part, %", "part of the work, %", "off, %", "part of the turns, %", "part of the processor time, %", "late tokens"],
        "rows": [
            [row["share"], f"{100 * row['ideal']:.2f}", f"{100 * row['work']:.2f}", f"{row['off']:+.2f}", f"{100 * row['turns']:.2f}", f"{100 * row['running']:.2f}", row["late"]] for row in rows
        ],
    }


def target(text, rows, stretch):
    worst = max(rows, key=lambda row: abs(row["off"]))
    met = abs(worst["off"]) <= LIMIT
    return {
        "text": text,
        "limit": f"within {LIMIT} %",
        "value": f"{worst['off']:+.2f} % at worst (shares {worst['share']})",
        "met": met,
        "reason": None if met else reason(worst, stretch),
    }


def run(context):
    one = {f"g{share}": share for share in SHARES}
    # One guest of each share would not do on several processors: with 8 of 15 it could not use its part of two.
    many = {f"g{share}-{number}": share for share in SHARES for number in range(context.processors)}
    stretches = measure(context, one, "--affinity", 0), measure(context, many)
    rows = [rows_of(stretch, names) for stretch, names in zip(stretches, (one, many))]
    where = ("four guests on one processor", f"{len(many)} guests on {context.processors} processors")
    seconds = f"{stretches[0].seconds:.0f} s"
    return {
        "question": "Do CPU-bound guests of shares 1:2:4:8 get work done in this proportion?",
        "method": (
            f"Guests as in experiment 1 with 1000, 2000, 4000 and 8000 shares, for {seconds}: first one of each on one processor, then {context.processors} of each on all. The part of the work is by the guests' own count; "
            "turns are the scheduler's, processor time the ledger's. Off is the part of the work beside the ideal part. Published for Xen: within 4 %."
        ),
        "tables": [table(text[0].upper() + text[1:], each) for text, each in zip(where, rows)],
        "charts": [
            {
                "name": "shares",
                "kind": "bars",
                "title": "Work by shares",
                "x": "shares",
                "y": "% of all work",
                "categories": [str(share) for share in SHARES],
                "series": [
                    {"name": "ideal", "y": [round(100 * row["ideal"], 2) for row in rows[0]], "dashed": True},
                    *({"name": text, "y": [round(100 * row["work"], 2) for row in each]} for text, each in zip(where, rows)),
                ],
            }
        ],
        "targets": [target(f"part of the work, {text}, {seconds}", each, stretch) for text, each, stretch in zip(where, rows, stretches)],
        "notes": [],
    }
