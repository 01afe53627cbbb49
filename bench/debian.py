# SPDX-License-Identifier: MIT
"""A minimal Debian with systemd, made by mmdebstrap on a disk image, booted to its login prompt."""

import shutil
import tempfile
from pathlib import Path

import debian_image
import images
import pc  # found through the path that subjects added
from boot import BOOT_SECONDS
from rows import Row, RowError, Sample
from subjects import ROOT, guest, use

DRIVERS = "linux-image-cloud-amd64=ata_piix,sd_mod"
MEMORY_MIB = 512
LOGIN = rb"login: "


def initramfs():
    path = images.FOLDER / "boot-disk.cpio.gz"
    script = debian_image.FILES / "boot-disk"
    images.run([str(ROOT / "tools" / "make-initramfs"), "-o", str(path), "--modules", DRIVERS, "--file", f"{script}=/boot-disk"])
    return path


def login(subject, options):
    """From the command to the login prompt of the serial console. The guest writes to a copy of the disk that is new each time."""
    use(subject)
    with tempfile.TemporaryDirectory(prefix="nfold-bench-") as folder:
        copy = Path(folder) / "disk"
        shutil.copyfile(debian_image.image("small"), copy)
        append = f"{options.append} rdinit=/boot-disk root=/dev/sda {subject.append}".strip()
        with pc.Pc(
            program=subject.path, cpu=subject.cpu, kernel=options.kernel, initrd=initramfs(), append=append, memory_mib=MEMORY_MIB, disks=[copy]
        ) as machine:
            machine.expect(LOGIN, BOOT_SECONDS, "login prompt")
            seconds = machine.since_start()
            if b"systemd[1]" not in machine.log:
                raise RowError("a login prompt without systemd")
    return Sample(seconds)


ROWS = [
    Row("boot", "login", "Debian with systemd to login", login),
]
