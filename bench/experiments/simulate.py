# SPDX-License-Identifier: MIT
"""Schedules on simulated hosts: bench/simulator, which uses src/sched as the host does."""

import json
import subprocess

from hosts import HostError

TOOL = "bench/simulator/simulate-schedule"
SIMULATE_SECONDS = 600


class Simulated:
    """What happened on a simulated host. Guests are named by the scenario's groups."""

    def __init__(self, scenario, result):
        self.scenario, self.result = scenario, result
        self.groups = {each["name"]: each for each in result["guests"]}

    def work(self, name):
        """Processors that each guest of the group worked on, in the mean of the time."""
        return [seconds / self.scenario["seconds"] for seconds in self.groups[name]["work_s"]]

    def rounds(self, name):
        """A second, by guest."""
        return [count / self.scenario["seconds"] for count in self.groups[name]["rounds"]]

    def wake_us(self, name, point):
        """From a wake-up to a processor: mean, p50, p95, p99 or longest."""
        return self.groups[name]["wake"].get(f"{point}_us", 0)

    @property
    def total(self):
        """Processors, of all guests."""
        return sum(sum(self.work(name)) for name in self.groups)

    @property
    def busy(self):
        """Part of the host's processors that did work for guests."""
        return self.total / self.scenario["processors"]

    @property
    def decisions(self):
        """A second of the simulated host's."""
        return self.result["decisions"] / self.scenario["seconds"]

    @property
    def decision_us(self):
        """What one took of this machine, the simulation around it included."""
        return self.result["processor_seconds"] * 1e6 / self.result["decisions"]


def group(name, work_us=1, sleep_us=0, **policy):
    """Guests of one kind; without sleep they compute only."""
    return {"name": name, "work_us": work_us, "sleep_us": sleep_us} | policy


def simulate(context, processors, seconds, guests, **policy):
    scenario = {"processors": processors, "seconds": seconds, "guests": guests} | policy
    tool = context.build / TOOL
    try:
        result = subprocess.run([str(tool)], input=json.dumps(scenario), capture_output=True, text=True, timeout=SIMULATE_SECONDS, check=False)
    except OSError as error:
        raise HostError(f"{tool}: {error.strerror}; build it with ninja -C {context.build}") from None
    if result.returncode != 0:
        raise HostError(result.stderr.strip() or f"{tool}: status {result.returncode}")
    return Simulated(scenario, json.loads(result.stdout))
