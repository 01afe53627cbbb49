# SPDX-License-Identifier: MIT
"""What the tests of the host share: nfoldd with a state folder of its own, and guests made by the assembler."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from guests import assemble
from support import SECONDS, CliTest, wait_for

ASSEMBLED = ("spin", "poweroff", "tick", "echo", "halt", "triple", "ticks")


class HostTest(CliTest):
    @classmethod
    def setUpClass(cls):
        cls.images = tempfile.TemporaryDirectory(prefix="nfold-guest-")
        cls.addClassCleanup(cls.images.cleanup)
        cls.kernel = {name: assemble(cls.images.name, name) for name in ASSEMBLED}

    def setUp(self):
        super().setUp()
        shutil.copy(os.environ["NFOLDD"], self.nfold.parent / "nfoldd")
        self.environment["XDG_STATE_HOME"] = str(self.folder / "state")
        self.state = self.folder / "state" / "nfold"

    def tearDown(self):
        if self.host_pid():
            self.run_nfold("host", "stop", "--guests", seconds=90)
        super().tearDown()

    def host_pid(self):
        """The process that holds the host's lock, or None."""
        result = self.run_nfold("host", "status")
        if result.returncode != 0:
            return None
        return int(result.stdout.split(b"process ")[1].split(b",")[0])

    def start_host(self, *words):
        self.succeed("host", "start", *words)
        return self.host_pid()

    def kill_host(self, pid):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.host_pid() is None)

    def guests(self):
        """Those that are defined are listed without a host, too, with a word on stderr."""
        result = self.run_nfold("list")
        self.assertEqual(result.returncode, 0)
        if result.stderr:
            self.assertEqual((result.stderr.count(b"\n"), b"no host runs" in result.stderr, self.host_pid()), (1, True, None))
        rows = [line.split() for line in result.stdout.decode().splitlines()]
        self.assertEqual(rows[0], ["NAME", "STATE", "PID", "MEMORY", "CPUS", "UPTIME"])
        return {row[0]: dict(zip(rows[0], row)) for row in rows[1:]}

    def create(self, name, guest="spin", *words):
        return self.succeed("create", name, "--kernel", self.kernel[guest], "--memory", "8M", "--stop-timeout", "0", *words)

    def call(self, method, **params):
        with self.connect(".host") as connection:
            return connection.call(method, **params)

    def show(self, name):
        answer = self.call("guest.show", name=name)
        self.assertIn("result", answer, answer)
        return answer["result"]

    def wait_state(self, name, state):
        wait_for(lambda: self.show(name)["state"] == state)
        return self.show(name)

    def reason(self, name):
        return self.show(name)["end"]["reason"]

    def definition(self, name):
        return self.state / "guests" / f"{name}.json"
