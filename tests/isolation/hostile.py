#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a hostile guest under nfold and watches the host's side.

While the guest runs, its process must live and answer on its control socket within a second. A guest that prints END has
done its work: then every line must say "ok" and its memory, read from outside, must hold no address of a mapping of the
process. A guest that cannot end (--chaos) may print anything or destroy itself; its memory is searched all the same. In the end
`nfold kill` must end it within a second, unless it reset or shut itself down in the ways that are allowed.

With --media the machine has disks, a CD and floppies, and somebody looks at its screen and types. What the guest may only read must
be as before, so must what is no image of it, and no image may have another size.
"""
import argparse
import array
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

ANSWER_SECONDS = 1.0
ENDS = {0, 1, 6, 8, 10}  # power off, debug exit, triple fault, reset, killed
GUEST_RAM = "memfd:guest-ram"
LOWEST = 1 << 32  # host mappings below are not told from guest numbers
ROUND = (1 << 24) - 1  # one stray byte in the zeros of video memory looks like an address that no object has
FEWEST = 3  # bytes that are not zero: one or two stray ones in the zeros of video memory look like an address too
LARGEST = 1 << 33  # above, it is address space that a sanitizer keeps for itself, which spans most numbers there are


class Failed(Exception):
    pass


class Media:
    """Images of every kind in a folder, and a file beside them."""

    KINDS = {  # option, size, whether the guest may write
        "disk.img": ("--disk", 4 << 20, True),
        "fixed.img": ("--disk", 1 << 20, False),
        "disc.iso": ("--cdrom", 2 << 20, False),
        "a.img": ("--floppy", 1440 << 10, True),
        "b.img": ("--floppy", 720 << 10, False),
        "beside.img": (None, 1 << 20, False),
    }

    def __init__(self, folder):
        self.folder, self.before = folder, {}
        for name, (_, size, _) in self.KINDS.items():
            data = bytearray(os.urandom(size))
            data[0x8000:0x8007] = b"\1CD001\1"
            self.before[name] = bytes(data)
            with open(os.path.join(folder, name), "wb") as image:
                image.write(data)

    def words(self):
        words = []
        for name, (option, _, writable) in self.KINDS.items():
            suffix = "" if writable or option == "--cdrom" else ",readonly"
            words += [option, os.path.join(self.folder, name) + suffix] if option else []
        return words

    def check(self):
        for name, (_, size, writable) in self.KINDS.items():
            with open(os.path.join(self.folder, name), "rb") as image:
                data = image.read()
            if len(data) != size:
                raise Failed("%s has %d bytes, had %d" % (name, len(data), size))
            if not writable and data != self.before[name]:
                raise Failed("%s was written to" % name)


class Guest:
    def __init__(self, options, folder, name):
        self.media = Media(folder) if options.media else None
        self.name, self.options = name, options
        self.serial = os.path.join(folder, "serial.txt")
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=folder)
        self.socket_path = os.path.join(folder, "nfold", name + ".sock")
        self.errors = os.path.join(folder, "stderr.txt")
        command = [options.nfold, "run", "--kernel", options.guest, "--memory", options.memory, "--name", name,
                   "--serial", self.serial, "--no-reboot", "--debug-exit", "0xf4"]
        if self.media:
            command += self.media.words() + ["--debug-console", os.path.join(folder, "debug.txt")]
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=errors)

    def call(self, method):
        """The result of a control call; it must come within ANSWER_SECONDS (10 when the machine is busy starting)."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(ANSWER_SECONDS * 5)
        try:
            link.connect(self.socket_path)
            link.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = link.recv(65536)
                if not part:
                    return None
                answer += part
        except OSError as error:
            if self.process.poll() is not None or isinstance(error, (ConnectionError, FileNotFoundError)):
                return None
            raise Failed("no answer to %s: %s" % (method, error))
        finally:
            link.close()
        return json.loads(answer)["result"]

    def use(self):
        """Looks at the screen and presses a key, as far as there are any: the guest may be gone."""
        picture = os.path.join(os.path.dirname(self.serial), "screen.png")
        for words in (["screen", self.name], ["screen", self.name, "--png", picture], ["key", self.name, "a"]):
            try:
                subprocess.run([self.options.nfold] + words, env=self.environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, timeout=60)
            except subprocess.TimeoutExpired:
                raise Failed("no answer to nfold %s" % words[0])

    def ended(self):
        return self.process.poll() is not None

    def output(self):
        if not os.path.exists(self.serial):
            return ""
        with open(self.serial, errors="replace") as lines:
            return lines.read()

    def kill(self):
        start = time.monotonic()
        subprocess.run([self.options.nfold, "kill", self.name], env=self.environment, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            raise Failed("nfold kill did not end the guest")
        return time.monotonic() - start


def mappings(pid):
    """[(low, high, permissions, name)] of a process."""
    found = []
    with open("/proc/%d/maps" % pid) as lines:
        for line in lines:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
            found.append((int(match[1], 16), int(match[2], 16), match[3], match[4]))
    return found


def is_full(value):
    return sum(1 for byte in value.to_bytes(8, "little") if byte) >= FEWEST


def scan(pid):
    """Guest memory must hold no address inside the process. Returns how many bytes were searched."""
    regions = mappings(pid)
    ranges = [(low, high) for low, high, _, name in regions
              if low >= LOWEST and high - low < LARGEST and "vsyscall" not in name]
    lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
    ram = [(low, high) for low, high, mode, name in regions if GUEST_RAM in name and mode.startswith("rw")]
    if not ram:
        raise Failed("guest memory not found among the mappings")
    searched, leaks = 0, []
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for low, high in ram:
            for at in range(low, high, 1 << 20):
                memory.seek(at)
                try:
                    data = memory.read(min(1 << 20, high - at))
                except OSError:
                    continue
                searched += len(data)
                if not data.strip(b"\0"):
                    continue
                for shift in (0, 4):
                    words = array.array("Q", data[shift:len(data) - (8 - shift) % 8 or None][:(len(data) - shift) // 8 * 8])
                    for index, value in enumerate(words):
                        if lowest <= value < highest and value & ROUND and is_full(value) and any(first <= value < last for first, last in ranges):
                            leaks.append((at - low + index * 8 + shift, value))
    if leaks:
        raise Failed("host addresses in guest memory: %s" % ", ".join("%#x at %#x" % (value, at)
                                                                       for at, value in leaks[:8]))
    return searched


def check_output(text):
    for line in text.splitlines():
        if line != "END" and not line.endswith(" ok"):
            raise Failed("the guest says: %s" % line)


def watch(guest, seconds, chaos):
    """Polls the guest until END, its own end, or the time is over."""
    slowest, deadline = 0.0, time.monotonic() + seconds
    while time.monotonic() < deadline and not guest.ended():
        start = time.monotonic()
        guest.call("guest.status")
        slowest = max(slowest, time.monotonic() - start)
        if guest.media:
            guest.use()
        if not chaos and "END\n" in guest.output():
            return slowest
        time.sleep(0.05)
    if not chaos and not guest.ended():
        raise Failed("the guest did not finish in %d s; it said: %r" % (seconds, guest.output()[-300:]))
    return slowest


def run(options, folder):
    guest = Guest(options, folder, "hostile-%d" % os.getpid())
    try:
        slowest = watch(guest, options.seconds, options.chaos)
        text = guest.output()
        searched = 0
        if not guest.ended():
            status = guest.call("guest.status")
            if status and not options.unsearched and guest.call("guest.pause"):
                searched = scan(status["pid"])
                guest.call("guest.resume")
        if not guest.ended():
            took = guest.kill()
            if took > ANSWER_SECONDS * 2:
                raise Failed("nfold kill took %.1f s" % took)
        code = guest.process.returncode
        wrote_to_debug_exit = options.chaos and code > 0 and code % 2 == 1  # whatever it wrote, the status is odd
        if code not in ENDS and not wrote_to_debug_exit:
            with open(guest.errors) as errors:
                raise Failed("the host ended with status %s: %s" % (code, errors.read()[-400:]))
        if slowest > ANSWER_SECONDS * 2:
            raise Failed("the control socket took %.1f s to answer" % slowest)
        if not options.chaos:
            if "END\n" not in text:
                raise Failed("the guest ended too early (status %s): %r" % (code, text[-300:]))
            check_output(text)
        elif searched == 0 and options.must_live:
            raise Failed("the guest ended by itself (status %s): %r" % (code, text[-300:]))
        if guest.media:
            guest.media.check()
        print("status %s, slowest answer %.0f ms, %d MiB searched, said %d lines" %
              (code, slowest * 1000, searched >> 20, text.count("\n")))
    finally:
        if not guest.ended():
            guest.process.kill()
            guest.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nfold", required=True)
    parser.add_argument("--guest", required=True)
    parser.add_argument("--memory", default="32M")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1, help="how many times to start it")
    parser.add_argument("--chaos", action="store_true", help="the guest may do anything and never ends by itself")
    parser.add_argument("--media", action="store_true", help="with disks, CD and floppies, screen and keys")
    parser.add_argument("--unsearched", action="store_true", help="its memory is full of random numbers: some look like addresses")
    parser.add_argument("--must-live", action="store_true", help="with --chaos: it must still run at the end")
    options = parser.parse_args()
    options.guest, options.nfold = os.path.abspath(options.guest), os.path.abspath(options.nfold)
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="nfold-hostile-") as folder:
            os.chmod(folder, 0o700)
            run(options, folder)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        print("FAILED: %s" % failure)
        sys.exit(1)
