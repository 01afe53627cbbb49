#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold record: the history of guests that run, as docs/history.md promises it; killed, out of room, beside other programs."""

import os
import re
import resource
import signal
import sqlite3
import subprocess
from pathlib import Path

from guests import GuestTest
from support import STATUS_INPUT, main, wait_for

DOCUMENT = Path(__file__).parents[2] / "docs" / "history.md"
CLOCKS = ("guest", "exit", "translate", "device", "idle", "ready", "costop", "limited", "paging", "paused", "preempted", "blocked")


class Record(GuestTest):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "history.sqlite"

    def query(self, sql, *values):
        database = sqlite3.connect(self.path, timeout=20)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def whole(self):
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.query("PRAGMA foreign_key_check"), [])

    def background(self, *words, **options):
        process = subprocess.Popen([self.nfold, "record", "--every", "1s", *map(str, words), self.path], env=self.environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def readings(self):
        try:
            return self.query("SELECT count(*) FROM reading")[0][0]
        except sqlite3.OperationalError:
            return 0

    def test_what_is_written(self):
        self.start_guest("spin", "--disk", self.file("d.img", bytes(1 << 20)), "--net", "user")
        self.start_guest("halt", "--cpus", "2")
        wait_for(lambda: self.stats("halt")["vcpus"][1]["clocks_ns"]["idle"] > 0)
        self.succeed("record", "--every", "1", "-n", "2", self.path)
        self.whole()
        self.assertEqual(self.readings(), 2)
        self.assertEqual(self.query("SELECT name, vcpus, memory_bytes FROM guest ORDER BY name"), [("halt", 2, 64 << 20), ("spin", 1, 64 << 20)])
        clocks = " + ".join(f"{clock}_ns" for clock in CLOCKS)
        rows = self.query(f"SELECT interval_ns, {clocks}, guest_ns + preempted_ns, name FROM vcpu_sample JOIN guest ON id = guest")
        self.assertEqual(len(rows), 6)
        for interval, total, wanted, name in rows:
            self.assertAlmostEqual(total / interval, 1, delta=0.001)
            if name == "spin":
                self.assertGreater(wanted / interval, 0.8)
        for run, ready, costop, wait in self.query("SELECT run, ready, costop, wait FROM guest_rate WHERE name = 'spin'"):
            self.assertAlmostEqual(run + ready + costop + wait, 100, delta=0.1)
        self.assertEqual(self.query("SELECT d.name, count(*) FROM disk d JOIN disk_sample USING (guest, disk) GROUP BY d.name"), [(str(self.folder / "d.img"), 2)])
        self.assertEqual(self.query("SELECT kind, count(*) FROM network JOIN network_sample USING (guest, network)"), [("user", 2)])
        # It goes on in the same file, with the same guests; what nobody saw is in no row.
        self.succeed("record", "--every", "1s", "-n", "1", self.path)
        self.assertEqual((self.readings(), self.query("SELECT count(*) FROM guest")), (3, [(2,)]))
        moments = self.query("SELECT end_ns - interval_ns, end_ns FROM reading ORDER BY id")
        self.assertTrue(all(later[0] >= earlier[1] - 50_000_000 for earlier, later in zip(moments, moments[1:])), moments)

    def test_the_document_has_every_column(self):
        self.succeed("record", "--every", "1s", "-n", "1", self.path)
        text = DOCUMENT.read_text(encoding="utf-8")
        words = set(re.findall(r"`([a-z_]+)`", text))
        for name, kind in self.query("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"):
            self.assertIn(name, words, kind)
            for column in self.query(f"PRAGMA table_info({name})"):
                self.assertIn(column[1], words, name)
        self.assertIn(str(self.query("PRAGMA application_id")[0][0]), text)

    def test_killed_at_any_time(self):
        self.start_guest("spin")
        for count in (1, 2):
            process = self.background()
            wait_for(lambda want=count: self.readings() >= want)
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.whole()
        self.assertGreaterEqual(self.readings(), 2)

    def test_a_signal_ends_it(self):
        process = self.background()
        wait_for(lambda: self.readings() >= 1)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)
        self.whole()

    def test_no_room(self):
        """A file that may not grow stands for a disk that is full: one line, and the file stays whole."""
        self.start_guest("spin")
        self.succeed("record", "--every", "1", "-n", "1", self.path)
        size = self.path.stat().st_size

        def no_growth():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

        process = self.background("-n", "3", preexec_fn=no_growth, restore_signals=False)
        _, text = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(text.count(b"\n"), 1, text)
        self.assertIn(b"readings are lost", text)
        self.whole()
        self.assertEqual(self.readings(), 1)
        self.succeed("record", "--every", "1", "-n", "1", self.path)
        self.assertEqual(self.readings(), 2)

    def test_old_readings_go(self):
        self.start_guest("spin")
        self.succeed("record", "--every", "1", "-n", "2", self.path)
        database = sqlite3.connect(self.path)
        with database:
            database.execute("UPDATE reading SET end_ns = end_ns - 2 * 86400000000000 WHERE id = 1")
            database.execute("INSERT INTO guest (name, started_ns, vcpus, memory_bytes) VALUES ('gone', 1, 1, 1)")
        database.close()
        self.succeed("record", "--every", "1", "--keep", "1", "-n", "1", self.path)
        self.assertEqual(self.query("SELECT id FROM reading ORDER BY id"), [(2,), (3,)])
        self.assertEqual(self.query("SELECT DISTINCT reading FROM vcpu_sample ORDER BY 1"), [(2,), (3,)])
        self.assertEqual(self.query("SELECT name FROM guest"), [("spin",)])
        self.whole()

    def test_a_reader_that_holds_it(self):
        process = self.background()
        wait_for(lambda: self.readings() >= 1)
        database = sqlite3.connect(self.path, isolation_level=None)
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM reading").fetchall()
        database.execute("COMMIT")
        database.close()
        have = self.readings()
        wait_for(lambda: self.readings() > have)
        process.send_signal(signal.SIGTERM)
        self.assertEqual((process.wait(20), process.stderr.read()), (0, b""))

    def test_files_of_others_are_left_alone(self):
        text = self.file("text", "not a database, but long enough to look like one\n" * 100)
        other = self.folder / "other.sqlite"
        database = sqlite3.connect(other)
        with database:
            database.execute("CREATE TABLE t (x)")
        database.close()
        newer = self.folder / "newer.sqlite"
        self.succeed("record", "--every", "1", "-n", "1", newer)
        database = sqlite3.connect(newer)
        with database:
            database.execute("PRAGMA user_version = 2")
        database.close()
        for path in (text, other, newer):
            before = path.read_bytes()
            self.refuse(STATUS_INPUT, "record", path)
            self.assertEqual(path.read_bytes(), before)

    def test_bad_input(self):
        for words in ([], ["--every", "0", "x"], ["--every", "301", "x"], ["--every", "6min", "x"], ["--every", "1h", "x"], ["--every", "-1", "x"],
                      ["--every", "", "x"], ["--every", "9" * 40, "x"], ["--keep", "0", "x"], ["a", "b"]):
            self.refuse(STATUS_INPUT, "record", *words)
        self.assertFalse((self.folder / "x").exists())
        result = self.run_nfold("record", os.path.join(self.folder, "no", "such", "folder"))
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count(b"\n"), 1)


if __name__ == "__main__":
    main()
