#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The life of a guest's process, with a machine that has no processor (machine_double.c): exit statuses, the commands, what is
left behind, and that nfold kill works whatever state the process is in."""

import json
import os
import signal
import subprocess
import time

from support import (PROMPT, SECONDS, STATUS_HOST, STATUS_INPUT, STATUS_KILLED, STATUS_REBOOT, STATUS_TRIPLE_FAULT, CliTest, main,
                     wait_for)



class ExitStatuses(CliTest):
    def run_script(self, script, *words):
        return self.run_nfold("run", "--kernel", self.file("kernel", script), *words)

    def test_each_end_has_its_status(self):
        for script, status in (("poweroff", 0), ("reboot", STATUS_REBOOT), ("triple", STATUS_TRIPLE_FAULT), ("exit:0", 1),
                               ("exit:3", 7), ("exit:127", 255)):
            result = self.run_script(script)
            self.assertEqual((result.returncode, result.stderr), (status, b""), script)

    def test_a_host_error_is_one_line(self):
        self.assertIn("told to fail", self.refuse(STATUS_HOST, "run", "--kernel", self.file("kernel", "fail")))

    def test_a_crash_of_the_process_leaves_nothing(self):
        for name in ([], ["--name", "crasher"]):
            line = self.refuse(STATUS_HOST, "run", "--kernel", self.file("kernel", "crash"), *name)
            self.assertIn("Aborted", line)
            self.assertEqual(self.leftovers(), [])


class Lifecycle(CliTest):
    def setUp(self):
        super().setUp()
        self.spin = self.file("spin", "spin")

    def test_list_shows_a_guest_until_it_ends(self):
        self.assertEqual(self.guests(), {})
        process = self.start("--kernel", self.spin, "--name", "one", "--memory", "64M")
        row = self.guests()["one"]
        self.assertEqual((row["STATE"], row["MEMORY"], row["CPUS"]), ("running", "64M", "1"))
        executable = os.readlink(f"/proc/{row['PID']}/exe")
        self.assertTrue(executable.endswith("nfold-vm"), executable)
        self.succeed("kill", "one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        self.assertEqual(self.guests(), {})

    def test_pause_and_resume(self):
        self.start("--kernel", self.spin, "--name", "one")
        for command, state in (("pause", "paused"), ("pause", "paused"), ("resume", "running"), ("resume", "running"),
                               ("reset", "running")):
            self.succeed(command, "one")
            self.assertEqual(self.guests()["one"]["STATE"], state, command)

    def test_reset_with_no_reboot_ends_it(self):
        process = self.start("--kernel", self.spin, "--name", "one", "--no-reboot")
        self.succeed("reset", "one")
        self.assertEqual(process.wait(SECONDS), STATUS_REBOOT)

    def test_stop_presses_the_power_button(self):
        process = self.start("--kernel", self.file("echo", "echo"), "--name", "one")
        self.succeed("stop", "one")
        self.assertEqual(process.wait(SECONDS), 0)

    def test_stop_with_timeout_waits(self):
        self.start("--kernel", self.file("echo", "echo"), "--name", "one")
        self.succeed("stop", "one", "--timeout", "30")
        self.assertEqual(self.guests(), {})

    def test_stop_kills_a_guest_that_ignores_its_button(self):
        process = self.start("--kernel", self.spin, "--name", "one")
        started = time.monotonic()
        self.succeed("stop", "--timeout=1", "one")
        self.assertGreater(time.monotonic() - started, 0.9)
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_a_paused_guest_cannot_be_stopped(self):
        process = self.start("--kernel", self.spin, "--name", "one")
        self.succeed("pause", "one")
        self.assertIn("paused", self.refuse(STATUS_INPUT, "stop", "one"))
        self.assert_runs(process)

    def test_a_name_in_use_is_refused_and_the_guest_unharmed(self):
        process = self.start("--kernel", self.spin, "--name", "one")
        line = self.refuse(STATUS_INPUT, "run", "--kernel", self.spin, "--name", "one")
        self.assertIn("'one' runs already", line)
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        self.assert_runs(process)

    def test_generated_names_are_free_ones(self):
        kernel = self.file("vmlinuz 6.1+x", "spin")
        processes = [self.start("--kernel", kernel) for _ in range(3)]
        names = wait_for(lambda: len(self.guests()) == 3 and set(self.guests()))
        self.assertEqual(names, {"vmlinuz-6.1-x", "vmlinuz-6.1-x-2", "vmlinuz-6.1-x-3"})
        self.assertEqual(list(self.guests()), sorted(names))
        for process in processes:
            self.assert_runs(process)

    def test_stats_add_up(self):
        self.start("--kernel", self.spin, "--name", "one")
        time.sleep(0.3)
        stats = json.loads(self.succeed("stats", "one", "--json"))
        self.assertEqual((stats["name"], stats["state"]), ("one", "running"))
        vcpu = stats["vcpus"][0]
        self.assertGreater(vcpu["wall_ns"], 250e6)
        self.assertLess(abs(sum(vcpu["clocks_ns"].values()) - vcpu["wall_ns"]), vcpu["wall_ns"] / 1000)
        self.assertGreater(vcpu["counts"]["halt"], 0)
        text = self.succeed("stats", "one")
        for word in ("one: running", "vCPU 0", "guest", "total", "halt"):
            self.assertIn(word, text)

    def test_a_stale_guest_is_replaced_and_not_listed(self):
        process = self.start("--kernel", self.spin, "--name", "one", start_new_session=True)
        # Both die without a chance to clean up.
        vm = int(self.guests()["one"]["PID"])
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(vm, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(SECONDS)
        wait_for(lambda: self.guests() == {})
        self.assertEqual(self.leftovers(), ["one.lock", "one.sock"])
        self.refuse(STATUS_INPUT, "pause", "one")
        self.refuse(STATUS_INPUT, "kill", "one")
        self.start("--kernel", self.spin, "--name", "one")
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        self.succeed("kill", "one")

    def test_strangers_files_are_left_alone(self):
        self.runtime.mkdir(mode=0o700)
        (self.runtime / "notes.txt").write_text("mine")
        (self.runtime / "dead.lock").touch()
        self.assertEqual(self.guests(), {})
        self.assertEqual(self.leftovers(), ["dead.lock", "notes.txt"])
        for name in self.leftovers():
            (self.runtime / name).unlink()


class Kill(CliTest):
    def kill_in_time(self, name):
        started = time.monotonic()
        self.succeed("kill", name)
        elapsed = time.monotonic() - started
        self.assertLess(elapsed, PROMPT, f"nfold kill took {elapsed:.2f} s")
        self.assertEqual(self.leftovers(), [])

    def test_a_guest_in_order(self):
        process = self.start("--kernel", self.file("k", "spin"), "--name", "one")
        self.kill_in_time("one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_a_guest_that_does_not_end_when_asked(self):
        process = self.start("--kernel", self.file("k", "deaf"), "--name", "one")
        self.kill_in_time("one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_a_process_whose_event_loop_hangs(self):
        process = self.start("--kernel", self.file("k", "hang"), "--name", "one")
        self.assertEqual(self.guests()["one"]["STATE"], "no-answer")
        self.kill_in_time("one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_a_stopped_process(self):
        process = self.start("--kernel", self.file("k", "spin"), "--name", "one")
        os.kill(int(self.guests()["one"]["PID"]), signal.SIGSTOP)
        self.kill_in_time("one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_only_that_guest(self):
        other = self.start("--kernel", self.file("k", "spin"), "--name", "other")
        self.start("--kernel", self.file("k2", "deaf"), "--name", "one")
        self.succeed("kill", "one")
        self.assertEqual(set(self.guests()), {"other"})
        self.assert_runs(other)


class Signals(CliTest):
    def test_each_ending_signal_ends_the_guest_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            process = self.start("--kernel", self.file("k", "spin"), "--name", "one")
            process.send_signal(number)
            self.assertEqual(process.wait(SECONDS), STATUS_KILLED, number)
            self.assertEqual(process.stderr.read(), b"", number)
            self.assertEqual(self.leftovers(), [], number)

    def test_a_deaf_guest_is_killed_after_a_grace_time(self):
        process = self.start("--kernel", self.file("k", "deaf"), "--name", "one")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        self.assertEqual(self.leftovers(), [])

    def test_what_was_ignored_before_stays_ignored(self):
        """nohup, and shells with background jobs."""
        ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
        process = self.start("--kernel", self.file("k", "spin"), "--name", "one",
                             preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored])
        vm = int(self.guests()["one"]["PID"])
        for number in ignored:
            process.send_signal(number)
            os.kill(vm, number)
        time.sleep(0.3)
        self.assert_runs(process)
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_a_parent_that_ignores_sigchld_changes_nothing(self):
        process = self.start("--kernel", self.file("k", "exit:3"),
                             preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN)
                                                 for number in (signal.SIGCHLD, signal.SIGTERM)])
        self.assertEqual(process.wait(SECONDS), 7)

    def test_a_signal_at_any_moment_of_the_start_leaves_nothing(self):
        kernel = self.file("k", "spin")
        for delay in range(40):
            process = self.start("--kernel", kernel)
            time.sleep(delay / 2000)
            process.send_signal(signal.SIGTERM)
            self.assertIn(process.wait(SECONDS), (STATUS_KILLED, -signal.SIGTERM, STATUS_HOST), delay)
            wait_for(lambda: self.leftovers() == [])

    def test_the_guest_does_not_outlive_a_killed_nfold(self):
        process = self.start("--kernel", self.file("k", "spin"), "--name", "one")
        process.kill()
        process.wait(SECONDS)
        wait_for(lambda: self.leftovers() == [])


class Pipes(CliTest):
    def test_input_is_read_to_its_end_and_the_guest_runs_on(self):
        process = self.start("--kernel", self.file("k", "echo"), "--name", "one", stdin=subprocess.PIPE)
        text = b"not a terminal: \x1dq is text\n"
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        self.assertEqual(process.stdout.read(len(text)), text)
        time.sleep(0.2)
        self.assert_runs(process)
        self.assertEqual(self.guests()["one"]["STATE"], "running")


    def test_closed_descriptors(self):
        for closed in ("<&-", ">&-", "<&- >&- 2>&-"):
            kernel = self.file("k", "exit:3")
            status = subprocess.call(["sh", "-c", f"'{self.nfold}' run --kernel '{kernel}' {closed}"], env=self.environment)
            self.assertEqual(status, 7, closed)


class RuntimeDirectory(CliTest):
    def test_an_open_directory_is_refused(self):
        self.runtime.mkdir(mode=0o755)
        os.chmod(self.runtime, 0o755)
        line = self.refuse(STATUS_HOST, "run", "--kernel", self.file("k", "poweroff"))
        self.assertIn("0700", line)

    def test_a_link_is_refused(self):
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        self.runtime.symlink_to(elsewhere)
        self.refuse(STATUS_HOST, "run", "--kernel", self.file("k", "poweroff"))
        self.assertEqual(os.listdir(elsewhere), [])
        self.runtime.unlink()

    def test_a_path_too_long_for_a_socket(self):
        self.environment["XDG_RUNTIME_DIR"] = "/" + "x" * 100
        self.assertIn("XDG_RUNTIME_DIR", self.refuse(STATUS_INPUT, "run", "--kernel", self.file("k", "poweroff")))

    def test_a_name_too_long_for_a_socket_there(self):
        deep = self.folder / ("x" * 30)
        deep.mkdir(mode=0o700)
        self.environment["XDG_RUNTIME_DIR"] = str(deep)
        self.assertIn("too long", self.refuse(STATUS_INPUT, "run", "--kernel", self.file("k", "poweroff"), "--name", "n" * 64))
        self.assertEqual(os.listdir(deep / "nfold"), [])

    def test_files_are_the_owners_only(self):
        self.start("--kernel", self.file("k", "spin"), "--name", "one")
        self.assertEqual(self.runtime.stat().st_mode & 0o777, 0o700)
        for name in self.leftovers():
            self.assertEqual((self.runtime / name).stat().st_mode & 0o777, 0o600, name)


if __name__ == "__main__":
    main()
