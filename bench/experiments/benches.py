# SPDX-License-Identifier: MIT
"""The programs of bench/run, for experiments: the same rows, in the same guests, one sample at a time."""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

# pylint: disable=wrong-import-position
import compute  # noqa: E402
import real  # noqa: E402
import system  # noqa: E402
from images import ImageError  # noqa: E402
from rows import NotThere, RowError  # noqa: E402
from sessions import RUN_SECONDS, Sessions  # noqa: E402
from subjects import NATIVE, NFOLD, QEMU, ROOT, Subject, guest  # noqa: E402

TITLES = {NATIVE: "native", NFOLD: "nfold", QEMU: "QEMU TCG"}
ROWS = {row.path: row for row in (*compute.ROWS, *system.ROWS, *real.ROWS)}
FAILURES = (RowError, ImageError, guest.GuestError, OSError)
GUEST_NAME = "measured"


@dataclass(frozen=True)
class Named(Subject):
    """nfold's guest has a name, so that its ledger can be asked for."""

    def words(self, kernel, initrd, append, memory_mib, cpus=1):
        words = super().words(kernel, initrd, append, memory_mib, cpus)
        return [*words[:2], "--name", GUEST_NAME, *words[2:]]


class Watched(Sessions):
    """Calls watch(session, run) in place of each measured run of a program; run() is that run."""

    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    def get(self, subject, image, options):
        is_new = subject.name not in self.open
        session = super().get(subject, image, options)
        if is_new:
            plain = session.run
            session.run = lambda command, seconds=RUN_SECONDS: self.watch(session, lambda: plain(command, seconds))
        return session


class Programs:
    """Sessions of native, nfold and QEMU, from the beginning to the end of a with block."""

    def __init__(self, context, watch=lambda session, run: run()):
        self.watch = watch
        # Guests of others are out of sight, and so is their names' use.
        os.environ["XDG_RUNTIME_DIR"] = str(context.folder)
        self.context = context
        self.options = argparse.Namespace(kernel=str(guest.GUEST / "vmlinuz"), initrd="", append="console=ttyS0 no5lvl", short=context.short)
        self.subjects = {
            NATIVE: Subject(NATIVE, NATIVE),
            NFOLD: Named(NFOLD, NFOLD, str(context.nfold)),
            QEMU: Subject(QEMU, QEMU, guest.QEMU),
        }
        self.notes = []

    def __enter__(self):
        self.options.sessions = Watched(self.watch)
        return self

    def __exit__(self, *_):
        self.options.sessions.close()

    def sample(self, path, kind):
        """Of one row, or None: what fails is noted and does not stop the others."""
        try:
            return ROWS[path].measure(self.subjects[kind], self.options)
        except NotThere:
            return None
        except FAILURES as error:
            self.note(f"{path}, {TITLES[kind]}: {error}")
            return None

    def note(self, text):
        line = "failed: " + text.splitlines()[0]
        self.context.say(line)
        if line not in self.notes:
            self.notes.append(line)

    def renew(self):
        """New guests: how one lies in memory is luck."""
        self.options.sessions.close()
