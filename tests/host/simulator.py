#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""simulate-schedule, which experiments simulate hosts with: work adds up, policies do what they say, nonsense is refused."""

import json
import os
import subprocess
import unittest

TOOL = os.environ["SIMULATE_SCHEDULE"]
STATES = ("idle_s", "ready_s", "costop_s", "limited_s", "running_s")


def call(text):
    return subprocess.run([TOOL], input=text, capture_output=True, text=True, timeout=120, check=False)


class Simulator(unittest.TestCase):
    def simulate(self, *guests, seconds=30, **scenario):
        result = call(json.dumps({"seconds": seconds, "guests": guests} | scenario))
        self.assertEqual(result.returncode, 0, result.stderr)
        groups = json.loads(result.stdout)["guests"]
        for asked, group in zip(guests, groups):
            vcpus = asked.get("count", 1) * asked.get("vcpus", 1)
            self.assertAlmostEqual(sum(group[state] for state in STATES), vcpus * seconds, 3)
            self.assertLessEqual(sum(group["work_s"]), group["running_s"] + 1e-6)
        return groups

    def test_shares(self):
        groups = self.simulate(*({"work_us": 1, "shares": share} for share in (1000, 2000, 4000, 8000)))
        for group, ideal in zip(groups, (2, 4, 8, 16)):
            self.assertAlmostEqual(group["work_s"][0], ideal, delta=0.02)

    def test_alone_a_round_is_work_and_sleep(self):
        (group,) = self.simulate({"work_us": 3000, "sleep_us": 7000})
        self.assertAlmostEqual(group["rounds"][0], 3000, delta=2)
        self.assertEqual(group["late"]["longest_us"], 0)

    def test_means_are_what_was_asked_for(self):
        for spread in ("uniform", "exponential"):
            (group,) = self.simulate({"work_us": 300, "sleep_us": 700, "spread": spread}, seconds=100)
            self.assertAlmostEqual(group["work_s"][0], 30, delta=1)
            self.assertAlmostEqual(group["rounds"][0], 100000, delta=2000)

    def test_co_scheduling_has_its_price(self):
        def busy(**policy):
            (group,) = self.simulate({"count": 2, "vcpus": 2, "work_us": 11000, "sleep_us": 9000, "spread": "uniform", **policy}, seconds=200, processors=2)
            return sum(group["work_s"]) / 400

        self.assertLess(busy(coscheduling="strict") + 0.1, busy(coscheduling="none"))
        # Sleeps go on while the guest waits for its turn: it makes more of its turns than the 55 % that its threads are busy alone.
        self.assertLess(busy(coscheduling="strict", blind=True) + 0.1, busy(coscheduling="none"))

    def test_a_limit_and_a_change_of_guests_cost_what_they_say(self):
        (group,) = self.simulate({"work_us": 1, "limit": 250000})
        self.assertAlmostEqual(group["work_s"][0], 7.5, delta=0.05)
        # 10 ms each, of which 1 is lost where another began.
        (group,) = self.simulate({"work_us": 1, "count": 2}, switch_us=1000)
        self.assertAlmostEqual(sum(group["work_s"]), 27, delta=0.1)

    def test_the_same_seed_gives_the_same(self):
        guest = {"count": 5, "work_us": 900, "sleep_us": 2000, "spread": "exponential"}
        self.assertEqual(self.simulate(guest, seed=7), self.simulate(guest, seed=7))
        self.assertNotEqual(self.simulate(guest, seed=7), self.simulate(guest, seed=8))

    def test_nonsense_is_refused(self):
        guest = '{"work_us": 1}'
        for text in (
            "", "[]", "{}", '{"guests": []}', '{"guests": [{}]}', f'{{"processors": 0, "guests": [{guest}]}}', f'{{"processors": 257, "guests": [{guest}]}}',
            f'{{"seconds": -1, "guests": [{guest}]}}', f'{{"guests": [{guest}], "slices": 3}}', '{"guests": [{"work_us": 0}]}', '{"guests": [{"work_us": -5}]}',
            '{"guests": [{"work_us": 1, "vcpus": 33}]}', '{"guests": [{"work_us": 1, "count": 0}]}', '{"guests": [{"work_us": 1, "spread": "even"}]}',
            '{"guests": [{"work_us": 1, "vcpus": 2, "coscheduling": "strict"}]}', '{"guests": [{"work_us": 1, "reservation": 2000000}]}',
        ):  # fmt: skip
            result = call(text)
            self.assertEqual(result.returncode, 1, text)
            self.assertRegex(result.stderr, "^simulate-schedule: [^\n]+\n$", text)
            self.assertEqual(result.stdout, "")


if __name__ == "__main__":
    unittest.main()
