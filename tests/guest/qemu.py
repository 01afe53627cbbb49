# SPDX-License-Identifier: MIT
"""QEMU's screen and keyboard through its QMP socket, so that scripts written for nfold run there unchanged."""

import contextlib
import json
import socket
import time
from pathlib import Path

from guest import GuestError

COLUMNS = 80
TEXT_MEMORY, TEXT_SIZE = 0xB8000, 0x8000
HOLD_MS = 20  # how long a key is down

SHIFTED = {
    "!": "1", "@": "2", "#": "3", "$": "4", "%": "5", "^": "6", "&": "7", "*": "8", "(": "9", ")": "0", "_": "minus",
    "+": "equal", "{": "bracket_left", "}": "bracket_right", ":": "semicolon", '"': "apostrophe", "~": "grave_accent",
    "|": "backslash", "<": "comma", ">": "dot", "?": "slash",
}  # fmt: skip
PLAIN = {
    " ": "spc", "\n": "ret", "\t": "tab", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right",
    ";": "semicolon", "'": "apostrophe", "`": "grave_accent", "\\": "backslash", ",": "comma", ".": "dot", "/": "slash",
}  # fmt: skip
KEYS = {"enter": "ret", "escape": "esc", "space": "spc", "super": "meta_l"}


def key_of(character):
    if character in SHIFTED:
        return "shift-" + SHIFTED[character]
    if character.isupper():
        return "shift-" + character.lower()
    return PLAIN.get(character, character)


class Monitor:
    def __init__(self, path, seconds=20):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise GuestError(f"no QMP socket within {seconds} s") from error
                time.sleep(0.05)
        self.socket.settimeout(seconds)
        self.stream = self.socket.makefile("rwb")
        self.stream.readline()
        self.ask("qmp_capabilities")

    def close(self):
        with contextlib.suppress(OSError):
            self.stream.close()
        self.socket.close()

    def ask(self, command, **arguments):
        try:
            self.stream.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            self.stream.flush()
            while True:
                line = self.stream.readline()
                if not line:
                    raise GuestError("QEMU closed its QMP socket")
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise GuestError(f"QEMU: {answer['error']['desc']}")
        except OSError as error:
            raise GuestError(f"QMP: {error}") from None

    def human(self, line):
        return self.ask("human-monitor-command", **{"command-line": line})

    def screen(self, scratch):
        """All of the text memory: QEMU does not tell where in it the screen begins."""
        path = Path(scratch) / "text"
        answer = self.human(f'pmemsave {TEXT_MEMORY} {TEXT_SIZE} "{path}"')
        if answer.strip():
            raise GuestError(f"QEMU: {answer.strip()}")
        characters = path.read_bytes()[::2].decode("cp437").replace("\0", " ")
        lines = [characters[at : at + COLUMNS].rstrip() for at in range(0, len(characters), COLUMNS)]
        return "\n".join(lines).rstrip("\n")

    def picture(self, path):
        self.ask("screendump", filename=str(path), format="png")

    def key(self, chord):
        names = chord.split("-")
        answer = self.human(f"sendkey {'-'.join(KEYS.get(name, name) for name in names)} {HOLD_MS}")
        if answer.strip():
            raise GuestError(f"QEMU: {answer.strip()}")
        # Keys of QEMU's wait for no one: a guest that looks seldom would lose the next.
        time.sleep(3 * HOLD_MS / 1000)

    def type(self, text):
        for character in text:
            self.key(key_of(character))
