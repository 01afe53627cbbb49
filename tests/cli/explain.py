#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold explain on guests that do one thing each, and the method under it."""

import json
import subprocess
import time

from guests import GuestTest
from support import STATUS_INPUT, Connection, main, wait_for


class Explain(GuestTest):
    def explain(self, name, *words):
        return json.loads(self.succeed("explain", name, "--seconds", 1, "--json", *words))

    def advice(self, result):
        return [advice["key"] for advice in result["advice"]]

    def begun(self, name, key="guest"):
        """Waits until the guest is in its loop."""
        wait_for(lambda: self.stats(name)["vcpus"][0]["clocks_ns"][key] > 100_000_000)

    def enough(self, name, *words):
        """A busy host leaves the guest little time: again, until there are samples to speak of."""
        for _ in range(10):
            result = self.explain(name, *words)
            if result["samples"] >= 50:
                return result
        raise AssertionError(f"only {result['samples']} samples")

    def assert_adds_up(self, result):
        clocks, times = result["clocks_ns"], result["time"]
        self.assertAlmostEqual(sum(clocks.values()) / result["wall_ns"], 1, delta=0.01)
        divided = sum(row["user_ns"] + row["kernel_ns"] for row in times.values())
        self.assertLessEqual(divided, sum(clocks[key] for key in ("guest", "exit", "translate", "device")) + len(times) * 2)
        self.assertEqual(sum(row["samples"] for row in times.values()), result["samples"])

    def test_user_code(self):
        self.start_guest("user")
        self.begun("user")
        result = self.enough("user", "--symbols", f"{self.images.name}/user")
        self.assert_adds_up(result)
        self.assertGreater(result["time"]["code"]["user_ns"], 0.8 * result["clocks_ns"]["guest"])
        self.assertLess(result["time"]["code"]["kernel_ns"], 0.1 * result["clocks_ns"]["guest"])
        hottest = result["hottest"][0]
        self.assertEqual((hottest["mode"], hottest["symbol"]), ("user", "user_loop"))
        self.assertGreater(hottest["samples"], 0.8 * result["samples"])
        clocks = result["clocks_ns"]
        wanted = sum(clocks[key] for key in ("guest", "exit", "translate", "device", "ready", "costop", "limited", "preempted"))
        hot = sum(row["samples"] for row in result["hottest"][:3])
        # On a host that is itself held up it may want less than all the time.
        runaway = wanted >= 0.95 * result["wall_ns"] and hot >= 0.9 * result["samples"]
        self.assertEqual("runaway" in self.advice(result), runaway)

    def test_kernel_code_in_c(self):
        self.start_guest("kernel")
        self.begun("kernel")
        result = self.enough("kernel", "--symbols", f"{self.images.name}/kernel")
        self.assert_adds_up(result)
        times = result["time"]
        self.assertEqual(sum(row["user_ns"] for row in times.values()), 0)
        # CPUID in C, the way there, and the blocks around it: nothing else runs.
        loop = sum(times[key]["kernel_ns"] for key in ("model", "switch", "code", "dispatch"))
        self.assertGreater(loop, 0.8 * result["clocks_ns"]["guest"])
        self.assertGreater(times["model"]["kernel_ns"], 0.1 * result["clocks_ns"]["guest"])
        self.assertEqual(result["hottest"][0]["symbol"], "kernel_loop")

    def test_devices_have_names(self):
        self.start_guest("tick", stdout=subprocess.DEVNULL)
        self.begun("tick")
        result = self.enough("tick", "--symbols", f"{self.images.name}/tick")
        self.assert_adds_up(result)
        self.assertGreater(result["counts"]["port_write"], 0)
        self.assertGreater(result["counts"]["port_read"], 0)

    def test_the_page_for_people(self):
        self.start_guest("user")
        self.begun("user")
        text = self.succeed("explain", "user", "--seconds", 1, "--top", 1, "--symbols", f"{self.images.name}/user")
        lines = text.splitlines()
        self.assertRegex(lines[0], r"^user: running, 1 processor watched for \d\.\d s, \d+ samples$")
        self.assertRegex(text, r"(?m)^time +seconds +% +user % +kernel %$")
        self.assertRegex(text, r"(?m)^code +\d+\.\d{3} +\d+\.\d +\d+\.\d +\d+\.\d translated guest code$")
        self.assertRegex(text, r"(?m)^total +\d+\.\d{3} +100\.0 ")
        self.assertRegex(text, r"(?m)^ *\d+\.\d +\d+\.\d  user    user_loop$")
        self.assertTrue(all(line == line.rstrip() for line in lines))

    def test_a_guest_that_does_nothing(self):
        self.start_guest("halt")
        self.begun("halt", "idle")
        result = self.explain("halt")
        self.assertGreater(result["clocks_ns"]["idle"], 0.9 * result["wall_ns"])
        self.assertLess(result["samples"], 100)
        self.assertEqual("idle" in self.advice(result), result["clocks_ns"]["idle"] >= 0.95 * result["wall_ns"])
        self.assertNotIn("runaway", self.advice(result))
        self.assertIn("idle", self.succeed("explain", "halt", "--seconds", 1))
        self.succeed("pause", "halt")
        self.assertTrue(self.succeed("explain", "halt", "--seconds", 1).startswith("halt: paused, 1 processor"))
        self.assertIn("paused", self.advice(self.explain("halt")))

    def test_symbols_of_a_kernel_that_is_elsewhere(self):
        self.start_guest("loop")
        self.begun("loop")
        far = self.file("far", "c0000000 T far_away\nc0001000 T end\n")
        self.assertIn("None of the kernel's code has a name", self.succeed("explain", "loop", "--seconds", 1, "--symbols", far))

    def test_several_clients_get_all_samples(self):
        self.start_guest("spin")
        self.begun("spin")
        path = self.runtime / "spin.sock"
        with Connection(path) as one, Connection(path) as other:
            start = [connection.call("guest.profile")["result"]["next"] for connection in (one, other)]
            wait_for(lambda: one.call("guest.profile", since=start[0])["result"]["next"] > start[1] + 20)
            last = one.call("guest.profile", since=start[0], sample_ms=0)["result"]
            same = other.call("guest.profile", since=start[0], sample_ms=0)["result"]
            common = min(len(last["samples"]), len(same["samples"]))
            self.assertGreater(common, 20)
            self.assertEqual(last["samples"][:common], same["samples"][:common])

    def test_sampling_ends_by_itself(self):
        self.start_guest("spin")
        self.begun("spin")
        with Connection(self.runtime / "spin.sock") as connection:
            connection.call("guest.profile", sample_ms=1)
            time.sleep(0.5)
            seen = connection.call("guest.profile", sample_ms=0)["result"]["next"]
            time.sleep(0.3)
            result = connection.call("guest.profile", since=seen, sample_ms=0)["result"]
            self.assertEqual((result["next"], result["samples"]), (seen, []))

    def test_bad_parameters(self):
        self.start_guest("spin")
        with Connection(self.runtime / "spin.sock") as connection:
            for bad in ({"since": -1}, {"since": "1"}, {"since": 1.5}, {"sample_ms": -1}, {"sample_ms": 60001}, {"sample_ms": "1"},
                        {"sample_ms": None}, {"seconds": 1}):
                self.assertEqual(connection.call("guest.profile", **bad)["error"]["code"], -32602, bad)
            # Numbers that no sample had.
            for since in (12345, 2**63 - 1):
                result = connection.call("guest.profile", since=since)["result"]
                self.assertLess(result["next"], 12345)

    def test_bad_input(self):
        self.start_guest("spin")
        empty, text = self.file("empty"), self.file("text", "no symbols here\n")
        stub = self.file("stub", "ffffffffffffffff B The real System.map is in the linux-image-VERSION-dbg package\n")
        for words in (["--symbols", empty], ["--symbols", text], ["--symbols", stub], ["--symbols", "/nonexistent"],
                      ["--symbols", self.folder], ["--symbols"], ["--seconds", "0"], ["--seconds", "601"], ["--seconds", "x"],
                      ["--top", "0"], ["--top", "1001"], ["--kaslr", "x"], ["--xml"], ["another"]):
            self.refuse(STATUS_INPUT, "explain", "spin", *words)
        self.refuse(STATUS_INPUT, "explain")
        self.refuse(STATUS_INPUT, "explain", "nobody")

    def test_a_guest_that_ends_meanwhile(self):
        self.start_guest("spin")
        process = subprocess.Popen([self.nfold, "explain", "spin", "--seconds", "30"], env=self.environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with Connection(self.runtime / "spin.sock") as connection:
            wait_for(lambda: connection.call("guest.profile", since=0, sample_ms=0)["result"]["next"] > 0)
        self.succeed("kill", "spin")
        out, complaint = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out, complaint.count(b"\n")), (STATUS_INPUT, b"", 1), complaint)


if __name__ == "__main__":
    main()
