# SPDX-License-Identifier: MIT
"""A host of nfold's own for an experiment: nfoldd with runtime and state folders that nobody else uses.

A watcher, a process of its own, ends guests and host and removes the folder when the experiment has ended, however it ended:
it reads a pipe that the experiment never writes to.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ANSWER_SECONDS = 60
RUNNING = ("guest", "exit", "translate", "device")  # the clocks of a thread that has a processor of the host
COMMAND_SECONDS = 120


class HostError(Exception):
    """One line that says what failed."""


def wait_for(condition, what, seconds=120):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise HostError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def call(path, method, **params):
    """One request to a control socket, and its result."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method} | ({"params": params} if params else {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            answer = json.loads(lines.readline() or b"{}")
    if "result" not in answer:
        raise HostError(f"{method}: {answer.get('error', {}).get('message', 'no answer')}")
    return answer["result"]


def summed_clocks(stats):
    """Of all virtual processors together, in nanoseconds."""
    vcpus = stats["vcpus"]
    return {key: sum(vcpu["clocks_ns"][key] for vcpu in vcpus) for key in vcpus[0]["clocks_ns"]}


def gained(before, after):
    """What each figure of a flat object grew by; what is no number stays as it was at the end."""
    return {key: value - before.get(key, 0) if isinstance(value, (int, float)) else value for key, value in after.items()}


def running_ns(clocks):
    return sum(clocks[key] for key in RUNNING)


class Host:
    """nfoldd, from the start of a with block to its end. `words` are options of nfold host start."""

    def __init__(self, nfold, *words):
        self.nfold = Path(nfold).resolve()
        self.words = words
        self.folder = Path(tempfile.mkdtemp(prefix="nfold-exp-"))
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=str(self.folder), XDG_STATE_HOME=str(self.folder / "state"), LC_ALL="C")
        self.runtime = self.folder / "nfold"
        self.watcher = subprocess.Popen(
            [sys.executable, __file__, str(self.nfold), str(self.folder)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def __enter__(self):
        try:
            self.command("host", "start", *self.words)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.watcher.stdin.close()
        self.watcher.wait()

    def command(self, *words):
        """A command of nfold's that must succeed; returns what it prints."""
        words = [str(word) for word in words]
        result = subprocess.run(
            [str(self.nfold), *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if result.returncode != 0:
            raise HostError(f"nfold {' '.join(words)}: {(result.stderr.strip() or f'status {result.returncode}').splitlines()[-1]}")
        return result.stdout

    def create(self, name, *words):
        self.command("create", name, "--stop-timeout", "0", *words)

    def start(self, name):
        call(self.runtime / ".host.sock", "guest.start", name=name)

    def show(self, name):
        return call(self.runtime / ".host.sock", "guest.show", name=name)

    def wait_running(self, name):
        """Until the guest runs and the host schedules it."""

        def runs():
            shown = self.show(name)
            if shown["state"] in ("stopped", "broken"):
                raise HostError(f"{name}: {shown.get('problem') or shown.get('end', {}).get('reason')}")
            return "turns" in shown

        wait_for(runs, f"{name} is scheduled")

    def kill(self, name):
        call(self.runtime / ".host.sock", "guest.kill", name=name)
        wait_for(lambda: self.show(name)["state"] == "stopped", f"{name} has ended")

    def stats(self, name):
        return call(self.runtime / f"{name}.sock", "guest.stats")

    def clocks(self, name):
        return summed_clocks(self.stats(name))

    def turns(self, name):
        """The guest's processors in each state of the scheduler's, in nanoseconds, and its late tokens."""
        return self.show(name)["turns"]

    def dispatch(self):
        return call(self.runtime / ".host.sock", "host.dispatch")


def die_with_parent():
    """For a child of ours, before it becomes what it will be: prctl(PR_SET_PDEATHSIG, SIGTERM)."""
    import ctypes  # pylint: disable=import-outside-toplevel

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def clean(nfold, folder):
    """Ends what runs in the folder's runtime directory, and removes the folder."""
    environment = dict(os.environ, XDG_RUNTIME_DIR=str(folder), XDG_STATE_HOME=str(folder / "state"))

    def nfold_command(*words):
        try:
            return subprocess.run([nfold, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""

    def names():
        return sorted(path.stem for path in (folder / "nfold").glob("*.sock") if not path.name.startswith("."))

    status = nfold_command("host", "status")
    # The host first: one that still lived would start again what has ended.
    nfold_command("host", "stop")
    end = time.monotonic() + 30
    while names() and time.monotonic() < end:
        for name in names():
            nfold_command("kill", name)
    if "process " in nfold_command("host", "status"):
        os.kill(int(status.split("process ")[1].split(",")[0]), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def watch(nfold, folder):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(1):
        pass
    clean(nfold, Path(folder))


if __name__ == "__main__":
    watch(*sys.argv[1:])
