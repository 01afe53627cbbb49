#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfoldd schedules its guests: from their start, after its own death, and as `nfold set` says."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))
# pylint: disable=wrong-import-position
import hosting
from support import STATUS_INPUT, main, wait_for

hosting.ASSEMBLED += ("loop",)


class Schedule(hosting.HostTest):
    def turns(self, name):
        return self.show(name).get("turns")

    def start_busy(self, name, *words):
        self.create(name, "loop", *words)
        self.succeed("start", name)
        wait_for(lambda: self.turns(name))

    def test_guests_are_scheduled_and_changed(self):
        self.start_host("--slice", "5")
        self.start_busy("a", "--affinity", "0", "--shares", "10")
        self.start_busy("b", "--affinity", "0", "--shares", "10000")
        before = self.turns("a")["running_ns"], self.turns("b")["running_ns"]
        wait_for(lambda: self.turns("b")["running_ns"] > before[1] + 500_000_000, 60)
        self.assertLess(self.turns("a")["running_ns"] - before[0], 250_000_000)
        self.succeed("set", "a", "--shares", "1000000")
        before = self.turns("a")["running_ns"]
        wait_for(lambda: self.turns("a")["running_ns"] > before + 500_000_000, 60)
        self.assertIn("slices of 5 ms", self.succeed("host", "status"))
        self.assertEqual(self.call("host.dispatch")["result"]["guests"], 2)
        self.succeed("kill", "a")
        wait_for(lambda: self.call("host.dispatch")["result"]["guests"] == 1)

    def allowed(self, name):
        """Where Linux may run the guest's first virtual processor."""
        vcpu = self.connect(name).call("guest.stats")["result"]["vcpus"][0]
        return os.sched_getaffinity(vcpu["thread_id"])

    def test_affinity_is_where_it_runs(self):
        everywhere = os.sched_getaffinity(0)
        last = max(everywhere)
        self.start_host()
        self.start_busy("a", "--affinity", str(last))
        self.start_busy("b")
        wait_for(lambda: self.allowed("a") == {last})
        wait_for(lambda: len(self.allowed("b")) == 1)  # whichever it was lent
        self.succeed("host", "stop")
        wait_for(lambda: self.allowed("a") == self.allowed("b") == everywhere)
        self.start_host()

    def test_what_is_not_to_be_had_is_refused(self):
        self.start_host()
        self.start_busy("a", "--affinity", "0", "--reservation", "70%")
        self.create("b", "loop", "--affinity", "0", "--reservation", "60%")
        self.assertIn("reservation", self.refuse(STATUS_INPUT, "start", "b"))
        self.assertIn("reservation", self.refuse(STATUS_INPUT, "set", "a", "--reservation", "100%", "--limit", "10%"))
        self.succeed("set", "a", "--reservation", "20%")
        self.succeed("start", "b")
        wait_for(lambda: self.turns("b"))
        self.create("c", "loop", "--affinity", "255")
        self.assertIn("255", self.refuse(STATUS_INPUT, "start", "c"))

    def test_a_killed_host_adopts(self):
        pid = self.start_host()
        self.start_busy("a", "--affinity", "0")
        schedule = lambda: self.connect("a").call("guest.stats")["result"]["schedule"]
        wait_for(lambda: schedule()["scheduled"])
        self.kill_host(pid)
        wait_for(lambda: schedule()["lapses"] == 1)
        self.start_host()
        wait_for(lambda: self.turns("a"))
        wait_for(lambda: schedule()["scheduled"])
        self.assertGreater(schedule()["lapsed_ns"], 0)
        # One that ends in good order lets its guests go: that is no lapse.
        self.succeed("host", "stop")
        wait_for(lambda: not schedule()["scheduled"])
        self.assertEqual(schedule()["lapses"], 1)
        self.start_host()


if __name__ == "__main__":
    main()
