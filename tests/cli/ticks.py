#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clock ticks and devices' interrupts in the ledger: of a guest that has its processor, one that is stopped, and one with a limit."""

import json
import os
import signal
import time

from hosting import HostTest
from scraping import OPENMETRICS, parse, scrape
from support import main, wait_for

TIMERS = ("i8254", "lapic")


class Ticks(HostTest):
    def setUp(self):
        super().setUp()
        self.start_host("--metrics", "0")

    def start_guest(self, *words):
        self.create("ticks", "ticks", *words)
        self.succeed("start", "ticks")
        self.wait_state("ticks", "running")
        wait_for(lambda: all(self.ticks()[timer]["delivered"] > 5 for timer in TIMERS))

    def stats(self):
        return json.loads(self.succeed("stats", "ticks", "--json"))

    def ticks(self):
        return self.stats()["ticks"]

    def assert_sums(self, ticks):
        """What is due is delivered, lost, or on its way. The interval timer owes two seconds' worth at most: 404 ticks of 4.95 ms."""
        for timer, most in (("i8254", 1 + 404), ("lapic", 1)):
            row = ticks[timer]
            self.assertLessEqual(0, row["due"] - row["delivered"] - row["lost"], row)
            self.assertLessEqual(row["due"] - row["delivered"] - row["lost"], most, row)
            self.assertLessEqual(row["bunched"], row["delivered"], row)
        for timer in set(ticks) - set(TIMERS):
            self.assertEqual(set(ticks[timer].values()), {0}, timer)

    def test_stopped(self):
        """Without a processor for 100 ms and more, each time: the local APIC loses its ticks, the interval timer brings them bunched."""
        self.start_guest()
        pid = self.show("ticks")["pid"]
        before = self.ticks()
        self.assert_sums(before)
        for _ in range(5):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.12)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)
        # 24 periods are in 120 ms: one tick is delivered of them.
        wait_for(lambda: self.ticks()["lapic"]["lost"] - before["lapic"]["lost"] >= 5 * 20)
        wait_for(lambda: self.ticks()["i8254"]["bunched"] - before["i8254"]["bunched"] >= 20)
        self.assert_sums(self.ticks())

    def test_limited(self):
        """A guest that is held back for most of each window; all that shows ticks and delays shows them."""
        self.start_guest("--limit", "10%")
        before = self.ticks()["lapic"]["lost"]
        wait_for(lambda: self.ticks()["lapic"]["lost"] - before > 100)
        stats = self.stats()
        self.assert_sums(stats["ticks"])
        device = stats["vcpus"][0]["delays"]["device"]
        self.assertGreater(device["count"], 0)
        self.assertEqual(sum(count for _, count in device["buckets"]), device["count"])
        # One for each tick that was delivered, unless the next tick was there before it.
        self.assertLessEqual(device["count"], stats["ticks"]["lapic"]["delivered"])
        self.assertGreaterEqual(device["count"], stats["ticks"]["lapic"]["delivered"] // 2)
        samples = parse(self, scrape(self.call("host.status")["result"]["metrics"], OPENMETRICS)[1])

        def counted(timer, tick):
            return samples["nfold_clock_ticks_total", (("guest", "ticks"), ("timer", timer), ("tick", tick))]

        self.assertGreaterEqual(counted("lapic", "lost"), stats["ticks"]["lapic"]["lost"])
        self.assertGreaterEqual(counted("i8254", "due"), stats["ticks"]["i8254"]["due"])
        self.assertEqual(counted("hpet", "due"), 0)
        self.assertGreaterEqual(samples["nfold_delay_seconds_count", (("guest", "ticks"), ("delay", "device"))], device["count"])
        result = json.loads(self.succeed("explain", "ticks", "--seconds", 1, "--json"))
        self.assertGreater(result["ticks"]["lapic"]["lost"], 0)
        self.assertIn("ticks", [advice["key"] for advice in result["advice"]])
        page = self.succeed("explain", "ticks", "--seconds", 1)
        self.assertIn("Clock ticks were lost", page)
        self.assertRegex(page, r"\nlapic +\d+ +\d+ +\d+ +\d+ local APIC timers\n")
        self.assertRegex(self.succeed("stats", "ticks"), r"Ticks of lapic: .*\n +due +\d+ ")


if __name__ == "__main__":
    main()
