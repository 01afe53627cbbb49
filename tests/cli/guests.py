#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The commands on guests that run: small Multiboot kernels (guest.S), some of which mean harm."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from support import PROMPT, SECONDS, STATUS_INPUT, STATUS_KILLED, STATUS_REBOOT, STATUS_TRIPLE_FAULT, CliTest, main, wait_for

SOURCE = Path(__file__).parent / "guest.S"
OVERHEAD_MAX = 64 << 20


def assemble(folder, guest, *defines):
    """Makes a Multiboot kernel with the compiler's assembler and the linker, both from the build's own needs."""
    compiler = os.environ.get("CC", "gcc").split()
    path = Path(folder) / guest
    subprocess.run([*compiler, "-m32", "-c", f"-DGUEST_{guest}", *defines, "-o", f"{path}.o", SOURCE], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-N", "--no-warn-rwx-segments", "-Ttext", "0x100000", "-e", "_start", "-o", path, f"{path}.o"], check=True)
    return path


class GuestTest(CliTest):
    def setUp(self):
        super().setUp()
        self.images = tempfile.TemporaryDirectory(prefix="nfold-guest-")
        self.addCleanup(self.images.cleanup)

    def start_guest(self, guest, *words, **options):
        """These guests are busy: what only waits in some of them shall count as that (idle.py has idle guests)."""
        return self.start("--kernel", assemble(self.images.name, guest), "--name", guest, "--memory", "64M",
                          "--engine", "auto,no-idle-loops", *words, **options)

    def run_guest(self, guest, *words, defines=()):
        result = self.run_nfold("run", "--kernel", assemble(self.images.name, guest, *defines), "--memory", "64M", *words)
        self.assertEqual(result.stderr, b"")
        return result.returncode

    def stats(self, name):
        return json.loads(self.succeed("stats", name, "--json"))

    def kill_in_time(self, name):
        started = time.monotonic()
        self.succeed("kill", name)
        self.assertLess(time.monotonic() - started, PROMPT)
        self.assertEqual(self.leftovers(), [])


class Statuses(GuestTest):
    def test_power_off(self):
        self.assertEqual(self.run_guest("poweroff"), 0)

    def test_triple_fault(self):
        self.assertEqual(self.run_guest("triple", "--no-reboot"), STATUS_TRIPLE_FAULT)

    def test_reset(self):
        self.assertEqual(self.run_guest("reset", "--no-reboot"), STATUS_REBOOT)
        self.assertEqual(self.run_guest("reset_pci", "--no-reboot"), STATUS_REBOOT)

    def test_debug_exit(self):
        for value in (0, 1, 42, 127):
            self.assertEqual(self.run_guest("exit", "--debug-exit", "0xf4", defines=[f"-DEXIT_VALUE={value}"]), value << 1 | 1)

    def test_without_the_port_debug_exit_is_nothing(self):
        process = self.start("--kernel", assemble(self.images.name, "exit", "-DEXIT_VALUE=1"), "--name", "exit")
        time.sleep(0.3)
        self.assert_runs(process)

    def test_a_triple_fault_is_a_reset_otherwise(self):
        process = self.start_guest("triple")
        time.sleep(0.5)
        self.assert_runs(process)
        self.kill_in_time("triple")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)


class Harm(GuestTest):
    def test_kill_works_whatever_the_guest_does(self):
        for guest in ("spin", "loop", "halt", "triple", "reset", "ports"):
            process = self.start_guest(guest)
            time.sleep(0.2)
            if guest == "ports" and process.poll() is not None:
                continue  # it found the power switch
            self.kill_in_time(guest)
            self.assertEqual(process.wait(SECONDS), STATUS_KILLED, guest)

    def test_the_commands_work_while_the_guest_spins(self):
        self.start_guest("spin")
        for command, state in (("pause", "paused"), ("resume", "running"), ("reset", "running")):
            started = time.monotonic()
            self.succeed(command, "spin")
            wait_for(lambda state=state: self.guests()["spin"]["STATE"] == state)
            self.assertLess(time.monotonic() - started, PROMPT, command)

    def test_garbage_to_every_port(self):
        """It may end the guest, as hardware would; it may not end or hang the process. Many boots, from different seeds."""
        kernel = assemble(self.images.name, "ports")
        end = time.monotonic() + 10
        ends = set()
        while time.monotonic() < end:
            process = self.start("--kernel", kernel, "--name", "ports", "--no-reboot", "--serial", "none")
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                # A busy host may be late with the answer, and the guest may still find its end meanwhile.
                wait_for(lambda: self.guests().get("ports", {"STATE": "running"})["STATE"] == "running")
                killed = self.run_nfold("kill", "ports")
                self.assertIn(killed.returncode, (0, STATUS_INPUT), killed.stderr)
            status = process.wait(SECONDS)
            self.assertIn(status, (0, STATUS_REBOOT, STATUS_TRIPLE_FAULT, STATUS_KILLED))
            self.assertEqual(process.stderr.read(), b"")
            ends.add(status)
        self.assertTrue(ends)


class Commands(GuestTest):
    def test_pause_stops_it_resume_goes_on_reset_boots_again(self):
        log = self.folder / "log"
        self.start_guest("tick", "--serial", log)
        wait_for(lambda: log.read_bytes().count(b".") > 3)
        self.assertEqual(log.read_bytes()[:1], b"B")
        self.succeed("pause", "tick")
        wait_for(lambda: self.guests()["tick"]["STATE"] == "paused")
        time.sleep(0.1)
        size = len(log.read_bytes())
        time.sleep(0.4)
        self.assertEqual(len(log.read_bytes()), size, "it runs while it is paused")
        self.succeed("resume", "tick")
        wait_for(lambda: len(log.read_bytes()) > size)
        self.assertEqual(log.read_bytes().count(b"B"), 1)
        self.succeed("reset", "tick")
        wait_for(lambda: log.read_bytes().count(b"B") == 2)

    def test_serial_input(self):
        process = self.start_guest("echo", stdin=subprocess.PIPE)
        process.stdin.write(b"HAL 9000")
        process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        received = b""

        def answered():
            nonlocal received
            received += process.stdout.read() or b""
            return len(received) >= 8

        wait_for(answered)
        self.assertEqual(received, b"IBM!:111")
        process.stdin.close()
        process.stdin = None
        time.sleep(0.2)
        self.assert_runs(process)

    def assert_adds_up(self, vcpu):
        total = sum(vcpu["clocks_ns"].values())
        self.assertLess(abs(total - vcpu["wall_ns"]), vcpu["wall_ns"] / 1000)

    def test_stats_of_a_guest_that_spins(self):
        self.start_guest("spin")
        time.sleep(0.5)
        before = self.stats("spin")["vcpus"][0]
        started = time.monotonic()
        time.sleep(1)
        after = self.stats("spin")
        elapsed = (time.monotonic() - started) * 1e9
        vcpu = after["vcpus"][0]
        self.assert_adds_up(before)
        self.assert_adds_up(vcpu)
        self.assertEqual(after["memory_bytes"], 64 << 20)
        self.assertLess(after["overhead_bytes"], OVERHEAD_MAX)
        self.assertLess(after["beyond_resident_bytes"], OVERHEAD_MAX)
        self.assertGreater(after["beyond_resident_bytes"], 0)
        self.assertLessEqual(after["memory_resident_bytes"], after["memory_bytes"])
        self.assertGreater(after["memory_resident_bytes"], 0)
        wall = vcpu["wall_ns"] - before["wall_ns"]
        self.assertLess(abs(wall - elapsed), elapsed / 10)
        # What the guest did not get, others on this machine did.
        gained = {key: vcpu["clocks_ns"][key] - before["clocks_ns"][key] for key in vcpu["clocks_ns"]}
        self.assertGreater(gained["guest"] + gained["preempted"], 0.9 * wall)

    def test_stats_of_a_guest_that_halts(self):
        self.start_guest("halt")
        time.sleep(0.5)
        before = self.stats("halt")["vcpus"][0]
        time.sleep(1)
        vcpu = self.stats("halt")["vcpus"][0]
        self.assert_adds_up(vcpu)
        self.assertGreater(vcpu["clocks_ns"]["idle"] - before["clocks_ns"]["idle"], 0.9 * (vcpu["wall_ns"] - before["wall_ns"]))
        self.assertGreater(vcpu["counts"]["halt"], 0)

    def test_time_of_others_is_not_the_guests(self):
        """A native hog on the vCPU's processor: Linux gives each about half, and the ledger says so."""
        self.start_guest("loop")
        wait_for(lambda: self.stats("loop")["vcpus"][0]["thread_id"] != 0)
        thread = self.stats("loop")["vcpus"][0]["thread_id"]
        processor = min(os.sched_getaffinity(0))
        os.sched_setaffinity(thread, {processor})
        hog = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
        self.addCleanup(hog.wait)
        self.addCleanup(hog.kill)
        os.sched_setaffinity(hog.pid, {processor})
        time.sleep(0.3)

        def figures():
            return [int(word) for word in Path(f"/proc/{thread}/schedstat").read_text(encoding="ascii").split()]

        def now():
            return self.stats("loop")["vcpus"][0], figures()

        before, linux_before = now()
        time.sleep(3)
        after, linux_after = now()
        self.assert_adds_up(before)
        self.assert_adds_up(after)
        wall = after["wall_ns"] - before["wall_ns"]
        gained = {key: after["clocks_ns"][key] - before["clocks_ns"][key] for key in after["clocks_ns"]}
        self.assertLess(abs(sum(gained.values()) - wall), wall / 1000)
        running = sum(gained[key] for key in ("guest", "exit", "translate", "device"))
        on_cpu, delay = (linux_after[i] - linux_before[i] for i in (0, 1))
        # Linux's figures in /proc are behind by up to a tick, or a turn of the hog.
        self.assertLess(abs(running - on_cpu), wall / 20)
        self.assertLess(abs(gained["preempted"] - delay), wall / 20)
        # On a machine with more to do both get less, and the guest no more than its half.
        self.assertLess(gained["guest"], 0.6 * wall)
        self.assertGreater(gained["guest"], 0.05 * wall)
        self.assertGreater(gained["preempted"], 0.4 * wall)
        self.assertLess(gained["blocked"] + gained["idle"], wall / 20)
        self.assertGreater(gained["guest"], 0.9 * running)

    def test_stats_of_a_paused_guest(self):
        self.start_guest("spin")
        self.succeed("pause", "spin")
        wait_for(lambda: self.stats("spin")["vcpus"][0]["state"] == "paused")
        before = self.stats("spin")["vcpus"][0]
        time.sleep(0.5)
        vcpu = self.stats("spin")["vcpus"][0]
        self.assert_adds_up(vcpu)
        self.assertEqual(vcpu["clocks_ns"]["guest"], before["clocks_ns"]["guest"])
        self.assertGreaterEqual(vcpu["clocks_ns"]["paused"] - before["clocks_ns"]["paused"], 0.4e9)

    def test_list(self):
        self.start_guest("spin")
        self.start_guest("halt")
        self.assertEqual(set(self.guests()), {"spin", "halt"})
        for row in self.guests().values():
            self.assertEqual((row["STATE"], row["MEMORY"], row["CPUS"]), ("running", "64M", "1"))


if __name__ == "__main__":
    main()
