# SPDX-License-Identifier: MIT
"""docs/experiments.md, from the results that bench/experiments/run keeps."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CHART = Path(__file__).parent / "chart"
HEAD = """# Experiments

The host on one machine: what the paper that nfold began with measured or left open, and what its targets are. `make experiments` runs all of it and
writes this page; `make experiments EXPERIMENTS="--only 3"` runs one again. [testing.md](testing.md#experiments) says how they are built. A target that
is missed is listed as such, with the cause as far as the measurement shows it.
"""


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def ordered(report):
    return sorted(((int(number), result) for number, result in report["experiments"].items()), key=lambda pair: pair[0])


def anchor(number, title):
    """As GitHub makes it of a heading."""
    kept = "".join(each for each in f"{number}. {title}".lower() if each.isalnum() or each in " -_")
    return "#" + kept.replace(" ", "-")


def machine_of(result):
    return f"{result['processor']}, {result['processors']} processors, {result['kernel']}"


def runs(report):
    """When, where and of what: one line for each machine, day and commit."""
    lines = {}
    for number, result in ordered(report):
        key = f"{result['date']}, commit {result['commit']}, {machine_of(result)}" + (", short run: rough figures" if result["short"] else "")
        lines.setdefault(key, []).append(str(number))
    return "".join(f"- {key}: experiment{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}\n" for key, numbers in lines.items())


def summary(report):
    rows = []
    for number, result in ordered(report):
        link = f"[{number}. {result['title']}]({anchor(number, result['title'])})"
        if "error" in result:
            rows.append([link, "", "", "", "**failed**"])
        for target in result.get("targets", []):
            rows.append([link, target["text"], target["limit"], target["value"], "met" if target["met"] else "**missed**"])
    return table(["experiment", "target", "limit", "measured", ""], rows)


def missed(report):
    """The reasons, beside the summary and not only at the experiment's place."""
    lines = []
    for number, result in ordered(report):
        if "error" in result:
            lines.append(f"- {number}, failed: {result['error']}\n")
        lines += [f"- {number}, {target['text']}: {target['reason']}.\n" for target in result.get("targets", []) if not target["met"]]
    return "Why, where a target was missed:\n\n" + "".join(lines) if lines else "All targets are met.\n"


def chart_path(number, chart):
    return f"experiments/{number:02}-{chart['name']}.svg"


def section(number, result):
    parts = [f"## {number}. {result['title']}\n"]
    if "error" in result:
        return "\n".join([*parts, f"The experiment failed: {result['error']}\n"])
    parts += [f"{result['question']}\n", f"**Method.** {result['method']} It took {result['seconds']} s.\n"]
    for each in result["tables"]:
        parts += [f"{each['title']}:\n", table(each["columns"], each["rows"])]
    parts += [f"![{chart['title']}]({chart_path(number, chart)})\n" for chart in result["charts"]]
    for target in result["targets"]:
        verdict = "Met" if target["met"] else "Missed"
        why = f" {target['reason'][0].upper()}{target['reason'][1:]}." if target.get("reason") else ""
        parts.append(f"- {verdict}: {target['text']}: {target['value']}, target {target['limit']}.{why}")
    parts += [f"- {note}" for note in result["notes"]]
    return "\n".join(parts) + "\n"


def text(report):
    parts = [HEAD, runs(report), summary(report), missed(report), *(section(number, result) for number, result in ordered(report))]
    return "\n".join(parts)


def draw(report, out):
    """The charts, by a program that Debian's interpreter runs, for its python3-matplotlib. Returns whether all are drawn."""
    charts = [dict(chart, file=str(out / chart_path(number, chart))) for number, result in ordered(report) for chart in result.get("charts", [])]
    if not charts:
        return True
    (out / "experiments").mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(charts, file)
        file.flush()
        result = subprocess.run([str(CHART), file.name], check=False)
    if result.returncode != 0:
        print("experiments: no charts; they need Debian's python3-matplotlib (tools/setup bench)", file=sys.stderr)
    return result.returncode == 0


def write(report, out):
    """Writes the page and its charts into a folder. Returns whether the charts could be drawn."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "experiments.md").write_text(text(report), encoding="utf-8")
    return draw(report, out)
