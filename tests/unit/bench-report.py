#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The arithmetic of bench/report.py: medians, ratios, geometric means, and what it complains of."""

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import report  # noqa: E402  (found through the path above)
import rows  # noqa: E402
import subjects  # noqa: E402

ROWS = [rows.Row("group", name, name, measure=None) for name in ("one", "two", "three")]
NATIVE = subjects.Subject(subjects.NATIVE, "native")
NFOLD = subjects.Subject(subjects.NFOLD, "nfold", "nfold")
QEMU = subjects.Subject(subjects.QEMU, "qemu", "qemu")
QEMU_OFF = subjects.Subject(subjects.QEMU, "qemu-off", "qemu", subjects.MITIGATIONS_OFF)


def results(**seconds):
    """Results with the given samples of row "one", by name of subject; "two" has twice as long ones for all but native."""
    found = report.Results(ROWS, [NATIVE, NFOLD, QEMU, QEMU_OFF], SimpleNamespace(rounds=3, kernel="/vmlinuz", memory=512))
    for subject in found.subjects:
        for value in seconds.get(subject.name.replace("-", "_"), ()):
            found.add(ROWS[0], subject, rows.Sample(value))
            found.add(ROWS[1], subject, rows.Sample(value if subject is NATIVE else 2 * value))
    return found


class Arithmetic(unittest.TestCase):
    def test_median_and_spread(self):
        found = results(nfold=(3.0, 1.0, 2.0))
        self.assertEqual(found.median(ROWS[0], NFOLD), 2.0)
        self.assertEqual(report.spread([3.0, 1.0, 2.0]), 1.0)
        self.assertIsNone(found.median(ROWS[2], NFOLD))

    def test_geometric_mean_over_rows_that_both_have(self):
        found = results(native=(1.0,), nfold=(2.0,), qemu=(8.0,))
        mean, count = found.mean_ratio("group", NFOLD, NATIVE)
        self.assertAlmostEqual(mean, (2 * 4) ** 0.5)
        self.assertEqual(count, 2)
        self.assertAlmostEqual(found.mean_ratio("group", QEMU, NFOLD)[0], 4.0)
        self.assertEqual(found.mean_ratio("group", QEMU_OFF, NATIVE), (None, 0))

    def test_rivals_have_the_same_kernel_options(self):
        self.assertEqual(results().duels(), [(NFOLD, QEMU)])

    def test_json(self):
        answer = results(native=(1.0, 1.0, 1.0), nfold=(2.0, 3.0, 4.0), qemu=(6.0,)).as_json()
        cell = answer["rows"]["group/one"]["nfold"]
        self.assertEqual((cell["median"], cell["to_native"], cell["to_qemu"]), (3.0, 3.0, 0.5))
        self.assertNotIn("nfold", answer["rows"]["group/three"])
        self.assertEqual(answer["geometric_means"]["group"]["nfold"]["rows_to_native"], 2)

    def test_table_says_times_faster(self):
        lines = report.table(results(native=(1.0,), nfold=(2.0,), qemu=(5.0,))).splitlines()
        self.assertRegex(lines[0], "nfold x qemu")
        self.assertEqual(lines[2].split()[:8], ["one", "1.000", "2.000", "5.000", "-", "2.00", "5.00", "-"])
        self.assertEqual(lines[2].split()[8], "2.50")


class Complaints(unittest.TestCase):
    def test_clocks(self):
        self.assertFalse(report.clocks_differ(rows.Sample(1.0)))
        self.assertFalse(report.clocks_differ(rows.Sample(10.0, 10.1)))
        self.assertFalse(report.clocks_differ(rows.Sample(0.1, 0.11)))
        self.assertTrue(report.clocks_differ(rows.Sample(1.0, 1.1)))
        self.assertTrue(report.clocks_differ(rows.Sample(1.1, 1.0)))

    def test_answers(self):
        found = results()
        found.add(ROWS[0], NATIVE, rows.Sample(1.0, answer="a"))
        found.add(ROWS[0], NFOLD, rows.Sample(1.0, answer="a"))
        self.assertEqual(found.complaints(), [])
        found.add(ROWS[0], QEMU, rows.Sample(1.0, answer="b"))
        self.assertEqual(len(found.complaints()), 1)

    def test_failures(self):
        found = results()
        found.fail(ROWS[0], NFOLD, "it ended\nand this was its console")
        self.assertEqual(found.complaints(), ["group/one: nfold: it ended"])


class Choice(unittest.TestCase):
    def test_names(self):
        chosen = subjects.choose(["/bin/true"], ["/bin/true", "/bin/false"], True, "max", {"nfold", "qemu"})
        self.assertEqual(len({each.name for each in chosen}), 6)
        self.assertEqual([each.append for each in chosen], [""] * 3 + [subjects.MITIGATIONS_OFF] * 3)

    def test_selected(self):
        self.assertEqual(rows.selected(ROWS, ["group/two"]), [ROWS[1]])
        self.assertEqual(rows.selected(ROWS, ["group"]), ROWS)
        with self.assertRaises(SystemExit):
            rows.selected(ROWS, ["group/none"])


unittest.main()
