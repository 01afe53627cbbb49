#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold plan import and show, as a user runs them; with sar's own files, and the machines of NFOLD_PLAN_DATA if it is set.

NFOLD_PLAN_DATA names a folder with the Bitbrains traces, N.csv or N.csv.gz.
"""

import csv
import gzip
import io
import json
import math
import os
import shutil
import subprocess
import unittest
from pathlib import Path

from support import STATUS_HOST, STATUS_INPUT, CliTest, main

DATA = Path(__file__).parents[1] / "plan" / "data"
SADC = next((path for path in ("/usr/lib/sysstat/sadc", "/usr/lib64/sa/sadc") if os.path.exists(path)), None)
PDH = '"(PDH-CSV 4.0) (UTC)(0)","\\\\%s\\Processor(_Total)\\%% Processor Time"\n'


def pdh(host, *values):
    return PDH % host + "".join(f'"03/02/2026 10:0{i}:00.000","{value}"\n' for i, value in enumerate(values))


class Plan(CliTest):
    def estate(self, *words, **options):
        output = self.succeed("plan", "import", "-o", "estate", *words, **options)
        return output, json.loads(self.succeed("plan", "show", "--json", "estate", **options))

    def refuse_import(self, *words):
        before = sorted(os.listdir(self.folder))
        line = self.refuse(STATUS_INPUT, "plan", "import", "-o", "new", *words)
        self.assertEqual(sorted(os.listdir(self.folder)), before, "a file was created")
        return line


class Import(Plan):
    def test_a_folder_of_everything(self):
        folder = self.folder / "in"
        shutil.copytree(DATA, folder)
        (folder / "below").mkdir()
        with gzip.open(folder / "below" / "deep.csv.gz", "wb") as file:
            file.write(pdh("DEEP", 10, 20, 30).encode())
        (folder / ".hidden").write_text("not looked at")
        (folder / "README").write_text("read me")
        (folder / "empty.csv").write_bytes(b"")
        output, estate = self.estate(folder)
        names = [server["name"] for server in estate["servers"]]
        self.assertEqual(names, sorted(["EXCH01", "CLOCK", "DB-MÜNCHEN", "DEEP", "db (main)", "web", "esx01.example.com", "web1", "web2",
                                        "old1"], key=str.encode))
        self.assertRegex(output, r"^estate: 10 servers, \d+ samples from 11 files")
        for left_out in ("README", "empty.csv", "table.csv", "table.map", "attributes.csv"):
            self.assertIn(f"{left_out}: left out", output)
        self.assertNotIn("hidden", output)
        files = {Path(file["path"]).name: file for file in estate["import"]["files"]}
        self.assertEqual(files["deep.csv.gz"]["format"], "perfmon")
        self.assertEqual(files["sadf.json"]["format"], "sadf-json")
        self.assertEqual(sum(file["samples"] for file in files.values()), sum(server["notes"]["rows"] for server in estate["servers"]))

    def test_the_tools_by_name(self):
        output, _ = self.estate("--perfmon", DATA / "perfmon.csv", "--sar", DATA / "sadf.txt", DATA / "sadf.json", "--esxtop", DATA / "esxtop.csv")
        self.assertTrue(output.startswith("estate: 5 servers"), output)
        self.assertIn("not a file of sar", self.refuse_import("--sar", DATA / "perfmon.csv"))
        self.assertIn("not a file of perfmon", self.refuse_import("--perfmon", DATA / "esxtop.csv"))

    def test_bad_files_end_it_in_one_line_and_lose_nothing(self):
        bad = self.file("bad.csv", pdh("A", 1, 2) + '"x"\n')
        good = self.file("good.csv", pdh("A", 1, 2))
        self.assertRegex(self.refuse_import(bad), r"bad\.csv:4: 1 fields, the header has 2")
        self.assertIn("No such file", self.refuse_import("nothing"))
        self.refuse_import(good, "/dev/null")
        self.refuse_import(good, "--map", "nothing")
        self.refuse_import(good, "--attributes", bad)
        self.refuse_import(good, "--timezone", "CET")
        self.refuse_import(self.file("\x1b[2J.csv", b"\x1b[2J"))
        self.refuse_import(self.file("random", os.urandom(100000)))
        self.refuse_import(self.file("cut.csv.gz", gzip.compress(good.read_bytes() * 100)[:-20]))
        os.mkdir(self.folder / "nothing in it")
        self.refuse_import("nothing in it")
        self.refuse(STATUS_INPUT, "plan", "import", good)
        self.refuse(STATUS_INPUT, "plan", "import", "-o", "x")
        self.refuse(STATUS_INPUT, "plan", "import", "-o", "no/such/folder", good)
        self.refuse(STATUS_INPUT, "plan", "import", "-o", self.folder, good)
        self.succeed("plan", "import", "-o", "new", good)
        before = (self.folder / "new").read_bytes()
        self.refuse_import(bad)
        self.assertEqual((self.folder / "new").read_bytes(), before, "the older estate was changed")

    def test_keep_going(self):
        bad = self.file("bad.csv", pdh("A", 1, 2, 3) + '"x"\n' + '"03/02/2026 10:03:00.000","4"\n')
        output, estate = self.estate("--keep-going", bad, "nothing", self.file("hello", "hello"))
        self.assertIn("left out: 2 files, 0 servers, 1 lines", output)
        self.assertEqual(estate["servers"][0]["series"]["cpu"]["values"], 4)
        self.assertEqual(len(estate["import"]["lost"]), 2)
        self.assertEqual(estate["import"]["files"][0]["lines_lost"], 1)

    def test_a_disk_that_is_full(self):
        large = self.file("large.csv", PDH % "A" + "".join(
            f'"03/{day:02}/2026 {hour:02}:{minute:02}:00.000","{minute}"\n' for day in range(1, 31) for hour in range(24) for minute in range(60)))
        result = subprocess.run(["bash", "-c", 'ulimit -f 16; trap "" XFSZ; exec "$0" plan import -o full "$1"', self.nfold, large],
                                cwd=self.folder, capture_output=True, check=False, text=True)
        self.assertEqual(result.returncode, STATUS_HOST, result)
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("full")], [])

    @unittest.skipUnless(SADC and shutil.which("sadf"), "needs sysstat")
    def test_binary_files_of_sar_are_read_as_sadf_reads_them(self):
        path = self.folder / "-sa01"
        subprocess.run([SADC, "-S", "DISK", "1", "3", path], check=True, timeout=60)
        _, binary = self.estate("--", "-sa01")
        (self.folder / "text").write_bytes(subprocess.run(
            ["sadf", "-d", path, "--", "-u", "ALL", "-r", "ALL", "-b", "-n", "DEV", "-W"], check=True, capture_output=True).stdout)
        _, text = self.estate("text")
        (one,), (other,) = binary["servers"], text["servers"]
        self.assertEqual(set(one["series"]), set(other["series"]))
        for name, series in one["series"].items():
            self.assertAlmostEqual(series["mean"], other["series"][name]["mean"], delta=1e-6 * (1 + series["mean"]), msg=name)
        self.assertEqual(one["memory_bytes"], other["memory_bytes"])
        self.assertEqual(one["cpus"], os.sysconf("SC_NPROCESSORS_CONF"))

    @unittest.skipUnless(shutil.which("sadf"), "needs sysstat")
    def test_a_binary_file_that_sadf_refuses(self):
        line = self.refuse_import(self.file("sa02", b"\x96\xd5" + os.urandom(1000)))
        self.assertIn("sadf ends with status", line)


class Show(Plan):
    def test_numbers(self):
        self.file("a.csv", pdh("A", *range(10)))
        self.succeed("plan", "import", "-o", "estate", "a.csv")
        text = self.succeed("plan", "show", "estate")
        self.assertIn("1 servers, 2026-03-02T09:59:00Z to 2026-03-02T10:09:00Z", text)
        self.assertRegex(text, r"cpu +4\.5 % +4\.0 % +8\.0 % +9\.0 % +9\.0 % +9\.0 %")

    def test_a_page(self):
        self.file("a.csv", pdh("</script><b>", *range(10)))
        self.succeed("plan", "import", "-o", "estate", "a.csv")
        self.assertEqual(self.succeed("plan", "show", "estate", "--html", "page.html"), "")
        page = (self.folder / "page.html").read_text()
        self.assertNotIn("<b>", page)
        self.assertNotRegex(page, r"(src|href)=")
        start = page.index('id="plan">') + len('id="plan">')
        data = json.loads(page[start:page.index("</script>", start)])
        self.assertEqual(data["servers"][0]["name"], "</script><b>")
        self.assertEqual([chart["values"] for chart in data["totals"]["charts"]], [None] * 5, "no clock, no memory, no disk")
        self.file("servers.csv", "server,cpus,mhz\n</script><b>,2,1000\n")
        self.succeed("plan", "import", "-o", "estate", "a.csv", "--attributes", "servers.csv")
        self.succeed("plan", "show", "estate", "--html", "page.html")
        page = (self.folder / "page.html").read_text()
        start = page.index('id="plan">') + len('id="plan">')
        data = json.loads(page[start:page.index("</script>", start)])
        self.assertEqual(data["totals"]["charts"][0]["values"], [20 * k for k in range(10)])
        self.refuse(STATUS_HOST, "plan", "show", "estate", "--html", "no/such/page.html")

    def test_what_is_no_estate(self):
        for path in ("nothing", self.file("a.csv", pdh("A", 1)), self.folder, "/dev/null", self.file("short", b"nfoldEST")):
            self.refuse(STATUS_INPUT, "plan", "show", path)
        self.file("good.csv", pdh("A", 1, 2, 3))
        self.succeed("plan", "import", "-o", "estate", "good.csv")
        damaged = bytearray((self.folder / "estate").read_bytes())
        damaged[128] ^= 1
        (self.folder / "estate").write_bytes(damaged)
        self.assertIn("damaged", self.refuse(STATUS_INPUT, "plan", "show", "--json", "estate"))


def open_trace(path):
    return io.TextIOWrapper(gzip.open(path)) if path.suffix == ".gz" else path.open(encoding="utf-8")


@unittest.skipUnless(os.environ.get("NFOLD_PLAN_DATA"), "needs the traces of NFOLD_PLAN_DATA")
class RealMachines(Plan):
    def test_every_machine_is_there_with_its_sums(self):
        folder = Path(os.environ["NFOLD_PLAN_DATA"])
        _, estate = self.estate(folder, seconds=300)
        traces = {path.name.split(".")[0]: path for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz"))}
        self.assertEqual({server["name"] for server in estate["servers"]}, set(traces))
        for server in estate["servers"]:
            with open_trace(traces[server["name"]]) as file:
                rows = [[float(field) for field in row] for row in list(csv.reader(file, delimiter=";"))[1:]]
            notes = server["notes"]
            self.assertEqual(notes["rows"], len(rows))
            self.assertEqual(notes["disorder"], sum(b[0] < a[0] for a, b in zip(rows, rows[1:])))
            last = {row[0]: row for row in rows}
            self.assertEqual(notes["duplicate"] + notes["conflict"], len(rows) - len(last))
            if notes["merged"] == 0:
                # Of samples that are all of one length the peaks are as they were, and the means nearly.
                peak, mean = max(row[3] for row in last.values()), sum(row[3] for row in last.values()) / len(last)
                capacity = server["cpus"] * server["mhz"]
                self.assertTrue(math.isclose(server["series"]["cpu"]["maximum"] * capacity, peak, rel_tol=1e-5, abs_tol=1e-3))
                self.assertTrue(math.isclose(server["series"]["cpu"]["mean"] * capacity, mean, rel_tol=2e-2, abs_tol=1e-2), server["name"])
                self.assertEqual(server["slots"] - notes["gap_slots"] - notes["held"], len(last))


if __name__ == "__main__":
    main()
