#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest's process that does what it should not be able to (confined_attacks.c), and what it has left when it runs."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from support import SECONDS, STATUS_INPUT, CliTest, Connection, main, wait_for

STATUS_CONFINED = 12
SANITIZED = os.environ.get("NFOLD_SANITIZED") == "1"

# The system call that each attack ends with. One that is let through to a namespace's wall has an error instead.
STOPPED = {
    "execve": "execve", "open": "openat", "create": "openat", "resolver": "openat", "socket": "socket", "raw-socket": "socket",
    "unix-socket": "socket", "connect": "connect", "ptrace": "ptrace", "read-memory": "process_vm_readv", "fork": "clone",
    "vfork": "vfork", "kill": "kill", "tgkill": "tgkill", "pidfd": "pidfd_open", "mount": "mount", "unshare": "unshare",
    "exec-pages": "mmap", "exec-protect": "mprotect", "hidden-bits": "socket", "signal-handler": "rt_sigaction",
    "second-ring": "io_uring_setup", "terminal-input": "ioctl", "capability": "capset"}


def namespaces_allowed():
    """Whether this user may have its own here: util-linux's unshare tries."""
    words = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    script = "mount -t tmpfs nfold /tmp"
    return subprocess.run([*words, "/bin/sh", "-c", script], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


@unittest.skipIf(SANITIZED, "a sanitizer's own calls are more than a guest's process may make")
class Attacks(CliTest):
    def attack(self, word, *words):
        return self.run_nfold("run", "--kernel", self.file("kernel", f"try:{word}"), *words)

    def test_each_is_stopped_and_said(self):
        for word, call in STOPPED.items():
            result = self.attack(word)
            line = result.stderr.decode()
            self.assertRegex(line, rf"^nfold: nfold-vm made a forbidden system call \d+ \({call}\) and was stopped\n$", word)
            self.assertEqual((result.returncode, result.stdout), (STATUS_CONFINED, b""), word)
            self.assertEqual(self.leftovers(), [], word)

    def test_without_confinement_they_come_through(self):
        """What shows that the attacks are real."""
        for word in ("open", "resolver", "socket", "unix-socket", "fork", "kill", "tgkill", "pidfd", "exec-pages", "exec-protect",
                     "signal-handler"):
            result = self.attack(word, "--confine", "off")
            self.assertEqual((result.returncode, result.stdout.decode()), (0, f"{word}: reached\n"), word)
            self.assertIn("--confine off", result.stderr.decode())

    def test_a_network_brings_its_own_calls_only(self):
        with_user = {"socket": "reached", "raw-socket": "EPERM", "unix-socket": "EPERM"}
        for word, how in with_user.items():
            result = self.attack(word, "--net", "user")
            self.assertEqual((result.returncode, result.stdout.decode()), (0, f"{word}: {how}\n"), word)
        for word in ("execve", "create", "fork", "kill", "exec-pages", "ptrace", "hidden-bits"):
            self.assertEqual(self.attack(word, "--net", "user").returncode, STATUS_CONFINED, word)
        for word in ("socket", "unix-socket", "open"):
            self.assertEqual(self.attack(word, "--net", "switch=lan").returncode, STATUS_CONFINED, word)
        shutil.rmtree(self.runtime / "switches")

    @unittest.skipUnless(namespaces_allowed(), "this user may not have namespaces of its own here")
    def test_files_end_at_the_new_root(self):
        """Network by NAT may open files for reading: it finds the name servers, and no other file."""
        found = Path("/etc/resolv.conf").exists()
        for word, how in (("open", "ENOENT"), ("resolver", "reached" if found else "ENOENT")):
            result = self.attack(word, "--net", "user")
            self.assertEqual((result.returncode, result.stdout.decode()), (0, f"{word}: {how}\n"), word)
        self.assertEqual(self.attack("climb").stdout.decode(), "climb: ENOENT\n")


@unittest.skipIf(SANITIZED, "a sanitizer's own calls are more than a guest's process may make")
class WhatIsLeft(CliTest):
    def stats(self, name):
        return json.loads(self.succeed("stats", name, "--json"))

    def pid(self, name):
        return int(self.guests()[name]["PID"])

    def status_of(self, pid):
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def start_spin(self, *words, **options):
        return self.start("--kernel", self.file("spin", "spin"), "--name", "one", *words, **options)

    def test_rights_and_limits_of_a_running_guest(self):
        self.start_spin()
        parts = self.stats("one")["confinement"]
        for part in ("descriptors", "no-new-privileges", "capabilities", "limits", "system-calls"):
            self.assertIn(part, parts)
        pid = self.pid("one")
        for thread in Path(f"/proc/{pid}/task").iterdir():
            status = self.status_of(int(thread.name))
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(status[kind], 16), 0, kind)
        if os.geteuid() == 0:
            self.assertEqual(int(self.status_of(pid)["CapBnd"], 16), 0)
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
        self.assertRegex(limits, r"Max core file size +0 +0 ")

    @unittest.skipUnless(namespaces_allowed(), "this user may not have namespaces of its own here")
    def test_namespaces_of_a_running_guest(self):
        for net, separate in (("none", True), ("user", False)):
            process = self.start_spin("--net", net)
            parts, pid = self.stats("one")["confinement"], self.pid("one")
            self.assertEqual("network-namespace" in parts, separate)
            self.assertEqual("user-namespace" in parts, os.geteuid() != 0)
            for kind, name in (("mnt", "mount"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("net", "network"),
                               ("user", "user"), ("pid", "pid")):
                own = os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
                self.assertEqual(own, f"{name}-namespace" in parts, kind)
            root = sorted(path.name for path in Path(f"/proc/{pid}/root").iterdir())
            self.assertEqual(root, sorted({self.folder.parts[1]} | ({"etc"} if net == "user" and
                                                                    Path("/etc/resolv.conf").exists() else set())))
            self.succeed("kill", "one")
            process.wait(SECONDS)

    def test_a_user_without_privileges(self):
        """Its namespaces come by way of a user namespace; root stays able to look after its guests."""
        if os.geteuid() != 0:
            self.skipTest("only root can be another user too")
        account = pwd.getpwnam("nobody")
        os.chmod(self.folder, 0o755)
        os.chmod(self.nfold.parent, 0o755)
        os.chown(self.runtime_parent, account.pw_uid, account.pw_gid)
        kernel = self.file("spin", "spin")
        process = self.start("--kernel", kernel, "--name=two", user=account.pw_uid)

        def as_nobody(*words):
            return self.run_nfold(*words, user=account.pw_uid).stdout.decode()
        wait_for(lambda: process.poll() is not None or "two" in as_nobody("list"))
        parts = json.loads(as_nobody("stats", "two", "--json"))["confinement"]
        self.assertLessEqual({"system-calls", "capabilities"}, set(parts))
        with Connection(self.runtime / "two.sock") as root:
            self.assertEqual(root.call("guest.status")["result"]["state"], "running")
        as_nobody("kill", "two")
        process.wait(SECONDS)

    def test_only_the_descriptors_it_needs(self):
        """What the caller left open is closed; each that is there has a purpose."""
        with open("/etc/hostname", "rb") as stray:
            os.set_inheritable(stray.fileno(), True)
            self.start_spin("--net", "none", pass_fds=[stray.fileno()])
        pid = self.pid("one")
        kinds = []
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(entry)
            kinds.append(re.sub(r":?\[\d+\]| \(deleted\)|^.*/(?=one\.lock|nfold$)", "", re.sub(str(self.folder), "", target)))
            self.assertNotEqual(target, "/etc/hostname")
        expected = {"/dev/null", "pipe", "socket", "anon_inode:", "/memfd", "one.lock", "nfold", "/proc"}
        for kind in kinds:
            self.assertTrue(any(kind.startswith(one) for one in expected), f"{kind} of {kinds}")
        self.assertLess(len(kinds), 24, kinds)

    def test_an_option_that_is_neither(self):
        self.refuse(STATUS_INPUT, "run", "--kernel", self.file("spin", "spin"), "--confine", "maybe")


if __name__ == "__main__":
    if shutil.which("unshare") is None:
        sys.exit("the package util-linux is missing")
    main()
