# SPDX-License-Identifier: MIT
"""Disks of the IDE controller, read by DMA from a Linux guest, past its page cache; and fio in a guest, on IDE and virtio disks."""

import functools
import json
import re
import subprocess
import tempfile
from pathlib import Path

import pc  # found through the path that subjects added
from boot import BOOT_SECONDS, LINUX32_MIB, MIB, linux32_files
from rows import Row, RowError, Sample
from subjects import ROOT, guest, use

FILE_MIB = 64
PASSES = 32  # the guest's clock, /proc/uptime, counts hundredths of a second
READ_SECONDS = 120

FIO_MIB = 256  # of the disk
FIO_MEMORY_MIB = 1024  # fio's libraries alone take a quarter of it
FIO_SECONDS = 300
# Name, what it does, MiB, words for fio. Each moves a fixed number of bytes, with --short a quarter of them, past the guest's page
# cache; the image is in the host's.
FIO = [
    ("seq-read", "1 MiB reads in order", 1024, "--rw=read --bs=1M --ioengine=libaio --iodepth=4"),
    ("seq-write", "1 MiB writes in order", 512, "--rw=write --bs=1M --ioengine=libaio --iodepth=4"),
    ("rand-read", "4 KiB random reads, 16 at a time", 64, "--rw=randread --bs=4k --ioengine=libaio --iodepth=16"),
    ("rand-write", "4 KiB random writes, 16 at a time", 64, "--rw=randwrite --bs=4k --ioengine=libaio --iodepth=16"),
    ("seq-write-fsync", "64 KiB writes in order, fsync after each", 16, "--rw=write --bs=64k --ioengine=psync --fsync=1"),
    ("rand-write-fsync", "4 KiB random writes, fsync after each", 2, "--rw=randwrite --bs=4k --ioengine=psync --fsync=1"),
]
FIO_DEVICES = {"ide": ("", "/dev/sda"), "virtio": (",device=virtio", "/dev/vda")}


def ide_read(subject, options):
    """The same 64 MiB several times, so that the host's page cache has them."""
    use(subject)
    kernel, initrd = linux32_files()
    with tempfile.NamedTemporaryFile(prefix="nfold-bench-") as disk:
        block = bytes(range(256)) * (MIB // 256)
        for number in range(FILE_MIB):
            disk.write(number.to_bytes(4, "little") + block[4:])
        disk.flush()
        append = f"{options.append} quiet {subject.append}".strip()
        with pc.Pc(program=subject.path, kernel=kernel, initrd=initrd, append=append, memory_mib=LINUX32_MIB, disks=[Path(disk.name)]) as machine:
            machine.boot(BOOT_SECONDS)
            dd = "dd if=/dev/sda of=/dev/null bs=1M iflag=direct"
            machine.shell(dd, READ_SECONDS)
            before = machine.since_start()
            loop = f"for i in $(seq {PASSES}); do {dd} || echo failed; done"
            output, _ = machine.shell(f"read a b </proc/uptime; {loop} 2>/dev/null; read c b </proc/uptime; echo from $a to $c", READ_SECONDS)
            host_seconds = machine.since_start() - before
            times = re.fullmatch(r"from ([0-9.]+) to ([0-9.]+)", output.strip())
            if times is None:
                raise RowError(f"dd said {output!r}")
    seconds = float(times.group(2)) - float(times.group(1))
    return Sample(seconds, host_seconds=host_seconds, extra={"mib_per_second": round(FILE_MIB * PASSES / seconds)})


def fio_initrd():
    path = guest.GUEST / "bench" / "fio.cpio.gz"
    path.parent.mkdir(exist_ok=True)
    subprocess.run(
        [str(ROOT / "tools" / "make-initramfs"), "-o", str(path), "--package", "fio",
         "--modules", "linux-image-cloud-amd64=virtio_pci,virtio_blk,ata_piix,sd_mod"],
        check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return path


def fio(device, mib, words, subject, options):
    """Seconds as fio measured them in the guest."""
    use(subject)
    disk_words, path = FIO_DEVICES[device]
    with tempfile.NamedTemporaryFile(prefix="nfold-bench-", dir="/var/tmp") as disk:
        for _ in range(FIO_MIB):
            disk.write(bytes(range(256)) * (MIB // 256))
        disk.flush()
        append = f"{options.append} quiet {subject.append}".strip()
        with pc.Pc(
            program=subject.path, kernel=guest.GUEST / "vmlinuz-linux-image-cloud-amd64", initrd=fio_initrd(), append=append,
            memory_mib=FIO_MEMORY_MIB, disks=[f"{disk.name}{disk_words}"]) as machine:  # fmt: skip
            machine.boot(BOOT_SECONDS)
            before = machine.since_start()
            size = mib * 1024 // (4 if options.short else 1)
            command = f"fio --name=row --io_size={size}k --filename={path} --size={FIO_MIB}m --direct=1 --randseed=1 --output-format=json --output=/tmp/out {words}"
            output, status = machine.shell(f"{command} >/tmp/log 2>&1 || cat /tmp/log; tr -d '\\n\\t' </tmp/out", FIO_SECONDS)
            host_seconds = machine.since_start() - before
        try:
            job = json.loads(output[output.index("{") :])["jobs"][0]
        except (ValueError, LookupError):
            raise RowError(f"fio said {output[-300:]!r}, status {status}") from None
    part = max((job["read"], job["write"]), key=lambda each: each["io_bytes"])
    seconds = part["runtime"] / 1000
    if job["error"] or not seconds:
        raise RowError(f"fio failed: error {job['error']}")
    return Sample(seconds, host_seconds=host_seconds, extra={"mib_per_second": round(part["io_bytes"] / MIB / seconds, 1), "iops": round(part["iops"])})


ROWS = [
    Row("disk", "ide-read", f"IDE disk: {FILE_MIB * PASSES} MiB by DMA", ide_read),
] + [
    Row("fio", f"{device}-{name}", f"{device} disk, fio: {title}", functools.partial(fio, device, mib, words))
    for device in FIO_DEVICES
    for name, title, mib, words in FIO
]
