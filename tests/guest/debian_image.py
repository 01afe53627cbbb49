#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disk images of Debian systems with systemd, made by mmdebstrap from packages, each once, below build/guest/debian.

usage: debian_image.py NAME...

  small     systemd and nginx on a bare ext2 file system, without a kernel: the kernel is entered directly. nginx starts where
            the kernel's command line has systemd.wants=nginx.service
  server    partition, GRUB, Debian's full kernel with its own initramfs, ext4; nginx, PostgreSQL, and what loads them

The packages come from where this machine's apt takes them. An image is made again when its recipe has changed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "build" / "guest" / "debian"
FILES = Path(__file__).resolve().parent / "debian"
RELEASE = "bookworm"
MIB = 1 << 20
SECTOR = 512
PARTITION = 1 * MIB
LINUX_TYPE = 0x83

NOT_NEEDED = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"]
# Drivers of hardware that no virtual machine has; libLLVM is for PostgreSQL's compiler of queries, which is off.
NOT_IN_A_MACHINE = ["sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/net/wireless", "drivers/staging", "drivers/iio"]
NOT_ON_A_SERVER = [f"lib/modules/*/kernel/{folder}" for folder in NOT_IN_A_MACHINE] + ["usr/lib/*/libLLVM"]


class ImageError(Exception):
    """One line for the person at the terminal."""


@dataclass(frozen=True)
class Recipe:
    packages: tuple
    excludes: tuple
    hook: str  # a script of FILES, which gets the new system's root folder and one for what it gives to us
    size: int = 0  # of the partition; 0: a bare file system, as small as it can be

    def key(self):
        text = f"{RELEASE} {self!r}\n{(FILES / self.hook).read_text(encoding='utf-8')}"
        return hashlib.sha256(text.encode()).hexdigest()


RECIPES = {
    "small": Recipe(("systemd-sysv", "udev", "dbus", "nginx-light"), tuple(NOT_NEEDED), "customize-small"),
    "server": Recipe(
        (
            "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "e2fsprogs", "linux-image-amd64", "initramfs-tools", "zstd", "grub-pc-bin",
            "grub-common", "nginx-light", "postgresql", "qemu-guest-agent", "fio", "iperf3", "stress-ng", "gcc", "libc6-dev", "make",
        ),
        (*NOT_NEEDED, *NOT_ON_A_SERVER),
        "customize-server",
        3072 * MIB,
    ),
}  # fmt: skip


def run(*words):
    result = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip() or "failed").splitlines()
        raise ImageError(f"{words[0]}: {next((line for line in said if line.startswith('E:')), said[-1])}")


def bootstrap(recipe, output, gives):
    """Debian as the recipe says, in a tar or ext2 file."""
    excludes = [f"--dpkgopt=path-exclude=/{pattern}*" for pattern in recipe.excludes]
    hook = f"--customize-hook={FILES / recipe.hook} \"$1\" '{gives}'"
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(recipe.packages)}", *excludes, hook, RELEASE, output)


def boot_record(boot, core, first, count):
    """GRUB's first sector with a table of one partition that can be booted, and its core behind it, before the partition."""
    if SECTOR + len(core) > PARTITION:
        raise ImageError(f"GRUB's core has {len(core)} bytes: no room before the partition")
    entry = bytes([0x80, 0xFE, 0xFF, 0xFF, LINUX_TYPE, 0xFE, 0xFF, 0xFF]) + first.to_bytes(4, "little") + count.to_bytes(4, "little")
    return boot[:446] + entry + bytes(48) + b"\x55\xaa" + core


def assemble(recipe, tree, gives, image):
    """A disk with the tree of the tar file. fakeroot: whoever makes it, the files keep their owners."""
    with open(image, "wb") as disk:
        disk.write(boot_record((gives / "boot.img").read_bytes(), (gives / "core.img").read_bytes(), PARTITION // SECTOR, recipe.size // SECTOR))
        disk.truncate(PARTITION + recipe.size)
    script = 'mkdir "$2" && tar -xf "$1" -C "$2" --exclude=./dev/\\* && mke2fs -q -t ext4 -L system -E offset="$4" -d "$2" "$3" "$5"k'
    run("fakeroot", "sh", "-c", script, "sh", tree, tree.with_suffix(".tree"), image, PARTITION, recipe.size >> 10)


def make(name, path):
    recipe = RECIPES[name]
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=FOLDER) as scratch:
        gives = Path(scratch) / "gives"
        gives.mkdir()
        # Within a user namespace root is somebody else here.
        Path(scratch).chmod(0o755)
        gives.chmod(0o777)
        image = Path(scratch) / "image"
        if recipe.size:
            bootstrap(recipe, Path(scratch) / "tree.tar", gives)
            assemble(recipe, Path(scratch) / "tree.tar", gives, image)
        else:
            bootstrap(recipe, image.with_suffix(".ext2"), gives)
            image.with_suffix(".ext2").rename(image)
        image.chmod(0o444)
        image.rename(path)


@contextlib.contextmanager
def locked(name):
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f".lock-{name}", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def image(name):
    """The image's path; it is made where there is none. It cannot be written: guests get copies or clones."""
    path, stamp = FOLDER / f"{name}.img", FOLDER / f"{name}.key"
    with locked(name):
        current = RECIPES[name].key()
        if not path.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != current:
            missing = [tool for tool in ("mmdebstrap", "genext2fs", "fakeroot", "mke2fs") if shutil.which(tool, path=f"{os.environ['PATH']}:/sbin:/usr/sbin") is None]
            if missing:
                raise ImageError(f"{', '.join(missing)}: not found; make setup installs what is needed")
            print(f"making Debian's image {name} by mmdebstrap, once", flush=True)
            stamp.unlink(missing_ok=True)
            make(name, path)
            stamp.write_text(current, encoding="utf-8")
    return path


def main(names):
    if not names or set(names) - set(RECIPES):
        print(f"usage: debian_image.py {'|'.join(RECIPES)}...", file=sys.stderr)
        return 2
    try:
        for name in names:
            image(name)
    except (ImageError, OSError) as error:
        print(f"debian_image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
