#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests that wait without HLT (idle.S): they take little of a processor and still answer; and one that does not wait."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from support import CliTest, main, wait_for

SOURCE = Path(__file__).parent / "idle.S"
PACKAGE = Path(__file__).parents[2] / "build" / "guest" / "seabios"
TURNS = 1 << 28
LIMIT = 0.2  # of the guest's time, that a guest that waits may run
WINDOW_NS = 2_000_000_000


def boot_sector(guest):
    compiler = os.environ.get("CC", "gcc").split()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot"
        subprocess.run([*compiler, "-m32", "-c", f"-DGUEST_{guest}", f"-DTURNS=-{TURNS}", "-o", f"{path}.o", SOURCE], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "--oformat", "binary", "-N", "-Ttext", "0x7c00", "-e", "_start", "-o", path,
                        f"{path}.o"], check=True)
        return path.read_bytes()


class Idle(CliTest):
    def setUp(self):
        super().setUp()
        (self.nfold.parent / "guest").mkdir()
        (self.nfold.parent / "guest" / "seabios").symlink_to(PACKAGE)

    def boot(self, guest, *words):
        floppy = self.file("floppy", boot_sector(guest))
        os.truncate(floppy, 1474560)
        self.start("--floppy", floppy, "--name", "one", "--memory", "32M", "--serial", "none", *words)
        self.wait_screen(">")

    def wait_screen(self, text):
        wait_for(lambda: text in self.succeed("screen", "one"), 60)

    def vcpu(self):
        return json.loads(self.succeed("stats", "one", "--json"))["vcpus"][0]

    def share_running(self):
        """Of the next two seconds, what the guest and the engine ran. Waiting for a processor is not in it."""
        before = self.vcpu()
        wait_for(lambda: self.vcpu()["wall_ns"] - before["wall_ns"] > WINDOW_NS)
        after = self.vcpu()
        gained = {key: after["clocks_ns"][key] - before["clocks_ns"][key] for key in after["clocks_ns"]}
        return sum(gained[key] for key in ("guest", "exit", "translate", "device")) / (after["wall_ns"] - before["wall_ns"])

    def waits_and_answers(self, guest):
        self.boot(guest)
        # A busy host may let it run at a bad moment for long: any two seconds will do.
        wait_for(lambda: self.share_running() < LIMIT, 60)
        self.succeed("type", "one", "xyz")
        self.wait_screen(">xyz")
        wait_for(lambda: self.share_running() < LIMIT, 60)
        self.assertGreater(self.vcpu()["counts"]["idle_nap"], 0)

    def test_words_of_memory(self):
        self.waits_and_answers("words")

    def test_calls_of_the_bios(self):
        self.waits_and_answers("bios")

    def test_busy(self):
        """Looked at, and not taken for idle."""
        self.boot("count")
        self.wait_screen(">=")
        counts = self.vcpu()["counts"]
        self.assertGreater(counts["idle_look"], 0)
        self.assertEqual(counts["idle_nap"], 0)

    def test_switched_off(self):
        self.boot("words", "--engine", "translate,no-idle-loops")
        wait_for(lambda: self.vcpu()["clocks_ns"]["guest"] > 1_000_000_000, 60)
        self.assertEqual(self.vcpu()["counts"]["idle_look"], 0)


if __name__ == "__main__":
    main()
