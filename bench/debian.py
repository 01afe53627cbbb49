# SPDX-License-Identifier: MIT
"""A minimal Debian with systemd, made by mmdebstrap on a disk image, booted to its login prompt."""

import shutil
import tempfile
from pathlib import Path

import images
import pc  # found through the path that subjects added
from boot import BOOT_SECONDS
from rows import Row, RowError, Sample
from subjects import ROOT, guest, use

RELEASE = "bookworm"
PACKAGES = "systemd-sysv,udev,dbus"
NOT_NEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
DRIVERS = "linux-image-cloud-amd64=ata_piix,sd_mod"
MEMORY_MIB = 512
LOGIN = rb"login: "


def disk():
    """The image; made once. It takes the packages from where this machine's apt takes them."""
    path = images.FOLDER / f"debian-{RELEASE}.ext2"
    if not path.exists():
        images.FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        partial.unlink(missing_ok=True)
        print(f"bench: making {path.name} by mmdebstrap, once", flush=True)
        excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in NOT_NEEDED]
        images.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *excludes, "--format=ext2", RELEASE, str(partial)])
        partial.rename(path)
    return path


def initramfs():
    path = images.FOLDER / "boot-disk.cpio.gz"
    script = images.PROGRAMS / "data" / "boot-disk"
    images.run([str(ROOT / "tools" / "make-initramfs"), "-o", str(path), "--modules", DRIVERS, "--file", f"{script}=/boot-disk"])
    return path


def login(subject, options):
    """From the command to the login prompt of the serial console. The guest writes to a copy of the disk that is new each time."""
    use(subject)
    with tempfile.TemporaryDirectory(prefix="nfold-bench-") as folder:
        copy = Path(folder) / "disk"
        shutil.copyfile(disk(), copy)
        append = f"{options.append} rdinit=/boot-disk {subject.append}".strip()
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
