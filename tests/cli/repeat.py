#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--clock deterministic: a guest runs the same each time, and its trace shows when something is not the same."""

import re
import tempfile
import time

from guests import assemble
from support import SECONDS, CliTest, main

LINE = re.compile(
    r"\d+ \d+ (timer|memory|end|interrupt [0-9a-f]{2}|exception [0-9a-f]{2}|nmi 02) [0-9a-f]{4}:[0-9a-f]{16}( [0-9a-f]{16}){2,3}"
)


class Repeat(CliTest):
    def setUp(self):
        super().setUp()
        self.images = tempfile.TemporaryDirectory(prefix="nfold-guest-")
        self.addCleanup(self.images.cleanup)
        self.clock = assemble(self.images.name, "clock", "-DEXIT_VALUE=1")
        self.ports = assemble(self.images.name, "ports")

    def trace_of(self, path):
        lines = path.read_text(encoding="ascii").splitlines()
        for line in lines:
            self.assertTrue(LINE.fullmatch(line), line)
        return lines

    def run_clock(self, *words, clock="deterministic"):
        """The guest's output and its trace."""
        trace = self.folder / "trace"
        tracing = ["--trace-events", f"{trace},exceptions"] if clock == "deterministic" else []
        result = self.run_nfold("run", "--kernel", self.clock, "--name", "clock", "--memory", "16M", "--debug-exit", "0xf4",
                                "--clock", clock, *tracing, *words)
        self.assertEqual((result.returncode, result.stderr), (3, b""))
        return result.stdout, self.trace_of(trace) if tracing else None

    def test_each_run_is_the_same(self):
        output, trace = self.run_clock()
        self.assertEqual(len(output), 16 * 16)
        self.assertEqual(len(re.findall(" interrupt 20 ", "\n".join(trace))), 16)
        counts = [int(line.split()[0]) for line in trace]
        self.assertEqual(counts, sorted(counts))
        for _ in range(3):
            self.assertEqual(self.run_clock(), (output, trace))

    def test_each_run_is_the_same_whatever_the_engine_may_use(self):
        expected = self.run_clock()
        for parts in ("no-chaining", "no-jump-cache,no-bmi2", "no-lazy-flags,no-inline-strings"):
            self.assertEqual(self.run_clock("--engine", f"translate,{parts}"), expected, parts)

    def test_the_real_clock_is_another_each_time(self):
        self.assertNotEqual(self.run_clock(clock="real"), self.run_clock(clock="real"))

    def test_another_time_of_the_rtc_is_seen(self):
        output, trace = self.run_clock("--rtc", "2026-01-01T00:00:00")
        self.assertEqual(self.run_clock(), (output, trace))
        other_output, other_trace = self.run_clock("--rtc", "2026-01-01T00:00:07")
        self.assertNotEqual(other_output, output)
        self.assertNotEqual(other_trace, trace)
        # The TSC is the same, and the seconds are those asked for.
        for number in range(16):
            words = [text[number * 16 : number * 16 + 16] for text in (output, other_output)]
            self.assertEqual((words[0][8:], words[1][8:]), (b"00000000", b"00000007"))

    def test_other_memory_is_seen(self):
        _, trace = self.run_clock()
        module = self.file("module", b"one byte more")
        _, other = self.run_clock("--module", module)
        self.assertNotEqual(trace[-1].split()[-1], other[-1].split()[-1])

    def run_ports(self, seconds):
        trace = self.folder / "trace"
        process = self.start("--kernel", self.ports, "--name", "ports", "--memory", "16M", "--clock", "deterministic",
                             "--trace-events", trace, "--serial", "none")
        time.sleep(seconds)
        self.succeed("kill", "ports")
        process.wait(SECONDS)
        return self.trace_of(trace)[:-1]

    def test_random_use_of_every_device_is_the_same(self):
        one, other = self.run_ports(4), self.run_ports(3)
        common = min(len(one), len(other))
        self.assertGreater(common, 10)
        self.assertEqual(one[:common], other[:common])

    def test_pauses_change_nothing(self):
        expected = self.run_ports(3)
        trace = self.folder / "trace"
        process = self.start("--kernel", self.ports, "--name", "ports", "--memory", "16M", "--clock", "deterministic",
                             "--trace-events", trace, "--serial", "none")
        for _ in range(20):
            time.sleep(0.05)
            self.succeed("pause", "ports")
            time.sleep(0.05)
            self.succeed("resume", "ports")
        time.sleep(1)
        self.succeed("kill", "ports")
        process.wait(SECONDS)
        got = self.trace_of(trace)[:-1]
        common = min(len(expected), len(got))
        self.assertGreater(common, 10)
        self.assertEqual(got[:common], expected[:common])

    def test_input_is_refused(self):
        self.start("--kernel", assemble(self.images.name, "spin"), "--name", "spin", "--memory", "16M", "--clock", "deterministic",
                   "--serial", "none")
        for words in (["type", "spin", "x"], ["key", "spin", "a"]):
            self.assertIn("takes no input", self.refuse(2, *words))
        self.succeed("kill", "spin")


main()
