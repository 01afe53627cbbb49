#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Commands and options as words: help, versions, usage errors; and that the manual page knows all of them."""

import re
from pathlib import Path

from support import STATUS_INPUT, CliTest, main

ROOT = Path(__file__).parents[2]


class Words(CliTest):
    def commands(self):
        return re.findall(r"^  (\w+) +\S", self.succeed("--help"), re.MULTILINE)

    def all_commands(self):
        """Also those below others: "plan show"."""
        names = []
        for command in self.commands():
            text = self.succeed(command, "--help")
            below = text[text.find("\nCommands:\n"):text.find("\nOptions:\n")] if "\nCommands:\n" in text else ""
            names += [command] + [f"{command} {name}" for name in re.findall(r"^  (\w+) +\S", below, re.MULTILINE)]
        return names

    def options(self, command):
        return set(re.findall(r"^  (--[\w-]+)", self.succeed(*command.split(), "--help"), re.MULTILINE))

    def test_help(self):
        self.assertEqual(self.commands(), ["run", "host", "create", "start", "console", "show", "set", "edit", "rm", "list", "pause", "resume", "reset", "stop", "kill", "screen", "type",
                                           "key", "stats", "top", "record", "metrics", "explain", "trace", "guest", "plan", "calibrate", "clone", "version", "help"])
        self.assertIn("plan show", self.all_commands())
        self.assertEqual(self.succeed("--help"), self.succeed("help"))
        self.assertEqual(self.succeed("-h"), self.succeed("help"))
        for command in self.all_commands():
            text = self.succeed(*command.split(), "--help")
            self.assertTrue(text.startswith(f"Usage: nfold {command} "), text)
            self.assertEqual(text, self.succeed("help", *command.split()))
            self.assertIn("--help", self.options(command))
            self.assertLessEqual(max(map(len, text.splitlines())), 100, text)

    def test_run_has_the_options_it_should(self):
        self.assertEqual(self.options("run"), {
            "--name", "--memory", "--cpus", "--cpu", "--disk", "--cdrom", "--floppy", "--net", "--agent", "--console", "--rng", "--hpet", "--boot", "--firmware", "--kernel",
            "--initrd", "--append", "--module", "--display", "--serial", "--no-reboot", "--debug-exit", "--debug-console", "--engine", "--code-cache", "--clock", "--rtc",
            "--trace-events", "--gdb", "--confine", "--verbose",
            "--help"})

    def test_the_manual_page_knows_every_command_option_and_status(self):
        page = (ROOT / "man" / "nfold.1").read_text(encoding="utf-8").replace("\\-", "-")
        for command in self.all_commands():
            self.assertIn(f".SS nfold {command}", page)
            for option in self.options(command):
                self.assertRegex(page, re.escape(option) + r"\b")
        statuses = (ROOT / "src" / "control" / "exit_status.h").read_text(encoding="utf-8")
        for number in re.findall(r"= (\d+),", statuses):
            self.assertIn(f".B {number}\n", page)

    def test_version(self):
        self.assertRegex(self.succeed("version"), r"^nfold \d+\.\d+\.\d+\n$")
        self.assertEqual(self.succeed("--version"), self.succeed("version"))

    def test_usage_errors(self):
        for words in ([], ["explode"], ["--explode"], [""], ["list", "x"], ["pause"], ["pause", "a", "b"], ["kill"], ["stats"], ["explain"],
                      ["stats", "--xml", "a"], ["stop", "--timeout", "x", "a"], ["stop", "--timeout=86401", "a"],
                      ["stop", "--timeout"], ["version", "x"], ["help", "explode"], ["help", "a", "b"], ["help", "list", "b"], ["help", "plan", "b"], ["help", "plan", "show", "x"], ["plan"], ["plan", "x"], ["plan", "show"], ["plan", "fit"], ["plan", "report"], ["plan", "report", "x"], ["plan", "report", "-o", "x"], ["run", "x"],
                      ["run", "--kernel", "k", "x"], ["screen"], ["screen", "a", "b"], ["screen", "a", "--png"], ["type"],
                      ["type", "a"], ["type", "--interval=0", "a", "b"], ["type", "--interval=1001", "a", "b"], ["type", "a", "b", "c"], ["key"], ["key", "a"], ["list", "\n\x1b[2J"], ["\n\x1b[2J"]):
            line = self.refuse(STATUS_INPUT, *words)
            self.assertNotIn("\x1b", line)

    def test_no_guest_of_that_name(self):
        for command, *more in (["pause"], ["resume"], ["reset"], ["stop"], ["kill"], ["screen"], ["type", "x"], ["key", "a"],
                               ["stats"], ["explain"]):
            self.refuse(STATUS_INPUT, command, "nobody", *more)
            for bad in ("", ".", "..", "a/b", "../x", "-x", "x" * 65, "a b", "a\nb"):
                self.refuse(STATUS_INPUT, command, "--", bad, *more)

    def test_an_output_that_is_full_is_an_error(self):
        import subprocess
        with open("/dev/full", "wb") as full:
            result = subprocess.run([self.nfold, "help"], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(result.returncode, 4)
        self.assertEqual(result.stderr.count(b"\n"), 1)

    def test_a_directory_that_does_not_exist_is_not_created_by_looking(self):
        self.succeed("list")
        self.refuse(STATUS_INPUT, "kill", "nobody")
        self.assertFalse(self.runtime.exists())


if __name__ == "__main__":
    main()
