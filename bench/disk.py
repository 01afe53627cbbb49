# SPDX-License-Identifier: MIT
"""Disks of the IDE controller, read by DMA from a Linux guest, past its page cache."""

import re
import tempfile
from pathlib import Path

import pc  # found through the path that subjects added
from boot import BOOT_SECONDS, LINUX32_MIB, MIB, linux32_files
from rows import Row, RowError, Sample
from subjects import use

FILE_MIB = 64
PASSES = 32  # the guest's clock, /proc/uptime, counts hundredths of a second
READ_SECONDS = 120


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


ROWS = [
    Row("disk", "ide-read", f"IDE disk: {FILE_MIB * PASSES} MiB by DMA", ide_read),
]
