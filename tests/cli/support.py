# SPDX-License-Identifier: MIT
"""What the tests of nfold's commands share: a runtime directory of their own, guests in the background, the control socket.

NFOLD and NFOLD_VM name the executables. Each test gets a fresh folder; at its end nothing may be left in the runtime
directory and no process may be left behind.
"""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

STATUS_INPUT, STATUS_HOST, STATUS_TRIPLE_FAULT, STATUS_REBOOT, STATUS_KILLED = 2, 4, 6, 8, 10
SECONDS = 60  # for anything that should be quick, on a busy machine
PROMPT = 10  # for what no guest and no client may hold up


def wait_for(condition, seconds=SECONDS):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(0.01)


class Connection:
    """The control socket, by hand."""

    def __init__(self, path, seconds=SECONDS):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))  # without a timeout: waits while the backlog is full
        self.socket.settimeout(seconds)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next line, or None at the end of the stream."""
        while b"\n" not in self.received:
            try:
                got = self.socket.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self.received += got
        line, self.received = self.received.split(b"\n", 1)
        return line

    def answer(self, data):
        """Sends one line as it is and returns the answer, decoded."""
        self.send(data + b"\n")
        return json.loads(self.line())

    def call(self, method, identity=1, **params):
        request = {"jsonrpc": "2.0", "id": identity, "method": method}
        if params:
            request["params"] = params
        return self.answer(json.dumps(request).encode())


class CliTest(unittest.TestCase):
    """Runs nfold with a runtime directory of its own."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="nfold-cli-"))
        self.runtime_parent = self.folder / "run"
        self.runtime_parent.mkdir(mode=0o700)
        self.runtime = self.runtime_parent / "nfold"
        # nfold starts the nfold-vm that lies next to it.
        programs = self.folder / "bin"
        programs.mkdir()
        self.nfold = programs / "nfold"
        shutil.copy(os.environ["NFOLD"], self.nfold)
        shutil.copy(os.environ["NFOLD_VM"], programs / "nfold-vm")
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=str(self.runtime_parent), LC_ALL="C")
        # Freed memory that a sanitizer keeps must not count as ours. Does nothing in other builds.
        self.environment["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")
        self.started = []

    def tearDown(self):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(SECONDS)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        left = self.leftovers()
        shutil.rmtree(self.folder)
        self.assertEqual(left, [], "left in the runtime directory")

    def leftovers(self):
        return sorted(os.listdir(self.runtime)) if self.runtime.exists() else []

    def file(self, name, content=b""):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run_nfold(self, *words, seconds=SECONDS, user=None, stdin=subprocess.DEVNULL):
        """Runs a command to its end."""
        return subprocess.run(
            [self.nfold, *map(str, words)], env=self.environment, stdin=stdin, capture_output=True, timeout=seconds,
            check=False, user=user, cwd=self.folder)

    def succeed(self, *words, **options):
        """Runs a command that must succeed in silence on stderr, and returns its output."""
        result = self.run_nfold(*words, **options)
        self.assertEqual((result.returncode, result.stderr), (0, b""), words)
        return result.stdout.decode()

    def refuse(self, status, *words, **options):
        """Runs a command that must fail with this status and say why in one line. Returns the line."""
        result = self.run_nfold(*words, **options)
        text = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, status, f"{words}: {text}")
        self.assertEqual(text.count("\n"), 1, f"{words}: not one line: {text!r}")
        self.assertTrue(text.startswith("nfold: ") and text.endswith("\n") and len(text) > 15, f"{words}: {text!r}")
        self.assertEqual(result.stdout, b"", words)
        return text

    def start(self, *words, **options):
        """Starts `nfold run` in the background; with --name among the words, waits until it answers."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        process = subprocess.Popen([self.nfold, "run", *map(str, words)], env=self.environment, cwd=self.folder, **options)
        self.started.append(process)
        if "--name" in words:
            name = words[words.index("--name") + 1]
            wait_for(lambda: process.poll() is not None or name in self.guests())
        return process

    def guests(self):
        """The rows of `nfold list` by name."""
        rows = [line.split() for line in self.succeed("list").splitlines()]
        self.assertEqual(rows[0], ["NAME", "STATE", "PID", "MEMORY", "CPUS", "UPTIME"])
        return {row[0]: dict(zip(rows[0], row)) for row in rows[1:]}

    def connect(self, name):
        path = self.runtime / f"{name}.sock"
        self.assertTrue(stat.S_ISSOCK(path.stat().st_mode))
        return Connection(path)

    def assert_runs(self, process):
        self.assertIsNone(process.poll(), "the guest has ended")


def main():
    # Under nohup or in a shell's background we were told to ignore these, and nfold would be too.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    unittest.main(verbosity=2)
