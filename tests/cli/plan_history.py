#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold plan import of what nfold record wrote (docs/history.md), of databases that are not that, and of models' ratings."""

import json
import random
import sqlite3

from support import STATUS_INPUT, CliTest, main

SECOND, MIB = 10**9, 1 << 20
START = 1772445600 * SECOND
APPLICATION, SCHEMA = 1852204136, 1
TABLES = """
CREATE TABLE reading (id INTEGER PRIMARY KEY, end_ns INTEGER, interval_ns INTEGER);
CREATE TABLE guest (id INTEGER PRIMARY KEY, name TEXT, started_ns INTEGER, vcpus INTEGER, memory_bytes INTEGER);
CREATE TABLE guest_sample (reading INTEGER, guest INTEGER, interval_ns INTEGER, system_ns INTEGER, resident_bytes INTEGER,
    overhead_bytes INTEGER, PRIMARY KEY (reading, guest)) WITHOUT ROWID;
CREATE TABLE vcpu_sample (reading INTEGER, guest INTEGER, vcpu INTEGER, interval_ns INTEGER, guest_ns INTEGER, exit_ns INTEGER,
    translate_ns INTEGER, device_ns INTEGER, idle_ns INTEGER, ready_ns INTEGER, preempted_ns INTEGER,
    PRIMARY KEY (reading, guest, vcpu)) WITHOUT ROWID;
CREATE TABLE disk_sample (reading INTEGER, guest INTEGER, disk INTEGER, reads INTEGER, read_bytes INTEGER, writes INTEGER,
    write_bytes INTEGER, PRIMARY KEY (reading, guest, disk)) WITHOUT ROWID;
CREATE TABLE network_sample (reading INTEGER, guest INTEGER, network INTEGER, received_bytes INTEGER, sent_bytes INTEGER,
    PRIMARY KEY (reading, guest, network)) WITHOUT ROWID;
"""


class History(CliTest):
    def database(self, name="history.sqlite", readings=20, every=10):
        path = self.folder / name
        database = sqlite3.connect(path)
        database.executescript(TABLES + f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};")
        database.executemany("INSERT INTO guest VALUES (?, ?, 0, ?, ?)", [(1, "web", 2, 512 * MIB), (2, "db", 1, 1024 * MIB)])
        for i in range(1, readings + 1):
            span = every * SECOND
            database.execute("INSERT INTO reading VALUES (?, ?, ?)", (i, START + i * span, span))
            for guest, vcpus in ((1, 2), (2, 1)):
                database.execute("INSERT INTO guest_sample VALUES (?, ?, ?, ?, ?, 0)", (i, guest, span, span // 10, guest * 100 * MIB))
                for vcpu in range(vcpus):
                    database.execute("INSERT INTO vcpu_sample VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, ?, 0)",
                                     (i, guest, vcpu, span, span // 4, span // 20, span // 2, span // 10))
            database.execute("INSERT INTO disk_sample VALUES (?, 2, 0, 100, 1000000, 50, 200000)", (i,))
            database.execute("INSERT INTO disk_sample VALUES (?, 2, 1, 10, 100000, 0, 0)", (i,))
            database.execute("INSERT INTO network_sample VALUES (?, 1, 0, 5000, 7000)", (i,))
        database.commit()
        return database, path

    def estate(self, *words):
        self.succeed("plan", "import", "-o", "estate", *words)
        shown = json.loads(self.succeed("plan", "show", "--json", "estate"))
        return {server["name"]: server for server in shown["servers"]}

    def test_every_series(self):
        self.database()[0].close()
        servers = self.estate("history.sqlite")
        web, db = servers["web"], servers["db"]
        self.assertEqual((web["cpus"], db["cpus"], web["interval_s"]), (2, 1, 10))
        self.assertEqual((web["slots"], db["notes"].get("gaps", 0)), (20, 0))
        mean = {name: {key: series["mean"] for key, series in servers[name]["series"].items()} for name in servers}
        # The guest's own work, 0.25 of each vCPU's time, and its part, 25 of 30, of the 0.1 that it waited for a processor. The rest
        # is the engine's: the plan adds that itself.
        self.assertAlmostEqual(mean["web"]["cpu"], 0.25 + 0.1 * 25 / 30, places=4)
        self.assertAlmostEqual(mean["db"]["cpu"], 0.25 + 0.1 * 25 / 30, places=4)
        self.assertEqual((mean["web"]["memory"], mean["db"]["memory"]), (100 * MIB, 200 * MIB))
        for key, value in (("disk_read", 110000), ("disk_write", 20000), ("disk_read_ops", 11), ("disk_write_ops", 5)):
            self.assertAlmostEqual(mean["db"][key], value, places=2)
            self.assertNotIn(key, mean["web"])
        self.assertAlmostEqual(mean["web"]["net_receive"], 500, places=2)
        self.assertAlmostEqual(mean["web"]["net_send"], 700, places=2)

    def test_who_only_waits(self):
        database, _ = self.database()
        database.execute("UPDATE vcpu_sample SET guest_ns = 0, exit_ns = 0")
        database.commit()
        database.close()
        self.assertAlmostEqual(self.estate("history.sqlite")["web"]["series"]["cpu"]["mean"], 0.1, places=4)

    def test_while_it_is_written(self):
        database, _ = self.database()
        database.execute("INSERT INTO reading VALUES (99, 0, 0)")  # a transaction that does not end
        self.assertEqual(len(self.estate("history.sqlite")), 2)
        database.close()

    def change(self, script, says):
        database, path = self.database("changed.sqlite")
        database.executescript(script)
        database.commit()
        database.close()
        self.assertIn(says, self.refuse(STATUS_INPUT, "plan", "import", "-o", "new", "changed.sqlite"))
        path.unlink()

    def test_other_databases(self):
        self.change("PRAGMA application_id = 1", "not of nfold record")
        self.change("PRAGMA user_version = 2", "another version")
        self.change("DROP TABLE disk_sample", "disk_sample")
        self.change("DROP TABLE vcpu_sample; CREATE VIEW vcpu_sample AS WITH RECURSIVE x(reading) AS (SELECT 1 UNION ALL SELECT reading + 1 "
                    "FROM x) SELECT reading, 1 AS guest, 1 AS guest_ns, 1 AS exit_ns, 1 AS translate_ns, 1 AS device_ns, 1 AS ready_ns, "
                    "1 AS preempted_ns FROM x", "history cannot be read")
        self.change("DROP TABLE network_sample; CREATE TABLE network_sample (reading INTEGER, guest INTEGER, received_bytes INTEGER, sent_bytes "
                    "INTEGER AS (length(hex(zeroblob(1000000))))); INSERT INTO network_sample VALUES (1, 1, 1)", "history cannot be read")
        self.change("UPDATE guest_sample SET interval_ns = 0", "interval")
        self.change("UPDATE guest SET name = NULL", "name")

    def test_a_query_that_would_take_for_ever(self):
        """Without keys each sample looks through all others: steps are counted."""
        self.change("DROP TABLE vcpu_sample; CREATE TABLE vcpu_sample (reading, guest, guest_ns, exit_ns, translate_ns, device_ns, ready_ns, "
                    "preempted_ns); WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 3000) INSERT INTO vcpu_sample "
                    "SELECT 1, 1, 1, 1, 1, 1, 1, 1 FROM x; WITH RECURSIVE x(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM x WHERE i < 20000) "
                    "INSERT INTO guest_sample SELECT 1, i, 10000000000, 0, 0, 0 FROM x; WITH RECURSIVE x(i) AS (SELECT 100 UNION ALL SELECT "
                    "i + 1 FROM x WHERE i < 20000) INSERT INTO guest SELECT i, 'g', 0, 1, 0 FROM x", "too long")

    def test_damaged_files(self):
        database, path = self.database(readings=200)
        database.close()
        whole, dice = path.read_bytes(), random.Random(7)
        (self.folder / "cut.sqlite").write_bytes(whole[:len(whole) // 2])
        self.assertIn("cut.sqlite: the history cannot be read", self.refuse(STATUS_INPUT, "plan", "import", "-o", "new", "cut.sqlite"))
        (self.folder / "head.sqlite").write_bytes(whole[:40])
        self.refuse(STATUS_INPUT, "plan", "import", "-o", "new", "head.sqlite")
        for _ in range(30):
            damaged = bytearray(whole)
            for _ in range(20):
                damaged[dice.randrange(100, len(damaged))] = dice.randrange(256)
            (self.folder / "bad.sqlite").write_bytes(damaged)
            result = self.run_nfold("plan", "import", "-o", "new", "bad.sqlite")
            self.assertIn(result.returncode, (0, STATUS_INPUT), result.stderr)
            self.assertEqual(result.stderr.count(b"\n"), 1 if result.returncode else 0, result.stderr)

    def test_ratings_of_models(self):
        self.database()[0].close()
        (self.folder / "servers.csv").write_text("server,mhz,model\nweb,2600,Xeon Gold 6430\ndb,2600,\n")
        (self.folder / "ratings.csv").write_text("model,rating\nxeon*6430,7.5\n")
        words = ("--attributes", "servers.csv", "history.sqlite")
        servers = self.estate("--ratings", "ratings.csv", *words)
        self.assertEqual(servers["web"]["rating"], 15)
        self.assertFalse(servers["db"].get("rating"))
        self.assertIn("column 'model'", self.refuse(STATUS_INPUT, "plan", "import", "-o", "new", "--ratings", "ratings.csv", "history.sqlite"))
        (self.folder / "ratings.csv").write_text("model,rating\nOpteron*,7.5\n")
        self.assertIn("'Xeon Gold 6430'", self.refuse(STATUS_INPUT, "plan", "import", "-o", "new", "--ratings", "ratings.csv", *words))


if __name__ == "__main__":
    main()
