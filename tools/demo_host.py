# SPDX-License-Identifier: MIT
"""A host with four Debian guests, for the demonstration and for its picture: busy, disk, idle and web.

It lives in a temporary folder of its own, so that it neither sees nor disturbs the user's guests.
"""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUEST = ROOT / "build" / "guest"
DISK_BYTES = 64 << 20
BOOT_SECONDS = 240
PAGE = "<h1>nfold</h1>"

# What the guests do; /init runs it as a shell script.
BUSY = "while :; do seq 1 20000 | sha256sum >/dev/null; done"
DISK = (
    "while :; do dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync; "
    "dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct; sleep 0.02; done 2>/dev/null"
)
IDLE = "while :; do sleep 3600; done"
WEB = (
    "ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0; mkdir /www; "
    f"echo '{PAGE}' >/www/index.html; httpd -h /www; while :; do sleep 3600; done"
)


class DemoError(Exception):
    """What the user is told."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DemoHost:
    def __init__(self, nfold):
        self.nfold = str(Path(nfold).resolve())
        self.folder = Path(tempfile.mkdtemp(prefix="nfold-demo-"))
        self.port = free_port()
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=str(self.folder), XDG_STATE_HOME=str(self.folder / "state"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *words):
        result = subprocess.run(
            [self.nfold, *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        if result.returncode != 0:
            raise DemoError(f"nfold {shlex.join(map(str, words))}: {result.stderr.strip()}")
        return result.stdout

    def create(self, name, script, *words):
        encoded = subprocess.run(["base64", "-w0"], input=script.encode(), capture_output=True, check=True).stdout.decode()
        self.run("create", name, "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "demo.cpio.gz", "--memory", "128M",
                 "--append", f"console=ttyS0 quiet nfold.run={encoded}", *words)  # fmt: skip
        self.run("start", name)

    def start(self):
        """Returns when the web server has answered."""
        disk = self.folder / "disk.img"
        with open(disk, "wb") as file:
            file.truncate(DISK_BYTES)
        self.run("host", "start")
        self.create("web", WEB, "--net", f"user,forward=127.0.0.1:{self.port}:80")
        self.create("disk", DISK, "--disk", f"{disk},device=virtio", "--shares", 2000)
        self.create("busy", BUSY)
        self.create("idle", IDLE)
        self.wait_for_page()

    def wait_for_page(self):
        end = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                    if PAGE in answer.read().decode():
                        return
            except (OSError, ValueError):
                pass
            if time.monotonic() > end:
                raise DemoError(f"the web server did not answer within {BOOT_SECONDS} s")
            time.sleep(0.1)

    def stop(self):
        """Ends guests and host, whatever state they are in, and removes the folder."""
        for name in ("web", "disk", "busy", "idle"):
            subprocess.run([self.nfold, "kill", name], env=self.environment, capture_output=True, timeout=60, check=False)
        subprocess.run([self.nfold, "host", "stop"], env=self.environment, capture_output=True, timeout=60, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
