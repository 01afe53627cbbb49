# SPDX-License-Identifier: MIT
"""Boot times: the wall clock's, from just before the command is started to what shows that the guest is there."""

import tempfile
from pathlib import Path

from rows import Row, RowError, Sample
from subjects import guest, use

import pc  # found through the path that subjects added

MIB = 1 << 20
BOOT_SECONDS = 300
POWER_OFF_SECONDS = 60
LINUX32_MIB = 256

# What a boot sector of ours does: mov dx, 3f8h; mov al, '!'; out dx, al; cli; hlt.
BOOT_SECTOR = (b"\xba\xf8\x03\xb0!\xee\xfa\xf4").ljust(510, b"\0") + b"\x55\xaa"
DISK_BYTES = 8 * MIB


def linux_init(subject, options):
    """A Linux entered directly, to the first line of /init; then the memory beyond guest RAM, at the shell."""
    use(subject)
    words = subject.words(options.kernel, options.initrd, options.append, options.memory)
    with guest.Guest(words) as machine:
        seconds = machine.boot(BOOT_SECONDS)
        beyond, touched = guest.resident_beyond_ram(machine.vm_pids(), options.memory * MIB)
        status = machine.power_off(POWER_OFF_SECONDS)
        if status != 0:
            raise RowError(f"ended with status {status}\n{machine.tail()}")
    return Sample(seconds, extra={"mib_beyond_ram": round(beyond / MIB, 1), "mib_ram_touched": round(touched / MIB, 1)})


def linux32_files():
    """Kernel and initramfs of 32-bit Linux; the initramfs has the modules for IDE disks."""
    files = guest.GUEST / "vmlinuz-linux-image-686:i386", guest.GUEST / "linux-image-686.cpio.gz"
    if not all(file.exists() for file in files):
        raise RowError("there is no 32-bit kernel or initramfs: make guest")
    return files


def linux32_init(subject, options):
    """Linux for i386 without PAE, entered directly, to the first line of /init."""
    use(subject)
    words = subject.words(*linux32_files(), options.append, LINUX32_MIB)
    with guest.Guest(words) as machine:
        seconds = machine.boot(BOOT_SECONDS)
        status = machine.power_off(POWER_OFF_SECONDS)
        if status != 0:
            raise RowError(f"ended with status {status}\n{machine.tail()}")
    return Sample(seconds)


def firmware(subject, options):
    """SeaBIOS from power-on until the first instruction of a disk's boot sector has told so on the serial port."""
    use(subject)
    with tempfile.NamedTemporaryFile(prefix="nfold-bench-") as disk:
        disk.write(BOOT_SECTOR)
        disk.truncate(DISK_BYTES)
        with pc.Pc(program=subject.path, disks=[Path(disk.name)]) as machine:
            machine.expect(rb"!", BOOT_SECONDS, "sign of the boot sector")
            seconds = machine.since_start()
    return Sample(seconds)


# Add rows here; each is a function of (subject, options) that returns a Sample.
ROWS = [
    Row("boot", "init", "Linux to /init", linux_init),
    Row("boot", "init32", "32-bit Linux to /init", linux32_init),
    Row("boot", "firmware", "SeaBIOS to the boot sector", firmware),
]
