#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What nfold run is told to boot from: images, boot order, firmware. The double prints what it was given; the real machine's
word on bad images is in bad_input.py."""

import shutil

from support import STATUS_INPUT, CliTest, main


class Images(CliTest):
    def setUp(self):
        super().setUp()
        self.bios = self.file("bios", b"bios")
        self.firmware = self.folder / "bin" / "guest" / "seabios" / "usr" / "share" / "seabios"
        self.firmware.mkdir(parents=True)
        for name in ("bios-256k.bin", "vgabios-stdvga.bin"):
            (self.firmware / name).write_bytes(b"x")

    def given(self, *words):
        """What the machine was given, as (what, value) in order, without name and firmware."""
        lines = self.succeed("run", *words).splitlines()
        return [tuple(line.split(" ", 1)) for line in lines if not line.startswith(("name ", "firmware ", "vga "))]

    def lines(self, *words):
        return dict(line.split(" ", 1) for line in self.succeed("run", *words).splitlines())

    def test_images_reach_the_machine_in_order(self):
        self.assertEqual(
            self.given("--disk", "a", "--floppy", "f,readonly", "--disk=b,readonly", "--cdrom", "c,readonly", "--disk", "d e", "--floppy=g"),
            [("disk", "a"), ("disk", "b readonly"), ("disk", "d e"), ("cdrom", "c,readonly"), ("floppy", "f readonly"), ("floppy", "g")])
        self.assertEqual(self.given(*["--disk", "a,readonly"] * 4), [("disk", "a readonly")] * 4)

    def test_the_same_image_twice(self):
        for words in (["--disk", "a", "--disk", "a"], ["--floppy", "a", "--floppy", "a"],
                      ["--disk", "a", "--disk", "b", "--disk", "a,readonly"]):
            self.assertIn("twice", self.refuse(STATUS_INPUT, "run", *words))
        self.assertEqual(len(self.given("--disk", "a", "--floppy", "a")), 2)  # the real machine finds the lock

    def test_nothing_to_boot_from_is_no_error(self):
        self.assertEqual(self.given(), [])

    def test_boot_order(self):
        self.assertEqual(self.given("--boot", "cdrom,disk"), [("boot", "cdrom"), ("boot", "disk")])
        self.assertEqual(self.given("--boot=disk,floppy,cdrom"), [("boot", "disk"), ("boot", "floppy"), ("boot", "cdrom")])

    def test_bad_boot_orders(self):
        for order in ("", "network", "disk,", ",disk", "disk,disk", "cdrom disk", "a" * 500, "disk,\x1b[2J"):
            line = self.refuse(STATUS_INPUT, "run", f"--boot={order}")
            self.assertIn("--boot", line)
            self.assertNotIn("\x1b", line)

    def test_too_many(self):
        self.assertIn("device=virtio", self.refuse(STATUS_INPUT, "run", *["--disk", "a,readonly"] * 5))
        words = ["--disk", "a,device=virtio,readonly"] * 12 + ["--disk", "a,readonly"] * 4
        self.assertEqual(self.given(*words), [("disk", "a virtio readonly")] * 12 + [("disk", "a readonly")] * 4)
        self.assertIn("12 virtio", self.refuse(STATUS_INPUT, "run", *["--disk", "a,device=virtio,readonly"] * 13))
        self.assertIn("--disk can be given at most 16 times", self.refuse(STATUS_INPUT, "run", *words, "--disk", "b"))
        self.assertIn("--floppy can be given at most 2 times", self.refuse(STATUS_INPUT, "run", *["--floppy", "a,readonly"] * 3))
        self.assertIn("--cdrom", self.refuse(STATUS_INPUT, "run", *["--disk", "a,readonly"] * 4, "--cdrom", "c"))

    def test_names_that_are_none(self):
        for word in ("--disk=", "--disk=,readonly", "--floppy=", "--floppy=,readonly", "--cdrom="):
            self.refuse(STATUS_INPUT, "run", word)
        for word in ("--disk", "--floppy", "--firmware"):
            self.refuse(STATUS_INPUT, "run", word, "x" * 5000)

    def test_what_only_a_kernel_or_only_firmware_looks_at(self):
        kernel = self.file("k", "poweroff")
        for words in (["--initrd", "x"], ["--append", "x"], ["--module", "x"]):
            self.assertIn(f"{words[0]} needs a --kernel", self.refuse(STATUS_INPUT, "run", *words))
        for words in (["--boot", "disk"], ["--firmware", self.bios]):
            self.assertIn(words[0], self.refuse(STATUS_INPUT, "run", "--kernel", kernel, *words))
        self.assertEqual(self.run_nfold("run", "--kernel", kernel, "--disk", "a", "--cdrom", "b").returncode, 0)

    def test_the_guest_is_named_after_what_it_boots(self):
        for words, name in ((["--disk", "x/my disk.img"], "my-disk.img"), (["--cdrom", "cd.iso"], "cd.iso"),
                            (["--floppy", "f.img,readonly"], "f.img"), ([], "guest"),
                            (["--floppy", "f", "--cdrom", "c", "--disk", "d"], "d")):
            self.assertEqual(self.lines(*words)["name"], name)

    def where(self, *words):
        """The firmware that the machine was given: BIOS, VGA BIOS."""
        lines = self.lines(*words)
        return lines["firmware"], lines["vga"]

    def test_firmware_is_found_beside_the_program(self):
        for bios, vga in (self.where(), self.where("--boot", "disk")):
            self.assertTrue(bios.endswith("bin/guest/seabios/usr/share/seabios/bios-256k.bin"), bios)
            self.assertTrue(vga.endswith("bin/guest/seabios/usr/share/seabios/vgabios-stdvga.bin"), vga)

    def test_firmware_that_was_installed(self):
        shutil.rmtree(self.firmware)
        installed = self.folder / "share" / "nfold" / "firmware"
        installed.mkdir(parents=True)
        for name in ("bios-256k.bin", "vgabios-stdvga.bin"):
            (installed / name).write_bytes(b"x")
        bios, vga = self.where()
        self.assertTrue(bios.endswith("share/nfold/firmware/bios-256k.bin"), bios)
        self.assertTrue(vga.endswith("share/nfold/firmware/vgabios-stdvga.bin"), vga)

    def test_firmware_of_ones_own(self):
        bios, vga = self.where("--firmware", self.bios)
        self.assertEqual(bios, str(self.bios))
        self.assertTrue(vga.endswith("vgabios-stdvga.bin"), vga)

    def test_the_vga_bios_beside_a_firmware_of_ones_own(self):
        mine = self.folder / "mine"
        mine.mkdir()
        for name in ("bios.bin", "vgabios-stdvga.bin"):
            (mine / name).write_bytes(b"x")
        for given, vga in ((mine / "bios.bin", f"{mine}/vgabios-stdvga.bin"), ("mine/bios.bin", "./mine/vgabios-stdvga.bin")):
            self.assertEqual(self.where("--firmware", given), (str(given), vga))

    def test_half_a_firmware_is_none(self):
        """The two files come from one place, so that they fit each other."""
        (self.firmware / "vgabios-stdvga.bin").unlink()
        result = self.run_nfold("run")
        if result.returncode == 0:
            self.assertNotIn(str(self.firmware), result.stdout.decode())
        else:
            self.assertIn(b"--firmware", result.stderr)


if __name__ == "__main__":
    main()
