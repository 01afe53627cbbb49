#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold run with a definition file: its keys are options, and options given besides take their place."""

import json
import os

from support import STATUS_HOST, STATUS_INPUT, CliTest, main


class DefinitionFile(CliTest):
    def define(self, **keys):
        return self.file("vm.json", json.dumps({key.replace("_", "-"): value for key, value in keys.items()}, indent=1))

    def test_a_file_is_as_good_as_options(self):
        self.file("spin", "spin")
        process = self.start(self.define(name="one", memory="96M", kernel="spin", cpus=2, shares=500, autostart=True))
        while "one" not in self.guests():
            self.assert_runs(process)
        row = self.guests()["one"]
        self.assertEqual((row["MEMORY"], row["CPUS"]), ("96M", "2"))
        self.succeed("kill", "one")

    def test_options_take_the_place_of_keys(self):
        self.file("spin", "spin")
        path = self.define(name="one", memory="96M", kernel="spin", module=["a", "b"])
        self.start("--name", "two", path, "--memory=80M")
        self.assertEqual(self.guests()["two"]["MEMORY"], "80M")
        with open(f"/proc/{self.guests()['two']['PID']}/cmdline", encoding="utf-8") as file:
            words = file.read().split("\0")
        self.assertIn(f"--module={os.path.realpath(self.folder)}/a", words)
        self.assertFalse([word for word in words if "96M" in word or "one" in word or "vm.json" in word], words)
        self.succeed("kill", "two")

    def test_names_of_files_are_relative_to_the_definition(self):
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "kernel").write_text("exit:3")
        (elsewhere / "vm.json").write_text('{"kernel": "kernel"}')
        self.assertEqual(self.run_nfold("run", "elsewhere/vm.json").returncode, 7)
        # What is typed is relative to where it is typed.
        self.file("other", "exit:1")
        self.assertEqual(self.run_nfold("run", "elsewhere/vm.json", "--kernel", "other").returncode, 3)

    def test_bad_files(self):
        for text, message in (("", ":1:1: "), ('{"memory": "64M",\n "cpus": 12}', ":2:2: cpus 12"), ('{"color": 1}', "unknown key"),
                              ('{"kernel": "none-such"}', "none-such"), ("\0\1\2", ":1:"), ("[1]", "one object")):
            line = self.refuse(STATUS_INPUT, "run", self.file("vm.json", text))
            self.assertIn(message, line)
        self.refuse(STATUS_INPUT, "run", "absent.json")
        self.refuse(STATUS_INPUT, "run", self.file("vm.txt", "{}"))
        self.refuse(STATUS_INPUT, "run", self.folder)
        self.file("k", "poweroff")
        self.assertIn("usage", self.refuse(STATUS_INPUT, "run", self.file("vm.json", "{}"), "second.json"))
        self.assertIn("unknown option '--shares", self.refuse(STATUS_INPUT, "run", "--shares", "5", "--kernel", "k"))
        self.assertIn("told to fail", self.refuse(STATUS_HOST, "run", self.define(kernel=str(self.file("f", "fail")))))


if __name__ == "__main__":
    main()
