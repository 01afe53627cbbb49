#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one guest under nfold, QEMU TCG and Bochs and compares the facts it prints.

A fact is a line "name value". What is right is recorded in facts/TOPIC.txt: what QEMU and Bochs agree on, or
what the table of known disagreements decides; each of its entries names who is wrong and the manual section that says so. Each run compares all
three with the record. An entry of the table that no longer disagrees is an error too. An emulator that is not
installed is listed as skipped; nfold is still held to the record.
"""
import argparse
import fnmatch
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

ROM_BLOCK = 4096
ROM_TABLE = 8
ROM_SEGMENTS = 16
BOCHS_MODEL = "corei3_cnl"


class OracleError(Exception):
    pass


def elf_segments(image):
    """(entry, [(destination, bytes, bytes to clear)]) of an ELF32 executable."""
    if image[:5] != b"\x7fELF\x01":
        raise OracleError("the guest is no 32-bit ELF file")
    entry, offset = struct.unpack_from("<II", image, 24)
    size, count = struct.unpack_from("<HH", image, 42)
    segments = []
    for index in range(count):
        kind, at, _, physical, in_file, in_memory = struct.unpack_from("<6I", image, offset + index * size)
        if kind == 1 and in_memory:
            segments.append((physical, image[at:at + in_file], in_memory - in_file))
    return entry, segments


def bochs_rom(elf, block):
    """A ROM image that ends with the loader block and has the guest's segments below it."""
    entry, segments = elf_segments(elf)
    payload = b"".join(data for _, data, _ in segments)
    size = -(-(len(payload) + ROM_BLOCK) // 0x10000) * 0x10000
    rom = bytearray(size)
    rom[:len(payload)] = payload
    rom[-ROM_BLOCK:] = block
    base, at = 0x100000000 - size, 0
    header = len(rom) - ROM_BLOCK
    struct.pack_into("<II", rom, header, len(segments), entry)
    for index, (destination, data, clear) in enumerate(segments):
        struct.pack_into("<4I", rom, header + ROM_TABLE + index * 16, destination, base + at, len(data), clear)
        at += len(data)
    return bytes(rom)


def run_quiet(command, timeout, **options):
    """Runs a command to its end; returns (exit status or None on timeout, its output)."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True, **options)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output.decode(errors="replace")


def run_on_terminal(command, timeout, cwd):
    """As run_quiet, on a pseudo terminal: Bochs' text display wants one."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ["TERM"] = "linux"
        os.execvp(command[0], command)
    late = []

    def give_up():
        late.append(True)
        os.kill(pid, signal.SIGKILL)
    timer = threading.Timer(timeout, give_up)
    timer.start()
    while True:
        try:
            if not os.read(master, 65536):
                break
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    timer.cancel()
    os.close(master)
    return None if late else os.waitstatus_to_exitcode(status)


class Nfold:
    name = "nfold"

    def __init__(self, options):
        self.path = options.nfold

    def present(self):
        return self.path is not None and os.access(self.path, os.X_OK)

    def run(self, guest, folder, timeout):
        serial = os.path.join(folder, "nfold.txt")
        command = [self.path, "run", "--kernel", guest, "--memory", "64M", "--debug-exit", "0xf4", "--serial", serial,
                   "--no-reboot", "--name", "system-%d" % os.getpid()]
        return serial, run_quiet(command, timeout)


class Qemu:
    name = "qemu"

    def __init__(self, options):
        self.path = shutil.which(options.qemu)

    def present(self):
        return self.path is not None

    def run(self, guest, folder, timeout):
        serial = os.path.join(folder, "qemu.txt")
        command = [self.path, "-accel", "tcg", "-cpu", "max", "-m", "64", "-kernel", guest, "-display", "none",
                   "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", "file:" + serial,
                   "-monitor", "none", "-nic", "none"]
        return serial, run_quiet(command, timeout)


BOCHSRC = """megs: 64
romimage: file={rom}
vgaromimage: file={vga}
cpu: model={model}, count=1, ips=20000000, reset_on_triple_fault=0, ignore_bad_msrs=0
clock: sync=none
pci: enabled=1, chipset=i440fx
com1: enabled=1, mode=file, dev={serial}
display_library: term
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
sound: driver=dummy
speaker: enabled=0
floppy_bootsig_check: disabled=1
boot: floppy
"""


class Bochs:
    name = "bochs"

    def __init__(self, options):
        self.path = shutil.which(options.bochs)
        self.block = options.rom

    def present(self):
        return self.path is not None and self.block is not None

    def run(self, guest, folder, timeout):
        serial, log = os.path.join(folder, "bochs.txt"), os.path.join(folder, "bochs.log")
        rom, config = os.path.join(folder, "rom.bin"), os.path.join(folder, "bochsrc")
        vga, commands = os.path.join(folder, "vga.bin"), os.path.join(folder, "commands")
        with open(guest, "rb") as elf, open(self.block, "rb") as block, open(rom, "wb") as out:
            out.write(bochs_rom(elf.read(), block.read()))
        with open(vga, "wb") as out:  # Bochs insists on one; nothing runs it
            out.write(b"\x55\xaa\x01\xcb\x35" + bytes(507))
        with open(config, "w") as out:
            out.write(BOCHSRC.format(rom=rom, vga=vga, model=BOCHS_MODEL,
                                     serial=serial, log=log))
        with open(commands, "w") as out:  # Debian builds it with its debugger, which waits for a command
            out.write("c\nq\n")
        status = run_on_terminal([self.path, "-q", "-f", config, "-rc", commands], timeout, folder)
        text = ""
        if os.path.exists(log):
            with open(log, errors="replace") as lines:
                text = lines.read()
        return serial, (status, text)


def facts_read(path):
    """({name: value} in order, absent groups, complete)"""
    facts, absent, complete = {}, [], False
    with open(path, errors="replace") as lines:
        for line in lines:
            words = line.split()
            if words == ["END"]:
                complete = True
            elif words[:1] == ["absent"] and len(words) == 2:
                absent.append(words[1] + ".")
            elif len(words) == 2:
                if words[0] in facts:
                    raise OracleError("fact %s is printed twice" % words[0])
                facts[words[0]] = words[1]
            elif words:
                raise OracleError("not a fact: %r" % line)
    return facts, absent, complete


def observe(runner, guest, folder, timeout, ends):
    """The facts of a run. The guest ends by debug exit, or by a reset if that is its subject."""
    start = time.monotonic()
    serial, (status, text) = runner.run(guest, folder, timeout)
    seconds = time.monotonic() - start
    if not os.path.exists(serial):
        raise OracleError("%s wrote no serial output: %s" % (runner.name, text.strip()[-400:]))
    facts, absent, complete = facts_read(serial)
    if status is None:
        raise OracleError("%s did not end in %d s; last fact: %s" % (runner.name, timeout, list(facts.items())[-1:]))
    if complete != (ends == "exit"):
        raise OracleError("%s ended otherwise than by %s (status %s); last fact: %s; %s" %
                          (runner.name, ends, status, list(facts.items())[-1:], text.strip()[-400:]))
    return facts, absent, seconds


TABLE_KEYS = {"topic", "facts", "wrong", "right", "either", "section", "why"}


def table_read(path, topic):
    """The entries of the table of known disagreements that speak of this topic."""
    with open(path, "rb") as source:
        entries = tomllib.load(source).get("disagreement", [])
    for entry in entries:
        if set(entry) - TABLE_KEYS or not TABLE_KEYS - {"right", "either"} <= set(entry):
            raise OracleError("table entry with missing or unknown keys: %s" % entry)
        if not set(entry["wrong"].split()) <= {"qemu", "bochs"}:
            raise OracleError("table entry with an unknown 'wrong': %s" % entry)
    return [entry for entry in entries if topic in entry["topic"].split()]


def entry_of(table, name):
    """The first entry for a fact, and its pattern."""
    for entry in table:
        for pattern in entry["facts"]:
            if fnmatch.fnmatchcase(name, pattern):
                return entry, pattern
    return None, None


def missing(name, absent):
    return any(name.startswith(group) for group in absent)


def names_of(seen):
    """Every fact anyone printed, in a stable order."""
    order = {}
    for facts, _ in seen.values():
        for name in facts:
            order.setdefault(name, len(order))
    return list(order)


def record_make(seen, table):
    """What is right, from emulators that agree or by the table. Problems are facts that stay undecided."""
    record, problems = {}, []
    for name in names_of(seen):
        entry, _ = entry_of(table, name)
        wrong = entry["wrong"].split() if entry else []
        if entry and "right" in entry:
            if entry["right"] != "nothing":
                record[name] = entry["right"]
            continue
        votes = {who: facts.get(name, "nothing") for who, (facts, absent) in seen.items()
                 if who != "nfold" and who not in wrong and not missing(name, absent)}
        if entry and entry.get("either"):
            record[name] = "|".join(sorted(set(votes.values())))
            continue
        if len(set(votes.values())) > 1:
            problems.append("%s: %s" % (name, ", ".join("%s %s" % pair for pair in votes.items())))
        for value in votes.values():
            if value != "nothing":
                record[name] = value
    return record, problems


def record_read(path):
    if not os.path.exists(path):
        return {}
    with open(path) as lines:
        return dict(line.split() for line in lines if not line.startswith("#"))


def record_write(path, record):
    with open(path, "w") as out:
        out.write("# What is right, by the manuals: agreed by QEMU and Bochs, or decided in disagreements.toml.\n")
        out.writelines("%s %s\n" % pair for pair in record.items())


def compare(seen, table, record):
    """Problems, one line each. seen: {name of the runner: (facts, absent groups)}"""
    problems, used = [], set()
    for name in dict.fromkeys(names_of(seen) + list(record)):
        right = record.get(name, "nothing").split("|")
        entry, pattern = entry_of(table, name)
        wrong = entry["wrong"].split() if entry else []
        for who, (facts, absent) in seen.items():
            value = facts.get(name, "nothing")
            if value == "nothing" and missing(name, absent):
                continue
            if value in right:
                if value == "BAD":
                    problems.append("%s: %s says BAD" % (name, who))
            elif who in wrong:
                used.add((who, pattern))
            else:
                problems.append("%s: %s says %s, right is %s%s" % (
                    name, who, value, " or ".join(right), " (%s)" % entry["section"] if entry else ""))
    for entry in table:
        for who in entry["wrong"].split():
            for pattern in entry["facts"]:
                if who in seen and (who, pattern) not in used:
                    problems.append("%s: %s no longer disagrees; take it out of the table" % (pattern, who))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guest", required=True)
    parser.add_argument("--topic", help="as the table names it; by default the guest's file name")
    parser.add_argument("--table", required=True)
    parser.add_argument("--nfold", help="the nfold command; without it only the emulators are compared")
    parser.add_argument("--rom", help="the loader block for Bochs")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--bochs", default="bochs-bin")
    parser.add_argument("--only", default="nfold,qemu,bochs")
    parser.add_argument("--ends", choices=["exit", "reset"], default="exit")
    parser.add_argument("--timeout", type=int, default=30)
    parser.add_argument("--record", action="store_true", help="write what the emulators agree on")
    parser.add_argument("--show", action="store_true", help="print every fact")
    options = parser.parse_args()
    topic = options.topic or os.path.splitext(os.path.basename(options.guest))[0]
    seen, failed = {}, False
    with tempfile.TemporaryDirectory(prefix="nfold-system-") as folder:
        for runner in (Nfold(options), Qemu(options), Bochs(options)):
            if runner.name not in options.only.split(","):
                continue
            if not runner.present():
                print("skipped: %s is not here" % runner.name)
                continue
            try:
                facts, absent, seconds = observe(runner, os.path.abspath(options.guest), folder, options.timeout,
                                                 options.ends)
            except OracleError as error:
                print("FAILED: %s" % error)
                failed = True
                continue
            print("%s: %d facts, %.2f s%s" % (runner.name, len(facts), seconds, "".join(
                ", without " + group.rstrip(".") for group in absent)))
            seen[runner.name] = (facts, absent)
    if options.show:
        for name in dict.fromkeys(name for facts, _ in seen.values() for name in facts):
            print("  %-40s %s" % (name, "  ".join("%s=%s" % (who, facts.get(name, "-"))
                                                  for who, (facts, _) in seen.items())))
    table = table_read(options.table, topic)
    record_path = os.path.join(os.path.dirname(os.path.abspath(options.table)), "facts", topic + ".txt")
    if options.record:
        record, problems = record_make(seen, table)
        if not problems:
            record_write(record_path, record)
            problems = compare(seen, table, record)
    else:
        problems = compare(seen, table, record_read(record_path))
    for problem in problems:
        print("DISAGREE: %s" % problem)
    if not seen:
        print("nothing to compare")
        return 77
    return 1 if failed or problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OracleError as failure:
        print("FAILED: %s" % failure)
        sys.exit(1)
