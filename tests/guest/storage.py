# SPDX-License-Identifier: MIT
"""Images that go bad under a running guest: one that shrinks, one whose host disk is full, one that is read-only, a disc that is
none. The guest gets I/O errors where a disk would give them, and keeps what it was told is written.
"""

import os
import resource

from group import boot
from guest import GUEST, runner_name
from pc import Pc

MIB = 1 << 20
BLOCK = 4096
KERNEL = GUEST / "vmlinuz-linux-image-686:i386"
INITRD = GUEST / "linux-image-686.cpio.gz"

SIZE = 48 * MIB
ROOM = 1024 * MIB  # of the file that the host lets the process write, more than its own files need
FULL_AT = ROOM - 8 * BLOCK


def make_image(path, size, pattern=b""):
    """A sparse file; the pattern fills its first blocks."""
    with open(path, "wb") as image:
        image.write(pattern)
        image.truncate(size)
    return path


def block_at(path, number):
    with open(path, "rb") as image:
        image.seek(number * BLOCK)
        return image.read(BLOCK)


def device_of(guest, image):
    """Linux names disks in the order in which it happens to find them."""
    output, _ = guest.shell(f"for disk in /sys/block/sd?; do read size <$disk/size; [ $size != {os.stat(image).st_size // 512} ] || echo ${{disk##*/}}; done")
    return f"/dev/{output.split()[-1]}"


def limit_files(guest, size):
    """As on a full host disk, for the guest's processes alone: no file is written beyond this size; None: as far as they may."""
    for pid in guest.vm_pids():
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def shrinks(group, guest, disk):
    device = device_of(guest, disk)
    command = f"dd if={device} bs=4k skip={SIZE // BLOCK // 2} count=1 iflag=direct of=/dev/null"
    group.equal("a disk before it shrinks: read", guest.shell(command)[1], 0)
    os.truncate(disk, MIB)
    group.equal("what has vanished: an error", guest.shell(command, 60)[1], 1)
    write = f"dd if=/dev/urandom of={device} bs=4k seek={SIZE // BLOCK // 2} count=1 oflag=direct"
    group.equal("a write there: an error", guest.shell(write, 60)[1], 1)
    group.equal("and it does not bring the file back", os.stat(disk).st_size, MIB)
    output, _ = guest.shell(f"dd if={device} bs=4k count=1 iflag=direct 2>/dev/null | head -c 6")
    group.equal("what is left: read", output[:6], "begins")


def fills(group, guest, disk):
    """Blocks are written one by one, past the point where the host has no room."""
    first = FULL_AT // BLOCK - 16
    count = (ROOM - FULL_AT) // BLOCK + 16
    device = device_of(guest, disk)
    limit_files(guest, FULL_AT)
    guest.shell("head -c 4096 /dev/urandom >/tmp/block")
    write = f"dd if=/tmp/block of={device} bs=4k count=1 oflag=direct"
    output, _ = guest.shell(f"for i in $(seq {first} {first + count - 1}); do {write} seek=$i 2>/dev/null && echo good $i; done", 120)
    good = [int(line.split()[1]) for line in output.splitlines() if line.startswith("good ")]
    group.equal("a full host disk: writes up to it succeed, later ones are errors", good, list(range(first, FULL_AT // BLOCK)))
    written = {block_at(disk, number) for number in good}
    rest = {block_at(disk, number) for number in range(FULL_AT // BLOCK, first + count)}
    same = len(written) == 1 and bytes(BLOCK) not in written
    group.equal("what succeeded is in the image, and nothing else", (same, rest == {bytes(BLOCK)}), (True, True))
    group.equal(
        "with the page cache in between, fsync tells", guest.shell(f"dd if=/tmp/block of={device} bs=4k seek={ROOM // BLOCK - 2} conv=fsync", 60)[1], 1
    )
    limit_files(guest, None)
    group.equal("once there is room, writes succeed", guest.shell(f"{write} seek={FULL_AT // BLOCK}", 60)[1], 0)
    group.equal("and are in the image", block_at(disk, FULL_AT // BLOCK) in written, True)


def is_read_only(group, guest, disk, before):
    device = device_of(guest, disk)
    group.equal("a read-only disk: read", guest.shell(f"dd if={device} bs=4k count=1 iflag=direct of=/dev/null")[1], 0)
    group.equal("written: an error", guest.shell(f"dd if=/dev/urandom of={device} bs=4k count=1 oflag=direct", 60)[1], 1)
    group.equal("and it stays as it was", disk.read_bytes() == before, True)


def is_no_disc(group, guest, disc):
    output, _ = guest.shell("blockdev --getsize64 /dev/sr0")
    group.equal("a disc of odd size: whole blocks", output.strip(), str(-(-disc.stat().st_size // 2048) * 2048))
    group.equal("with an empty volume descriptor: no mount", guest.shell("mkdir -p /cd; mount -t iso9660 -o ro /dev/sr0 /cd", 60)[1] != 0, True)
    os.truncate(disc, 16 * 2048)
    group.equal("what has vanished: an error", guest.shell("dd if=/dev/sr0 bs=2k skip=200 count=1 iflag=direct of=/dev/null", 90)[1], 1)
    group.equal("what is left: read", guest.shell("dd if=/dev/sr0 bs=2k count=1 iflag=direct of=/dev/null", 90)[1], 0)


def ask(group, folder):
    if runner_name() != "nfold":
        group.skip("what happens to nfold's images is nfold's affair")
        return
    pattern = os.urandom(MIB)
    shrinking = make_image(folder / "shrinks.img", SIZE, b"begins" + bytes(MIB - 6))
    full = make_image(folder / "full.img", ROOM)
    fixed = make_image(folder / "fixed.img", MIB, pattern)
    disc = make_image(folder / "disc.iso", MIB + 777, pattern[:0x8000] + b"\1CD001\1" + bytes(2041) + pattern[0x8800:])
    with Pc(
        kernel=KERNEL, initrd=INITRD, append="console=ttyS0", memory_mib=128, disks=[shrinking, full, f"{fixed},readonly"], cdrom=disc
    ) as guest:
        boot(group, guest)
        shrinks(group, guest, shrinking)
        fills(group, guest, full)
        is_read_only(group, guest, fixed, pattern)
        is_no_disc(group, guest, disc)
        group.power_off(guest)
