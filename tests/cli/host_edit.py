#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold edit, and what can be done with definitions while no host runs."""

import fcntl
import json
import os
import pty
import subprocess

from hosting import HostTest
from support import SECONDS, STATUS_INPUT, main, wait_for


class Editing(HostTest):
    def setUp(self):
        super().setUp()
        self.environment["TMPDIR"] = str(self.folder / "tmp")
        (self.folder / "tmp").mkdir()
        self.environment.pop("VISUAL", None)
        self.environment.pop("EDITOR", None)

    def editor(self, *texts):
        """An editor that writes one text after another, and is opened so often; None: it changes nothing."""
        for number, text in enumerate(texts):
            if text is not None:
                self.file(f"text-{number}", text)
        script = self.file("editor", f"""#!/bin/sh
cd {self.folder}
echo "$@" >>arguments
number=$(($(wc -l <arguments) - 1))
for last; do :; done
cp "$last" "was-$number"
if [ -e "text-$number" ]; then cp "text-$number" "$last"; fi
""")
        script.chmod(0o755)
        self.environment["VISUAL"] = f"{script} --option"

    def edit(self, name, answers=""):
        """Runs nfold edit on a terminal that has typed the answers. Returns its status and what it said."""
        ours, its = pty.openpty()
        os.write(ours, answers.encode())
        process = subprocess.Popen([self.nfold, "edit", name], env=self.environment, cwd=self.folder, stdin=its,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        os.close(its)
        out, said = process.communicate(timeout=SECONDS)
        os.close(ours)
        self.assertEqual(out, b"")
        return process.returncode, said.decode()

    def copies(self):
        return os.listdir(self.folder / "tmp")

    def text(self, **keys):
        return json.dumps({"kernel": str(self.kernel["spin"]), "memory": "8M", "stop-timeout": 0, **keys}, indent=4) + "\n"

    def both(self, check):
        """With a host and without one."""
        self.start_host()
        for hosted in (True, False):
            if not hosted:
                self.succeed("host", "stop")
            with self.subTest(hosted=hosted):
                check()

    def test_without_an_editor_or_a_terminal(self):
        self.start_host()
        self.create("one")
        self.assertIn("set VISUAL or EDITOR", self.refuse(STATUS_INPUT, "edit", "one"))
        self.editor(None)
        self.assertIn("needs a terminal", self.refuse(STATUS_INPUT, "edit", "one"))
        self.assertIn("no guest named 'two'", self.edit("two")[1])
        self.environment["VISUAL"] = "/nonexistent/editor"
        status, said = self.edit("one")
        self.assertEqual(status, STATUS_INPUT)
        self.assertIn("the editor '/nonexistent/editor' failed", said)
        self.assertEqual(self.copies(), [])

    def test_what_is_written_takes_effect(self):
        self.start_host()
        self.create("one")
        self.succeed("start", "one")
        self.editor(self.text(shares=300))
        before = self.definition("one").read_text()
        self.assertEqual(self.edit("one"), (0, ""))
        self.assertEqual((self.folder / "was-0").read_text(), before)
        self.assertEqual(self.definition("one").read_text(), self.text(shares=300))
        self.assertRegex((self.folder / "arguments").read_text(), r"^--option /\S+/nfold-one-\w+\.json\n$")
        self.assertEqual((self.show("one")["shares"], self.copies()), (300, []))
        # What cannot be had while it runs is refused.
        (self.folder / "arguments").unlink()
        self.editor(self.text(reservation="99999%"))
        status, said = self.edit("one", "n\n")
        self.assertEqual((status, "reservation" in said), (STATUS_INPUT, True), said)
        self.assertEqual(self.show("one")["shares"], 300)

    def test_errors_are_shown_and_the_editor_opens_again(self):
        def check():
            (self.folder / "arguments").unlink(missing_ok=True)
            self.definition("one").write_text(self.text())
            self.editor('{"memory": "8M",\n  "cpus": "many"}', "{", self.text(shares=7))
            status, said = self.edit("one", "\ny\n")
            self.assertEqual(status, 0, said)
            self.assertIn("one.json:2:3: cpus 'many'", said)
            self.assertIn("one.json:1:1: ", said)
            self.assertEqual(said.count("again?"), 2)
            self.assertEqual((self.folder / "was-1").read_text(), (self.folder / "text-0").read_text())
            self.assertEqual((self.definition("one").read_text(), self.copies()), (self.text(shares=7), []))

        self.start_host()
        self.create("one")
        self.succeed("host", "stop")
        self.both(check)

    def test_text_that_is_not_used_is_kept(self):
        self.start_host()
        self.create("one")
        before = self.definition("one").read_text()
        self.editor("nonsense")
        for answer in ("n\n", "\x04"):
            (self.folder / "arguments").unlink(missing_ok=True)
            status, said = self.edit("one", answer)
            [copy] = self.copies()
            self.assertEqual(status, STATUS_INPUT)
            self.assertIn(f"what you wrote is in {self.folder}/tmp/{copy}", said)
            self.assertEqual((self.folder / "tmp" / copy).read_text(), "nonsense")
            (self.folder / "tmp" / copy).unlink()
        self.assertEqual(self.definition("one").read_text(), before)

    def test_nothing_written_changes_nothing(self):
        self.start_host()
        self.create("one")
        before = self.definition("one").stat()
        self.editor(None)
        self.assertEqual(self.edit("one"), (0, ""))
        after = self.definition("one").stat()
        self.assertEqual((before.st_ino, before.st_mtime_ns, []), (after.st_ino, after.st_mtime_ns, self.copies()))

    def test_a_broken_definition_is_mended(self):
        def check():
            (self.folder / "arguments").unlink(missing_ok=True)
            self.definition("one").write_text("nonsense")
            self.editor(self.text(cpus=1))
            self.assertEqual(self.edit("one"), (0, ""))
            self.assertEqual((self.folder / "was-0").read_text(), "nonsense")
            self.assertEqual(self.guests()["one"]["STATE"], "stopped")

        self.start_host()
        self.create("one")
        self.succeed("host", "stop")
        self.both(check)

    def test_a_change_by_another_is_not_written_over(self):
        self.start_host()
        self.create("one")
        other = self.text(shares=11)
        self.file("other", other)
        self.editor(self.text(shares=12))
        with open(self.folder / "editor", "a", encoding="utf-8") as script:
            script.write(f"cp other {self.definition('one')}\n")
        status, said = self.edit("one", "n\n")
        self.assertEqual(status, STATUS_INPUT)
        self.assertIn("changed by somebody else", said)
        self.assertEqual(self.definition("one").read_text(), other)


class WithoutHost(HostTest):
    def test_definitions_are_shown_and_removed(self):
        self.assertEqual((self.succeed("list").count("\n"), self.leftovers()), (1, []))
        self.assertIn("no guest named 'one' is defined, and no host runs", self.refuse(STATUS_INPUT, "show", "one"))
        self.assertFalse(self.state.exists())  # looking creates nothing
        self.start_host()
        for name in ("one", "two", "gone", "runs"):
            self.create(name)
        for name in ("one", "runs"):
            self.succeed("start", name)
        self.succeed("kill", "one")
        self.definition("two").write_text('{"color": 1}')
        text = self.succeed("show", "one")
        self.succeed("host", "stop")
        result = self.run_nfold("list")
        self.assertEqual(result.stderr, b"nfold: no host runs to start these: 'nfold host start' starts it\n")
        rows = self.guests()
        self.assertEqual({name: row["STATE"] for name, row in rows.items()},
                         {"one": "stopped", "two": "broken", "gone": "stopped", "runs": "running"})
        self.assertEqual((rows["one"]["MEMORY"], rows["one"]["CPUS"]), ("8M", "1"))
        self.assertRegex(result.stdout.decode(), r"one .* killed\n(.*\n)*two .*two\.json:1:2: unknown key 'color'")
        self.assertEqual(self.succeed("show", "one"), text)
        self.assertIn("two.json:1:2", self.refuse(STATUS_INPUT, "show", "two"))
        self.assertIn("runs: stop it first", self.refuse(STATUS_INPUT, "rm", "runs"))
        self.assertIn("no guest named 'none'", self.refuse(STATUS_INPUT, "rm", "none"))
        for name in ("one", "two", "gone"):
            self.succeed("rm", name)
        self.assertEqual(os.listdir(self.state / "guests"), ["runs.json"])
        self.assertEqual([name for name in os.listdir(self.state / "logs") if not name.startswith("runs.")], [])
        # Nothing is left that the next host or command would trip over.
        self.succeed("stop", "runs", "--timeout", "0")
        self.start_host()
        self.assertEqual(list(self.guests()), ["runs"])

    def test_another_change_at_the_same_time_is_refused(self):
        self.start_host()
        self.create("one")
        self.succeed("host", "stop")
        with open(self.state / "lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertIn("another host uses", self.refuse(STATUS_INPUT, "rm", "one"))
            self.assertTrue(self.definition("one").exists())
        self.succeed("rm", "one")


class Flags(HostTest):
    def dispatches(self, name):
        return json.loads(self.succeed("stats", name, "--json"))["vcpus"][0]["kinds"]["dispatch"]["count"]

    def test_an_option_turns_off_what_the_definition_says(self):
        self.start_host()
        self.create("one", "triple", "--no-reboot", "--autostart")
        self.assertTrue(self.show("one")["autostart"])
        self.succeed("set", "one", "--autostart=false", "--no-reboot=false")
        self.assertFalse(self.show("one")["autostart"])
        definition = json.loads(self.succeed("show", "one"))
        self.assertEqual((definition["autostart"], definition["no-reboot"]), (False, False))
        self.assertIn("true or false", self.refuse(STATUS_INPUT, "set", "one", "--autostart=no"))

    def test_nfold_run(self):
        definition = {"kernel": str(self.kernel["triple"]), "memory": "8M", "no-reboot": True, "name": "one"}
        (self.folder / "vm.json").write_text(json.dumps(definition))
        self.assertEqual(self.run_nfold("run", "vm.json").returncode, 6)
        process = self.start("--name", "one", "vm.json", "--no-reboot=false")
        # It has been reset when it begins again: its processor has entered more blocks than a life has.
        wait_for(lambda: self.dispatches("one") > 100)
        self.assert_runs(process)
        self.succeed("kill", "one")


if __name__ == "__main__":
    main()
