# SPDX-License-Identifier: MIT
"""The paper's figure 2: does the work of n guests add up to what the processors can do?"""

import statistics

from guests import Workers

NUMBER = 1
TITLE = "Completion rate of CPU-bound guests"
COUNTS = (1, 2, 4, 8, 16)
LIMIT = 0.1


def measure(context, workers, names):
    """Rounds of (alone, n guests) for each n, and alone once more: each crowd stands between two of the same guest alone."""
    seconds, rounds = (1, 1) if context.short else (4, 5)
    taken = {count: [] for count in COUNTS}
    for number in range(rounds):
        alone = workers.run(names[:1], seconds)
        for count in COUNTS:
            crowd = workers.run(names[:count], seconds)
            after = workers.run(names[:1], seconds)
            taken[count].append((alone, crowd, after))
            context.say(f"round {number + 1} of {rounds}: {count} guests, {crowd.rate / alone.rate:.3f} times one")
            alone = after
    return taken


def overhead(theoretical, actual, count):
    """The paper's formula, in percent a guest."""
    return (theoretical - actual) * 100 / theoretical / count


def summary(samples, count, processors):
    """Medians over the rounds, each crowd beside the guest alone before and after it."""
    busy = min(count, processors)

    def median(figure):
        return statistics.median(figure((alone, after), crowd) for alone, crowd, after in samples)

    rate = median(lambda near, crowd: crowd.rate / statistics.mean(each.rate for each in near))
    return {
        "count": count,
        "theoretical": busy,
        "rate": rate,
        "overhead": overhead(busy, rate, count),
        "speed": median(lambda near, crowd: crowd.speed / statistics.mean(each.speed for each in near)),
        "running": median(lambda _, crowd: crowd.running),
        "preempted": median(lambda _, crowd: crowd.clock("preempted")),
        "dispatcher": median(lambda _, crowd: crowd.dispatcher),
        "late": sum(crowd.late for _, crowd, _ in samples),
        "grants": sum(crowd.dispatch["grants"] for _, crowd, _ in samples),
    }


def reason(row):
    """Where the missing part went, by the guests' ledgers: given to others by Linux, slower while running, or not lent."""
    missing = 100 * (1 - row["rate"] / row["theoretical"])
    return (
        f"with {row['count']} guests {missing:.2f} % of the theoretical rate are missing: the guests' threads had {row['running']:.3f} of {row['theoretical']} processors "
        f"(others of the machine took {row['preempted']:.3f}, the dispatcher {row['dispatcher']:.4f}), and did {100 * row['speed']:.2f} % of the work of the guest alone "
        f"in each second that they ran; {row['late']} of {row['grants']} tokens came back late"
    )


def run(context):
    with context.host() as host:
        workers = Workers(host)
        names = [f"g{number:02}" for number in range(max(COUNTS))]
        for name in names:
            workers.create(name)
        taken = measure(context, workers, names)
    rows = [summary(taken[count], count, context.processors) for count in COUNTS]
    worst = max(rows[1:], key=lambda row: row["overhead"])
    return {
        "question": "How much does each further guest cost the others, when all compute and the host only divides the processors among them?",
        "method": (
            "Guests of 4 MiB compute without end and count what they have done; the count is read from outside at the beginning and the end of each stretch. Before and after each "
            f"crowd one guest runs alone on the same host. Theoretical is the rate of that guest times the smaller of the number of guests and of processors ({context.processors}). "
            "Overhead a guest is the paper's: (theoretical - actual) * 100 / theoretical / guests. Medians over the rounds."
        ),
        "tables": [
            {
                "title": "Rates as multiples of one guest alone",
                "columns": ["guests", "theoretical", "actual", "overhead a guest, %", "work a processor second, %", "processors had", "taken by others", "dispatcher, processors", "late tokens"],
                "rows": [
                    [row["count"], row["theoretical"], f"{row['rate']:.3f}", f"{row['overhead']:.3f}", f"{100 * row['speed']:.2f}", f"{row['running']:.3f}",
                     f"{row['preempted']:.3f}", f"{row['dispatcher']:.4f}", row["late"]]
                    for row in rows
                ],
            }
        ],
        "charts": [
            {
                "name": "completion",
                "kind": "lines",
                "title": "Completion rate of CPU-bound guests",
                "x": "guests",
                "y": "work done, as a multiple of one guest alone",
                "logx": True,
                "ymin": 0,
                "series": [
                    {"name": "theoretical", "x": list(COUNTS), "y": [row["theoretical"] for row in rows], "dashed": True},
                    {"name": "actual", "x": list(COUNTS), "y": [round(row["rate"], 4) for row in rows]},
                ],
            }
        ],
        "targets": [
            {
                "text": "overhead a guest, the worst of 2 to 16 guests",
                "limit": f"below {LIMIT} %",
                "value": f"{worst['overhead']:.3f} % ({worst['count']} guests)",
                "met": worst["overhead"] < LIMIT,
                "reason": None if worst["overhead"] < LIMIT else reason(worst),
            }
        ],
        "notes": [],
    }
