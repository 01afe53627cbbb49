#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold run on a terminal: raw mode, the escape key, and that the terminal is as before whatever ends the guest."""

import os
import pty
import select
import signal
import subprocess
import termios
import time

from support import SECONDS, STATUS_INPUT, STATUS_KILLED, CliTest, main, wait_for

ESCAPE = b"\x1d"


class Terminal(CliTest):
    def setUp(self):
        super().setUp()
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)

    def start_on_terminal(self, script, *words):
        process = subprocess.Popen(
            [self.nfold, "run", "--kernel", self.file("k", script), "--name", "one", *words], env=self.environment,
            stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE, start_new_session=True)
        self.started.append(process)
        return process

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def start_raw(self, script="echo"):
        process = self.start_on_terminal(script)
        wait_for(self.is_raw)
        return process

    def type(self, data):
        os.write(self.master, data)

    def expect(self, data):
        end = time.monotonic() + SECONDS
        while data not in self.output:
            self.assertLess(time.monotonic(), end, f"no {data!r} in {self.output!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 4096)

    def assert_restored(self):
        self.assertEqual(termios.tcgetattr(self.slave), self.before)

    def test_one_line_names_the_escape_key(self):
        process = self.start_raw()
        self.type(ESCAPE + b"q")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        lines = process.stderr.read().decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("Ctrl-] q", lines[0])
        self.assert_restored()

    def test_keys_reach_the_guest_as_they_are(self):
        self.start_raw()
        keys = b"a\x03\x04\x1a\r\n\x00\xff~"
        self.type(keys)
        self.expect(keys)

    def test_the_escape_key_twice_sends_it_once(self):
        self.start_raw()
        self.type(b"<" + ESCAPE + ESCAPE + b"><" + ESCAPE + b"x>")
        self.expect(b"<" + ESCAPE + b"><>")

    def test_the_escape_key_works_when_the_guest_reads_nothing(self):
        process = self.start_raw("spin")
        for _ in range(100):
            self.type(b"x" * 2000)
            time.sleep(0.002)
        self.type(ESCAPE + b"q")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        self.assert_restored()

    def test_restored_after_a_power_off(self):
        process = self.start_raw()
        self.succeed("stop", "one")
        self.assertEqual(process.wait(SECONDS), 0)
        self.assert_restored()

    def test_restored_after_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            process = self.start_raw()
            process.send_signal(number)
            self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
            self.assert_restored()

    def test_restored_after_the_guests_process_was_killed(self):
        process = self.start_raw()
        os.kill(int(self.guests()["one"]["PID"]), signal.SIGKILL)
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        self.assert_restored()

    def test_restored_after_nfold_itself_was_killed(self):
        process = self.start_raw()
        process.kill()
        process.wait(SECONDS)
        wait_for(lambda: termios.tcgetattr(self.slave) == self.before)
        wait_for(lambda: self.leftovers() == [])

    def test_restored_while_stopped(self):
        process = self.start_raw()
        process.send_signal(signal.SIGTSTP)
        wait_for(lambda: termios.tcgetattr(self.slave) == self.before)
        process.send_signal(signal.SIGCONT)
        wait_for(self.is_raw)
        self.type(b"still here")
        self.expect(b"still here")

    def test_an_error_at_start_leaves_the_terminal_alone(self):
        process = self.start_on_terminal("echo", "--memory", "1")
        self.assertEqual(process.wait(SECONDS), STATUS_INPUT)
        self.assert_restored()

    def test_without_the_console_the_terminal_is_not_touched(self):
        process = self.start_on_terminal("spin", "--serial", "none")
        wait_for(lambda: "one" in self.guests())
        self.assert_restored()
        self.succeed("kill", "one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        self.assertEqual(process.stderr.read(), b"")


if __name__ == "__main__":
    main()
