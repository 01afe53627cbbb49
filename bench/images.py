# SPDX-License-Identifier: MIT
"""What the guests boot and native runs change root to: the benchmark programs, and Debian packages beside them.

One tree serves both. It is an initramfs, so that no disk is in the measurement, and uncompressed, since guests
would otherwise spend their boot on unpacking; native gets the same files by unpacking the archive.
"""

import contextlib
import fcntl
import gzip
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from subjects import ROOT, guest

PROGRAMS = ROOT / "bench" / "programs"
FOLDER = guest.GUEST / "bench"
COMPILER = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion"]


class ImageError(Exception):
    """One line for the person at the terminal."""


@dataclass(frozen=True)
class Image:
    name: str
    memory_mib: int
    packages: tuple = ()
    exclude: tuple = ()
    cpus: int = 1

    @property
    def archive(self):
        return FOLDER / f"{self.name}.cpio"

    @property
    def tree(self):
        """Where native runs find the same files."""
        return FOLDER / self.name


def run(words, **options):
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        raise ImageError(f"{words[0]}: {(result.stderr.strip() or result.stdout.strip() or 'failed').splitlines()[-1]}")


def newer(path, sources):
    return path.exists() and all(path.stat().st_mtime_ns >= source.stat().st_mtime_ns for source in sources)


def build_programs():
    """Compiles what has changed; returns the binaries. Static: the same bytes run natively and in every guest."""
    folder = FOLDER / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    header = PROGRAMS / "bench.h"
    binaries = []
    for source in sorted(PROGRAMS.glob("*.c")):
        binary = folder / source.stem
        if not newer(binary, (source, header)):
            run([*COMPILER, "-o", str(binary), str(source), "-lm"])
        binaries.append(binary)
    return binaries


def build(image, lock):
    """Makes the archive and the tree where something in them has changed."""
    binaries = build_programs()
    packed = FOLDER / f"{image.name}.cpio.gz"
    words = [str(ROOT / "tools" / "make-initramfs"), "-o", str(packed)]
    for path in [*binaries, *sorted(PROGRAMS.glob("*.[ch]")), *sorted((PROGRAMS / "data").iterdir())]:
        words += ["--file", f"{path}=/bench/{path.name}"]
    for package in image.packages:
        words += ["--package", package]
    for pattern in image.exclude:
        words += ["--exclude", pattern]
    run(words)
    if not newer(image.archive, (packed,)):
        partial = image.archive.with_suffix(".partial")
        with gzip.open(packed) as source, open(partial, "wb") as target:
            shutil.copyfileobj(source, target)
        with lock.alone():
            unpack(partial, image.tree)
        partial.rename(image.archive)


class Lock:
    """Held by a whole run: nobody takes away files that another's native programs run from."""

    def __init__(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.file = open(FOLDER / ".lock", "w", encoding="utf-8")  # noqa: SIM115  (closed when the process ends)
        fcntl.flock(self.file, fcntl.LOCK_SH)

    @contextlib.contextmanager
    def alone(self):
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImageError("programs have changed, and another bench/run uses the old ones: wait for it") from None
        yield
        fcntl.flock(self.file, fcntl.LOCK_SH)


def unpack(archive, tree):
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    busybox = guest.GUEST / "busybox-static/bin/busybox"
    with open(archive, "rb") as source:
        # Who is not root can make no device nodes; native runs get the machine's own /dev.
        subprocess.run([str(busybox), "cpio", "-idm"], cwd=tree, stdin=source, capture_output=True, check=False)
    if not (tree / "bench" / "timer").exists():
        raise ImageError(f"cannot unpack {archive}")


SMALL = Image("small", 512, ("xz-utils", "zstd"))
PAIR = Image("small", 512, SMALL.packages, cpus=2)  # the same files
LARGE = Image(
    "large",
    1024,
    (
        "sqlite3", "python3.11", "perl", "openssl", "gcc", "libc6-dev", "git", "redis-server", "redis-tools", "nginx-light",
        "apache2-utils",
    ),
    (
        "usr/lib/gcc/*/lto1", "usr/lib/gcc/*/lto-wrapper", "usr/lib/gcc/*/lib*san*", "usr/lib/gcc/*/plugin/*", "usr/lib/*/lib*san.so*",
        "usr/lib/*/*.a", "usr/bin/*gold", "usr/bin/*dwp", "*gprofng*", "usr/bin/*lto-dump*", "usr/bin/*gcov*", "usr/include/linux/*/*",
        "usr/lib/*/perl/*/CORE/*", "usr/share/perl/*/pod/*", "usr/share/perl/*/*.pod", "usr/share/perl/*/CPAN*", "*/Encode/*",
        "usr/share/perl/*/unicore/Name.pl", "*/Unicode/Collate/*", "usr/bin/perl5.*", "*/lib2to3/*", "*/idlelib/*", "*/pydoc_data/*",
        "*/distutils/*", "usr/share/gitweb/*", "usr/lib/git-core/git-http*", "usr/lib/git-core/git-remote-http*", "usr/lib/python3.11/test/*",
    ),
)  # fmt: skip
