# SPDX-License-Identifier: MIT
"""What is measured: a row of the table has a group, a name and a function that takes one sample."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Sample:
    """One measurement. Seconds are the guest's where a program ran inside one, else the host's."""

    seconds: float
    host_seconds: float | None = None  # the same stretch by the host's clock, where seconds are the guest's
    answer: str | None = None  # what the program computed; the same for every subject
    extra: dict = field(default_factory=dict)  # other figures of this sample, by name


class RowError(Exception):
    """A sample could not be taken; the text says why. The next row starts with a new guest."""


class NotThere(Exception):
    """The subject's processor lacks what the row needs: no sample, and no failure."""


@dataclass(frozen=True)
class Row:
    """measure(subject, options) returns a Sample. It raises RowError or GuestError
    where the subject failed, and NotThere."""

    group: str
    name: str
    title: str
    measure: Callable
    natively: bool = False  # native runs it too

    @property
    def path(self):
        return f"{self.group}/{self.name}"


def selected(rows, only):
    """The rows that --only GROUP or GROUP/NAME names; all when it names none."""
    chosen = [row for row in rows if not only or row.group in only or row.path in only]
    known = {row.group for row in rows} | {row.path for row in rows}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SystemExit(f"bench: no such group or row: {', '.join(unknown)} (see --list)")
    return chosen
