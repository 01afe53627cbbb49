# SPDX-License-Identifier: MIT
"""From samples to medians, ratios and geometric means; the table for the terminal and the JSON file."""

import json
import os
import platform
import statistics
from pathlib import Path

from subjects import NATIVE, NFOLD, QEMU

CLOCK_TOLERANCE = 0.02
CLOCK_FLOOR_SECONDS = 0.02  # the serial console's own delays


def machine_text():
    with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
        model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    return f"{model}, {os.cpu_count()} processors, Linux {platform.release()}"


def geometric_mean(values):
    return statistics.geometric_mean(values) if values else None


def spread(values):
    """How far apart the samples lie: the distance from the least to the greatest, as a part of the median."""
    return (max(values) - min(values)) / statistics.median(values)


def clocks_differ(sample):
    if sample.host_seconds is None:
        return False
    distance = abs(sample.host_seconds - sample.seconds)
    return distance > CLOCK_FLOOR_SECONDS and distance > CLOCK_TOLERANCE * sample.host_seconds


class Results:
    """Samples by row and subject, in the order in which they came."""

    def __init__(self, rows, subjects, options):
        self.rows = rows
        self.subjects = subjects
        self.options = options
        self.samples = {(row.path, subject.name): [] for row in rows for subject in subjects}
        self.failures = []

    def add(self, row, subject, sample):
        self.samples[row.path, subject.name].append(sample)

    def fail(self, row, subject, text):
        self.failures.append((row.path, subject.name, text))

    def seconds(self, row, subject):
        return [sample.seconds for sample in self.samples[row.path, subject.name]]

    def median(self, row, subject):
        values = self.seconds(row, subject)
        return statistics.median(values) if values else None

    def ratio(self, row, subject, base):
        """The subject's median over the base's: below 1 is faster than the base."""
        own, other = self.median(row, subject), base and self.median(row, base)
        return own / other if own and other else None

    def mean_ratio(self, group, subject, base):
        """Over the group's rows that both have, and how many those are."""
        ratios = [self.ratio(row, subject, base) for row in self.rows if row.group == group]
        ratios = [ratio for ratio in ratios if ratio]
        return geometric_mean(ratios), len(ratios)

    def first(self, kind):
        return next((subject for subject in self.subjects if subject.kind == kind), None)

    def rivals(self, subject):
        """The TCGs that a subject stands beside: those with the same kernel options, the system's own first."""
        return [each for each in self.subjects if each.kind == QEMU and each.append == subject.append]

    def duels(self):
        """Each nfold with each of its rivals."""
        return [(each, rival) for each in self.subjects if each.kind == NFOLD for rival in self.rivals(each)]

    def ratios(self, row, subject):
        """The row's median over that of native and of each TCG."""
        bases = {"to_native": self.first(NATIVE)} | {f"to_{each.name}": each for each in self.rivals(subject)}
        return rounded({name: self.ratio(row, subject, base) for name, base in bases.items()})

    def groups(self):
        return list(dict.fromkeys(row.group for row in self.rows))

    def rounds(self):
        """How many were taken: fewer than asked for where the run was interrupted."""
        return max((len(samples) for samples in self.samples.values()), default=0)

    def complaints(self):
        """Failures, clocks that differ, answers that differ."""
        lines = [f"{path}: {name}: {text.splitlines()[0]}" for path, name, text in self.failures]
        for row in self.rows:
            answers = {}
            for subject in self.subjects:
                for sample in self.samples[row.path, subject.name]:
                    if clocks_differ(sample):
                        lines.append(
                            f"{row.path}: {subject.name}: {sample.seconds:.3f} s by the guest's clock, "
                            f"{sample.host_seconds:.3f} s by the host's"
                        )
                    if sample.answer is not None:
                        answers.setdefault(sample.answer, set()).add(subject.name)
            if len(answers) > 1:
                lines.append(f"{row.path}: answers differ: " + ", ".join(f"{k} ({' '.join(sorted(v))})" for k, v in answers.items()))
        return lines

    def as_json(self):
        report = {
            "machine": machine_text(),
            "kernel": os.path.basename(os.path.realpath(self.options.kernel)),
            "memory_mib": self.options.memory,
            "rounds": self.rounds(),
            "subjects": {each.name: self.about(each) for each in self.subjects},
            "rows": {},
            "geometric_means": {},
            "complaints": self.complaints(),
        }
        for row in self.rows:
            report["rows"][row.path] = {"title": row.title} | {
                subject.name: self.cell(row, subject) for subject in self.subjects if self.seconds(row, subject)
            }
        for group in self.groups():
            report["geometric_means"][group] = {
                subject.name: self.mean_cell(group, subject) for subject in self.subjects if subject.is_guest
            }
        return report

    @staticmethod
    def about(subject):
        return {"version": subject.version(), "append": subject.append, "cpu": subject.cpu} if subject.is_guest else {}

    def cell(self, row, subject):
        samples = self.samples[row.path, subject.name]
        cell = {
            "seconds": [round(sample.seconds, 4) for sample in samples],
            "median": round(self.median(row, subject), 4),
            "spread": round(spread(self.seconds(row, subject)), 3),
        }
        cell |= self.ratios(row, subject)
        for name in samples[0].extra:
            cell[name] = statistics.median(sample.extra[name] for sample in samples)
        return cell

    def mean_cell(self, group, subject):
        bases = {"to_native": self.first(NATIVE)} | {f"to_{each.name}": each for each in self.rivals(subject)}
        means = {name: self.mean_ratio(group, subject, base) for name, base in bases.items()}
        cell = rounded({name: mean for name, (mean, _) in means.items()})
        return cell | {f"rows_{name}": count for name, (mean, count) in means.items() if mean}

    def write_json(self, path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")


def rounded(values):
    return {name: round(value, 3) for name, value in values.items() if value}


def text_of(value, digits=2, suffix=""):
    return f"{value:.{digits}f}{suffix}" if value is not None else "-"


def table(results):
    """Seconds of each subject, its ratio to native, and how many times faster each nfold is than each TCG beside it."""
    native = results.first(NATIVE)
    guests = [subject for subject in results.subjects if subject.is_guest] if native else []
    duels = results.duels()
    head = [f"{each.name} s" for each in results.subjects] + [f"{each.name}/native" for each in guests]
    lines = [["", *head, *[f"{nfold.name} x {rival.name}" for nfold, rival in duels], "spread"]]
    for group in results.groups():
        lines.append([group])
        for row in (row for row in results.rows if row.group == group):
            cells = [text_of(results.median(row, each), 3) for each in results.subjects]
            cells += [text_of(results.ratio(row, each, native)) for each in guests]
            cells += [text_of(results.ratio(row, rival, nfold)) for nfold, rival in duels]
            spreads = [spread(values) for each in results.subjects if (values := results.seconds(row, each))]
            lines.append([f"  {row.name}", *cells, text_of(100 * max(spreads), 0, " %") if spreads else "-"])
        cells = [""] * len(results.subjects) + [text_of(results.mean_ratio(group, each, native)[0]) for each in guests]
        cells += [text_of(results.mean_ratio(group, rival, nfold)[0]) for nfold, rival in duels]
        lines.append(["  geometric mean", *cells, ""])
    return laid_out(lines)


def laid_out(lines):
    columns = max(len(line) for line in lines)
    widths = [max(len(line[column]) for line in lines if column < len(line) and (column or len(line) > 1)) for column in range(columns)]
    text = []
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=False)]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def extras(results):
    """The medians of what rows measure besides time, as texts by figure."""
    found = {}
    for row in results.rows:
        for subject in results.subjects:
            samples = results.samples[row.path, subject.name]
            for name in samples[0].extra if samples else ():
                middle = statistics.median(sample.extra[name] for sample in samples)
                found.setdefault(f"{row.path}: {name}", []).append(f"{subject.name} {middle:g}")
    return found


def print_report(results):
    options = results.options
    kernel = os.path.basename(os.path.realpath(options.kernel))
    print(f"\n{machine_text()}; guests: {kernel}, 1 vCPU, parallel 2; median of {results.rounds()}; x: times faster; spread: the widest of the row\n")
    print(table(results))
    for name, values in extras(results).items():
        print(f"{name}: {', '.join(values)}")
    for line in results.complaints():
        print(f"bench: {line}")
