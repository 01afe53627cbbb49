#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests that firmware boots, from the command line to the screen: boot order, read-only images, typing, pictures. The guest is
a boot sector (boot.S); the firmware is the default one."""

import os
import resource
import subprocess
import tempfile
from pathlib import Path

from screen import png_pixels
from support import SECONDS, STATUS_KILLED, CliTest, main, wait_for

SOURCE = Path(__file__).parent / "boot.S"
PACKAGE = Path(__file__).parents[2] / "build" / "guest" / "seabios"


def boot_sector(letter):
    compiler = os.environ.get("CC", "gcc").split()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot"
        subprocess.run([*compiler, "-m32", "-c", f"-DLETTER='{letter}'", "-o", f"{path}.o", SOURCE], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "--oformat", "binary", "-N", "-Ttext", "0x7c00", "-e", "_start", "-o", path,
                        f"{path}.o"], check=True)
        return path.read_bytes()


class Boot(CliTest):
    @classmethod
    def setUpClass(cls):
        cls.sectors = {letter: boot_sector(letter) for letter in "DEFV"}

    def setUp(self):
        super().setUp()
        # The firmware lies beside the program, as in the build folder.
        (self.nfold.parent / "guest").mkdir()
        (self.nfold.parent / "guest" / "seabios").symlink_to(PACKAGE)

    def image(self, letter, size):
        path = self.file(letter, self.sectors[letter])
        os.truncate(path, size)
        return path

    def disk(self, letter="D"):
        return self.image(letter, 4 << 20)

    def floppy(self):
        return self.image("F", 1474560)

    def boot(self, *words):
        return self.start(*words, "--name", "one", "--memory", "32M", "--serial", "none")

    def screen(self):
        return self.succeed("screen", "one")

    def wait_screen(self, text):
        try:
            wait_for(lambda: text in self.screen(), 40)
        except AssertionError:
            self.fail(f"no {text!r} on the screen: {self.screen()}")

    def test_nothing_to_boot_from(self):
        self.boot()
        self.wait_screen("No bootable device")
        self.assertIn("SeaBIOS", self.screen())

    def test_each_drive(self):
        for words, text in ((["--disk", self.disk()], "D1W>"), (["--floppy", self.floppy()], "F0W>"),
                            (["--disk", f"{self.disk('V')},device=virtio"], "V1W>")):
            process = self.boot(*words)
            self.wait_screen(text)
            self.succeed("kill", "one")
            self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    def test_boot_order(self):
        for order, text in ((None, "F0W>"), ("disk", "D1W>"), ("disk,floppy", "D1W>"), ("cdrom,floppy,disk", "F0W>")):
            boot = ["--boot", order] if order else []
            self.boot("--disk", self.disk(), "--floppy", self.floppy(), "--disk", self.disk("E"), *boot)
            self.wait_screen(text)
            self.succeed("kill", "one")

    def test_read_only_images(self):
        for words, text in ((["--disk", f"{self.disk()},readonly"], "D1R>"), (["--floppy", f"{self.floppy()},readonly"], "F0R>")):
            self.boot(*words)
            self.wait_screen(text)
            self.succeed("kill", "one")

    def test_a_host_file_that_may_not_grow_is_an_error_of_the_drive(self):
        """The signal that comes with EFBIG must not end the guest's process."""
        disk = self.disk()
        self.boot("--disk", disk)
        self.wait_screen("D1W>")
        before = disk.read_bytes()
        resource.prlimit(int(self.guests()["one"]["PID"]), resource.RLIMIT_FSIZE, (256, 256))
        self.succeed("key", "one", "ctrl-alt-delete")
        self.wait_screen("D1R>")
        self.assertEqual(disk.read_bytes(), before)

    def test_typing_at_firmware(self):
        self.boot("--disk", self.disk())
        self.wait_screen("D1W>")
        self.succeed("type", "one", "Hello, World! 0123 {a|b} ~\\\\\\nnext")
        self.wait_screen("D1W>Hello, World! 0123 {a|b} ~\\\nnext\n")
        self.succeed("key", "one", "shift-a", "b", "enter")
        self.succeed("type", "one", "end")
        self.wait_screen("\nnextAb\nend\n")

    def test_a_long_text_at_the_pace_of_the_guest(self):
        """BIOS keeps 15 keys for a program that reads late; this one reads at once, and none may be lost."""
        self.boot("--disk", self.disk())
        self.wait_screen("D1W>")
        text = "".join(chr(ord("a") + i % 26) for i in range(70))
        self.succeed("type", "one", text)
        self.wait_screen("D1W>" + text)

    def test_the_three_finger_salute(self):
        self.boot("--disk", self.disk())
        self.wait_screen("D1W>")
        self.succeed("type", "one", "before")
        self.wait_screen("D1W>before")
        self.succeed("key", "one", "ctrl-alt-delete")
        self.wait_screen("D1W>\n")
        self.assertNotIn("before", self.screen())

    def test_pictures(self):
        self.boot("--disk", self.disk())
        self.wait_screen("D1W>")
        self.succeed("screen", "one", "--png", "text.png")
        width, height, rows = png_pixels((self.folder / "text.png").read_bytes())
        self.assertEqual((width, height), (720, 400))
        colours = {rows[y][x:x + 3] for y in range(32) for x in range(0, width * 3, 3)}
        self.assertEqual(colours, {b"\0\0\0", b"\xaa\xaa\xaa"})
        self.succeed("key", "one", "f1")
        wait_for(lambda: self.run_nfold("screen", "one").returncode != 0)
        self.assertRegex(self.run_nfold("screen", "one").stderr.decode(), r"graphics screen, \d+ x \d+")

        def all_red():
            self.succeed("screen", "one", "--png", "graphics.png")
            width, height, rows = png_pixels((self.folder / "graphics.png").read_bytes())
            return width >= 320 and height >= 200 and all(row == b"\xaa\0\0" * width for row in rows)

        wait_for(all_red)


if __name__ == "__main__":
    main()
