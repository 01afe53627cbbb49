#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The screen and the keyboard of a running guest: nfold screen, type and key, and the methods behind them."""

import array
import mmap
import os
import re
import struct
import time
import zlib
from pathlib import Path

from support import STATUS_HOST, STATUS_INPUT, CliTest, main, wait_for

ROOT = Path(__file__).parents[2]
INVALID_PARAMS, WRONG_STATE = -32602, -32000
SHIFT = 0x12
SET2 = {"a": 0x1c, "b": 0x32, "h": 0x33, "i": 0x43, "1": 0x16, "\n": 0x5a, "\t": 0x0d, "\b": 0x66, "\x1b": 0x76, "\\": 0x5d}


def press(code):
    return [code, 0xf0, code]


def shifted(code):
    return [SHIFT, code, 0xf0, code, 0xf0, SHIFT]


def png_pixels(data):
    """Width, height and rows of RGB bytes of a PNG; enough of a decoder for what libpng writes."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            assert (depth, colour) == (8, 2)
        if kind == b"IDAT":
            packed += body
        at += length + 12
    raw, stride, rows, above = zlib.decompress(packed), width * 3, [], bytes(width * 3)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            left, up = line[x - 3] if x >= 3 else 0, above[x]
            corner = above[x - 3] if x >= 3 else 0
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda value, guess=guess: abs(guess - value))
            line[x] = (line[x] + (0, left, up, (left + up) // 2, paeth)[kind]) & 0xff
        rows.append(bytes(line))
        above = rows[-1]
    return width, height, rows


class ScreenTest(CliTest):
    def start_screen(self, script, *words):
        return self.start("--kernel", self.file("k", script), "--name", "one", *words)


class Text(ScreenTest):
    def test_a_text_screen_is_printed_as_utf8(self):
        self.start_screen(b"screen\nHello  \n\xc9\xcd\xbb \x01\n\nA:\\>\xe1")
        lines = self.succeed("screen", "one").split("\n")
        self.assertEqual(lines[:5], ["Hello", "╔═╗ ☺", "", "A:\\>ß", ""])
        self.assertEqual(len(lines), 26)

    def test_control_characters_of_the_guest_do_not_reach_the_terminal(self):
        self.start_screen(b"screen\n" + bytes(set(range(1, 256)) - {10, 26}))
        text = self.succeed("screen", "one")
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f]")

    def test_a_graphics_screen_says_how_to_get_a_picture(self):
        self.start_screen("graphics")
        line = self.refuse(STATUS_INPUT, "screen", "one")
        self.assertIn("320 x 200", line)
        self.assertIn("nfold screen one --png FILE", line)

    def test_a_screen_that_is_off(self):
        self.start_screen("off")
        self.assertIn("off", self.refuse(STATUS_INPUT, "screen", "one"))
        self.assertIn("off", self.refuse(STATUS_INPUT, "screen", "one", "--png", "p.png"))
        self.assertFalse((self.folder / "p.png").exists())

    def test_the_method(self):
        self.start_screen(b"screen\nHi\x82")
        with self.connect("one") as connection:
            result = connection.call("screen.text")["result"]
            self.assertEqual((result["mode"], result["columns"], result["rows"], result["width"], result["height"]),
                             ("text", 80, 25, 720, 400))
            self.assertEqual(len(result["text"]), 25)
            self.assertEqual(result["text"][0], "Hié".ljust(80))
            self.assertEqual(result["attributes"][0], "07" * 80)
            self.assertEqual(result["attributes"][1], "18" * 80)
            self.assertEqual(result["cursor"], {"column": 3, "row": 1, "first_line": 13, "last_line": 14})
            self.assertEqual((result["blink"], result["cell_height"]), (True, 16))
            self.assertEqual(result["colours"][4], 0xaa0000)
            since = result["changes"]
            self.assertEqual(connection.call("screen.text", since=since)["result"], {"changes": since})
            self.assertEqual(connection.call("screen.text", since=since - 1)["result"], result)
            for bad in ("1", 1.5, True, None):
                self.assertEqual(connection.call("screen.text", since=bad)["error"]["code"], INVALID_PARAMS)

    def test_the_method_for_other_screens(self):
        self.start_screen("graphics")
        with self.connect("one") as connection:
            result = connection.call("screen.text")["result"]
            self.assertEqual({key: result[key] for key in ("mode", "width", "height")},
                             {"mode": "graphics", "width": 320, "height": 200})
            self.assertNotIn("text", result)

    def test_no_such_guest_and_one_that_ended(self):
        self.refuse(STATUS_INPUT, "screen", "nobody")
        self.start_screen("screen")
        self.succeed("kill", "one")
        for words in (["screen", "one"], ["screen", "one", "--png", "p.png"], ["type", "one", "x"], ["key", "one", "a"]):
            self.refuse(STATUS_INPUT, *words)
        self.assertFalse((self.folder / "p.png").exists())


def open_files(pid):
    """What a process has open. Descriptors may be closed while they are looked at."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue


class Picture(ScreenTest):
    def test_a_png_has_the_pixels(self):
        self.start_screen("graphics")
        self.succeed("screen", "one", "--png", "p.png")
        width, height, rows = png_pixels((self.folder / "p.png").read_bytes())
        self.assertEqual((width, height), (320, 200))
        for x, y in ((0, 0), (319, 0), (0, 199), (160, 100)):
            self.assertEqual(tuple(rows[y][3 * x:3 * x + 3]), (x * 255 // 320, y * 255 // 200, 0))

    def test_a_text_screen_has_a_picture_too(self):
        self.start_screen("screen")
        result = self.run_nfold("screen", "one", "--png", "-")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        width, height, rows = png_pixels(result.stdout)
        self.assertEqual((width, height, rows[9][:3]), (720, 400, b"\0\0\xaa"))

    def test_files_that_cannot_be_written(self):
        self.start_screen("graphics")
        for path in ("", "no/such/folder.png", self.folder):
            self.refuse(STATUS_INPUT, "screen", "one", f"--png={path}")
        self.assertIn("No space", self.refuse(STATUS_HOST, "screen", "one", "--png", "/dev/full"))
        self.assertTrue(os.path.exists("/dev/full"))

    def receive(self, connection):
        """An answer with the descriptor that came along."""
        text, ancillary, _, _ = connection.socket.recvmsg(65536, 64)
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        for fd in fds:
            self.addCleanup(os.close, fd)
        return text, list(fds)

    def ask(self, connection, identity=1):
        connection.send(b'{"jsonrpc":"2.0","id":%d,"method":"screen.pixels"}\n' % identity)

    def test_the_method_passes_a_sealed_memfd(self):
        self.start_screen("graphics")
        with self.connect("one") as connection:
            for _ in range(3):
                self.ask(connection)
                text, fds = self.receive(connection)
                self.assertIn(b'"format":"xrgb8888"', text.replace(b" ", b""))
                self.assertEqual(len(fds), 1)
                with mmap.mmap(fds[0], 0, prot=mmap.PROT_READ) as pixels:
                    self.assertEqual(len(pixels), 320 * 200 * 4)
                    self.assertEqual(struct.unpack_from("<I", pixels, 4 * (100 * 320 + 160))[0], 127 << 16 | 127 << 8)
                for change in (lambda fd: os.ftruncate(fd, 0), lambda fd: os.write(fd, b"x")):
                    self.assertRaises(OSError, change, fds[0])

    def test_one_picture_at_a_time(self):
        """Neither a batch nor a client that reads nothing makes the guest's process hold many pictures."""
        process = self.start_screen("graphics")
        pid = int(self.guests()["one"]["PID"])
        with self.connect("one") as connection:
            one = b'{"jsonrpc":"2.0","id":1,"method":"screen.pixels"}'
            connection.send(b"[" + b",".join([one] * 5) + b"]\n")
            text, fds = self.receive(connection)
            self.assertEqual((text.count(b'"xrgb8888"'), text.count(b"-32000"), len(fds)), (1, 4, 1))
            for _ in range(50):
                self.ask(connection)
            time.sleep(0.3)
            text, fds = b"", []
            while text.count(b"\n") < 50:
                more, some = self.receive(connection)
                text += more
                fds += some
            self.assertEqual((text.count(b'"xrgb8888"'), len(fds)), (1, 1))
        # Notifications have nobody to give a picture to.
        with self.connect("one") as connection:
            for _ in range(100):
                connection.send(b'{"jsonrpc":"2.0","method":"screen.pixels"}\n')
            connection.call("guest.status")
        self.assertFalse([name for name in open_files(pid) if "nfold-screen" in name])
        self.assert_runs(process)


class Keyboard(ScreenTest):
    def setUp(self):
        super().setUp()
        self.log = self.folder / "log"

    def start_keys(self, script="keys"):
        with open(self.log, "wb") as log:
            return self.start("--kernel", self.file("k", script), "--name", "one", stdout=log)

    def codes(self):
        return [int(word, 16) for word in self.log.read_text(encoding="ascii").split()]

    def expect(self, *parts):
        codes = sum(parts, [])
        try:
            wait_for(lambda: len(self.codes()) >= len(codes))
        finally:
            self.assertEqual(self.codes(), codes)

    def test_text(self):
        self.start_keys()
        self.succeed("type", "one", "aB\\n\\t\\b\\e\\\\")
        self.expect(press(0x1c), shifted(0x32), *(press(SET2[key]) for key in "\n\t\b\x1b\\"))

    def test_text_from_standard_input_as_it_is(self):
        self.start_keys()
        read, write = os.pipe()
        os.write(write, b"a\\\n")
        os.close(write)
        with os.fdopen(read) as stdin:
            self.succeed("type", "one", "-", stdin=stdin)
        self.expect(press(0x1c), press(0x5d), press(0x5a))

    def test_every_character_of_a_us_keyboard(self):
        self.start_keys()
        printable = "".join(map(chr, range(0x20, 0x7f)))
        self.succeed("type", "--interval=2", "one", printable.replace("\\", "\\\\"))
        count = sum(3 if char in "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./ " else 6 for char in printable)
        wait_for(lambda: len(self.codes()) >= count)
        self.assertEqual(len(self.codes()), count)

    def test_chords(self):
        self.start_keys()
        self.succeed("key", "one", "ctrl-alt-delete", "a", "Shift-F10")
        self.expect([0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14], press(0x1c),
                    [0x12, 0x09, 0xf0, 0x09, 0xf0, 0x12])

    def test_more_chords_than_one_hand_has_fingers(self):
        self.start_keys()
        self.succeed("key", "one", *["a"] * 32)
        self.expect(*[press(0x1c)] * 32)
        self.refuse(STATUS_INPUT, "key", "one", *["a"] * 33)

    def test_keys_that_do_not_exist(self):
        self.start_keys()
        for chord in ("hyper", "ctrl-hyper", "", "-", "a-", "ctrl--a", "F25", "x" * 200, "a-b-c-d-e-f-g-h-i", "é", "a b"):
            self.refuse(STATUS_INPUT, "key", "one", "b", "--", chord)
        self.assertIn('"hyper"', self.refuse(STATUS_INPUT, "key", "one", "ctrl-hyper"))
        self.refuse(STATUS_INPUT, "key", "one", b"\xff".decode(errors="surrogateescape"))
        self.succeed("key", "one", "a")
        self.expect(press(0x1c))

    def test_text_that_no_key_types(self):
        self.start_keys()
        for text, character in (("aé", "U+00E9"), ("ab€", "U+20AC"), ("\U0001f600", "U+1F600"), ("a\rb", "U+000D"),
                                ("\x01", "U+0001"), ("\x7f", "U+007F")):
            line = self.refuse(STATUS_INPUT, "type", "one", text)
            self.assertIn(character, line)
            self.assertIn(f"character {len(text) if chr(13) not in text else 2} ", line)
        for text in ("\\", "\\x", "a\\q", b"\xff".decode(errors="surrogateescape")):
            self.refuse(STATUS_INPUT, "type", "one", text)
        self.succeed("type", "one", "")
        self.succeed("type", "one", "a")
        self.expect(press(0x1c))

    def test_long_texts(self):
        self.start_keys("spin")  # reads no keys
        self.assertIn("4096", self.refuse(STATUS_INPUT, "type", "one", "a" * 4097))
        self.assertIn("too long", self.refuse(STATUS_INPUT, "type", "one", "a" * 9000))
        with open("/dev/zero", "rb") as zero:
            self.refuse(STATUS_INPUT, "type", "one", "-", stdin=zero)
        self.succeed("type", "one", "A" * 4096)
        self.assertIn("4096", self.refuse(STATUS_INPUT, "type", "one", "b"))
        self.refuse(STATUS_INPUT, "key", "one", "b")
        self.succeed("kill", "one")

    def test_a_guest_that_reads_slowly_loses_nothing(self):
        """The keyboard holds 16 bytes; 200 keys are 600."""
        self.start_keys()
        self.succeed("type", "--interval=1", "one", "ab" * 50)
        time.sleep(0.2)
        self.succeed("pause", "one")
        self.succeed("type", "--interval=1", "one", "1" * 100)
        time.sleep(0.2)
        self.succeed("resume", "one")
        self.expect(*[press(0x1c) + press(0x32)] * 50, *[press(0x16)] * 100)

    def test_a_paused_guest_gets_the_keys_when_it_goes_on(self):
        process = self.start_keys()
        self.succeed("pause", "one")
        self.succeed("type", "one", "hi")
        time.sleep(0.3)
        self.assertEqual(self.codes(), [])
        self.succeed("resume", "one")
        self.expect(press(0x33), press(0x43))
        self.assert_runs(process)

    def test_the_pace(self):
        """A guest that looks at its keyboard now and then sees a key down before it is up."""
        self.start_keys()
        for words, interval in (([], 0.030), (["--interval", "50"], 0.050), (["--interval=1"], 0.001)):
            started, before = time.monotonic(), len(self.codes())
            self.succeed("type", *words, "one", "a" * 10)
            wait_for(lambda before=before: len(self.codes()) == before + 30)
            self.assertGreater(time.monotonic() - started, 19 * interval - 0.02)

    def test_the_methods(self):
        self.start_keys()
        with self.connect("one") as connection:
            self.assertEqual(connection.call("keyboard.type", text="aB")["result"], {"waiting": 6})
            self.assertGreater(connection.call("keyboard.key", chords=["ctrl-a"])["result"]["waiting"], 3)
            for params in ({}, {"text": 1}, {"text": None}, {"text": ["a"]}, {"text": "é"}, {"text": "a", "x": 1},
                           {"text": "a", "interval_ms": 0}, {"text": "a", "interval_ms": 1001}, {"text": "a", "interval_ms": "5"},
                           {"text": "a", "interval_ms": 1.5}):
                self.assertEqual(connection.call("keyboard.type", **params)["error"]["code"], INVALID_PARAMS, params)
            for params in ({}, {"chords": "a"}, {"chords": []}, {"chords": [1]}, {"chords": ["a", None]}, {"chords": ["a"] * 65},
                           {"chords": ["a"], "interval_ms": -1}, {"chords": {"a": 1}}, {"chords": ["a", "hyper"]}):
                self.assertEqual(connection.call("keyboard.key", **params)["error"]["code"], INVALID_PARAMS, params)
        self.expect(press(0x1c), shifted(0x32), [0x14, 0x1c, 0xf0, 0x1c, 0xf0, 0x14])

    def test_the_manual_page_has_all_keys(self):
        page = (ROOT / "man" / "nfold.1").read_text(encoding="utf-8")
        table = (ROOT / "src" / "devices" / "ps2keyboard-table.c").read_text(encoding="utf-8")
        names = re.findall(r'\.name = "(\w+)"', table)
        self.assertGreater(len(names), 100)
        listed = re.search(r"\.SH KEYS\n(.*?)\n\.SH ", page, re.DOTALL).group(1)
        for name in names:
            if len(name) > 1 and not re.fullmatch(r"f\d+|kp\d", name):
                self.assertRegex(listed, rf"\b{name}\b")


if __name__ == "__main__":
    main()
