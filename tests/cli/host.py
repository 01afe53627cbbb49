#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The host: definitions, lives of guests, what a host that died leaves to the next, and bad input."""

import json
import os
import signal
import subprocess
import time

from hosting import HostTest
from support import SECONDS, STATUS_HOST, STATUS_INPUT, main, wait_for


class Host(HostTest):
    def test_start_status_stop(self):
        for words in (("host", "status"), ("host", "stop"), ("create", "one", "--kernel", "k"), ("start", "one"), ("rm", "one")):
            self.assertIn("no host runs", self.refuse(STATUS_INPUT, *words))
        pid = self.start_host()
        self.assertIn(f"host runs already (process {pid})", self.refuse(STATUS_INPUT, "host", "start"))
        self.assertEqual(self.leftovers(), [".host.lock", ".host.sock"])
        self.succeed("host", "stop")
        self.assertEqual(self.leftovers(), [])

    def test_one_host_for_a_state_folder(self):
        self.start_host()
        other = self.folder / "other"
        other.mkdir(mode=0o700)
        self.environment["XDG_RUNTIME_DIR"] = str(other)
        self.assertIn("another host uses", self.refuse(STATUS_INPUT, "host", "start"))
        self.environment["XDG_RUNTIME_DIR"] = str(self.runtime_parent)

    def test_a_stale_socket_is_replaced(self):
        self.kill_host(self.start_host())
        self.assertEqual(self.leftovers(), [".host.lock", ".host.sock"])
        self.start_host()

    def test_a_state_folder_that_is_none(self):
        self.file("state", "a file")
        self.assertIn("state", self.refuse(STATUS_HOST, "host", "start"))
        self.assertEqual(self.leftovers(), [])

    def test_the_foreground_and_its_signals(self):
        host = subprocess.Popen([self.nfold.parent / "nfoldd"], env=self.environment, stderr=subprocess.PIPE)
        self.started.append(host)
        wait_for(self.host_pid)
        self.create("one")
        self.succeed("start", "one")
        host.send_signal(signal.SIGTERM)
        self.assertEqual(host.wait(SECONDS), 0)
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        self.start_host()

    def test_discover(self):
        self.start_host()
        answer = self.call("rpc.discover")["result"]
        self.assertEqual(answer["program"], "nfoldd")
        self.assertIn("guest.create", [method["name"] for method in answer["methods"]])


class Life(HostTest):
    def setUp(self):
        super().setUp()
        self.start_host()

    def test_from_create_to_rm(self):
        self.create("web", "tick", "--shares", "2000")
        self.assertEqual(self.guests()["web"]["STATE"], "stopped")
        self.succeed("start", "web")
        row = self.guests()["web"]
        self.assertEqual((row["STATE"], row["MEMORY"], row["CPUS"]), ("running", "8M", "1"))
        self.assertIn("runs already", self.refuse(STATUS_INPUT, "start", "web"))
        self.assertIn("stop it first", self.refuse(STATUS_INPUT, "rm", "web"))
        # The commands for running guests find it as they find any.
        self.succeed("pause", "web")
        self.assertIn("paused", self.refuse(STATUS_INPUT, "stop", "web"))
        self.assertEqual(self.guests()["web"]["STATE"], "paused")
        self.succeed("resume", "web")
        self.assertEqual(json.loads(self.succeed("stats", "web", "--json"))["name"], "web")
        self.succeed("stop", "web", "--timeout", "0")
        self.assertEqual((self.guests()["web"]["STATE"], self.reason("web")), ("stopped", "killed"))
        self.succeed("rm", "web")
        self.assertEqual((self.guests(), os.listdir(self.state / "guests"), os.listdir(self.state / "logs")), ({}, [], []))

    def test_reasons_of_ends(self):
        for guest, words, reason in (("poweroff", (), "powered off"), ("triple", ("--no-reboot",), "triple fault")):
            self.create(guest, guest, *words)
            self.succeed("start", guest)
            self.wait_state(guest, "stopped")
            self.assertEqual(self.reason(guest), reason)
        self.create("victim")
        self.succeed("start", "victim")
        for number, reason in ((signal.SIGKILL, "killed from outside"), (signal.SIGABRT, "crashed"), (signal.SIGSEGV, "crashed (Segmentation fault)")):
            os.kill(self.show("victim")["pid"], number)
            self.wait_state("victim", "stopped")
            self.assertIn(reason, self.reason("victim"))
            self.assertIn(reason, self.succeed("list"))
            self.succeed("start", "victim")
        self.succeed("kill", "victim")
        self.assertEqual(self.wait_state("victim", "stopped")["end"]["reason"], "killed")

    def test_what_cannot_start_says_why(self):
        self.create("bad", "spin", "--cdrom", "none.iso")
        for _ in range(2):
            self.assertIn("none.iso", self.refuse(STATUS_INPUT, "start", "bad"))
        self.assertIn("none.iso", self.succeed("list"))
        self.succeed("rm", "bad")

    def test_restart_policies(self):
        self.create("always", "poweroff", "--restart", "always")
        self.create("never", "poweroff")
        self.create("failing", "triple", "--restart", "on-failure", "--no-reboot")
        for name in ("always", "never", "failing"):
            self.succeed("start", name)
        for name in ("always", "failing"):
            wait_for(lambda: self.show(name)["starts"] >= 2)
        self.assertEqual(self.show("never")["starts"], 1)
        # A guest that waits to be started again can be stopped and removed.
        for name in ("always", "failing"):
            wait_for(lambda: self.show(name)["state"] == "restarting")
            self.succeed("stop", name)
            self.assertEqual(self.show(name)["state"], "stopped")
            self.succeed("rm", name)

    def test_a_guest_killed_on_purpose_is_not_started_again(self):
        self.create("one", "spin", "--restart", "always")
        self.succeed("start", "one")
        self.succeed("kill", "one")
        self.assertEqual(self.show("one")["state"], "stopped")
        self.succeed("start", "one")
        os.kill(self.show("one")["pid"], signal.SIGKILL)
        wait_for(lambda: self.show("one")["starts"] == 3 and self.show("one")["state"] == "running")

    def test_a_guest_that_does_not_listen_is_killed(self):
        self.create("one", "spin", "--stop-timeout", "1")
        self.succeed("start", "one")
        os.kill(self.show("one")["pid"], signal.SIGSTOP)
        self.succeed("stop", "one")
        self.assertEqual(self.reason("one"), "killed")

    def test_a_crash_touches_no_other(self):
        self.create("a", "tick")
        self.create("b", "tick")
        self.succeed("start", "a")
        self.succeed("start", "b")
        other = self.show("b")["pid"]
        os.kill(self.show("a")["pid"], signal.SIGABRT)
        self.wait_state("a", "stopped")
        self.assertEqual((self.show("b")["pid"], self.guests()["b"]["STATE"]), (other, "running"))

    def test_host_stop_with_guests(self):
        for name in ("a", "b"):
            self.create(name, "spin", "--stop-timeout", "1", "--restart", "always")
            self.succeed("start", name)
        self.succeed("host", "stop", "--guests", seconds=60)
        self.assertEqual({name: row["STATE"] for name, row in self.guests().items()}, {"a": "stopped", "b": "stopped"})
        self.assertEqual(self.leftovers(), [])

    def test_set(self):
        self.create("one")
        self.succeed("start", "one")
        self.succeed("set", "one", "--shares", "500", "--limit", "50%", "--memory", "16M")
        self.assertEqual((self.show("one")["shares"], self.show("one")["limit_ppm"]), (500, 500000))
        self.assertEqual(json.loads(self.succeed("show", "one"))["memory"], "16M")
        self.assertIn("reservation", self.refuse(STATUS_INPUT, "set", "one", "--reservation", "60%"))
        self.assertIn("nothing to set", self.refuse(STATUS_INPUT, "set", "one"))
        self.assertEqual(self.show("one")["reservation_ppm"], 0)
        answer = self.call("guest.set", name="one", definition={"limit": None})
        self.assertEqual(answer["result"]["limit_ppm"], 0)


class Consoles(HostTest):
    def setUp(self):
        super().setUp()
        self.start_host()

    def console(self, name):
        process = subprocess.Popen([self.nfold, "console", name], env=self.environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def test_sessions_one_after_another(self):
        self.create("one", "echo")
        self.succeed("start", "one")
        for text, answer in ((b"HAL", b"IBM"), (b"VMS", b"WNT")):
            first = self.console("one")
            first.stdin.write(text)
            first.stdin.flush()
            got = b""
            while not got.endswith(answer):  # what it said before comes first
                got += first.stdout.read(1)
            second = self.console("one")
            self.assertEqual(second.stdout.read(3)[:3], b"IBM")
            self.assertEqual(first.wait(SECONDS), 0)
            second.kill()
        self.assertEqual((self.state / "logs" / "one.console").read_bytes(), b"IBMWNT")
        third = self.console("one")
        self.assertEqual(third.stdout.read(6), b"IBMWNT")
        self.succeed("kill", "one")
        self.assertEqual(third.wait(SECONDS), 0)
        self.assertIn("does not run", self.refuse(STATUS_INPUT, "console", "one"))

    def test_the_log_is_bounded(self):
        self.create("one", "tick", "--engine", "translate")
        self.succeed("start", "one")
        log = self.state / "logs" / "one.console"
        wait_for(lambda: log.exists() and log.stat().st_size > 1000)
        self.assertEqual(log.read_bytes()[:2], b"B.")
        # A log that is full makes room, and keeps what was.
        self.succeed("kill", "one")
        self.succeed("start", "one")
        wait_for(lambda: log.exists() and log.stat().st_size > 100)
        self.assertEqual((self.state / "logs" / "one.console.1").read_bytes()[:2], b"B.")

    def test_without_a_host(self):
        self.create("one", "tick")
        self.succeed("start", "one")
        self.succeed("host", "stop")
        process = self.console("one")
        self.assertRegex(process.stdout.read(3), rb"[B.]\.\.")
        process.kill()
        process.wait(SECONDS)
        self.start_host()
        self.assertIn(self.console("one").stdout.read(1), (b"B", b"."))

    def test_a_serial_port_of_its_own(self):
        self.create("one", "tick", "--serial", "out.txt")
        self.succeed("start", "one")
        self.assertIn("out.txt", self.refuse(STATUS_INPUT, "console", "one"))
        wait_for(lambda: (self.folder / "out.txt").read_bytes().startswith(b"B."))


class Adoption(HostTest):
    def test_a_new_host_adopts_what_runs(self):
        pid = self.start_host()
        self.create("one", "spin")
        self.create("two", "spin")
        for name in ("one", "two"):
            self.succeed("start", name)
        processes = {name: self.show(name)["pid"] for name in ("one", "two")}
        self.kill_host(pid)
        self.assertEqual({name: row["STATE"] for name, row in self.guests().items()}, {"one": "running", "two": "running"})
        self.succeed("kill", "two")
        self.start_host()
        shown = self.show("one")
        self.assertEqual((shown["state"], shown["pid"], shown["adopted"]), ("running", processes["one"], True))
        self.assertEqual(self.show("two")["state"], "stopped")
        # The reason of an adopted guest's end comes from its status file, or there is none.
        self.succeed("stop", "one", "--timeout", "0")
        self.assertEqual(self.reason("one"), "killed")
        self.succeed("start", "one")
        self.kill_host(self.host_pid())
        self.start_host()
        os.kill(self.show("one")["pid"], signal.SIGKILL)
        self.assertEqual(self.wait_state("one", "stopped")["end"]["reason"], "its process was killed or crashed")

    def test_orderly_stop_leaves_guests_running(self):
        self.start_host()
        self.create("one")
        self.succeed("start", "one")
        pid = self.show("one")["pid"]
        self.succeed("host", "stop")
        self.assertEqual(int(self.guests()["one"]["PID"]), pid)
        self.start_host()
        self.assertEqual(self.show("one")["pid"], pid)

    def test_autostart_in_order(self):
        self.start_host()
        for name, order in (("a", "3"), ("b", "1"), ("c", "2")):
            self.create(name, "spin", "--autostart", "--start-order", order)
        self.create("bad", "spin", "--autostart", "--start-order", "1", "--cdrom", "none.iso")
        self.create("later")
        self.succeed("host", "stop")
        self.start_host()
        for name in ("a", "b", "c"):
            self.wait_state(name, "running")
        self.assertLess(self.show("b")["pid"], self.show("c")["pid"])
        self.assertLess(self.show("c")["pid"], self.show("a")["pid"])
        self.assertEqual(self.show("later")["state"], "stopped")
        self.assertIn("none.iso", self.reason("bad"))

    def test_a_guest_of_nfold_run_is_no_hosts(self):
        self.start_host()
        self.start("--kernel", self.kernel["spin"], "--memory", "8M", "--name", "mine")
        self.assertIn("'mine' runs already", self.refuse(STATUS_INPUT, "create", "mine", "--kernel", self.kernel["spin"]))
        self.assertIn("no guest named", self.call("guest.stop", name="mine")["error"]["message"])
        self.succeed("stop", "mine", "--timeout", "0")


class BadInput(HostTest):
    def setUp(self):
        super().setUp()
        self.start_host()

    def test_names(self):
        for name in ("", "..", "a/b", ".host", "-x", "x" * 65):
            self.refuse(STATUS_INPUT, "create", "--kernel", "k", "--", name)
            self.assertIn("error", self.call("guest.create", name=name, definition={"kernel": "/k"}))
        self.assertEqual(os.listdir(self.state / "guests"), [])
        for command in ("start", "stop", "kill", "show", "rm", "console"):
            self.refuse(STATUS_INPUT, command, "nobody")

    def test_definitions(self):
        for words in (("--cpus", "99"), ("--memory", "1"), ("--reservation", "9"), ("--limit", "x"), ("--serial", "stdio"),
                      ("--display", "terminal"), ("--affinity", "300"), ("--name", "other")):
            self.refuse(STATUS_INPUT, "create", "one", "--kernel", self.kernel["spin"], *words)
        for definition in ([], "x", {"kernel": 1, "color": 2}, {"ready-fd": 3, "kernel": "/k"}, None):
            self.assertIn("error", self.call("guest.create", name="one", definition=definition))
        self.assertEqual(os.listdir(self.state / "guests"), [])
        self.create("one")
        self.assertIn("defined already", self.refuse(STATUS_INPUT, "create", "one", "--kernel", self.kernel["spin"]))

    def test_a_definition_file(self):
        (self.folder / "vm.json").write_text(json.dumps({"kernel": str(self.kernel["spin"]), "memory": "8M", "shares": 5}))
        self.succeed("create", "one", "vm.json", "--shares", "7")
        self.assertEqual(self.show("one")["shares"], 7)
        (self.folder / "vm.json").write_text('{"kernel": 1,\n "color": 2}')
        self.assertIn("vm.json:2:2: unknown key 'color'", self.refuse(STATUS_INPUT, "create", "two", "vm.json"))

    def test_edited_into_nonsense(self):
        self.create("one")
        self.create("two")
        self.definition("one").write_text('{"kernel": "x",\n  "cpus": "many"}')
        self.definition("two").write_text("nonsense")
        text = self.succeed("list")
        self.assertIn("one.json:2:3: cpus 'many'", text)
        self.assertEqual({name: row["STATE"] for name, row in self.guests().items()}, {"one": "broken", "two": "broken"})
        for command in ("start", "show"):
            self.assertIn("one.json:2:3", self.refuse(STATUS_INPUT, command, "one"))
        self.assertIn("mend the file", self.refuse(STATUS_INPUT, "set", "one", "--cpus", "1"))
        # It can be mended, or removed.
        self.definition("one").write_text(json.dumps({"kernel": str(self.kernel["spin"]), "memory": "8M"}))
        self.succeed("start", "one")
        self.definition("one").write_text("{")
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        self.succeed("stop", "one", "--timeout", "0")
        self.assertEqual(self.guests()["one"]["STATE"], "broken")
        self.succeed("rm", "one")
        self.succeed("rm", "two")
        self.assertEqual(self.guests(), {})

    def test_files_that_are_no_definitions(self):
        guests = self.state / "guests"
        (guests / "notes.txt").write_text("mine")
        (guests / "..json").write_text("{}")
        (guests / "folder.json").mkdir()
        os.mkfifo(guests / "pipe.json")
        self.assertEqual({name: row["STATE"] for name, row in self.guests().items()}, {"folder": "broken", "pipe": "broken"})
        self.succeed("rm", "pipe")
        self.assertIn("folder.json", self.refuse(STATUS_INPUT, "rm", "folder"))
        self.assertTrue((guests / "notes.txt").exists())

    def test_a_definition_removed_by_hand(self):
        self.create("one")
        self.succeed("start", "one")
        self.definition("one").unlink()
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        self.succeed("stop", "one", "--timeout", "0")
        self.assertEqual(self.guests(), {})
        self.create("one")


if __name__ == "__main__":
    main()
