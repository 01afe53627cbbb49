# SPDX-License-Identifier: MIT
"""Debian packages for guests: downloaded and unpacked below build/guest, never installed on this machine.

apt does the work with a private state: its own lists, its own cache and an empty record of what is installed, so that
dependencies are resolved for a bare guest and not for this machine. Where to download from, and whom to
trust, is the system's apt configuration; nothing of it is written here.

  build/guest/apt/                 the private state
  build/guest/archives/*.deb       what was downloaded
  build/guest/NAME[.ARCH]/         one package unpacked; .fetched inside names its version
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

GUEST = Path(__file__).resolve().parent.parent / "build" / "guest"
NATIVE = "amd64"

# The hooks and cache settings that images of Debian carry are about the system's own apt state; they must not run for ours.
APT_CONF = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; "i386"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "{user}";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::Cache "{cache}";
Dir::Cache::archives "{archives}";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "{state}";
Debug::NoLocking "true";
"""


class FetchError(Exception):
    """One line for the person at the terminal."""


def split_name(name):
    """NAME[:ARCH] as (NAME, ARCH)."""
    package, _, arch = name.partition(":")
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) or arch not in ("", NATIVE, "i386"):
        raise FetchError(f"{name} is not a Debian package name (NAME or NAME:i386)")
    return package, arch or NATIVE


def qualified(name):
    package, arch = split_name(name)
    return package if arch == NATIVE else f"{package}:{arch}"


class PackageStore:
    def __init__(self, folder=GUEST):
        self.folder = Path(folder)
        self.state = self.folder / "apt"
        self.archives = self.folder / "archives"
        self.conf = self.state / "apt.conf"

    @contextlib.contextmanager
    def locked(self):
        """One user at a time: tests run side by side and may want the same package."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def apt(self, *command):
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise FetchError("apt-get and dpkg-deb are needed to fetch guest packages; this is not a Debian system")
        self.prepare()
        tool, arguments = command[0], command[1:]
        return subprocess.run(
            [tool, "-c", str(self.conf), "-q", *arguments],
            cwd=self.archives,
            env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def prepare(self):
        for folder in (self.state / "lists" / "partial", self.archives / "partial", self.state / "cache"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.state / "status").touch()
        user = "root" if os.getuid() == 0 else ""
        text = APT_CONF.format(state=self.state, cache=self.state / "cache", archives=self.archives, user=user)
        if not self.conf.exists() or self.conf.read_text(encoding="utf-8") != text:
            self.conf.write_text(text, encoding="utf-8")

    def have_lists(self):
        return any("_Packages" in entry.name for entry in (self.state / "lists").glob("*"))

    def update(self):
        """Gets the package lists; without a network, takes those that the system's own apt has."""
        self.prepare()
        result = self.apt("apt-get", "update")
        if result.returncode == 0 and self.have_lists():
            return
        for path in Path("/var/lib/apt/lists").glob("*_*"):
            if path.is_file() and os.access(path, os.R_OK) and path.name != "lock":
                shutil.copy2(path, self.state / "lists" / path.name)
        if not self.have_lists():
            raise FetchError("no package lists: apt-get update failed: " + complaint(result.stdout))

    def need_lists(self):
        if not self.have_lists():
            self.update()

    def retried(self, *command):
        """Runs an apt command; when it fails, once more with new lists, since old lists name deleted files."""
        self.need_lists()
        result = self.apt(*command)
        if result.returncode != 0:
            self.update()
            result = self.apt(*command)
        if result.returncode != 0:
            raise FetchError(complaint(result.stdout))
        return result.stdout

    def unpacked(self, name):
        package, arch = split_name(name)
        return self.folder / (package if arch == NATIVE else f"{package}.{arch}")

    def fetch(self, name):
        """Unpacks one package, without what it depends on, and returns its folder."""
        folder = self.unpacked(name)
        with self.locked():
            if (folder / ".fetched").exists():
                return folder
            deb = self.download(name)
            unpack(deb, folder)
            (folder / ".fetched").write_text(deb.name + "\n", encoding="utf-8")
        return folder

    def download(self, name):
        before = {path.name for path in self.archives.glob("*.deb")}
        output = self.retried("apt-get", "download", "--print-uris", qualified(name))
        match = re.search(r"^'[^']+' (\S+\.deb) ", output, re.MULTILINE)
        if match is None:
            raise FetchError(f"no package {name}: {complaint(output)}")
        deb = match.group(1)
        if deb not in before:
            self.retried("apt-get", "download", qualified(name))
        return self.archives / deb

    def closure(self, names):
        """Downloads packages with all they depend on; returns their .deb files, sorted by name."""
        with self.locked():
            arguments = ("install", *[qualified(name) for name in names])
            plan = self.retried("apt-get", "-y", "--print-uris", *arguments)
            debs = re.findall(r"^'[^']+' (\S+\.deb) \d+", plan, re.MULTILINE)
            # What is already in the archive folder is not listed among the URIs: ask the simulation for the whole set.
            simulation = self.retried("apt-get", "-s", *arguments)
            if debs:
                self.retried("apt-get", "-y", "--download-only", *arguments)
            return [self.archives / name for name in sorted(archive_names(simulation, self.archives))]

    def kernel(self, name="linux-image-cloud-amd64"):
        """The folder of the kernel that a kernel metapackage stands for."""
        stamp = self.folder / f".{name}.resolved"
        if not stamp.exists():
            with self.locked():
                depends = self.retried("apt-cache", "depends", "--important", name)
            match = re.search(r"^\s*Depends: (linux-image-\d\S*)$", depends, re.MULTILINE)
            if match is None:
                raise FetchError(f"{name} depends on no kernel package")
            stamp.write_text(match.group(1) + "\n", encoding="utf-8")
        return self.fetch(stamp.read_text(encoding="utf-8").strip())


def archive_names(simulation, archives):
    """The .deb files of the packages that `apt-get -s install` says it would install."""
    for package, version, arch in re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", simulation, re.MULTILINE):
        name = f"{package.split(':')[0]}_{version.replace(':', '%3a')}_{arch}.deb"
        if not (archives / name).exists():
            raise FetchError(f"apt-get did not download {name}")
        yield name


def unpack(deb, folder):
    """dpkg-deb -x into a new folder that appears whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    extract(deb, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def extract(deb, folder):
    result = subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise FetchError(f"cannot unpack {deb.name}: {complaint(result.stderr)}")


def complaint(output):
    """The line of apt's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg-deb:"))] or lines
    return errors[0] if errors else "no reason given"
