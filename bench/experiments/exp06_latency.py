# SPDX-License-Identifier: MIT
"""How soon an idle guest answers beside guests that compute."""

import os
import random
import socket
import time

from guests import Workers
from hosts import HostError, wait_for
from linux import Linux

NUMBER = 6
TITLE = "Latency beside CPU hogs"
LIMIT_US = 2000
MESSAGE = b"nfold echo: are you still there?"
PAUSE_SECONDS = (0.004, 0.016)
ANSWER_SECONDS = 60
SETTINGS = ((0, True), (1, True), (4, True), (4, False))  # how many hogs; all on one processor or on all of the host
SERVE = "ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0; (/echo &); sleep 0.5; true"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    """A connection that has been answered once."""

    def answered():
        try:
            client = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        except OSError:
            return None
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            echo(client)
        except (OSError, HostError):
            client.close()
            return None
        return client

    return wait_for(answered, "the guest echoes")


def echo(client):
    """Microseconds from sending to having all of it back."""
    start, received = time.monotonic_ns(), b""
    client.sendall(MESSAGE)
    while len(received) < len(MESSAGE):
        part = client.recv(4096)
        if not part:
            raise HostError("the guest closed the connection")
        received += part
    if received != MESSAGE:
        raise HostError("the guest sent back something else")
    return (time.monotonic_ns() - start) / 1000


class Promptly:
    """For a with block, this process runs before ordinary ones: it is the measuring instrument. Where that is not permitted it does not."""

    def __enter__(self):
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            return True
        except PermissionError:
            return False

    def __exit__(self, *_):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


def measure(client, count):
    """Echoes at random times, so that no clock of the guest's or the host's keeps step with them."""
    generator, taken = random.Random(1), []
    with Promptly() as prompt:
        for _ in range(count):
            time.sleep(generator.uniform(*PAUSE_SECONDS))
            taken.append(echo(client))
    return taken, prompt


def delay_of(before, after, name):
    """What the ledger says of this delay in between: how many, and the mean in microseconds."""
    old, new = (each["vcpus"][0]["delays"][name] for each in (before, after))
    count = new["count"] - old["count"]
    return (new["total_ns"] - old["total_ns"]) / 1000 / count if count else 0


def play(context, hogs, on_one, *host_words, echoes=1200):
    count = 100 if context.short else echoes
    where = ("--affinity", 0) if on_one else ()
    port = free_port()
    with context.host(*host_words) as host:
        workers = Workers(host)
        guest = Linux(context, host, "echo", *where, "--net", f"user,forward=127.0.0.1:{port}:7")
        guest.shell(SERVE)
        client = connect(port)
        names = [f"hog{number}" for number in range(hogs)]
        for name in names:
            workers.create(name, *where)
        workers.start(*names)
        time.sleep(0.5)
        before, dispatch = host.stats("echo"), host.dispatch()
        taken, prompt = measure(client, count)
        after, dispatch_after = host.stats("echo"), host.dispatch()
        client.close()
        guest.close()
    return {
        "hogs": hogs,
        "where": "one processor" if on_one else f"{context.processors} processors",
        "prompt": prompt,
        "taken": taken,
        **{f"p{part}": percentile(taken, part) for part in (50, 90, 99)},
        "most": max(taken),
        "wake": delay_of(before, after, "wake"),
        "interrupt": delay_of(before, after, "interrupt"),
        "late": dispatch_after["late"] - dispatch["late"],
        "grants": dispatch_after["grants"] - dispatch["grants"],
        "preemption": dispatch_after["preemption_p99_us"],
    }


def title(row):
    return f"{row['hogs'] or 'no'} hog{'' if row['hogs'] == 1 else 's'}, {row['where']}"


def reason(row, quiet):
    return (
        f"without hogs the 99th percentile is {quiet['p99']:.0f} us; beside them the guest's processor waited {row['wake']:.0f} us in the mean from a wake-up to running (without {quiet['wake']:.0f}), {row['interrupt']:.0f} us from a device's "
        f"interrupt to its delivery (without {quiet['interrupt']:.0f}); {row['late']} of {row['grants']} tokens came back late, 99 % of them within {row['preemption']} us; the rest is between the client and the guest's "
        "process: sockets, the network's thread, and Linux's own scheduling of it"
    )


def target(row, quiet):
    met = row["p99"] < LIMIT_US
    return {
        "text": f"99th percentile, {title(row)}",
        "limit": f"below {LIMIT_US / 1000:g} ms",
        "value": f"{row['p99'] / 1000:.2f} ms",
        "met": met,
        "reason": None if met else reason(row, quiet),
    }


def distribution(row):
    ordered = sorted(row["taken"])
    places = sorted({min(len(ordered) - 1, int(len(ordered) * part / 1000)) for part in (*range(0, 990, 10), *range(990, 1001))})
    return {"name": title(row), "x": [round(ordered[place]) for place in places], "y": [round(100 * (place + 1) / len(ordered), 2) for place in places]}


def run(context):
    rows = []
    for hogs, on_one in SETTINGS:
        rows.append(play(context, hogs, on_one))
        context.say(f"{title(rows[-1])}: half below {rows[-1]['p50']:.0f} us, 99 % below {rows[-1]['p99']:.0f} us")
    prompt = "which runs before ordinary processes (SCHED_FIFO)" if rows[0]["prompt"] else "which is an ordinary process: real-time priority was not permitted"
    return {
        "question": "How long does a guest with nothing else to do take to answer, when the guests beside it compute?",
        "method": (
            f"A Debian kernel echoes {len(MESSAGE)} bytes over TCP (a small server, virtio-net in user mode, a forwarded port). A client on the host, {prompt}, asks {len(rows[0]['taken'])} times at random "
            f"intervals of {PAUSE_SECONDS[0] * 1000:g} to {PAUSE_SECONDS[1] * 1000:g} ms. The hogs are guests as in experiment 1, with equal shares. Published for Xen: 5.4 ms to an idle guest, 147 ms to a busy one."
        ),
        "tables": [
            {
                "title": "Microseconds from sending to having the echo",
                "columns": ["beside", "half below", "90 % below", "99 % below", "longest", "mean wake-up to running", "mean interrupt to delivery", "late tokens"],
                "rows": [[title(row), *(f"{row[key]:.0f}" for key in ("p50", "p90", "p99", "most", "wake", "interrupt")), row["late"]] for row in rows],
            }
        ],
        "charts": [
            {
                "name": "latency",
                "kind": "steps",
                "title": "Time to an echo",
                "x": "microseconds",
                "y": "% of echoes within",
                "logx": True,
                "ymin": 0,
                "series": [distribution(row) for row in rows],
            }
        ],
        "targets": [target(row, rows[0]) for row in rows[1:]],
        "notes": [],
    }
