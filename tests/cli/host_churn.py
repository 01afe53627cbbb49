#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many lives of guests of the host leak nothing, and a kill at any moment of them leaves nothing half done.

host_churn.py [CYCLES]: so many; 20 unless given."""

import os
import random
import signal
import subprocess
import sys
import time

from hosting import HostTest
from support import SECONDS, STATUS_INPUT, main, wait_for

CYCLES = 20
WARM_UP = 5


class Churn(HostTest):
    def cycle(self):
        self.create("one", "echo")
        self.succeed("start", "one")
        self.succeed("stop", "one", "--timeout", "0")
        self.succeed("rm", "one")

    def resident(self, pid):
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))

    def holdings(self, pid):
        """What the host has open, and the files of its folders."""
        links = []
        for name in os.listdir(f"/proc/{pid}/fd"):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}").split(":")[0].split("(")[0])
        return sorted(links), self.leftovers(), os.listdir(self.state / "guests"), os.listdir(self.state / "logs")

    def children(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            return file.read().split()

    def test_lives_leak_nothing(self):
        pid = self.start_host()
        for _ in range(WARM_UP):
            self.cycle()
        # The host hears a moment later that a command has closed its connection; one socket is its own.
        wait_for(lambda: self.children(pid) == [] and self.holdings(pid)[0].count("socket") == 1)
        before, memory = self.holdings(pid), self.resident(pid)
        for _ in range(CYCLES):
            self.cycle()
        wait_for(lambda: self.children(pid) == [] and self.holdings(pid) == before)
        self.assertEqual(self.host_pid(), pid)
        grown = self.resident(pid) - memory
        # A leak of a definition would be kilobytes each time; a sanitizer keeps what was freed.
        if b"__asan" not in (self.nfold.parent / "nfoldd").read_bytes():
            self.assertLess(grown, 64 + CYCLES, f"{grown} KiB more after {CYCLES} lives")
        print(f"{CYCLES} lives: {len(before[0])} descriptors as before, {grown} KiB more", file=sys.stderr)


class Killed(HostTest):
    """SIGKILL of the host or of the command, at a random moment of any step."""

    def step(self, words, victim, delay):
        command = subprocess.Popen([self.nfold, *map(str, words)], env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)
        time.sleep(delay)
        if victim == "host":
            pid = self.host_pid()
            if pid:
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda: self.host_pid() is None)
            command.wait(SECONDS)
            self.succeed("host", "start")
        else:
            command.kill()
            command.wait(SECONDS)

    def remove_for_certain(self, name):
        """Whatever came before, these must do: nothing half made is left."""
        def gone():
            self.run_nfold("kill", name)
            result = self.run_nfold("rm", name)
            return result.returncode == STATUS_INPUT and b"no guest named" in result.stderr
        wait_for(gone)
        self.assertEqual((os.listdir(self.state / "guests"), os.listdir(self.state / "logs")), ([], []))
        wait_for(lambda: self.leftovers() == [".host.lock", ".host.sock"])

    def test_at_any_moment(self):
        chance = random.Random(6)
        self.start_host()
        define = ("create", "one", "--kernel", self.kernel["echo"], "--memory", "8M")
        steps = (define, ("start", "one"), ("stop", "one", "--timeout", "0"), ("rm", "one"))
        for _ in range(CYCLES):
            broken, victim = chance.randrange(len(steps)), chance.choice(("host", "command"))
            for words in steps[:broken]:
                self.succeed(*words)
            self.step(steps[broken], victim, chance.random() * 0.03)
            listed = self.run_nfold("list")
            self.assertEqual((listed.returncode, listed.stderr), (0, b""))
            self.assertNotIn(b"broken", listed.stdout)
            self.remove_for_certain("one")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        CYCLES = int(sys.argv.pop(1))
    main()
