#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold trace on guests that do known things: every event that the ledger counts is shown, or said to be lost."""

import json
import signal
import subprocess
import time

from guests import GuestTest
from support import SECONDS, STATUS_INPUT, Connection, main, wait_for


class Trace(GuestTest):
    def trace(self, name, *words):
        """Starts nfold trace and waits until it traces."""
        process = subprocess.Popen([self.nfold, "trace", name, *map(str, words)], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        self.assertIn(name, process.stdout.readline())
        return process

    def end(self, process):
        output, errors = process.communicate(timeout=SECONDS)
        self.assertEqual((process.returncode, errors), (0, ""))
        return output.splitlines()

    def counts(self, name):
        return self.stats(name)["vcpus"][0]["counts"]

    def pause(self, name):
        self.succeed("pause", name)
        wait_for(lambda: self.guests()[name]["STATE"] == "paused")

    def traced(self, name, kinds, process):
        """The events of a guest that was paused until now, and what the ledger counted meanwhile."""
        before = self.counts(name)
        self.succeed("resume", name)
        wait_for(lambda: all(self.counts(name)[kind] - before[kind] >= 20 for kind in kinds))
        self.pause(name)
        after = self.counts(name)
        time.sleep(0.1)  # ten times as long as it waits between two looks
        process.send_signal(signal.SIGINT)
        lines = [json.loads(line) for line in self.end(process)]
        self.assertEqual(lines[-1]["end"], "signal")
        events = [line for line in lines if "event" in line]
        self.assertEqual(lines[-1]["events"], len(events))
        return events, lines[-1]["lost"], {kind: after[kind] - before[kind] for kind in kinds}

    def test_all_that_the_ledger_counts(self):
        kinds = ("interrupt", "halt", "port_write")
        self.start_guest("wakes")
        wait_for(lambda: self.counts("wakes")["interrupt"] > 3)
        self.pause("wakes")
        events, lost, counted = self.traced("wakes", kinds, self.trace("wakes", "--json", "--events", ",".join(kinds)))
        self.assertEqual(len(events) + lost, sum(counted.values()))
        if lost == 0:
            self.assertEqual({kind: sum(event["event"] == kind for event in events) for kind in kinds}, counted)
        self.assertEqual([event["us"] for event in events], sorted(event["us"] for event in events))
        interrupts = [event for event in events if event["event"] == "interrupt"]
        self.assertEqual({event["vector"] for event in interrupts}, {"0x20"})
        writes = [event for event in events if event["event"] == "port_write"]
        self.assertEqual({(event["port"], event["size"], event["value"]) for event in writes}, {("0x20", 1, "0x20")})
        # Each interrupt is acknowledged before the next comes.
        order = [event["event"] for event in events if event["event"] in ("interrupt", "port_write")]
        self.assertNotIn(("interrupt", "interrupt"), list(zip(order, order[1:])))

    def test_two_at_once_see_their_own_kinds(self):
        self.start_guest("wakes")
        wait_for(lambda: self.counts("wakes")["interrupt"] > 3)
        first, second = self.trace("wakes", "--json", "--events", "interrupts"), self.trace("wakes", "--json", "--events", "halt", "--count", 10)
        lines = [json.loads(line) for line in self.end(second)]
        self.assertEqual([line.get("event") for line in lines], ["halt"] * 10 + [None])
        self.assertEqual(lines[-1], {"end": "count", "events": 10, "lost": 0})
        first.send_signal(signal.SIGTERM)
        self.assertEqual({json.loads(line).get("event") for line in self.end(first)}, {"interrupt", None})

    def test_it_ends_by_itself(self):
        """After the last one that asked, nothing is told any more: the ring's number stands still."""
        self.start_guest("wakes")
        self.end(self.trace("wakes", "--for", 1))

        self.assertTrue(self.quiet("wakes"))

    def quiet(self, name):
        """Polls until no event comes between two looks that ask for a kind that never happens."""
        def same():
            with Connection(self.runtime / f"{name}.sock") as connection:
                first = connection.call("guest.trace", events=["nmi"], ms=1)["result"]["next"]
                time.sleep(0.3)
                return connection.call("guest.trace", events=["nmi"], ms=1)["result"]["next"] == first

        return wait_for(same)

    def test_a_guest_that_ends_ends_the_trace(self):
        self.start_guest("wakes")
        process = self.trace("wakes", "--events", "interrupts")
        wait_for(lambda: self.counts("wakes")["interrupt"] > 3)
        self.succeed("kill", "wakes")
        lines = self.end(process)
        self.assertIn("vector 0x20", lines[0])
        self.assertRegex(lines[-1], "^# [0-9]+ events, [0-9]+ lost; the guest has ended$")

    def test_bad_words(self):
        self.start_guest("wakes")
        self.assertIn("exits, interrupts,", self.refuse(STATUS_INPUT, "trace", "wakes", "--events", "interrupts,rubbish"))
        self.assertIn('""', self.refuse(STATUS_INPUT, "trace", "wakes", "--events", "io,"))
        self.refuse(STATUS_INPUT, "trace", "wakes", "--count", 0)
        self.refuse(STATUS_INPUT, "trace", "nobody")


if __name__ == "__main__":
    main()
