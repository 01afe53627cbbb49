# SPDX-License-Identifier: MIT
"""Disks of a Linux guest: every format and device, cache modes, clones and their bases, servers that die, a guest that stops when
the host's disk is full, and what the ledger says of it all.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from group import boot
from guest import GUEST, GuestError, nfold_path, runner_name
from pc import Pc
from storage import BLOCK, MIB, limit_files, make_image

KERNEL = GUEST / "vmlinuz-linux-image-cloud-amd64"
INITRD = GUEST / "disks.cpio.gz"
SIZE = 16 * MIB
# In the order in which they are given, and the devices that they are.
FORMATS = [
    ("raw", "device=ide", "sda"), ("qcow2", "device=ide,cache=none", "sdb"), ("raw", "device=virtio,cache=none", "vda"),
    ("raw", "device=virtio,cache=unsafe", "vdb"), ("qcow2", "device=virtio,cache=writethrough", "vdc"), ("vmdk", "device=virtio", "vdd"),
    ("vhd", "device=virtio", "vde"), ("vhdx", "device=virtio", "vdf"),
]  # fmt: skip
QEMU_FORMAT = {"vhd": "vpc"}
FILL = "head -c 4194304 /dev/urandom >/tmp/random"
COPY = "dd if=/tmp/random of=/dev/{0} bs=64k seek=3 conv=fsync 2>/dev/null"
AGAIN = "blockdev --flushbufs /dev/{0} && dd if=/dev/{0} bs=64k skip=3 count=64 2>/dev/null | cmp - /tmp/random"


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, timeout=60).stdout


def machine(disks, **options):
    return Pc(kernel=KERNEL, initrd=INITRD, append="console=ttyS0 quiet", memory_mib=192, disks=disks, **options)


def refusal(*words):
    """What nfold says when it does not start a guest; empty if it does."""
    result = subprocess.run(
        [nfold_path(), "run", "--kernel", str(KERNEL), "--serial", "none", "--name", f"test-refused-{os.getpid()}", *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    return result.stderr if result.returncode == 2 else ""


def servers(guest):
    return [pid for pid in guest.vm_pids() if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "qemu-nbd"]


def every_format(group, folder):
    images = []
    for number, (form, words, _) in enumerate(FORMATS):
        path = folder / f"disk{number}.{form}"
        run("qemu-img", "create", "-q", "-f", QEMU_FORMAT.get(form, form), path, SIZE)
        images.append(f"{path},{words}")
    with machine(images) as guest:
        boot(group, guest)
        guest.shell(FILL)
        for form, words, device in FORMATS:
            statuses = guest.shell(COPY.format(device), 60)[1], guest.shell(AGAIN.format(device), 60)[1]
            group.equal(f"{form}, {words}: written and read", statuses, (0, 0))
        group.equal("discarded by the guest", guest.shell("blkdiscard /dev/vda && blkdiscard /dev/vdc", 60)[1], 0)
        group.equal("zeros are read then", guest.shell("dd if=/dev/vda bs=64k count=128 2>/dev/null | tr -d '\\0' | wc -c")[0].strip(), "0")
        group.equal("the serial number", guest.shell("cat /sys/block/vdb/serial")[0].strip(), "nfold-disk3")
        everything = json.loads(guest.command("stats", guest.name, "--json"))
        vcpu = everything["vcpus"][0]
        delays = vcpu["delays"]["device"]
        group.equal("the ledger has how long interrupts of disks waited", 100 < delays["count"] <= vcpu["counts"]["interrupt"], True)
        group.equal("and each is in its histogram", sum(count for _, count in delays["buckets"]), delays["count"])
        stats = everything["disks"]
        written = [disk["write"]["bytes"] >= 4 * MIB and sum(count for _, count in disk["write"]["buckets"]) == disk["write"]["count"] for disk in stats]
        group.equal("the ledger has the bytes written, and a time for each write", written, [True] * len(FORMATS))
        flushed = ["writethrough" not in words for _, words, _ in FORMATS]  # there the guest is told of no cache
        group.equal("and the flushes", [disk["flush"]["count"] > 0 for disk in stats], flushed)
        group.equal("and the discards", [disk["discard"]["count"] > 0 for disk in stats], [device in ("vda", "vdc") for _, _, device in FORMATS])
        pids = servers(guest)
        group.equal("one server for each image of another format", len(pids), sum(form != "raw" for form, _, _ in FORMATS))
        group.power_off(guest)
    group.equal("the servers end with the guest", [pid for pid in pids if Path(f"/proc/{pid}").exists()], [])
    for number, (form, _, _) in enumerate(FORMATS):
        if form in ("qcow2", "vmdk", "vhdx"):
            run("qemu-img", "check", "-q", "-f", form, folder / f"disk{number}.{form}")
    group.report("qemu-img finds nothing wrong with the images")


def clones(group, folder):
    base = make_image(folder / "base.img", SIZE, b"base")
    before = base.read_bytes()
    for name in ("one", "two"):
        run(nfold_path(), "clone", base, folder / f"{name}.qcow2")
    again = subprocess.run([nfold_path(), "clone", base, folder / "one.qcow2"], capture_output=True, text=True, timeout=60, check=False)
    group.equal("a clone does not replace a file", (again.returncode, "exists" in again.stderr), (2, True))
    group.equal("a base cannot be written", "write-protected" in refusal("--disk", base), True)
    with machine([f"{folder / 'one.qcow2'},device=virtio"]) as guest, machine([f"{folder / 'two.qcow2'},device=virtio"]) as other:
        boot(group, guest)
        boot(group, other)
        group.equal("a clone begins as its base", other.shell("head -c 4 /dev/vda")[0], "base")
        group.equal("and is written", guest.shell("echo mine | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null", 60)[1], 0)
        group.equal("its sister does not see that", other.shell("blockdev --flushbufs /dev/vda; head -c 4 /dev/vda")[0], "base")
        group.equal("a clone has one user", "in use" in refusal("--disk", folder / "one.qcow2"), True)
        base.chmod(0o644)
        group.equal("a base whose clone runs cannot be written even so", "in use" in refusal("--disk", base), True)
        base.chmod(0o444)
        group.power_off(guest)
        group.power_off(other)
    group.equal("the base is as it was", base.read_bytes() == before, True)
    free = make_image(folder / "free.img", SIZE)
    with machine([free]) as guest:
        boot(group, guest)
        result = subprocess.run([nfold_path(), "clone", free, folder / "three.qcow2"], capture_output=True, text=True, timeout=60, check=False)
        group.equal("a disk in use has no clones", (result.returncode, "in use" in result.stderr), (2, True))
        group.equal("and can be written as before", (os.stat(free).st_mode & 0o200, (folder / "three.qcow2").exists()), (0o200, False))
        group.power_off(guest)


def bad_images(group, folder):
    disguised = folder / "disguised.img"
    run("qemu-img", "create", "-q", "-f", "qcow2", disguised, SIZE)
    group.equal("a format that the name does not say", "give format=qcow2" in refusal("--disk", disguised), True)
    wrong = make_image(folder / "wrong.qcow2", SIZE)
    group.equal("a name that lies", "not in qcow2 format" in refusal("--disk", wrong), True)
    group.equal("no such image", "No such file" in refusal("--disk", folder / "none.vmdk"), True)
    group.equal("no such server", "cannot reach" in refusal("--disk", f"nbd+unix:///?socket={folder}/nobody"), True)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as gone:
        gone.bind(f"{folder}/gone")
    group.equal("a server that is gone", "cannot reach" in refusal("--disk", f"nbd+unix:///?socket={folder}/gone"), True)


def dead_server(group, folder):
    image = folder / "dies.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", image, SIZE)
    with machine([f"{image},device=virtio"]) as guest:
        boot(group, guest)
        group.equal("before: written", guest.shell("dd if=/dev/urandom of=/dev/vda bs=4k count=8 conv=fsync 2>/dev/null", 60)[1], 0)
        os.kill(servers(guest)[0], signal.SIGKILL)
        group.equal("a server that was killed: an error, no hang", guest.shell("dd if=/dev/vda bs=4k skip=99 count=1 iflag=direct of=/dev/null 2>/dev/null", 60)[1], 1)
        group.equal("writes too", guest.shell("dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct 2>/dev/null", 60)[1], 1)
        group.power_off(guest)
        said = guest.errors.decode(errors="replace")
        group.equal("and the user is told", "its server qemu-nbd is gone: ended by signal 9" in said, True)


def foreign_server(group, folder):
    image, at = make_image(folder / "served.img", SIZE, b"served"), folder / "nbd"
    server = subprocess.Popen(["qemu-nbd", "--format=raw", "--persistent", f"--socket={at}", str(image)])
    try:
        for _ in range(200):
            if at.exists():
                break
            time.sleep(0.1)
        with machine([f"nbd+unix:///?socket={at},device=virtio"]) as guest:
            boot(group, guest)
            group.equal("a disk behind a URI: read", guest.shell("head -c 6 /dev/vda")[0], "served")
            group.equal("written", guest.shell("echo there | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null", 60)[1], 0)
            group.equal("the server has it", image.read_bytes()[:6], b"there\n")
            group.power_off(guest)
    finally:
        server.terminate()
        server.wait(20)


def full_host(group, folder):
    room = 1024 * MIB
    full_at = room - 64 * BLOCK
    image = make_image(folder / "full.img", room)
    with machine([f"{image},device=virtio,on-error=stop"]) as guest:
        boot(group, guest)
        limit_files(guest, full_at)
        guest.send(f"dd if=/dev/zero of=/dev/vda bs=4k seek={full_at // BLOCK - 8} count=16 oflag=direct 2>/dev/null; echo written $?\n")
        listed = lambda: any(line.split()[:2] == [guest.name, "paused"] for line in guest.command("list").splitlines())  # noqa: E731
        guest.await_true(listed, 60, "pause")
        group.report("on-error=stop: a full host disk pauses the guest")
        guest.command("resume", guest.name)
        guest.await_true(listed, 60, "second pause")
        group.report("resumed with the disk still full, it is paused again")
        limit_files(guest, None)
        guest.command("resume", guest.name)
        group.equal("resumed when there is room, it has lost nothing", guest.expect(rb"written (\d+)", 60).group(1), b"0")
        group.equal("the user was told", "File too large; the guest is stopped" in guest.errors.decode(errors="replace"), True)
        group.power_off(guest)


def ask(group, folder):
    if runner_name() != "nfold":
        group.skip("what becomes of nfold's images is nfold's affair")
        return
    for part in (every_format, clones, bad_images, dead_server, foreign_server, full_host):
        inside = folder / part.__name__
        inside.mkdir()
        try:
            part(group, inside)
        except GuestError as problem:
            group.report(part.__name__, problem)
