#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold run --display terminal: what is drawn and what keys do, seen through tmux, a terminal that can be asked; and that the
terminal is as before whatever ends the guest."""

import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import termios
import time

from support import SECONDS, STATUS_INPUT, STATUS_KILLED, CliTest, main, wait_for

TEXT = b"screen\nHello\n\xc9\xcd\xbb \x01\n\nA:\\>\xe1"
HINT = "Ctrl-] q ends it"


class InTmux(CliTest):
    def setUp(self):
        super().setUp()
        self.socket = self.folder / "tmux"

    def tmux(self, *words):
        result = subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *words], capture_output=True, check=True,
                                env=self.environment | {"LC_ALL": "C.UTF-8"}, timeout=SECONDS)
        return result.stdout.decode()

    def tearDown(self):
        self.run_nfold("kill", "one")
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False, timeout=SECONDS)
        super().tearDown()

    def show(self, script, *words, size=(80, 27), locale="C.UTF-8", term="tmux-256color"):
        command = shlex.join(map(str, [self.nfold, "run", "--kernel", self.file("k", script), "--name", "one",
                                       "--display", "terminal", *words]))
        script = (f"export XDG_RUNTIME_DIR={self.runtime_parent} LC_ALL={locale} TERM={term}; stty -g >before;"
                  f"{command} 2>err; echo $? >status; stty -g >after; exec sleep 1000")
        self.tmux("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "-c", str(self.folder), f"sh -c {shlex.quote(script)}")

    def screen(self, *words):
        return self.tmux("capture-pane", "-p", *words).split("\n")

    def wait_screen(self, condition):
        try:
            wait_for(lambda: condition(self.screen()))
        except AssertionError:
            self.fail("not on the screen: " + "\n".join(self.screen()))

    def wait_text(self, text, line=None):
        self.wait_screen(lambda lines: any(text in row for row in (lines if line is None else [lines[line]])))

    def wait_status(self):
        wait_for(lambda: (self.folder / "after").exists() and (self.folder / "after").read_text())
        self.assertEqual((self.folder / "after").read_text(), (self.folder / "before").read_text())
        self.assertEqual(self.tmux("display", "-p", "#{alternate_on}").strip(), "0")
        self.assertEqual(self.tmux("display", "-p", "#{cursor_flag}").strip(), "1")
        return int((self.folder / "status").read_text())

    def messages(self):
        return (self.folder / "err").read_text().splitlines()

    def quit(self):
        self.tmux("send-keys", "C-]", "q")
        self.assertEqual(self.wait_status(), STATUS_KILLED)


class Drawing(InTmux):
    def test_text_colours_and_cursor(self):
        self.show(TEXT)
        self.wait_text("A:\\>ß", 3)
        lines = self.screen()
        self.assertEqual([line.rstrip() for line in lines[:3]], ["Hello", "╔═╗ ☺", ""])
        self.assertEqual(self.tmux("display", "-p", "#{cursor_x},#{cursor_y}").strip(), "3,1")
        coloured = self.screen("-e")
        # Row 1 is dark grey on blue, row 5 light red on magenta, row 8 blinks: white on black.
        for row, codes in ((1, ("90", "44")), (5, ("91", "45")), (8, ("5", "97"))):
            for code in codes:
                self.assertRegex(coloured[row], rf"\x1b\[([\d;]*;)?{code}[;m]")
        self.assertNotIn("\x1b[5m", coloured[7])
        self.quit()

    def test_the_escape_key_is_named_in_one_line(self):
        self.show(TEXT)
        self.wait_text(HINT, 26)
        self.quit()
        self.assertEqual(len(self.messages()), 1)
        self.assertIn(HINT, self.messages()[0])

    def test_the_hint_gives_way_where_there_is_no_room_for_it(self):
        self.show(b"screen\n" + b"\n" * 22 + b"row 23", size=(80, 24))
        self.wait_text(HINT, 23)
        self.wait_text("row 23", 22)
        wait_for(lambda: not any(HINT in line for line in self.screen()))
        self.quit()

    def test_control_characters_are_drawn_as_their_signs(self):
        self.show(b"screen\n" + b"<\x1b[2J\x07\x9b\x0d\x08>")
        self.wait_text("<←[2J•¢♪◘>", 0)
        self.quit()

    def test_a_locale_without_unicode(self):
        self.show(TEXT, locale="C")
        self.wait_text("A:\\>?", 3)
        self.assertEqual(self.screen()[1].rstrip(), "+=+ ?")
        self.quit()

    def test_other_terminals(self):
        for term in ("xterm-256color", "xterm", "linux", "vt100", "screen"):
            for name in ("status", "after"):
                (self.folder / name).unlink(missing_ok=True)
            self.show(TEXT, term=term)
            self.wait_text("A:\\>", 3)
            self.quit()

    def test_a_graphics_screen_says_what_it_is(self):
        self.show("graphics")
        self.wait_text("320 x 200", 0)
        self.assertIn("nfold screen one --png FILE", self.screen()[0])
        self.tmux("send-keys", "F5")
        self.wait_text("03", 24)
        self.assertNotIn("320", self.screen()[0])
        self.tmux("send-keys", "F5")
        self.wait_text("320 x 200", 0)
        self.quit()

    def test_a_screen_that_is_off(self):
        self.show("off")
        self.wait_text("is off", 0)
        self.quit()

    def test_a_small_terminal_follows_the_cursor(self):
        text = b"\n".join(b"%-98d|cursor|" % row for row in range(59))
        self.show(b"wide\n" + text, size=(60, 12))
        # The cursor, at row 50 and column 100, is at the edge of what is shown: rows 39 to 50, columns 41 to 100.
        self.wait_text("|cu", 11)
        self.assertEqual(self.tmux("display", "-p", "#{cursor_x},#{cursor_y}").strip(), "59,11")
        self.tmux("resize-window", "-x", "140", "-y", "62")
        self.wait_screen(lambda lines: lines[0].startswith("0 ") and lines[58].startswith("58 "))
        self.assertEqual(self.tmux("display", "-p", "#{cursor_x},#{cursor_y}").strip(), "100,50")
        self.tmux("resize-window", "-x", "30", "-y", "3")
        wait_for(lambda: self.tmux("display", "-p", "#{cursor_x},#{cursor_y}").strip() == "29,2")
        self.quit()

    def test_a_guest_that_ends(self):
        self.show("poweroff")
        self.assertEqual(self.wait_status(), 0)

    def test_messages_come_when_the_terminal_is_back(self):
        self.show("fail", "--verbose")
        self.assertEqual(self.wait_status(), 4)
        self.assertIn("told to fail", self.messages()[-1])
        self.assertIn("engine", "\n".join(self.messages()))

    def test_an_error_at_start(self):
        self.show("screen", "--memory", "1")
        self.assertEqual(self.wait_status(), STATUS_INPUT)
        self.assertEqual(len(self.messages()), 1)

    def test_a_process_that_does_not_answer(self):
        self.show("hang")
        self.wait_text("does not answer", 26)
        self.quit()

    def test_a_paused_guest_is_still_shown(self):
        self.show(TEXT)
        self.wait_text("Hello", 0)
        self.succeed("pause", "one")
        self.tmux("send-keys", "a")
        time.sleep(0.3)
        self.assertNotIn("1c", self.screen()[24])
        self.succeed("resume", "one")
        self.wait_text("1c f0 1c", 24)
        self.quit()


class Keys(InTmux):
    def expect(self, key, codes):
        self.tmux("send-keys", key)
        self.wait_screen(lambda lines: lines[24].rstrip().endswith(codes))

    def test_keys(self):
        self.show("screen")
        self.wait_text(HINT)
        for key, codes in (("a", "1c f0 1c"), ("B", "12 32 f0 32 f0 12"), ("Space", "29 f0 29"), ("Enter", "5a f0 5a"),
                           ("BSpace", "66 f0 66"), ("Tab", "0d f0 0d"), ("BTab", "12 0d f0 0d f0 12"), ("Escape", "76 f0 76"),
                           ("Up", "e0 75 e0 f0 75"), ("Down", "e0 72 e0 f0 72"), ("Left", "e0 6b e0 f0 6b"),
                           ("Right", "e0 74 e0 f0 74"), ("Home", "e0 6c e0 f0 6c"), ("End", "e0 69 e0 f0 69"),
                           ("PPage", "e0 7d e0 f0 7d"), ("NPage", "e0 7a e0 f0 7a"), ("IC", "e0 70 e0 f0 70"),
                           ("DC", "e0 71 e0 f0 71"), ("C-c", "14 21 f0 21 f0 14"), ("C-a", "14 1c f0 1c f0 14"),
                           ("M-x", "11 22 f0 22 f0 11"), ("M-X", "11 12 22 f0 22 f0 12 f0 11"),
                           ("M-Enter", "11 5a f0 5a f0 11"), ("M-.", "11 49 f0 49 f0 11"),
                           ("C-Left", "14 e0 6b e0 f0 6b f0 14"), ("M-F4", "11 0c f0 0c f0 11"),
                           ("S-F1", "12 05 f0 05 f0 12"), ("~", "12 0e f0 0e f0 12")):
            with self.subTest(key=key):
                self.expect(key, codes)
        for number, code in enumerate((0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x78, 0x07), 1):
            if number != 5:
                self.expect(f"F{number}", f"{code:02x} f0 {code:02x}")
        self.quit()

    def test_the_escape_key_twice_sends_it_once(self):
        self.show("screen")
        self.wait_text(HINT)
        self.tmux("send-keys", "C-]", "x", "C-]", "C-]")
        self.wait_text("14 5b f0 5b f0 14", 24)
        self.assertEqual(self.screen()[24].split(), "14 5b f0 5b f0 14".split())
        self.quit()

    def test_keys_no_pc_has_are_left_out(self):
        self.show("screen")
        self.wait_text(HINT)
        self.tmux("send-keys", "-l", "aéb")
        self.wait_text("1c f0 1c 32 f0 32", 24)
        self.quit()

    def test_a_paste_arrives_whole_and_in_order(self):
        self.show("keys", "--serial", self.folder / "log")
        self.wait_text(HINT)
        text = "the quick brown fox 0123456789 " * 8
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "F1", "z")
        wait_for(lambda: self.screen()[24].rstrip().endswith("05 f0 05 1a f0 1a"), 60)
        self.quit()


class Restored(CliTest):
    def setUp(self):
        super().setUp()
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 27, 80, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.environment["TERM"] = "xterm"
        self.output = b""
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)

    def start_shown(self, script=TEXT):
        self.output = b""
        process = subprocess.Popen(
            [self.nfold, "run", "--kernel", self.file("k", script), "--name", "one", "--display", "terminal"],
            env=self.environment, stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE, start_new_session=True)
        self.started.append(process)
        self.read_until(b"Hello")
        return process

    def read_until(self, data):
        end = time.monotonic() + SECONDS
        while data not in self.output:
            self.assertLess(time.monotonic(), end, f"no {data!r} in {self.output[-400:]!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 4096)

    def wait(self, process):
        """The exit status; the terminal is read meanwhile, as one is."""
        def ended():
            if select.select([self.master], [], [], 0)[0]:
                self.output += os.read(self.master, 4096)
            return process.poll() is not None
        wait_for(ended)
        return process.returncode

    def assert_restored(self):
        self.read_until(b"\x1b[?1049l")
        self.assertEqual(termios.tcgetattr(self.slave), self.before)
        self.assertEqual(self.output.count(b"\x1b[?1049h"), self.output.count(b"\x1b[?1049l"))

    def test_after_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            process = self.start_shown()
            process.send_signal(number)
            self.assertEqual(self.wait(process), STATUS_KILLED)
            self.assert_restored()

    def test_after_the_power_button_and_kill(self):
        for command, status in (("stop", 0), ("kill", STATUS_KILLED)):
            process = self.start_shown()
            self.succeed(command, "one")
            self.assertEqual(self.wait(process), status)
            self.assert_restored()

    def test_after_the_guests_process_was_killed(self):
        process = self.start_shown()
        os.kill(int(self.guests()["one"]["PID"]), signal.SIGKILL)
        self.assertEqual(self.wait(process), STATUS_KILLED)
        self.assert_restored()

    def test_after_nfold_itself_was_killed(self):
        """The guest's process sets the terminal right when it finds its parent gone."""
        process = self.start_shown()
        process.kill()
        process.wait(SECONDS)
        self.read_until(b"\x1b[?1049l")
        wait_for(lambda: termios.tcgetattr(self.slave) == self.before)
        wait_for(lambda: self.leftovers() == [])

    def test_while_stopped(self):
        process = self.start_shown()
        process.send_signal(signal.SIGTSTP)
        self.read_until(b"\x1b[?1049l")
        wait_for(lambda: termios.tcgetattr(self.slave) == self.before)
        self.output = b""
        process.send_signal(signal.SIGCONT)
        self.read_until(b"Hello")
        self.assertNotEqual(termios.tcgetattr(self.slave), self.before)
        os.write(self.master, b"\x1dq")
        self.assertEqual(self.wait(process), STATUS_KILLED)
        self.assert_restored()

    def test_a_terminal_that_nobody_reads(self):
        """It fills up while the guest draws. nfold still ends when it is told to, and the guest runs until then."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 62, 140, 0, 0))
        process = self.start_shown(b"wide\nHello" + bytes(33 + i * 7 % 90 if i % 128 else 10 for i in range(7000)))
        vm = int(self.guests()["one"]["PID"])
        with self.connect("one") as connection:
            for _ in range(80):
                connection.call("keyboard.key", chords=["f5"], interval_ms=1)
                time.sleep(0.06)
        self.assertEqual(self.guests()["one"]["STATE"], "running")
        self.assert_runs(process)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)
        self.assertFalse(os.path.exists(f"/proc/{vm}"))
        self.assertEqual(termios.tcgetattr(self.slave), self.before)

    def test_a_terminal_that_is_hung_up(self):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [self.nfold, "run", "--kernel", self.file("k", TEXT), "--name", "one", "--display", "terminal"],
            env=self.environment, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, start_new_session=True)
        self.started.append(process)
        os.close(slave)
        wait_for(lambda: "one" in self.guests())
        time.sleep(0.3)
        os.close(master)
        used = self.processor_time(process.pid)
        time.sleep(1)
        self.assertLess(self.processor_time(process.pid) - used, 0.3)
        self.succeed("kill", "one")
        self.assertEqual(process.wait(SECONDS), STATUS_KILLED)

    @staticmethod
    def processor_time(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Refused(CliTest):
    def refuse_on_terminal(self, *words, term="xterm"):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        result = subprocess.run(
            [self.nfold, "run", "--kernel", self.file("k", "screen"), "--display", "terminal", *words], stdin=slave, stdout=slave,
            stderr=subprocess.PIPE, env=self.environment | {"TERM": term}, timeout=SECONDS, check=False, start_new_session=True)
        self.assertEqual(result.returncode, STATUS_INPUT)
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertEqual(self.leftovers(), [])
        self.assertFalse(select.select([master], [], [], 0)[0], "something was drawn")
        return result.stderr.decode()

    def test_no_terminal(self):
        self.assertIn("terminal", self.refuse(STATUS_INPUT, "run", "--kernel", self.file("k", "screen"), "--display", "terminal"))

    def test_terminals_nobody_knows_or_can_draw_on(self):
        for term in ("nonsense", "", "dumb", "\x1b[2J", "../../etc/passwd"):
            self.assertIn("TERM", self.refuse_on_terminal(term=term))

    def test_the_terminal_is_for_one(self):
        self.assertIn("--serial", self.refuse_on_terminal("--serial", "stdio"))

    def test_unknown_displays(self):
        for where in ("window", "", "Terminal"):
            self.refuse(STATUS_INPUT, "run", f"--display={where}")


if __name__ == "__main__":
    main()
