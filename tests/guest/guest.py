# SPDX-License-Identifier: MIT
"""A guest driven through its serial console, under nfold or another runner.

The runner is chosen by NFOLD_RUNNER (nfold or qemu): tests and benchmarks run unchanged under both. Where nfold is, NFOLD says
(default build/nfold).
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUEST = ROOT / "build" / "guest"
QEMU = "qemu-system-x86_64"
READY = re.compile(rb"nfold-guest: ready, uptime [0-9.]+")

# What QEMU calls the levels of nfold's --cpu. QEMU 7.2's own names for them do not exist; these have the same instructions.
QEMU_CPU = {
    "x86-64": "qemu64",
    "x86-64-v2": "Nehalem",
    "x86-64-v3": "max",
    "max": "max",
}


class GuestError(Exception):
    """The guest did not do what it should; the text says what was awaited."""


def runner_name():
    return os.environ.get("NFOLD_RUNNER", "nfold")


def nfold_path():
    return os.environ.get("NFOLD", str(ROOT / "build" / "nfold"))


def command_line(runner, kernel, initrd, append, memory_mib, cpu="max", name=None, cpus=1):
    if runner == "qemu":
        return [
            QEMU, "-accel", "tcg", "-M", "pc", "-smp", str(cpus), "-cpu", QEMU_CPU[cpu], "-m", str(memory_mib),
            "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", str(kernel), "-initrd", str(initrd), "-append", append,
        ]  # fmt: skip
    if runner != "nfold":
        raise GuestError(f"unknown runner {runner}: nfold or qemu")
    words = [nfold_path(), "run", "--memory", f"{memory_mib}M", "--cpus", str(cpus), "--cpu", cpu, "--no-reboot"]
    if name:
        words += ["--name", name]
    return words + ["--kernel", str(kernel), "--initrd", str(initrd), "--append", append, "--serial", "stdio"]


class Guest:
    """A running guest. expect() and shell() raise GuestError; leaving the `with` block kills what still runs."""

    def __init__(self, words, echo=None):
        self.words = words
        self.log = b""
        self.seen = 0  # how much of the log expect() has consumed
        self.echo = echo
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        os.set_blocking(self.process.stderr.fileno(), False)
        self.errors = b""
        self.open = {self.process.stdout.fileno(), self.process.stderr.fileno()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def since_start(self):
        return time.monotonic() - self.started

    def pump(self, timeout):
        """Takes in what arrives within the time. False when the guest has closed its output."""
        if not self.open:
            return False
        ready, _, _ = select.select(list(self.open), [], [], max(timeout, 0))
        for descriptor in ready:
            data = os.read(descriptor, 65536)
            if not data:
                self.open.discard(descriptor)
            elif descriptor == self.process.stdout.fileno():
                self.log += data
                if self.echo:
                    self.echo.write(data)
                    self.echo.flush()
            else:
                self.errors += data
        return True

    def expect(self, pattern, seconds, what=None):
        """Waits until the pattern stands in the output not yet consumed; returns the match and consumes through it."""
        pattern = re.compile(pattern) if isinstance(pattern, bytes) else pattern
        deadline = time.monotonic() + seconds
        while True:
            match = pattern.search(self.log, self.seen)
            if match:
                self.seen = match.end()
                return match
            left = deadline - time.monotonic()
            what = what or repr(pattern.pattern.decode(errors="replace"))
            if left <= 0:
                raise GuestError(f"no {what} within {seconds:g} s")
            if not self.pump(left):
                raise GuestError(f"the guest ended (status {self.process.wait()}) while {what} was awaited")

    def send(self, text):
        try:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise GuestError("the guest ended and takes no input") from None

    def boot(self, seconds):
        """Waits for the shell and makes it quiet: no echo, no prompt. Returns the seconds from start to /init."""
        self.expect(READY, seconds, "line of /init")
        took = self.since_start()
        self.expect(rb"# ", 30, "shell prompt")
        self.send("stty -echo; PS1=; echo quiet-$((40 + 2))\n")
        self.expect(rb"quiet-42\r?\n", 30, "answer of the shell")
        return took

    def shell(self, command, seconds=30):
        """Runs one line in the guest's shell; returns its output as text and its status."""
        self.send(f"{command}\necho nfold-status-$?-end\n")
        start = self.seen
        match = self.expect(rb"nfold-status-(\d+)-end\r?\n", seconds, f"end of {command!r}")
        output = self.log[start : match.start()].decode(errors="replace").replace("\r", "")
        return output, int(match.group(1))

    def power_off(self, seconds=30):
        """Powers the guest off and returns the runner's exit status."""
        self.send("poweroff -f\n")
        return self.wait(seconds)

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        while self.pump(deadline - time.monotonic()):
            if time.monotonic() >= deadline:
                raise GuestError(f"the guest did not end within {seconds:g} s")
        return self.process.wait(timeout=max(deadline - time.monotonic(), 1))

    def vm_pids(self):
        """The processes that hold the guest: the runner and what it started."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
                    queue += [int(child) for child in children.split()]
        return found

    def tail(self, lines=40):
        text = self.log.decode(errors="replace").replace("\r", "")
        errors = self.errors.decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) + ("\n--- stderr ---\n" + errors if errors else "")


def resident_beyond_ram(pids, ram_bytes):
    """Bytes of physical memory the processes hold that are not guest RAM, as (bytes, bytes of RAM touched).

    Guest RAM is the mapping of that size that is not executable (QEMU's code buffer can be larger). Proportional sizes are
    summed: a page mapped twice counts once, a library shared with others in part."""
    other, ram = 0, 0
    for pid in pids:
        is_ram = False
        for line in Path(f"/proc/{pid}/smaps").read_text(encoding="ascii", errors="replace").splitlines():
            header = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....) ", line)
            if header:
                size = int(header.group(2), 16) - int(header.group(1), 16)
                is_ram = size >= ram_bytes and "x" not in header.group(3)
            elif line.startswith("Pss:"):
                resident = int(line.split()[1]) * 1024
                ram, other = (ram + resident, other) if is_ram else (ram, other + resident)
    return other, ram
