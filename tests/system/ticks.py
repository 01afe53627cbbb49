#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs ticks.c under nfold and stops its process now and then, as a host does that is short of processors. No tick may be lost:
the guest's count must be within one per cent of what its other clock says.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

STOPS = 4
STOPPED_SECONDS = 0.25
RUNNING_SECONDS = 0.3


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(child) for child in file.read().split()]


def text_of(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def run(nfold, guest, folder):
    serial = os.path.join(folder, "serial.txt")
    words = [nfold, "run", "--kernel", guest, "--memory", "32M", "--name", "ticks-%d" % os.getpid(), "--serial", serial,
             "--no-reboot", "--debug-exit", "0xf4"]
    process = subprocess.Popen(words, env=dict(os.environ, XDG_RUNTIME_DIR=folder), stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while "ready" not in text_of(serial):
            if time.monotonic() > deadline or process.poll() is not None:
                return "the guest does not start"
            time.sleep(0.01)
        for _ in range(STOPS):
            time.sleep(RUNNING_SECONDS)
            for pid in children(process.pid):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_SECONDS)
            for pid in children(process.pid):
                os.kill(pid, signal.SIGCONT)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            for pid in children(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
    facts = dict(re.findall(r"^(\w+) (\w+)$", text_of(serial), re.MULTILINE))
    if "counted" not in facts or "expected" not in facts:
        return "the guest said %r" % text_of(serial)
    counted, expected = int(facts["counted"], 16), int(facts["expected"], 16)
    print("%d ticks of %d" % (counted, expected))
    # A busy host may hold the guest up for longer than ticks are kept; without catching up more than a third would be lost.
    if counted < expected * 0.9 or counted > expected * 1.01:
        return "ticks are lost" if counted < expected else "ticks are invented"
    return None


def main():
    nfold, guest = (os.path.abspath(path) for path in sys.argv[1:3])
    with tempfile.TemporaryDirectory(prefix="nfold-ticks-") as folder:
        os.chmod(folder, 0o700)
        problem = run(nfold, guest, folder)
    if problem:
        print("FAILED: %s" % problem)
        return 1
    return 0


sys.exit(main())
