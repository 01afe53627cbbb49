#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad input to nfold run: one line that says what is wrong, status 2, nothing created and nothing damaged."""

import os
import socket
import struct

from support import STATUS_INPUT, CliTest, main, wait_for

HUGE = "18446744073709551616"


KERNEL_SIZE = 65536


def setup_header(version=0x20f, setup_sectors=4):
    """The first sectors of a bzImage of KERNEL_SIZE bytes (Linux boot protocol)."""
    image = bytearray((setup_sectors + 1) * 512)
    image[0x1f1] = setup_sectors
    struct.pack_into("<I", image, 0x1f4, KERNEL_SIZE // 16)
    struct.pack_into("<H", image, 0x1fe, 0xaa55)
    image[0x200:0x202] = b"\xeb\x6a"
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, version)
    image[0x211] = 1  # LOADED_HIGH
    return bytes(image)


def multiboot_elf(**changes):
    """A Multiboot ELF kernel with one segment: a header, and an instruction that ends it. Fields can be made absurd."""
    fields = {"address": 0x100000, "file_offset": 0x1000, "file_size": 16, "memory_size": 16, "entry": 0x10000c,
              "headers": 1, "header_offset": 52, "magic": 0x1badb002, "checksum": None}
    fields.update(changes)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, fields["entry"], fields["header_offset"], 0, 0, 52, 32, fields["headers"], 0, 0, 0)
    program = struct.pack("<IIIIIIII", 1, fields["file_offset"], fields["address"], fields["address"], fields["file_size"],
                          fields["memory_size"], 7, 4096)
    checksum = -fields["magic"] & 0xffffffff if fields["checksum"] is None else fields["checksum"]
    segment = struct.pack("<III", fields["magic"], 0, checksum) + b"\xfa\xf4\xeb\xfd"
    return (elf + program).ljust(0x1000, b"\0") + segment


class BadInputTest(CliTest):
    def setUp(self):
        super().setUp()
        self.good = self.file("good.elf", multiboot_elf())
        os.chmod(self.folder, 0o755)

    def refuse_run(self, *words, **options):
        before = sorted(os.listdir(self.folder))
        line = self.refuse(STATUS_INPUT, "run", *words, **options)
        self.assertEqual(sorted(os.listdir(self.folder)), before, "a file was created")
        self.assertEqual(self.leftovers(), [])
        return line


class BadNetworks(BadInputTest):
    def refuse_net(self, *nets, more=()):
        words = [word for net in nets for word in ("--net", net)]
        return self.refuse_run("--kernel", self.good, *words, *more)

    def test_bad_words(self):
        for net, why in (("usr", "nothing known"), ("", "nothing known"), ("user,", "nothing known"), ("user=1", "no value"),
                         ("user,none", "one network"), ("user,model=ne2000", "pcnet or virtio"), ("mac=1:2:3", "address"),
                         ("mac=01:00:5e:00:00:01", "address"), ("mac=02:00:00:00:00:0g", "address"), ("mac=00:00:00:00:00:00", "address"),
                         ("tap=", "a name"), ("tap=a/b", "a name"), ("tap=" + "x" * 16, "a name"), ("bridge", "a name"),
                         ("switch=../x", "a name"), ("switch=" + "x" * 65, "a name"), ("x" * 4000, "too long"),
                         ("switch=a,forward=1:2", "only user mode")):
            self.assertIn(why, self.refuse_net(net), net)
        for forward in ("80", "80:", ":80", "0:80", "80:65536", "tcp:80", "1:2:3:4", "sctp:80:80", "1.2.3:80:80", "80:80x", "8 0:80"):
            self.assertIn("HOST-PORT:GUEST-PORT", self.refuse_net(f"forward={forward}"), forward)
        self.assertIn("at most 8 times", self.refuse_net(*["none"] * 9))
        self.assertIn("32", self.refuse_net("user" + ",forward=1:1" * 33))

    def test_networks_that_are_not_there(self):
        self.assertIn("ip tuntap add", self.refuse_net("tap=nfnotthere"))
        self.assertIn("not a TAP", self.refuse_net("tap=lo"))
        self.assertIn("no bridge", self.refuse_net("bridge=nfnotthere"))
        self.assertIn("lo", self.refuse_net("bridge=lo"))

    def test_taken_ports(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            self.assertIn("in use", self.refuse_net(f"forward={port}:80"))
        with socket.socket(type=socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            self.assertIn("in use", self.refuse_net(f"forward=udp:{server.getsockname()[1]}:53"))
        self.assertIn("192.0.2.1", self.refuse_net("forward=192.0.2.1:8080:80"))

    def test_deterministic_guests_have_no_network(self):
        self.assertIn("--net none", self.refuse_net("user", more=("--clock", "deterministic")))


class BadInput(BadInputTest):
    def refuse_kernel(self, content, *words):
        kernel = self.file("bad", content)
        line = self.refuse_run("--kernel", kernel, *words)
        self.assertEqual(kernel.read_bytes(), content)
        return line

    # --- options ---

    def test_memory(self):
        for size in ("0", "1", "1K", "1M", "2097151", "2097153", "x", "", "-1", "512m b", "1.5G", "1T", "0x", HUGE, "17179869184G",
                     "18446744073709551615", "1000000G"):
            self.assertIn("--memory", self.refuse_run("--kernel", self.good, f"--memory={size}"), size)
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        self.assertIn("host", self.refuse_run("--kernel", self.good, "--memory", str((pages >> 20) + 1) + "M"))

    def test_code_cache(self):
        for size in ("0", "1", "135K", "257M", "x", "", "-1", HUGE, "1000000G"):
            self.assertIn("--code-cache", self.refuse_run("--kernel", self.good, f"--code-cache={size}"), size)

    def test_cpus(self):
        for count in ("0", "9", "255", "x", "", "-1", HUGE):
            self.assertIn("--cpus", self.refuse_run("--kernel", self.good, f"--cpus={count}"), count)
        self.assertIn("--cpus", self.refuse_run("--kernel", self.good, "--cpus=2", "--clock=deterministic"))

    def test_choices(self):
        for option, value in (("--cpu", "x86-64-v9"), ("--cpu", ""), ("--engine", "qemu")):
            self.assertIn("give one of", self.refuse_run("--kernel", self.good, option, value))

    def test_engine_parts(self):
        for parts in ("chaining", "no-", "no-chaining,", ",no-chaining", "no-chaining,no-nothing", "", "NO-CHAINING", "x" * 5000):
            line = self.refuse_run("--kernel", self.good, f"--engine=translate,{parts}")
            self.assertIn("no part is called", line, parts)
            self.assertIn("no-chaining", line, parts)

    def test_gdb(self):
        for text in ("", "0", "65536", "-1", "1234x", "localhost:1", "1.2.3:4", ":", "wait", "1234,never", "unix:", "1234,wait,wait"):
            self.assertIn("--gdb", self.refuse_run("--kernel", self.good, "--gdb", text))
        self.assertIn("/nowhere/", self.refuse_run("--kernel", self.good, "--gdb", "unix:/nowhere/socket"))
        self.assertIn("too long", self.refuse_run("--kernel", self.good, "--gdb", "unix:" + "x" * 200))

    def test_clock(self):
        self.assertIn("give one of real, deterministic", self.refuse_run("--kernel", self.good, "--clock", "none"))
        for text in ("", "now", "2026-01-01", "2026-02-30T00:00:00", "2026-01-01T00:00:00Z", "1969-12-31T23:59:59", "2100-01-01T00:00:00",
                     "2026-01-01T24:00:00", "x" * 5000):
            self.assertIn("--rtc", self.refuse_run("--kernel", self.good, "--rtc", text), text)
        for words in (["--trace-events", "file"], ["--trace-events", "file", "--clock", "real"]):
            self.assertIn("needs --clock deterministic", self.refuse_run("--kernel", self.good, *words))
        for text in ("", ",exceptions", "/" + "x" * 5000):
            self.assertIn("--trace-events", self.refuse_run("--kernel", self.good, "--clock", "deterministic", "--trace-events", text))
        missing = self.folder / "none" / "trace"
        self.assertIn(str(missing), self.refuse_run("--kernel", self.good, "--clock", "deterministic", "--trace-events", missing))
        self.assertIn("no --display terminal", self.refuse_run("--kernel", self.good, "--clock", "deterministic", "--display", "terminal"))

    def test_the_kvm_engine(self):
        line = self.refuse_run("--kernel", self.good, "--engine", "kvm")
        self.assertEqual(line, "nfold: the KVM engine is not built yet; use --engine translate\n")

    def test_debug_exit(self):
        for port in ("65536", "0x10000", "x", "", "-1", HUGE):
            self.assertIn("--debug-exit", self.refuse_run("--kernel", self.good, f"--debug-exit={port}"))

    def test_names(self):
        for name in ("", ".", "..", "a/b", "../x", "/x", "-x", ".hidden", "x" * 65, "a b", "a\nb", "\u00e9", "a\x1b[2J"):
            self.refuse_run("--kernel", self.good, f"--name={name}")

    def test_unknown_options(self):
        for word in ("--explode", "-x", "--memory-size=1", "--ready-fd=1", "--name-free", "--terminal-fd=0"):
            self.assertIn("unknown option", self.refuse_run("--kernel", self.good, word))

    def test_too_many_modules(self):
        self.assertIn("--module", self.refuse_run("--kernel", self.good, *["--module", self.good] * 17))

    # --- files ---

    def test_missing_files(self):
        missing = self.folder / "missing"
        self.assertIn("missing", self.refuse_run("--kernel", missing))
        self.assertIn("missing", self.refuse_run("--kernel", self.good, "--module", missing))
        self.assertIn("missing", self.refuse_run("--kernel", self.bz_image(), "--initrd", missing))
        self.refuse_run("--kernel", "")
        self.refuse_run("--kernel", "x" * 5000)
        self.refuse_run("--kernel", "a\nb")

    def bz_image(self):
        return self.file("bz", setup_header() + bytes(KERNEL_SIZE))

    def test_what_is_not_a_regular_file(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for path in (self.folder, pipe, "/dev/null", "/dev/zero", "/dev/tty"):
            self.refuse_run("--kernel", path)
            self.refuse_run("--kernel", self.good, "--module", path)

    def test_files_without_permission(self):
        secret = self.file("secret", multiboot_elf())
        os.chmod(secret, 0)
        user = None
        if os.geteuid() == 0:
            # Root reads everything: try as nobody, with a runtime directory of nobody's own.
            import pwd
            account = pwd.getpwnam("nobody")
            os.chown(self.runtime_parent, account.pw_uid, account.pw_gid)
            user = account.pw_uid
        for path in (self.nfold, self.nfold.parent / "nfold-vm", self.nfold.parent, self.good):
            os.chmod(path, 0o755)
        self.assertIn("Permission denied", self.refuse_run("--kernel", secret, user=user))
        self.assertIn("Permission denied", self.refuse_run("--kernel", self.good, "--module", secret, user=user))
        for where in (secret, self.folder / "new", f"unix:{self.folder}/new"):
            if user is not None or where == secret:
                self.assertIn("Permission denied", self.refuse_run("--kernel", self.good, "--serial", where, user=user))

    def test_kernels_that_are_none(self):
        for content in (b"", b"\0", b"x", b"MZ", b"\x7fELF", b"#!/bin/sh\necho hello\n", bytes(1 << 20), os.urandom(100000),
                        b"HdrS" * 1000):
            self.refuse_kernel(content)

    def test_truncated_kernels(self):
        for whole in (setup_header() + bytes(KERNEL_SIZE), multiboot_elf()):
            for size in (1, 51, 52, 84, 0x1f1, 0x202, 0x206, 0x210, 512, 1024, 0x1000, 0x100b):
                if size < len(whole):
                    self.refuse_kernel(whole[:size])

    def test_absurd_linux_headers(self):
        self.refuse_kernel(setup_header(version=0x105) + bytes(4096))  # too old
        self.refuse_kernel(setup_header(setup_sectors=255)[:4096])  # set-up code beyond the file
        self.refuse_kernel(setup_header())  # no kernel behind the set-up code

    def test_absurd_multiboot_kernels(self):
        for changes in ({"address": 0xfffff000}, {"address": 0xffffffff, "memory_size": 0xffffffff}, {"memory_size": 0xffffffff},
                        {"file_size": 0xffffffff, "memory_size": 0xffffffff}, {"file_offset": 0xffffffff}, {"file_offset": 0x7fffffff},
                        {"headers": 0}, {"headers": 0xffff}, {"header_offset": 0xffffffff}, {"header_offset": 0},
                        {"magic": 0x1badb003}, {"checksum": 0}, {"file_size": 4096, "memory_size": 4096}, {"address": 0x70000000}):
            self.refuse_kernel(multiboot_elf(**changes), "--memory", "64M")

    def test_files_too_big_for_the_guest(self):
        big = self.folder / "big"
        with open(big, "wb") as file:
            file.truncate(1 << 40)
        for words in (("--kernel", big), ("--kernel", self.good, "--module", big), ("--kernel", self.bz_image(), "--initrd", big)):
            self.refuse_run(*words, "--memory", "64M")

    def test_an_initrd_that_is_empty(self):
        self.refuse_run("--kernel", self.bz_image(), "--initrd", self.file("empty"))

    # --- the serial port ---

    def test_serial(self):
        for where in ("", "unix:", self.folder, self.folder / "none" / "log", f"unix:{self.folder}/none/socket", "unix:" + "x" * 200):
            self.refuse_run("--kernel", self.good, f"--serial={where}")

    def test_a_bad_kernel_does_not_create_or_empty_the_serial_file(self):
        log = self.file("log", b"precious")
        bad = self.file("bad", b"no kernel")
        self.refuse_run("--kernel", bad, "--serial", log)
        self.assertEqual(log.read_bytes(), b"precious")
        self.refuse_run("--kernel", bad, "--serial", self.folder / "new")
        self.refuse_run("--kernel", bad, "--serial", f"unix:{self.folder}/new")

    def test_a_file_at_the_sockets_path_is_not_replaced(self):
        file = self.file("file", b"precious")
        self.refuse_run("--kernel", self.good, "--serial", f"unix:{file}")
        self.assertEqual(file.read_bytes(), b"precious")

    def test_the_good_kernel_is_good(self):
        """Otherwise the tests above would prove nothing."""
        self.start("--kernel", self.good, "--name", "good", "--memory", "64M")
        self.assertIn("good", self.guests())
        self.succeed("kill", "good")


class BadImages(BadInputTest):
    """What is wrong with an image is said before the guest starts; the image stays as it was."""

    def setUp(self):
        super().setUp()
        self.bios = self.file("bios.bin", bytes(262144))

    def image(self, name, size, content=b""):
        path = self.file(name, content)
        os.truncate(path, size)
        return path

    def iso(self, name="good.iso"):
        path = self.image(name, 40 * 2048)
        with open(path, "r+b") as file:
            file.seek(16 * 2048)
            file.write(b"\1CD001\1")
        return path

    def refuse_boot(self, *words, **options):
        return self.refuse_run("--firmware", self.bios, *words, **options)

    def test_missing_images(self):
        for option in ("--disk", "--cdrom", "--floppy"):
            for path in ("missing", "no/such/folder/image", "missing,readonly", "x" * 300):
                self.assertRegex(self.refuse_boot(option, path), "No such file|File name too long")

    def test_what_is_no_image(self):
        os.mkfifo(self.folder / "pipe")
        for option in ("--disk", "--cdrom", "--floppy"):
            for path in (self.folder, self.folder / "pipe", "/dev/null", "/dev/zero", "/dev/tty"):
                self.refuse_boot(option, path)

    def test_damaged_disks(self):
        for size in (0, 1, 511):
            self.assertIn("small", self.refuse_boot("--disk", self.image("d", size)))

    def test_floppies_of_odd_sizes(self):
        for size in (0, 512, 1474559, 1474561, 1474560 * 2 - 512, 1 << 30):
            line = self.refuse_boot("--floppy", self.image("f", size))
            self.assertIn(f"{size} bytes", line)

    def test_discs_that_are_none(self):
        for size, content in ((0, b""), (2048, b""), (100 * 2048, b""), (16 * 2048 + 6, b""), (1 << 20, b"CD001" * 10000)):
            self.refuse_boot("--cdrom", self.image("cd", size, content))

    def test_the_same_image_twice(self):
        disk = self.image("d", 1 << 20)
        floppy = self.image("f", 1474560)
        os.link(disk, self.folder / "same")
        os.symlink("f", self.folder / "link")
        for words in (["--disk", disk, "--disk", disk], ["--disk", disk, "--disk", "same"], ["--disk", disk, "--disk", "same,readonly"],
                      ["--floppy", floppy, "--floppy", floppy], ["--floppy", floppy, "--floppy", "link"],
                      ["--disk", floppy, "--floppy", floppy]):
            self.assertRegex(self.refuse_boot(*words), "twice|in use")
        iso = self.iso()
        self.assertIn("in use", self.refuse_boot("--disk", iso, "--cdrom", iso))

    def test_an_image_that_another_guest_has(self):
        disk, floppy, iso = self.image("d", 1 << 20), self.image("f", 1474560), self.iso()
        process = self.start("--kernel", self.good, "--name", "owner", "--disk", disk, "--floppy", floppy, "--cdrom", iso)
        self.assertIn("owner", self.guests())
        for words in (["--disk", disk], ["--disk", f"{disk},readonly"], ["--floppy", floppy], ["--floppy", f"{floppy},readonly"],
                      ["--disk", iso], ["--disk", floppy], ["--floppy", floppy, "--disk", disk]):
            line = self.refuse(STATUS_INPUT, "run", "--firmware", self.bios, *words)
            self.assertIn("in use", line)
        self.assert_runs(process)
        # A disc, and what is read-only, is shared.
        self.start("--kernel", self.good, "--name", "reader", "--cdrom", iso)
        self.assertIn("reader", self.guests())
        for name in ("owner", "reader"):
            self.succeed("kill", name)
        self.start("--kernel", self.good, "--name", "one", "--disk", f"{disk},readonly")
        self.start("--kernel", self.good, "--name", "two", "--disk", f"{disk},readonly")
        self.assertEqual(set(self.guests()), {"one", "two"})
        self.assertIn("in use", self.refuse(STATUS_INPUT, "run", "--firmware", self.bios, "--disk", disk))
        for name in ("one", "two"):
            self.succeed("kill", name)

    def test_a_read_only_image_needs_no_permission_to_write(self):
        disk, floppy = self.image("d", 1 << 20), self.image("f", 1474560)
        user = None
        if os.geteuid() == 0:
            import pwd
            user = pwd.getpwnam("nobody").pw_uid
            os.chown(self.runtime_parent, user, pwd.getpwnam("nobody").pw_gid)
        for path in (self.nfold, self.nfold.parent / "nfold-vm", self.nfold.parent, self.bios):
            os.chmod(path, 0o755)
        for path in (disk, floppy):
            os.chmod(path, 0o444)
        self.assertIn("Permission denied", self.refuse_boot("--disk", disk, user=user))
        self.assertIn("Permission denied", self.refuse_boot("--floppy", floppy, user=user))
        process = self.start("--kernel", self.good, "--disk", f"{disk},readonly", "--floppy", f"{floppy},readonly", user=user)
        wait_for(lambda: process.poll() is not None or self.leftovers())
        self.assert_runs(process)

    def test_firmware(self):
        for size in (0, 1, 511, 65535, 65537, 17 << 20, 1 << 30):
            self.refuse_run("--firmware", self.image("bad", size))
        for path in ("missing", self.folder, "/dev/zero", ""):
            self.refuse_run("--firmware", path)

    def test_the_good_images_are_good(self):
        disk, floppy = self.image("d", 1 << 20), self.image("f", 1474560)
        self.start("--firmware", self.bios, "--name", "good", "--disk", disk, "--floppy", floppy, "--cdrom", self.iso(), "--boot",
                   "cdrom,disk,floppy", "--memory", "16M")
        self.assertIn("good", self.guests())
        self.succeed("kill", "good")


if __name__ == "__main__":
    main()
