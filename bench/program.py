# SPDX-License-Identifier: MIT
"""A row that runs one program in a session."""

import re

from rows import NotThere, Row, RowError


def program(group, name, title, image, command, before=None, after=None, same_answer=True, rate=None):
    """`before` and `after` are shell lines outside the measurement. What the program writes must be the same everywhere,
    unless same_answer is false: for programs that write times, ports or process numbers. `rate` is for programs
    that work for a fixed time: a pattern whose group 1 is the rate they report, and the work whose seconds are wanted."""

    def measure(subject, options):
        session = options.sessions.get(subject, image, options)
        try:
            if before:
                untimed(session, before)
            sample = session.run(command)
            if rate:
                from_rate(sample, session.output(), *rate)
            if after:
                untimed(session, after)
        except NotThere:
            raise
        except Exception:
            # What state the session is in is not known; the next row gets a new one.
            options.sessions.drop(subject)
            raise
        if not same_answer:
            sample.answer = None
        return sample

    return Row(group, name, title, measure, natively=True)


def from_rate(sample, output, pattern, work):
    match = re.search(pattern, output)
    if match is None or float(match.group(1)) <= 0:
        raise RowError(f"no rate in {output!r}")
    seconds = work / float(match.group(1))
    # The clocks were compared over the run: keep their ratio.
    sample.host_seconds *= seconds / sample.seconds
    sample.seconds = seconds


def untimed(session, line):
    output, status = session.shell(line, 120)
    if status != 0:
        raise RowError(f"{line}: status {status}: {output.strip()[-500:]}")
