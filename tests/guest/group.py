# SPDX-License-Identifier: MIT
"""A group of guest tests: its cases, and what cases of several groups ask of a Linux guest."""

import re
import time

import checks

BOOT_SECONDS = 120


class Group:
    """One group's cases, their times and outcomes."""

    def __init__(self, name):
        self.name = name
        self.failed = 0
        self.count = 0
        self.skipped = 0
        self.about = ""  # what the next cases are about
        self.since = time.monotonic()

    def report(self, case, problem=None):
        now = time.monotonic()
        self.count += 1
        self.failed += problem is not None
        case = f"{self.about}: {case}" if self.about else case
        print(f"  {'FAILED' if problem else 'ok':<6} {now - self.since:7.2f} s  {case}", flush=True)
        if problem:
            print("         " + str(problem).replace("\n", "\n         "), flush=True)
        self.since = now

    def skip(self, reason):
        self.skipped += 1
        print(f"  skipped   0.00 s  {self.about}: {reason}", flush=True)

    def equal(self, case, got, expected):
        matches = expected.fullmatch(got) if isinstance(expected, re.Pattern) else got == expected
        wanted = expected.pattern if isinstance(expected, re.Pattern) else expected
        self.report(case, None if matches else f"got {got!r}\nexpected {wanted!r}")

    def commands(self, guest, table, seconds=120):
        for case, command, expected in table:
            output, status = guest.shell(command, seconds)
            output = without_kernel_lines(output).strip()
            if status != 0:
                self.report(case, f"status {status}, output {output!r}")
            else:
                self.equal(case, output, expected)

    def power_off(self, guest):
        self.equal("power-off ends the runner with status 0", guest.power_off(), 0)


def without_kernel_lines(text):
    """Kernel messages share the console with the output of commands."""
    return "".join(line for line in text.splitlines(True) if not re.match(r"\[ *\d+\.\d{6}\] ", line))


def boot(group, guest):
    guest.boot(BOOT_SECONDS)
    group.report("boot to the shell")


def check_dmesg(group, guest):
    output, _ = guest.shell("dmesg")
    wrong = [
        line
        for line in output.splitlines()
        if checks.DMESG_TROUBLE.search(line) and not any(allowed.search(line) for allowed in checks.DMESG_ALLOWED)
    ]
    if "Linux version" not in output:
        wrong.append("the log does not begin with the kernel's version")
    group.report("kernel log without trouble", "\n".join(wrong) or None)
