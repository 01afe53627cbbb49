# SPDX-License-Identifier: MIT
"""Operating systems and programs that firmware boots, each driven to something that only a working PC shows.

The tables at the end say which cases there are. One whose image is not there is listed as skipped: images that no package
has are looked for in the image folder (pc.image_folder).
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import agent
import disks
import fat12
import networks
import storage
import waiting
from group import BOOT_SECONDS, boot, check_dmesg
from guest import GUEST, GuestError, runner_name
from pc import Pc, image_folder

MIB = 1 << 20
FLOPPY_144 = 2880 * 512

MEMTEST = GUEST / "memtest86+"
MEMTEST_CD = MEMTEST / "usr/lib/memtest86+/memtest86+x64.iso"
GRUB = GUEST / "grub-rescue-pc/usr/lib/grub-rescue"
GRUB_CD = GRUB / "grub-rescue-cdrom.iso"
GRUB_FLOPPY = GRUB / "grub-rescue-floppy.img"
IPXE = GUEST / "ipxe/usr/lib/ipxe/ipxe.iso"


def installer(arch):
    return GUEST / f"debian-installer-12-netboot-{arch}/usr/lib/debian-installer/images/12/{arch}/text/debian-installer/{arch}"


def copy(source, target, size=None):
    """A copy that a guest may write to; with a size, as long as its medium is."""
    shutil.copyfile(source, target)
    target.chmod(0o600)
    if size:
        os.truncate(target, size)
    return target


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def e2fs(*words):
    """Runs one of e2fsprogs' programs, which live where only root's PATH looks: (status, output, complaint)."""
    environment = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    result = subprocess.run([str(word) for word in words], env=environment, capture_output=True, check=False)
    return result.returncode, result.stdout, result.stderr.decode(errors="replace").strip()


def make_disk(path, size, files):
    """A disk of one ext2 file system, without partitions, with files: name to host path."""
    with tempfile.TemporaryDirectory(prefix="nfold-disk-") as tree, open(path, "wb") as disk:
        for name, source in files.items():
            shutil.copyfile(source, Path(tree) / name)
        disk.truncate(size)
        status, _, problem = e2fs("mke2fs", "-q", "-F", "-t", "ext2", "-d", tree, path)
    if status != 0:
        raise GuestError(f"mke2fs: {problem}")
    return path


# Linux for i386, entered directly, with a disk and a CD

ANSWER = "".join(f"{number}\n" for number in range(1, 50001)).encode()


def linux32(group, folder, package):
    letter = folder / "letter"
    letter.write_text("".join(f"{number} {sha256(str(number).encode())}\n" for number in range(20000)), encoding="ascii")
    disk = make_disk(folder / f"{package}.img", 24 * MIB, {"letter": letter})
    memtest = MEMTEST / "boot/memtest86+x64.efi"
    questions = [
        ("the kernel is of 32 bits", "uname -m", "i686"),
        ("disk and CD: DMA is in use", "cat /sys/class/ata_device/*/dma_mode | grep -c DMA", "2"),
        ("disk: a file of 1.4 MB", "mkdir /disk /cd; mount -t ext4 /dev/sda /disk && sha256sum </disk/letter", f"{sha256(letter.read_bytes())}  -"),
        ("CD: a file", "mount -t iso9660 -o ro /dev/sr0 /cd && sha256sum </cd/EFI/BOOT/bootx64.efi", f"{sha256(memtest.read_bytes())}  -"),
        ("disk: a file written", "seq 1 50000 >/disk/answer && umount /disk && echo written", "written"),
        ("CD: all of it", "umount /cd && sha256sum </dev/sr0", f"{sha256(MEMTEST_CD.read_bytes())}  -"),
    ]
    with Pc(
        kernel=GUEST / f"vmlinuz-{package}:i386", initrd=GUEST / f"{package}.cpio.gz", append="console=tty0 console=ttyS0", memory_mib=256,
        disks=[disk], cdrom=MEMTEST_CD,
    ) as guest:  # fmt: skip
        boot(group, guest)
        guest.await_screen(r"Run /init as init process|SCSI subsystem initialized|Attached SCSI disk", 20)
        group.report("the kernel's log on the VGA text screen")
        group.commands(guest, questions)
        check_dmesg(group, guest)
        group.power_off(guest)
    status, output, problem = e2fs("e2fsck", "-fn", disk)
    group.report("the disk, seen from the host, is sound", None if status == 0 else f"{output.decode(errors='replace')}{problem}")
    _, output, problem = e2fs("debugfs", "-R", "cat /answer", disk)
    group.report("and holds what the guest wrote", None if output == ANSWER else f"{len(output)} bytes, {problem}")


# memtest86+


def memtest(group, _folder, arch, cpus):
    """Two whole tests of all memory; the third has begun, or all are through."""
    with Pc(cdrom=MEMTEST / f"usr/lib/memtest86+/memtest86+{arch}.iso", memory_mib=24, cpus=cpus) as guest:
        guest.await_screen(r"Memtest86\+ v", 60)
        group.report("its screen")
        guest.await_screen(rf"CPU: {cpus} Cores? {cpus} Threads?", 60, f"{cpus} processors")
        guest.await_screen(r"Test #([2-9]|10)|Pass: +[1-9]", 120, "third test")
        errors = re.search(r"Errors: *(\d+)", guest.screen())
        group.equal("two whole tests, errors found", errors and errors.group(1), "0")


# GRUB's rescue images


def grub_prompt(guest, seconds=60):
    guest.await_screen(r"^grub>\Z", seconds, "prompt of GRUB")


def grub_command_line(guest):
    guest.await_screen(r"GNU GRUB", 60)
    guest.await_screen(r"`c' for a command-line", 20)
    guest.key("c")
    grub_prompt(guest)


def grub(group, folder, drive, medium):
    image = GRUB_CD if medium == "cdrom" else copy(GRUB_FLOPPY, folder / "grub.img", FLOPPY_144 if medium == "floppies" else 8 * MIB)
    with Pc(**{medium: image if medium == "cdrom" else [image]}) as guest:
        grub_command_line(guest)
        group.report("its command line")
        guest.type("ls\n")
        guest.await_screen(rf"^\({drive}\)", 30, f"drive {drive} in the list")
        group.report("ls lists the drive")
        guest.type("echo It is $grub_platform\n")
        guest.await_screen(r"^It is pc$", 30)
        grub_prompt(guest)
        guest.type("halt\n")
        group.equal("halt powers the machine off", guest.wait(30), 0)


def ipxe(group, _folder):
    with Pc(cdrom=IPXE) as guest:
        # The key waits in the BIOS's buffer: the banner that asks for it stands for two seconds.
        guest.await_screen(r"^iPXE initialising devices", 60)
        guest.key("ctrl-b")
        guest.await_screen(r"^iPXE>", 30)
        group.report("its command line")
        guest.type("echo ${version} is ${platform}\n")
        answer = guest.await_screen(r"^(\S+) is (\w+)$", 30, "answer of echo")
        group.equal(f"echo: version {answer.group(1)}", answer.group(2), "pcbios")


# The Debian installer: GRUB from its CD loads it from a disk. It runs on both consoles, on each with its first dialog.


def install(group, folder, arch):
    disk = make_disk(folder / f"{arch}.img", 64 * MIB, {name: installer(arch) / name for name in ("linux", "initrd.gz")})
    with Pc(disks=[disk], cdrom=GRUB_CD, boot="cdrom", memory_mib=1024) as guest:
        grub_command_line(guest)
        # Typed while GRUB loads, what does not fit into the BIOS's 15 characters would be lost.
        for command in ("linux (hd0)/linux console=ttyS0 console=tty0 nomodeset fb=false", "initrd (hd0)/initrd.gz"):
            guest.type(command)
            guest.await_screen(f"^grub> {re.escape(command)}$", 30)
            guest.type("\n")
            grub_prompt(guest)
        group.report("loaded by GRUB from the disk")
        guest.type("boot\n")
        guest.expect(rb"Linux version ", 60)
        guest.await_screen(r"Select a language", 200)
        group.report("first dialog on the VGA text screen")
        guest.expect(rb"Select a language", 100)
        group.report("first dialog on the serial console")


# Images of the image folder


def basic(group, folder):
    floppy = copy(image_folder() / "bootsect-basic.bin", folder / "basic.img", FLOPPY_144)
    with Pc(floppies=[floppy], memory_mib=16) as guest:
        guest.await_screen(r"^>\Z", 30, "prompt")
        group.report("its prompt")
        guest.type("print 1234+8765*2\n")
        guest.await_screen(r"^18764$", 30)
        group.report("a sum")


def freedos(group, folder):
    floppy = copy(image_folder() / "freedos13-720k.img", folder / "freedos.img")
    original = fat12.read_file(floppy.read_bytes(), "fdauto.bat")
    with Pc(floppies=[floppy], memory_mib=16) as guest:
        guest.await_screen(r"Do you want to proceed \[Y,N\]\?", 90)
        group.report("its installer asks")
        guest.type("n\n")
        guest.await_screen(r"^A:\\>\Z", 30, "prompt")
        if runner_name() == "nfold":
            waiting.waits(group, guest.name)
        guest.type("dir\n")
        guest.await_screen(r"^FDAUTO +BAT +1,476 ", 30, "entry of FDAUTO.BAT")
        group.report("dir")
        guest.type("copy fdauto.bat answer.txt\n")
        guest.await_screen(r"=>> *answer\.txt\n+A:\\>\Z", 30, "message of copy")
        guest.type("dir answer.txt\n")
        guest.await_screen(r"^ANSWER +TXT +1,476 ", 30, "entry of ANSWER.TXT")
        guest.stop()
    group.equal("a file copied, seen from the host", fat12.read_file(floppy.read_bytes(), "answer.txt"), original)


def elks(group, folder):
    floppy = copy(image_folder() / "elks-fd1440.img", folder / "elks.img")
    with Pc(floppies=[floppy], memory_mib=16) as guest:
        guest.await_screen(r"^#\Z", 60, "prompt")
        group.report("its shell")
        guest.type("ls /\n")
        guest.await_screen(r"^bin +bootopts +dev +etc", 30)
        group.report("ls")


def linux_floppy(group, folder):
    floppy = copy(image_folder() / "flpnxpcn-2880k.img", folder / "linux.img")
    with Pc(floppies=[floppy], memory_mib=256) as guest:
        guest.await_screen(r"^#\Z", 150, "prompt")
        group.report("its shell")
        guest.type("cat /proc/version\n")
        guest.await_screen(r"^Linux version 6\.18\S* ", 30)
        group.report("its version")


KOLIBRI_MENU_PIXELS = 20000  # its main menu covers twice as many with one colour


def kolibri(group, folder):
    floppy = copy(image_folder() / "kolibri.img", folder / "kolibri.img")
    with Pc(floppies=[floppy], memory_mib=256) as guest:

        def picture():
            try:
                return None if guest.screen() else guest.picture("kolibri")
            except GuestError:
                return None  # not there yet

        # Its desktop is a smooth ramp with icons: thousands of colours, none of which fills much.
        def desktop():
            seen = picture()
            return seen if seen and len(seen.colours) > 2000 and seen.commonest() < 0.3 else None

        before = guest.await_true(desktop, 120, "desktop", 1)
        group.equal(f"its desktop: {before}", (before.width >= 800, before.height >= 600), (True, True))

        def menu():
            seen = picture()
            new = (seen.colours - before.colours).most_common(1) if seen else []
            return new and new[0][1] > KOLIBRI_MENU_PIXELS

        # Programs of the desktop start one after the other: the one that knows the key may come last.
        for patience in (5, 5, 30):
            guest.key("super")
            with contextlib.suppress(GuestError):
                guest.await_true(menu, patience, "main menu", 1)
                break
        group.report("a key opens its main menu", None if menu() else "no menu in the picture")


def from_folder(name):
    return image_folder() / name


# Group: its cases as (title, function, its arguments, files without which the case is skipped).
GROUPS = {
    "linux32": [
        (package, linux32, [package], [GUEST / f"vmlinuz-{package}:i386", GUEST / f"{package}.cpio.gz", MEMTEST_CD])
        for package in ("linux-image-686", "linux-image-686-pae")
    ],
    "storage": [("bad images", storage.ask, [], [storage.KERNEL, storage.INITRD])],
    "network": networks.GROUP,
    "agent": agent.GROUP,
    "disks": [("disks", disks.ask, [], [disks.KERNEL, disks.INITRD])],
    "memtest": [
        (f"memtest86+ {arch}, processors: {cpus}", memtest, [arch, cpus], [MEMTEST_CD]) for arch, cpus in (("x64", 1), ("x64", 2), ("ia32", 1))
    ],
    "loaders": [
        ("GRUB from floppy", grub, ["fd0", "floppies"], [GRUB_FLOPPY]),
        ("GRUB from CD", grub, ["cd", "cdrom"], [GRUB_CD]),
        ("GRUB from disk", grub, ["hd0", "disks"], [GRUB_FLOPPY]),
        ("iPXE", ipxe, [], [IPXE]),
    ],
    "installer-amd64": [("Debian installer, amd64", install, ["amd64"], [installer("amd64"), GRUB_CD])],
    "installer-i386": [("Debian installer, i386", install, ["i386"], [installer("i386"), GRUB_CD])],
    "floppies": [
        ("boot-sector BASIC", basic, [], [from_folder("bootsect-basic.bin")]),
        ("FreeDOS", freedos, [], [from_folder("freedos13-720k.img")]),
        ("ELKS", elks, [], [from_folder("elks-fd1440.img")]),
        ("KolibriOS", kolibri, [], [from_folder("kolibri.img")]),
        ("Linux 6.18 from a floppy", linux_floppy, [], [from_folder("flpnxpcn-2880k.img")]),
    ],
}  # fmt: skip
