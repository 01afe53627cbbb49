#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold top on guests that run: the table, the CSV and its way back through nfold plan import, the screen seen through tmux."""

import csv
import io
import json
import os
import shlex
import socket
import subprocess

from guests import GuestTest
from support import STATUS_INPUT, Connection, main, wait_for

HEADS = {"processors by guest": "NAME VCPU %USED %RUN %SYS %WAIT %RDY %CSTP %MLMTD %IDLE %SWPWT",
         "overhead by cause": "NAME STATE %EXIT %TRANS %DEV %SYS %PRMPT IO/s INTR/s FAULT/s WAKEus",
         "memory": "NAME STATE SIZE MiB RESIDENT MiB %RES OVERHEAD MiB"}


class Top(GuestTest):
    def two_guests(self):
        disk = self.file("d.img", bytes(1 << 20))
        self.start_guest("spin", "--disk", disk, "--net", "user")
        self.start_guest("halt", "--cpus", "2")
        wait_for(lambda: self.stats("halt")["vcpus"][0]["clocks_ns"]["idle"] > 0)

    def tables(self):
        """What --once prints: for each table its lines, split into words."""
        blocks = self.succeed("top", "--once").split("\n\n")
        return blocks[0], {block.split("\n")[0]: [line.split() for line in block.strip().split("\n")[1:]] for block in blocks[1:]}

    def test_once(self):
        self.two_guests()
        summary, tables = self.tables()
        self.assertIn("2 guests, 3 vCPUs", summary)
        for name, head in HEADS.items():
            self.assertEqual(" ".join(tables[name][0]), head)
        rows = {row[0]: row for row in tables["processors by guest"][1:]}
        self.assertEqual((rows["spin"][1], rows["halt"][1]), ("1", "2"))
        _, _, used, run, system, wait, ready, costop, _, idle, _ = rows["spin"]
        self.assertAlmostEqual(float(run) + float(wait) + float(ready) + float(costop), 100, delta=0.4)
        self.assertAlmostEqual(float(used), float(run) + float(system), delta=0.2)
        self.assertEqual(float(idle), 0)
        self.assertGreater(float(rows["halt"][9]), 150)
        self.assertEqual([row[:2] for row in tables["virtual processors"][1:]].count(["halt", "1"]), 1)
        self.assertEqual(tables["disks"][1][-1], "d.img")
        self.assertEqual(tables["networks"][1][:3], ["spin", "0", "user"])

    def test_nobody_runs(self):
        summary, tables = self.tables()
        self.assertIn("0 guests", summary)
        self.assertEqual(tables["memory"], [["no", "guest", "runs"]])

    def test_csv_goes_through_the_planner(self):
        self.two_guests()
        text = self.succeed("top", "--batch", "-d", "1", "-n", "2")
        rows = list(csv.reader(io.StringIO(text)))
        self.assertEqual(len(rows), 3)
        self.assertTrue(all(len(row) == len(rows[0]) for row in rows))
        self.assertEqual(rows[0][0], "(PDH-CSV 4.0) (UTC)(0)")
        paths = [path.split("\\") for path in rows[0][1:]]
        self.assertTrue(all(path[:2] == ["", ""] and len(path) == 5 for path in paths), paths)
        values = {(path[3], path[4]): float(value) for path, value in zip(paths, rows[2][1:])}
        group = next(key[0] for key in values if key[0].startswith("Group Cpu(") and key[0].endswith(":spin)"))
        parts = [values[group, counter] for counter in ("% Run", "% Ready", "% CoStop", "% Wait")]
        self.assertAlmostEqual(sum(parts), 100, delta=0.1)
        # The way back.
        written, estate = self.file("top.csv", text), self.folder / "top.estate"
        self.assertIn("2 servers, 4 samples", self.succeed("plan", "import", "-o", estate, written))
        shown = json.loads(self.succeed("plan", "show", "--json", estate))
        servers = {server["name"]: server for server in shown["servers"]}
        self.assertEqual(sorted(servers), ["halt", "spin"])
        self.assertEqual((servers["halt"]["cpus"], servers["spin"]["cpus"]), (2, 1))

    def test_a_guest_comes_and_goes_beside_the_csv(self):
        self.start_guest("spin")
        self.start_guest("halt")
        wait_for(lambda: self.stats("halt")["vcpus"][0]["clocks_ns"]["idle"] > 0)
        with subprocess.Popen([self.nfold, "top", "--batch", "-d", "1"], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            try:
                self.follow_csv(process)
            finally:
                process.kill()

    def follow_csv(self, process):
        head = next(csv.reader([process.stdout.readline()]))
        process.stdout.readline()
        self.succeed("kill", "halt")
        column = next(i for i, path in enumerate(head) if path.endswith(":halt)\\% Used"))
        wait_for(lambda: next(csv.reader([process.stdout.readline()]))[column] == "")
        self.start_guest("user")
        self.assertIn("1 guests came after the first row", process.stderr.readline())

    def test_guests_that_do_not_answer(self):
        """A process that holds a guest's name and says nothing, or nonsense, is a row without figures."""
        self.start_guest("spin")
        wait_for(lambda: self.stats("spin")["vcpus"][0]["clocks_ns"]["guest"] > 0)
        with Connection(self.runtime / "spin.sock") as connection:
            status = connection.call("guest.status")["result"]
        os.kill(status["pid"], 19)
        try:
            _, tables = self.tables()
            self.assertEqual(tables["overhead by cause"][1][:2], ["spin", "silent"])
        finally:
            os.kill(status["pid"], 18)
        wait_for(lambda: self.tables()[1]["overhead by cause"][1][:2] == ["spin", "runs"])

    def test_the_ledger_cannot_be_written(self):
        self.start_guest("spin")
        with Connection(self.runtime / "spin.sock") as connection:
            connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "guest.ledger"}).encode() + b"\n")
            data, fds, _, _ = socket.recv_fds(connection.socket, 65536, 1)
            self.assertEqual(json.loads(data)["result"]["memory_bytes"], 64 << 20)
            with os.fdopen(fds[0], "r+b", buffering=0) as ledger:
                self.assertRaises(PermissionError, ledger.write, b"x")
            self.assertEqual(connection.call("guest.settle", memory=1)["error"]["code"], -32602)
            settled = connection.call("guest.settle", memory=True)["result"]
            self.assertGreater(settled["memory_resident_bytes"], 0)

    def test_clocks_sum_to_wall_time(self):
        self.two_guests()
        for name in ("spin", "halt"):
            for vcpu in self.stats(name)["vcpus"]:
                self.assertAlmostEqual(sum(vcpu["clocks_ns"].values()) / vcpu["wall_ns"], 1, delta=0.001)

    def test_bad_input(self):
        for words in (["--batch", "--once"], ["-d", "0"], ["-d", "x"], ["-n", "-1"], ["name"], ["--batch", "-d", "3601"]):
            self.refuse(STATUS_INPUT, "top", *words)
        self.refuse(STATUS_INPUT, "top")  # no terminal


class Screen(GuestTest):
    def setUp(self):
        super().setUp()
        self.socket = self.folder / "tmux"

    def tearDown(self):
        # Before the folder goes, and the socket with it.
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)
        super().tearDown()

    def tmux(self, *words):
        # ncurses keeps memory to the end; that is no leak of ours.
        options = self.environment["ASAN_OPTIONS"] + ":detect_leaks=0"
        return subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *words], capture_output=True, check=True, text=True,
                              env=self.environment | {"TERM": "xterm", "ASAN_OPTIONS": options}).stdout

    def lines(self):
        return self.tmux("capture-pane", "-p").split("\n")

    def shows(self, *texts):
        wait_for(lambda: all(text in "\n".join(self.lines()) for text in texts))

    def test_screen(self):
        self.start_guest("spin", "--net", "user")
        self.start_guest("halt", "--cpus", "2")
        command = f"{shlex.quote(str(self.nfold))} top -d 1; echo left $?; sleep 1000"
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", command)
        self.shows("2 guests", "processors by guest", "%SWPWT")
        wait_for(lambda: self.lines()[3].startswith("spin"))
        self.tmux("send-keys", "r")
        wait_for(lambda: self.lines()[3].startswith("halt"))
        self.tmux("send-keys", "v")
        self.shows("virtual processors", "STATE")
        self.tmux("send-keys", "n")
        self.shows("networks", "PKTTX/s")
        self.tmux("send-keys", "d")
        self.shows("no guest has a disk")
        self.tmux("send-keys", "m")
        self.shows("RESIDENT MiB")
        self.succeed("kill", "halt")
        self.shows("1 guest,")
        self.tmux("resize-window", "-x", "40", "-y", "8")
        self.shows("memory, every 1 s")
        self.tmux("send-keys", "c")
        self.shows("%USED")
        self.tmux("resize-window", "-x", "12", "-y", "2")
        self.tmux("resize-window", "-x", "120", "-y", "30")
        self.shows("%SWPWT")
        self.tmux("send-keys", "h")
        self.shows("docs/ledger.md")
        self.tmux("send-keys", "q")
        self.shows("%SWPWT")
        self.tmux("send-keys", "q")
        self.shows("left 0")

    def test_a_signal_gives_the_terminal_back(self):
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", f"{shlex.quote(str(self.nfold))} top; echo left $?; sleep 1000")
        self.shows("0 guests")
        self.tmux("send-keys", "C-c")
        self.shows("left 0")
        self.assertEqual(self.tmux("display", "-p", "#{alternate_on}").strip(), "0")


if __name__ == "__main__":
    main()
