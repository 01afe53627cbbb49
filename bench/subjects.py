# SPDX-License-Identifier: MIT
"""Who is measured: this machine itself, nfold, QEMU's TCG; the last two also with other builds or kernel options."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "guest"))

import guest  # noqa: E402  (found through the path above)

NATIVE, NFOLD, QEMU = "native", "nfold", "qemu"
MITIGATIONS_OFF = "mitigations=off"


@dataclass(frozen=True)
class Subject:
    """One column of the table."""

    kind: str  # NATIVE, NFOLD or QEMU
    name: str  # the column's head
    path: str = ""  # the program, where it is not native
    append: str = ""  # added to the guest kernel's command line
    cpu: str = "max"  # a level of nfold's --cpu

    @property
    def is_guest(self):
        return self.kind != NATIVE

    def words(self, kernel, initrd, append, memory_mib, cpus=1):
        """The command that boots a Linux guest directly, with its serial console on stdin and stdout."""
        words = guest.command_line(self.kind, kernel, initrd, f"{append} {self.append}".strip(), memory_mib, self.cpu, cpus=cpus)
        return [self.path, *words[1:]]

    def version(self):
        try:
            result = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=False)
            return result.stdout.splitlines()[0].strip()
        except (OSError, IndexError):
            return "unknown"


def named(kind, paths, cpu):
    """The first of a kind has the kind's name; others add their version, and their turn where that is not enough."""
    found = []
    for path in paths:
        version = re.search(r"\d+(\.\d+)+", Subject(kind, kind, path).version()) if found else None
        name = f"{kind}-{version.group(0)}" if version else kind
        if any(each.name == name for each in found):
            name = f"{name}-{len(found) + 1}"
        found.append(Subject(kind, name, path, cpu=cpu))
    return found


def choose(nfolds, qemus, mitigations_off, cpu, only):
    """The subjects that the options ask for. `only` is a set of kinds."""
    guests = [*named(NFOLD, nfolds, cpu), *named(QEMU, qemus, cpu)]
    if mitigations_off:
        guests += [Subject(each.kind, f"{each.name}-off", each.path, MITIGATIONS_OFF, cpu) for each in guests]
    return [each for each in [Subject(NATIVE, NATIVE), *guests] if each.kind in only]


def use(subject):
    """Tells the helpers of tests/guest which nfold and which runner is meant."""
    os.environ["NFOLD_RUNNER"] = subject.kind
    if subject.kind == NFOLD:
        os.environ["NFOLD"] = subject.path
