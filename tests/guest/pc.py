# SPDX-License-Identifier: MIT
"""A PC with firmware, disks, screen and keyboard, driven as a person would: look at the screen, type, wait for what comes.

The first serial port is the console of the base class. Nothing waits for a fixed time: scripts wait for what the screen or
the serial port shows, with a limit.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from guest import QEMU, QEMU_CPU, ROOT, Guest, GuestError, nfold_path, runner_name
from png import Picture
from qemu import Monitor

POLL_SECONDS = 0.2
COMMAND_SECONDS = 20
QEMU_BOOT = {"floppy": "a", "disk": "c", "cdrom": "d"}


def image_folder():
    """Where images are that no package has: NFOLD_GUEST_IMAGES, or the folder beside the source tree."""
    return Path(os.environ.get("NFOLD_GUEST_IMAGES", ROOT.parent / "shared" / "guests"))


def nfold_words(name, options):
    words = [nfold_path(), "run", "--name", name, "--memory", f"{options['memory_mib']}M", "--cpu", options["cpu"]]
    words += ["--cpus", str(options["cpus"]), "--no-reboot", "--serial", "stdio", "--display", "none"]
    for option in ("kernel", "initrd", "append", "cdrom"):
        words += [f"--{option}", str(options[option])] if options[option] else []
    for option, files in (("disk", options["disks"]), ("floppy", options["floppies"])):
        for file in files:
            words += [f"--{option}", str(file)]
    return words + (["--boot", options["boot"]] if options["boot"] else [])


def qemu_words(socket, options):
    words = [QEMU, "-accel", "tcg", "-M", "pc", "-smp", str(options["cpus"]), "-cpu", QEMU_CPU[options["cpu"]], "-m", str(options["memory_mib"])]
    words += ["-nodefaults", "-vga", "std", "-display", "none", "-serial", "stdio", "-no-reboot"]
    words += ["-qmp", f"unix:{socket},server=on,wait=off"]
    for option in ("kernel", "initrd", "append"):
        words += [f"-{option}", str(options[option])] if options[option] else []
    for index, disk in enumerate(options["disks"]):
        file, *others = str(disk).split(",")
        words += ["-drive", f"file={file},format=raw,if=virtio" if "device=virtio" in others else f"file={file},format=raw,if=ide,index={index}"]
    for index, floppy in enumerate(options["floppies"]):
        words += ["-drive", f"file={floppy},format=raw,if=floppy,index={index}"]
    if options["cdrom"]:
        words += ["-drive", f"file={options['cdrom']},format=raw,if=ide,index=2,media=cdrom,readonly=on"]
    order = "".join(QEMU_BOOT[kind] for kind in (options["boot"] or "floppy,cdrom,disk").split(","))
    return words + ["-boot", f"order={order}"]


class Pc(Guest):
    """Options: memory_mib, cpu, cpus, disks, cdrom, floppies, boot, kernel, initrd, append, and program for another nfold or QEMU."""

    count = 0

    def __init__(self, **options):
        defaults = {"disks": (), "floppies": (), "memory_mib": 128, "cpu": "max", "cpus": 1}
        options = dict.fromkeys(("cdrom", "boot", "kernel", "initrd", "append", "program")) | defaults | options
        Pc.count += 1
        self.name = f"test-pc-{os.getpid()}-{Pc.count}"
        self.scratch = tempfile.mkdtemp(prefix="nfold-pc-")
        self.monitor = None
        self.last_screen = ""
        socket = f"{self.scratch}/qmp"
        under_qemu = runner_name() == "qemu"
        words = qemu_words(socket, options) if under_qemu else nfold_words(self.name, options)
        try:
            super().__init__([options["program"] or words[0], *words[1:]])
            if under_qemu:
                self.monitor = Monitor(socket)
        except BaseException:
            if hasattr(self, "process"):
                super().__exit__()
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise

    def __exit__(self, *arguments):
        self.last_screen = self.screen() if self.process.poll() is None else ""
        if self.process.poll() is None:
            with contextlib.suppress(GuestError, OSError, subprocess.SubprocessError):
                self.stop()
        if self.monitor:
            self.monitor.close()
        super().__exit__(*arguments)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def command(self, *words):
        result = subprocess.run(
            [nfold_path(), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if result.returncode != 0:
            raise GuestError(f"nfold {' '.join(words[:2])}: status {result.returncode}, {result.stderr.strip()}")
        return result.stdout

    def screen(self):
        """The text screen. Empty while there is none to show: the guest is starting, or draws pixels."""
        try:
            return (self.monitor.screen(self.scratch) if self.monitor else self.command("screen", self.name)).rstrip()
        except GuestError:
            return ""

    def picture(self, keep):
        """What the screen shows as pixels. `keep` names the file that NFOLD_SCREENS, a folder, gets."""
        folder = os.environ.get("NFOLD_SCREENS", self.scratch)
        path = Path(folder) / f"{keep}-{runner_name()}.png"
        if self.monitor:
            self.monitor.picture(path)
        else:
            self.command("screen", self.name, "--png", str(path))
        return Picture(path)

    def type(self, text):
        if self.monitor:
            self.monitor.type(text)
        else:
            self.command("type", self.name, text)

    def key(self, *chords):
        if self.monitor:
            for chord in chords:
                self.monitor.key(chord)
        else:
            self.command("key", self.name, *chords)

    def pass_time(self, seconds):
        """Takes in what the serial port sends meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self.pump(left):
            pass

    def await_true(self, look, seconds, what, poll=POLL_SECONDS):
        """Looks again and again; returns the first answer that is true."""
        deadline = time.monotonic() + seconds
        while True:
            answer = look()
            if answer:
                return answer
            if time.monotonic() >= deadline:
                raise GuestError(f"no {what} within {seconds:g} s; the screen:\n{self.screen()}")
            self.pass_time(poll)
            if not self.open or self.process.poll() is not None:
                raise GuestError(f"the guest ended (status {self.process.wait()}) while {what} was awaited")

    def await_screen(self, pattern, seconds, what=None):
        """Waits until the pattern stands on the text screen; returns the match."""
        pattern = re.compile(pattern, re.MULTILINE)
        return self.await_true(lambda: pattern.search(self.screen()), seconds, what or repr(pattern.pattern))

    def stop(self):
        """Ends the guest as the user may at any time."""
        if self.monitor:
            self.monitor.ask("quit")
        else:
            self.command("kill", self.name)
        self.process.wait(COMMAND_SECONDS)

    def tail(self, lines=40):
        return super().tail(lines) + f"\n--- screen ---\n{self.last_screen}"
