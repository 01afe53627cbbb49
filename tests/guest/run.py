#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one group of guest tests: boots Linux once (or once for each case), asks, compares, powers off; or the systems of a group
of systems.py, by firmware.

usage: run.py GROUP        with NFOLD naming the nfold to use; NFOLD_RUNNER=qemu runs the same under QEMU

Prints a line with the time of each case. On failure the end of the console is shown. Exit status: 0 all passed, 1 not,
77 when no guest's images are there (`make guest` fetches them).
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import checks
import debug
import servers
import systems
import torture
import steal
import times
import waiting
from debian_image import ImageError
from group import BOOT_SECONDS, Group, boot, check_dmesg, without_kernel_lines
from guest import GUEST, Guest, GuestError, command_line, nfold_path, resident_beyond_ram, runner_name

MIB = 1 << 20
OVERHEAD_LIMIT = 64 * MIB
CHURN_SECONDS = float(os.environ.get("NFOLD_CHURN_SECONDS", "20"))
CHURN_EVICTIONS = 640  # a code cache has at most 32 parts: each has been used twenty times, so that tables are as full as they get
CHURN_GROWTH = 4 * MIB  # the order of allocations is another each time: 3 MiB more or less; a leak goes on, and meets OVERHEAD_LIMIT


def start(image, memory_mib=512, cpu="max", append="", name=None, options=(), cpus=1):
    words = command_line(
        runner_name(), GUEST / "vmlinuz", GUEST / f"{image}.cpio.gz", f"console=ttyS0 {append}".strip(), memory_mib, cpu, name, cpus
    )
    return Guest([*words, *options])


def check_vulnerabilities(group, guest):
    output, _ = guest.shell("cd /sys/devices/system/cpu/vulnerabilities && grep . * ; cd /root")
    wrong = []
    for line in without_kernel_lines(output).splitlines():
        name, _, text = line.partition(":")
        allowed = checks.VULNERABILITIES_ALLOWED.get(name, checks.NOT_AFFECTED)
        if not allowed.fullmatch(text) and not checks.NOT_AFFECTED.fullmatch(text):
            wrong.append(line)
    if "meltdown" not in output:
        wrong.append(f"no list of vulnerabilities: {output!r}")
    group.report("no retpoline, return thunk or page-table isolation", "\n".join(wrong) or None)


def check_overhead(group, guest, memory_mib):
    overhead, touched = resident_beyond_ram(guest.vm_pids(), memory_mib * MIB)
    text = f"memory beyond guest RAM: {overhead / MIB:.1f} MiB (limit {OVERHEAD_LIMIT // MIB}), guest RAM touched: {touched / MIB:.0f} MiB"
    group.report(text, None if overhead <= OVERHEAD_LIMIT and touched > MIB else "over the limit, or guest RAM was not found")


def check_stats(group, name):
    result = subprocess.run([nfold_path(), "stats", name, "--json"], capture_output=True, text=True, timeout=60, check=False)
    try:
        stats = json.loads(result.stdout)
    except ValueError:
        group.report("nfold stats --json", f"status {result.returncode}, {result.stdout!r} {result.stderr!r}")
        return
    group.report("nfold stats --json", None if stats else "an empty answer")


def group_boot(group):
    name = f"test-boot-{os.getpid()}"
    with start("initramfs", name=name) as guest:
        boot(group, guest)
        group.commands(guest, checks.BUSYBOX)
        check_dmesg(group, guest)
        if runner_name() == "nfold":
            check_vulnerabilities(group, guest)
            check_overhead(group, guest, 512)
            check_stats(group, name)
        group.power_off(guest)


def expected_flags(level):
    """(flags that must be there, flags that must not) for a --cpu level. max is at least v3: nfold asks the host for that."""
    levels = [name for name, _ in checks.LEVEL_FLAGS]
    index = levels.index(level) if level in levels else len(levels) - 1
    required = {flag for _, flags in checks.LEVEL_FLAGS[: index + 1] for flag in flags.split()}
    refused = {flag for _, flags in checks.LEVEL_FLAGS[index + 1 :] for flag in flags.split()}
    return required, refused | set(checks.FORBIDDEN_FLAGS.split())


def host_has(flags):
    with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
        line = next(line for line in cpuinfo if line.startswith("flags"))
    return flags <= set(line.split(":")[1].split())


def group_cpu(group):
    for level in ("x86-64", "x86-64-v2", "x86-64-v3", "max"):
        required, refused = expected_flags(level)
        if not host_has(required):
            print(f"  skipped: the host's processor is not {level}")
            continue
        with start("initramfs", cpu=level, memory_mib=256) as guest:
            guest.boot(BOOT_SECONDS)
            output, _ = guest.shell("grep -m1 ^flags /proc/cpuinfo")
            flags = set(output.partition(":")[2].split())
            problems = [f"missing: {' '.join(sorted(required - flags))}"] if required - flags else []
            problems += [f"not promised: {' '.join(sorted(refused & flags))}"] if refused & flags else []
            group.report(f"--cpu {level}: the flags it promises and no others", "\n".join(problems) or None)
            group.commands(guest, [("  programs run there", "seq 1 20000 | sort -r | sha256sum | cut -c 1-16", SORTED_HASH)])
            group.power_off(guest)


SORTED_HASH = "32e8bfc1888e4abc"


def group_patching(group):
    """The kernel rewriting itself, on several processors too: then the others run the code meanwhile."""
    for cpus in (1, 3):
        group.about = f"{cpus} processors" if cpus > 1 else ""
        with start("programs", cpus=cpus) as guest:
            boot(group, guest)
            marked_lines(group, guest, "sh /nfold/patching.sh", 180)
            check_dmesg(group, guest)
            group.power_off(guest)
    group.about = ""


def marked_lines(group, guest, command, seconds):
    """Runs a program that prints `right CASE` or `WRONG CASE` lines, and reports each as it comes."""
    guest.send(f"{command}; echo nfold-$((40 + 2))-$?-end\n")
    cases, wrong = 0, 0
    while True:
        match = guest.expect(rb"(right|WRONG) ([^\r\n]*)\r?\n|nfold-42-(\d+)-end\r?\n", seconds, f"end of {command!r}")
        if match.group(3):
            break
        cases += 1
        name = match.group(2).decode()
        excused = runner_name() == "qemu" and name in checks.WRONG_UNDER_QEMU
        wrong += match.group(1) != b"right" and not excused
        group.report(name, None if match.group(1) == b"right" or excused else "wrong")
    if runner_name() == "nfold":
        group.equal(f"{command}: status", int(match.group(3)), 0)
    group.equal(f"{command}: some cases ran, none wrong", (cases > 0, wrong), (True, 0))


def group_compression(group):
    with start("programs") as guest:
        boot(group, guest)
        group.commands(guest, checks.COMPRESSION)
        group.power_off(guest)


def group_openssl(group):
    with start("programs") as guest:
        boot(group, guest)
        group.commands(guest, checks.OPENSSL)
        group.power_off(guest)


def group_sqlite(group):
    with start("programs") as guest:
        boot(group, guest)
        group.commands(guest, checks.SQLITE)
        group.power_off(guest)


def group_gdb(group):
    debug.run(group, boot, start)


def group_perl(group):
    with start("programs") as guest:
        boot(group, guest)
        output, status = guest.shell("perl /nfold/answers.pl", 180)
        wrong = [line for line in output.splitlines() if line.startswith("not ok")]
        passed = sum(line.startswith("ok ") for line in output.splitlines())
        group.report(f"{passed} answers of the perl core and its modules", None if status == 0 and passed >= 30 and not wrong else output)
        group.power_off(guest)


def python_tests(group, guest, case, arguments):
    guest.shell(f"cd /tmp; python3.11 {arguments} >/tmp/log 2>&1", 300)
    output, _ = guest.shell("grep -aE '^(Ran [0-9]+ tests?|OK|FAILED)' /tmp/log")
    ran = re.search(r"Ran (\d+) tests?", output)
    if ran and int(ran.group(1)) > 0 and re.search(r"^OK", output, re.MULTILINE) and "FAILED" not in output:
        group.report(f"python3.11 {case}: {ran.group(1)} tests")
    else:
        group.report(f"python3.11 {case}", guest.shell("tail -n 40 /tmp/log")[0])


def group_python(group):
    with start("python", memory_mib=768) as guest:
        boot(group, guest)
        for module in checks.PYTHON_MODULES:
            python_tests(group, guest, f"test.{module}", f"-m unittest -q test.{module}")
        python_tests(group, guest, "test.test_decimal, C arithmetic", checks.PYTHON_DECIMAL)
        group.power_off(guest)


def group_gcc(group):
    with start("gcc", memory_mib=1024) as guest:
        boot(group, guest)
        for options in ("-O0", "-O2", "-O3 -march=native"):
            command = f"gcc {options} -w /nfold/answer.c -o /tmp/answer -lm && {{ /tmp/answer; echo status $?; }}"
            group.commands(guest, [(f"gcc {options}: compile, link, run", command, checks.GCC_ANSWERS)])
        group.commands(guest, [("gcc: faults.c", "gcc -O1 -w -D_GNU_SOURCE /nfold/faults.c -o /tmp/faults -lm -pthread && echo built", "built")])
        marked_lines(group, guest, "/tmp/faults", 120)
        group.power_off(guest)


def counted(name, counter):
    result = subprocess.run([nfold_path(), "stats", name, "--json"], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(result.stdout)["vcpus"][0]["counts"][counter]


def churn(guest, name, memory_mib, enough):
    """One round of programs after the other until there is enough. The most memory beyond guest RAM seen, and the rounds."""
    most = rounds = 0
    while rounds == 0 or not enough():
        output, status = guest.shell("/tmp/round", 120)
        if status != 0:
            raise GuestError(f"round {rounds}: status {status}, {output!r}")
        most = max(most, resident_beyond_ram(guest.vm_pids(), memory_mib * MIB)[0])
        rounds += 1
    return most, rounds


def group_churn(group):
    """Programs that come and go, each at other addresses: code and tables are full all the time, and nothing grows."""
    if runner_name() != "nfold":
        group.skip("the code cache is nfold's")
        return
    name = f"test-churn-{os.getpid()}"
    with start("gcc", memory_mib=512, name=name) as guest:
        boot(group, guest)
        script = "for i in 1 2 3 4 5 6; do gcc --version; as --version; (true) | cat; ls /usr/bin; done >/tmp/out"
        guest.shell(f"printf '%s\\n' '#!/bin/sh' '{script}' >/tmp/round; chmod +x /tmp/round")
        most, rounds = churn(guest, name, 512, lambda: counted(name, "cache_eviction") >= CHURN_EVICTIONS)
        text = f"{rounds} rounds until all of the code cache was used twenty times: at most {most / MIB:.1f} MiB beyond guest RAM"
        group.report(f"{text} (limit {OVERHEAD_LIMIT // MIB})", None if most <= OVERHEAD_LIMIT else "over the limit")
        end = time.monotonic() + CHURN_SECONDS
        later, rounds = churn(guest, name, 512, lambda: time.monotonic() >= end)
        text = f"{rounds} rounds more: at most {later / MIB:.2f} MiB, {(later - most) / MIB:+.2f}"
        group.report(text, None if later <= min(OVERHEAD_LIMIT, most + CHURN_GROWTH) else "it grows")
        group.equal("blocks of code were thrown out", counted(name, "block_evicted") > 1000, True)
        group.power_off(guest)


def trace_boot(folder, *words):
    """Boots with a deterministic clock until /init powers off. The trace of its events."""
    trace = Path(folder) / "trace"
    init = "rdinit=/bin/busybox -- poweroff -f"
    words = [nfold_path(), "run", "--name", f"test-repeat-{os.getpid()}", "--memory", "256M", "--kernel", str(GUEST / "vmlinuz"),
             "--initrd", str(GUEST / "initramfs.cpio.gz"), "--append", f"console=ttyS0 {init}",
             "--clock", "deterministic", "--trace-events", f"{trace},exceptions", *words]  # fmt: skip
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_SECONDS, check=False)
    if result.returncode != 0 or b"reboot: Power down" not in result.stdout:
        raise GuestError(f"the guest ended with status {result.returncode}: {result.stderr!r} {result.stdout[-500:]!r}")
    return result.stdout, trace.read_text(encoding="ascii").splitlines()


def first_difference(one, other):
    """Of two traces, in words; None when they are the same."""
    for number, (left, right) in enumerate(zip(one, other, strict=False), 1):
        if left != right:
            return f"line {number}:\n{left}\n{right}"
    return None if len(one) == len(other) else f"{len(one)} and {len(other)} lines"


def group_repeat(group):
    if runner_name() != "nfold":
        group.skip("only nfold can repeat a run")
        return
    with tempfile.TemporaryDirectory(prefix="nfold-repeat-") as folder:
        output, trace = trace_boot(folder)
        seen = {kind: sum(f" {kind} " in line for line in trace) for kind in ("interrupt", "exception", "timer", "memory")}
        text = ", ".join(f"{count} {kind}" for kind, count in seen.items())
        group.report(f"the events of a boot: {text}", None if min(seen.values()) > 2 else "too few to show anything")
        again_output, again = trace_boot(folder)
        group.report("a second boot is the same", first_difference(trace, again))
        group.report("so is what it prints", None if output == again_output else "the serial output differs")
        _, other = trace_boot(folder, "--engine", "translate,no-chaining,no-jump-cache,no-lazy-flags,no-inline-strings")
        group.report("so is one with parts of the engine switched off", first_difference(trace, other))
        _, small = trace_boot(folder, "--code-cache", "1M")
        group.report("so is one with a code cache that is full all the time", first_difference(trace, small))
        _, later = trace_boot(folder, "--rtc", "2026-01-01T00:00:01")
        group.report("one a second later is not", None if first_difference(trace, later) else "the traces do not tell them apart")


def spread(guest):
    """Binds the guest's processors to the host's in turn: what is to meet must run at the same moment. The number of the host's."""
    processors = sorted(os.sched_getaffinity(0))
    for pid in guest.vm_pids():
        for task in os.listdir(f"/proc/{pid}/task"):
            name = Path(f"/proc/{pid}/task/{task}/comm").read_text(encoding="ascii").strip()
            if match := re.fullmatch(r"vcpu(\d+)", name):
                os.sched_setaffinity(int(task), {processors[int(match.group(1)) % len(processors)]})
    return len(processors)


def group_smp(group):
    """Several processors, more than the host has too: what they share, and that none of them stalls."""
    for cpus in (2, 4):
        group.about = f"{cpus} processors"
        with start("smp", cpus=cpus) as guest:
            boot(group, guest)
            output, _ = guest.shell("grep -c ^processor /proc/cpuinfo; grep -c . /sys/devices/system/cpu/cpu0/topology/core_id")
            group.equal("/proc/cpuinfo", without_kernel_lines(output).split(), [str(cpus), "1"])
            apart = "" if spread(guest) > 1 else " apart"
            marked_lines(group, guest, f"/nfold/smp {cpus} 20{apart}", 240)
            check_dmesg(group, guest)
            group.power_off(guest)
    group.about = ""
    if runner_name() == "nfold":
        check_all_stop(group)


def group_waiting(group):
    """Linux that polls instead of halting, alone and with two processors; its shell still answers."""
    if runner_name() != "nfold":
        group.skip("only nfold finds idle loops")
        return
    for cpus in (1, 2):
        name = f"test-waiting-{os.getpid()}-{cpus}"
        words = command_line("nfold", GUEST / "vmlinuz", GUEST / "initramfs.cpio.gz", "console=ttyS0 idle=poll", 256, name=name, cpus=cpus)
        group.about = f"idle=poll, {cpus} processors"
        with Guest(words) as guest:
            boot(group, guest)
            waiting.waits(group, name)
            group.commands(guest, [("its shell answers", "echo $((6 * 7))", "42")])
            naps = sum(vcpu["counts"]["idle_nap"] for vcpu in waiting.stats(name))
            group.report("it was found waiting in a loop", None if naps > 0 else "never")
            group.power_off(guest)
    group.about = ""


def group_steal(group):
    """What the guest is told of time that others took."""
    if runner_name() != "nfold":
        group.skip("only nfold is asked for its ledger")
        return
    name = f"test-steal-{os.getpid()}"
    words = command_line("nfold", GUEST / "vmlinuz", GUEST / "initramfs.cpio.gz", "console=ttyS0", 256, name=name)
    with Guest(words) as guest:
        boot(group, guest)
        steal.check(group, guest, name)
        check_dmesg(group, guest)
        group.power_off(guest)


def group_times(group):
    """What the guest is told of its processors' time, when it asks."""
    if runner_name() != "nfold":
        group.skip("only nfold tells")
        return
    name = f"test-times-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="nfold-times-") as folder:
        initrd = times.make_initrd(folder)
        words = command_line("nfold", GUEST / "vmlinuz", initrd, "console=ttyS0", 256, name=name, cpus=2)
        with Guest(words) as guest:
            boot(group, guest)
            times.check(group, guest, name)
            check_dmesg(group, guest)
            group.power_off(guest)


def check_all_stop(group):
    """Pause, reset and a reboot of the guest's own with several processors."""
    name = f"test-smp-{os.getpid()}"
    words = command_line("nfold", GUEST / "vmlinuz", GUEST / "smp.cpio.gz", "console=ttyS0", 256, name=name, cpus=8)
    words.remove("--no-reboot")
    count = "grep -c ^processor /proc/cpuinfo"
    with Guest(words) as guest:
        boot(group, guest)
        guest.send("(sh -c '/nfold/smp 8 2 >/tmp/out; echo $? >/tmp/status' &)\n")
        for command in ("pause", "resume"):
            result = subprocess.run([nfold_path(), command, name], capture_output=True, text=True, timeout=60, check=False)
            group.equal(f"nfold {command} of 8 busy processors", result.stderr, "")
            time.sleep(1)
        group.commands(guest, [("all 8 go on", f"while [ ! -s /tmp/status ]; do sleep 1; done; grep WRONG /tmp/out; cat /tmp/status; {count}; cat /sys/devices/system/clocksource/*/current_clocksource", "0\n8\ntsc")])
        subprocess.run([nfold_path(), "reset", name], timeout=60, check=False)
        boot(group, guest)
        group.commands(guest, [("nfold reset: all 8 are there again", count, "8")])
        guest.send("reboot -f\n")
        boot(group, guest)
        group.commands(guest, [("reboot: all 8 are there again", count, "8")])
        group.power_off(guest)


GROUPS = {
    "smp": group_smp,
    "boot": group_boot,
    "repeat": group_repeat,
    "waiting": group_waiting,
    "steal": group_steal,
    "times": group_times,
    "cpu": group_cpu,
    "patching": group_patching,
    "compression": group_compression,
    "openssl": group_openssl,
    "sqlite": group_sqlite,
    "perl": group_perl,
    "python": group_python,
    "gcc": group_gcc,
    "churn": group_churn,
    "gdb": group_gdb,
}


def run_linux(group):
    """A group of Linux guests without firmware."""
    if (GUEST / "vmlinuz").exists():
        GROUPS[group.name](group)
    else:
        group.skip("no guest images: run `make guest`")


def all_systems():
    return systems.GROUPS | servers.GROUPS | torture.GROUPS


def run_systems(group):
    """A group of systems; when one fails the others are asked all the same."""
    with tempfile.TemporaryDirectory(prefix="nfold-systems-") as scratch:
        for number, (title, ask, arguments, files) in enumerate(all_systems()[group.name]):
            group.about = title
            missing = [file for file in files if not file.exists()]
            if missing:
                group.skip(f"there is no {missing[0].name}")
                continue
            folder = Path(scratch) / str(number)
            folder.mkdir()
            with reported(group):
                ask(group, folder, *arguments)
            group.about = ""


@contextlib.contextmanager
def reported(group):
    """What goes wrong is a failed case, with the end of the console."""
    guests = []
    original = Guest.__init__

    def remember(self, *arguments, **options):
        original(self, *arguments, **options)
        guests.append(self)

    before = group.failed
    Guest.__init__ = remember
    try:
        yield
    except ImageError as error:
        group.skip(error)
    except (GuestError, OSError, subprocess.SubprocessError) as error:
        group.report("the guest", error)
    finally:
        Guest.__init__ = original
    if group.failed > before and guests:
        print(f"--- the end of the console; command: {' '.join(guests[-1].words)}\n{guests[-1].tail()}")


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS | all_systems():
        print(f"usage: run.py {'|'.join(GROUPS | all_systems())}", file=sys.stderr)
        return 2
    group = Group(sys.argv[1])
    if group.name in all_systems():
        run_systems(group)
    else:
        with reported(group):
            run_linux(group)
    print(f"{group.count - group.failed} of {group.count} cases passed, {group.skipped} skipped")
    if group.failed:
        return 1
    return 77 if group.count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
