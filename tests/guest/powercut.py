#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Power cuts: nothing that a guest flushed is lost when its processes are killed.

usage: powercut.py WRITER ROUNDS [SEED]     WRITER is the static program of powercut.c

Each round boots a Linux guest with four disks (IDE and virtio, raw and qcow2, three cache modes), has it check what the rounds
before left, and write: numbered records with fdatasync on two of the disks and on a file of an ext4 file system, and a SQLite
database on that file system. The guest reports each number that it was told is safe. At a random moment nfold-vm is killed with
SIGKILL; in half of the rounds its qemu-nbd as well, else it ends by itself.

Nothing acknowledged may be missing. The host's page cache outlives the processes: that flushes reach the host's disk is the unit
test of the images' affair.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guest import GUEST, ROOT, Guest, GuestError, nfold_path

BOOT_SECONDS = 120
ROUND_SECONDS = 60
KERNEL = GUEST / "vmlinuz-linux-image-cloud-amd64"
MIB = 1 << 20
# Name, format, words for --disk, device in the guest. The file system is on the one named fs.
DISKS = [
    ("ide", "raw", "", "/dev/sda"),
    ("virtio", "raw", "device=virtio,cache=writethrough", "/dev/vda"),
    ("cow", "qcow2", "format=qcow2,device=virtio", "/dev/vdb"),
    ("fs", "qcow2", "format=qcow2,device=virtio,cache=none", "/dev/vdc"),
]
WRITERS = [("ide", "/dev/sda"), ("virtio", "/dev/vda"), ("cow", "/dev/vdb"), ("file", "/mnt/records")]
# With less than extra, SQLite does not flush the removal of its journal, and a cut may undo the last commit.
SQL_LOOP = (
    "n=$(sqlite3 /mnt/db 'select coalesce(max(n), 0) from t'); while n=$((n + 1)); do "
    "sqlite3 /mnt/db \"pragma synchronous=extra; insert into t values($n, hex(randomblob(500)))\" && echo ack sql $n; done"
)


def make_images(folder):
    for name, form, _, _ in DISKS:
        raw = folder / f"{name}.raw"
        with open(raw, "wb") as image:
            image.truncate(32 * MIB)
        if name == "fs":
            subprocess.run(["mkfs.ext4", "-q", "-F", str(raw)], check=True, stdout=subprocess.DEVNULL)
        if form != "raw":
            subprocess.run(["qemu-img", "convert", "-q", "-O", form, str(raw), str(folder / f"{name}.{form}")], check=True)
            raw.unlink()


def make_initrd(writer, folder):
    image = folder / "powercut.cpio.gz"
    subprocess.run(
        [str(ROOT / "tools" / "make-initramfs"), "-o", str(image), "--package", "sqlite3", "--file", f"{writer}=/bin/powercut",
         "--modules", "linux-image-cloud-amd64=virtio_pci,virtio_blk,ata_piix,sd_mod"],
        check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return image


def start(folder, initrd):
    words = [nfold_path(), "run", "--name", f"test-powercut-{os.getpid()}", "--memory", "192M", "--no-reboot", "--serial", "stdio"]
    words += ["--kernel", str(KERNEL), "--initrd", str(initrd), "--append", "console=ttyS0 quiet"]
    for name, form, options, _ in DISKS:
        words += ["--disk", ",".join(filter(None, [str(folder / f"{name}.{form}"), options]))]
    return Guest(words)


def check(guest, acknowledged):
    """What the rounds before were told is safe is there."""
    output, status = guest.shell("mkdir -p /mnt; mount -t ext4 /dev/vdc /mnt && touch /mnt/records && sqlite3 /mnt/db 'create table if not exists t(n integer primary key, x)'", ROUND_SECONDS)
    if status != 0:
        raise GuestError(f"the file system does not mount: {output}")
    for name, path in WRITERS:
        output, status = guest.shell(f"powercut check {name} {path} {acknowledged.get(name, 0)}", ROUND_SECONDS)
        if status != 0 or not re.search(rf"good {name} \d+", output):
            raise GuestError(f"{name}: {acknowledged.get(name, 0)} was acknowledged, but: {output.strip()}")
    output, _ = guest.shell("sqlite3 /mnt/db 'pragma integrity_check' 'select count(*), coalesce(max(n), 0) from t'", ROUND_SECONDS)
    found = re.search(r"^ok\n(\d+)\|(\d+)$", output, re.MULTILINE)
    if not found or found.group(1) != found.group(2) or int(found.group(2)) < acknowledged.get("sql", 0):
        raise GuestError(f"database: {acknowledged.get('sql', 0)} was acknowledged, but: {output.strip()}")


def kill_processes(guest, pids, server_too):
    names = {pid: Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() for pid in pids}
    victims = [pid for pid in pids if names[pid] == "nfold-vm" or (server_too and names[pid] == "qemu-nbd")]
    if "nfold-vm" not in names.values() or "qemu-nbd" not in names.values():
        raise GuestError(f"not the processes that were expected: {names}")
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    guest.wait(30)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            raise GuestError(f"still there: {names}")
        time.sleep(0.01)


def write_until_killed(guest, chance, server_too, acknowledged):
    pids = guest.vm_pids()
    begin = len(guest.log)
    writers = " ".join(f"powercut write {name} {path} &" for name, path in WRITERS)
    guest.send(f"{writers} ({SQL_LOOP}) &\n")
    for name in [name for name, _ in WRITERS] + ["sql"]:
        seen, guest.seen = guest.seen, begin
        guest.expect(rb"ack " + name.encode() + rb" \d+\r?\n", ROUND_SECONDS)
        guest.seen = max(seen, guest.seen)
    end = time.monotonic() + chance.uniform(0, 1.5)
    while (left := end - time.monotonic()) > 0:
        guest.pump(left)
    kill_processes(guest, pids, server_too)
    text = guest.log[begin:].decode(errors="replace")
    for name, number in re.findall(r"^ack (\w+) (\d+)\r?\n", text, re.MULTILINE):
        acknowledged[name] = max(acknowledged.get(name, 0), int(number))


def main():
    writer, rounds = Path(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    if not KERNEL.exists():
        print("skipped: no guest images: run `make guest`")
        return 77
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    acknowledged = {}
    with tempfile.TemporaryDirectory(prefix="nfold-powercut-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        make_images(folder)
        initrd = make_initrd(writer, folder)
        for number in range(rounds + 1):
            with start(folder, initrd) as guest:
                try:
                    guest.boot(BOOT_SECONDS)
                    check(guest, acknowledged)
                    if number < rounds:
                        write_until_killed(guest, chance, number % 2 == 1, acknowledged)
                    else:
                        guest.shell("umount /mnt")
                        guest.power_off()
                except (GuestError, subprocess.SubprocessError) as problem:
                    print(f"FAILED in round {number}: {problem}\n{guest.tail()}")
                    return 1
            print(f"round {number}: acknowledged and found so far {acknowledged}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
