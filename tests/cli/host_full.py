#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A file system that is really full, for definitions and for the history: a small tmpfs in a mount namespace of our own."""

import errno
import os
import subprocess
import sys
import unittest

from hosting import HostTest
from support import main

INSIDE = "NFOLD_TEST_NAMESPACE"


def allowed():
    """Whether this machine lets us mount a tmpfs in a user namespace."""
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/tmp"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=60, check=False).returncode == 0
    except FileNotFoundError:
        return False


@unittest.skipUnless(INSIDE in os.environ, "user namespaces are forbidden here")
class Full(HostTest):
    def setUp(self):
        super().setUp()
        place = self.folder / "state"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M,mode=700", "none", place], check=True)

    def tearDown(self):
        (self.state.parent / "filler").unlink(missing_ok=True)
        if self.host_pid():
            self.run_nfold("host", "stop", "--guests", seconds=90)
        subprocess.run(["umount", "-l", self.state.parent], check=True)
        super().tearDown()

    def fill(self):
        with open(self.state.parent / "filler", "ab", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)

    def refused(self, *words):
        result = self.run_nfold(*words)
        self.assertGreater(result.returncode, 0, words)
        self.assertEqual((result.stdout, result.stderr.count(b"\n")), (b"", 1), result.stderr)
        return result.stderr.decode()

    def test_definitions(self):
        self.start_host()
        self.create("one", "spin", "--shares", "5")
        before = self.definition("one").read_bytes()
        self.fill()
        self.assertIn("No space left", self.refused("create", "two", "--kernel", self.kernel["spin"]))
        self.assertIn("No space left", self.refused("set", "one", "--shares", "6"))
        self.assertEqual((os.listdir(self.state / "guests"), self.definition("one").read_bytes()), (["one.json"], before))
        self.assertEqual((list(self.guests()), self.show("one")["shares"]), (["one"], 5))
        # With room again everything works; what needs none works on the full disk, too.
        (self.state.parent / "filler").unlink()
        self.succeed("set", "one", "--shares", "6")
        self.create("two")
        self.fill()
        for name in ("one", "two"):
            self.succeed("rm", name)
        self.assertEqual(os.listdir(self.state / "guests"), [])

    def test_the_history(self):
        self.fill()
        history = self.state.parent / "history.sqlite"
        self.assertIn("history.sqlite", self.refused("record", "--every", "1s", "-n", "1", history))
        (self.state.parent / "filler").unlink()
        self.succeed("record", "--every", "1s", "-n", "1", history)


if __name__ == "__main__":
    if INSIDE not in os.environ and allowed():
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-Urm", sys.executable, *sys.argv])
    main()
