#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The dispatcher on real guests (tests/cli/guest.S). All assertions are on the guests' own ledgers, never on real time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))
# pylint: disable=wrong-import-position
from guests import GuestTest, assemble
from support import main, wait_for

DISPATCH = os.environ["DISPATCH"]
CLOCKS_RUNNING = ("guest", "exit", "translate", "device", "preempted", "blocked")


class DispatchTest(GuestTest):
    def start_guests(self, kernel, names, *words):
        image = assemble(self.images.name, kernel)
        for name in names:
            self.start("--kernel", image, "--name", name, "--memory", "32M", *words)

    def dispatch(self, *words):
        process = subprocess.Popen([DISPATCH, *words], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def finish(self, process):
        """Lets the guests go, and returns what the dispatcher says of its work."""
        process.stdin.close()
        report = json.loads(process.stdout.readline())
        self.assertEqual(process.wait(), 0)
        return report

    def clocks(self, name):
        """The clocks of all vCPUs together."""
        vcpus = self.stats(name)["vcpus"]
        return {key: sum(vcpu["clocks_ns"][key] for vcpu in vcpus) for key in vcpus[0]["clocks_ns"]}

    def held(self, name):
        """Time with a token: in any state that is no wait for one."""
        clocks = self.clocks(name)
        return sum(clocks[key] for key in CLOCKS_RUNNING)

    def schedule(self, name):
        return self.stats(name)["schedule"]


class Shares(DispatchTest):
    def test_shares_divide_a_processor(self):
        names = ["one", "two", "four", "eight"]
        self.start_guests("loop", names)
        process = self.dispatch("processors=1", *(f"{name},shares={1000 << i}" for i, name in enumerate(names)))
        before = {name: self.held(name) for name in names}
        wait_for(lambda: sum(self.held(name) for name in names) - sum(before.values()) > 3_000_000_000, 120)
        used = {name: self.held(name) - before[name] for name in names}
        report = self.finish(process)
        given = [guest["running"] / sum(other["running"] for other in report["guests"]) * 15 for guest in report["guests"]]
        for i, part in enumerate(given):
            self.assertLess(abs(part - (1 << i)), 0.25 * (1 << i) + 0.3, report)
        # Where Linux runs much else, threads cannot give back what they do not run to give back: only the order is sure.
        self.assertEqual(sorted(names, key=used.get), names, (used, report))
        for name in names:
            wait_for(lambda n=name: not self.schedule(n)["scheduled"])
            self.assertEqual(self.schedule(name)["lapses"], 0)

    def test_waiting_is_booked_by_its_reason(self):
        self.start_guests("loop", ["limited", "ready"])
        process = self.dispatch("processors=1", "limited,limit=100000", "ready")
        before = self.clocks("ready")
        wait_for(lambda: self.held("limited") > 300_000_000 and self.clocks("ready")["ready"] > before["ready"], 120)
        limited, ready = self.clocks("limited"), self.clocks("ready")
        report = self.finish(process)
        self.assertGreater(limited["limited"], limited["ready"], report)
        self.assertEqual(ready["limited"], 0)
        self.assertEqual(ready["costop"] + limited["costop"], 0)


class Limits(DispatchTest):
    def test_a_limit_holds(self):
        """A quarter, with room for a busy machine's dispatcher to be late; alone and unlimited it would have all."""
        self.start_guests("loop", ["limited"])
        process = self.dispatch("limited,limit=250000")
        wall = lambda: self.stats("limited")["vcpus"][0]["wall_ns"]
        begin, before = wall(), self.held("limited")
        wait_for(lambda: wall() > begin + 3_000_000_000, 60)
        part = (self.held("limited") - before) / (wall() - begin)
        report = self.finish(process)
        self.assertTrue(0.05 < part < 0.5, (part, report))


class Idle(DispatchTest):
    def test_a_halted_guest_takes_no_turn(self):
        self.start_guests("halt", ["halt"])
        self.start_guests("loop", ["spin"])
        process = self.dispatch("processors=1", "halt", "spin")
        before = self.held("spin")
        wait_for(lambda: self.held("spin") > before + 500_000_000, 60)
        self.assertEqual(self.clocks("halt")["ready"] // 100_000_000, 0)
        report = self.finish(process)
        self.assertLess(report["guests"][0]["running"], report["guests"][1]["running"] / 4)

    def test_blind_to_idleness(self):
        self.start_guests("halt", ["halt"])
        self.start_guests("loop", ["spin"])
        process = self.dispatch("processors=1", "halt,blind=1", "spin,blind=1")
        before = self.held("spin")
        self.succeed("pause", "halt")  # what wakes it once: from now on it is believed to be busy
        self.succeed("resume", "halt")
        wait_for(lambda: self.held("spin") > before + 500_000_000, 60)
        report = self.finish(process)
        self.assertGreater(report["guests"][0]["running"], report["guests"][1]["running"] / 3, report)

    def test_interrupts_wake_a_guest_beside_a_busy_one(self):
        self.start_guests("wakes", ["wakes"])
        self.start_guests("loop", ["spin"])
        process = self.dispatch("processors=1", "wakes", "spin")
        count = lambda: self.stats("wakes")["vcpus"][0]["counts"]["interrupt"]
        before, held = count(), self.held("spin")
        wait_for(lambda: count() > before + 200 and self.held("spin") > held + 200_000_000, 60)
        self.finish(process)


class Lifecycle(DispatchTest):
    def test_pause_and_end_while_waiting(self):
        names = ["a", "b", "c"]
        self.start_guests("loop", names)
        process = self.dispatch("processors=1", *names)
        for _ in range(5):
            for name in names:
                self.succeed("pause", name)
            for name in names:
                self.succeed("resume", name)
        for name in names:
            self.succeed("kill", name)
        self.finish(process)

    def test_a_killed_dispatcher_loses_no_guest(self):
        names = ["a", "b", "c"]
        self.start_guests("loop", names)
        process = self.dispatch("processors=1", *names)
        wait_for(lambda: all(self.schedule(name)["scheduled"] for name in names))
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: all(self.schedule(name)["lapses"] == 1 for name in names))
        before = {name: self.held(name) for name in names}
        wait_for(lambda: all(self.held(name) > before[name] + 50_000_000 for name in names), 60)
        self.assertTrue(all(self.schedule(name)["lapsed_ns"] > 0 for name in names))
        # Another one adopts them.
        process = self.dispatch("processors=1", "a,shares=10", "b,shares=10", "c,shares=10000")
        wait_for(lambda: all(self.schedule(name)["scheduled"] for name in names))
        lapsed = {name: self.schedule(name)["lapsed_ns"] for name in names}
        before = {name: self.held(name) for name in names}
        wait_for(lambda: self.held("c") > before["c"] + 500_000_000, 60)
        self.assertLess(self.held("a") - before["a"], (self.held("c") - before["c"]) / 4)
        self.assertEqual(lapsed, {name: self.schedule(name)["lapsed_ns"] for name in names})
        self.finish(process)

    def test_a_stopped_dispatcher_comes_back(self):
        self.start_guests("loop", ["a", "b"])
        process = self.dispatch("processors=1", "a,shares=10", "b,shares=10000")
        wait_for(lambda: self.schedule("a")["scheduled"])
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: self.schedule("a")["lapses"] == 1)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: self.schedule("a")["scheduled"])
        before = self.held("a"), self.held("b")
        wait_for(lambda: self.held("b") > before[1] + 500_000_000, 60)
        self.assertLess(self.held("a") - before[0], (self.held("b") - before[1]) / 4)
        self.finish(process)

    def test_a_crashed_guest_touches_no_other(self):
        self.start_guests("loop", ["a", "b", "c"])
        process = self.dispatch("processors=1", "a", "b", "c")
        wait_for(lambda: self.schedule("a")["scheduled"])
        os.kill(int(self.guests()["a"]["PID"]), signal.SIGSTOP)  # as one that does not give its token back
        before = {name: self.held(name) for name in ("b", "c")}
        wait_for(lambda: all(self.held(name) > before[name] + 200_000_000 for name in ("b", "c")), 60)
        os.kill(int(self.guests()["a"]["PID"]), signal.SIGKILL)
        before = {name: self.held(name) for name in ("b", "c")}
        wait_for(lambda: all(self.held(name) > before[name] + 200_000_000 for name in ("b", "c")), 60)
        self.finish(process)
        for name in ("a.lock", "a.sock"):
            (self.runtime / name).unlink(missing_ok=True)


class CoScheduling(DispatchTest):
    def test_modes(self):
        """Two busy guests of two processors each, on two: all modes let both run, and no waiting is lost."""
        if os.cpu_count() < 2:
            self.skipTest("one processor")
        for mode in ("none", "relaxed", "strict"):
            with self.subTest(mode):
                self.start_guests("all", ["a", "b"], "--cpus", "2")
                process = self.dispatch("processors=2", f"a,co={mode}", f"b,co={mode}")
                before = {name: self.held(name) for name in ("a", "b")}
                wait_for(lambda: all(self.held(n) > before[n] + 300_000_000 for n in ("a", "b")), 60)
                report = self.finish(process)
                self.assertGreater(report["grants"], 4, report)
                for name in ("a", "b"):
                    self.succeed("kill", name)


if __name__ == "__main__":
    main()
