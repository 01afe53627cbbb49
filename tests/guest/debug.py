# SPDX-License-Identifier: MIT
"""Debian's gdb on a Linux guest: breakpoints, steps through a kernel function, watchpoints, registers, memory."""

import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

GDB_SECONDS = 120


def symbols(guest, names):
    """Where a kernel without address randomization has its functions, by its own word."""
    output, _ = guest.shell("grep -E ' [TtDdBb] (" + "|".join(names) + ")$' /proc/kallsyms")
    found = {name: int(address, 16) for address, name in re.findall(r"^([0-9a-f]{16}) . (\w+)\r?$", output, re.MULTILINE)}
    missing = set(names) - set(found)
    if missing:
        raise AssertionError(f"not in /proc/kallsyms: {', '.join(sorted(missing))}")
    return found


class Gdb:
    """Runs gdb once for each list of commands."""

    def __init__(self, path):
        self.path = path

    def words(self, *commands):
        words = ["gdb", "-batch", "-nx", "-ex", "set pagination off", "-ex", "set confirm off", "-ex", f"target remote {self.path}"]
        for command in commands:
            words += ["-ex", command]
        return words

    def run(self, *commands):
        result = subprocess.run(self.words(*commands), capture_output=True, text=True, timeout=GDB_SECONDS, check=False)
        return result.stdout + result.stderr


def marked(output):
    """What `echo @NAME` and `output` printed: name to text."""
    return {name: text.strip() for name, text in re.findall(r"@(\w+)=(.*)$", output, re.MULTILINE)}


def show(name, expression, form="/x"):
    return [f"printf \"@{name}=\"", f"output{form} {expression}", "echo \\n"]


def check_breakpoints(group, gdb, at):
    output = gdb.run(
        "info threads", f"break *{at['__x64_sys_getpid']:#x}", "continue", *show("first", "$pc"), *show("ring", "$cs & 3"),
        "continue", *show("second", "$pc"), "delete", f"hbreak *{at['__x64_sys_getppid']:#x}", "continue", *show("hardware", "$pc"),
        *show("cr0", "$cr0"), *show("efer", "$efer"), *show("lstar", "$lstar"), "detach",
    )  # fmt: skip
    values = marked(output)
    expected = {
        "first": hex(at["__x64_sys_getpid"]), "ring": "0x0", "second": hex(at["__x64_sys_getpid"]),
        "hardware": hex(at["__x64_sys_getppid"]), "cr0": "0x80050033", "lstar": hex(at["entry_SYSCALL_64"]),
    }  # fmt: skip
    wrong = {name: values.get(name) for name, value in expected.items() if values.get(name) != value}
    group.report("breakpoints, software and hardware; system registers", f"{wrong}\n{output}" if wrong else None)
    group.report("vCPUs are threads", None if "vCPU 0: ring" in output else output)


def check_steps(group, gdb, at):
    """From a function's first instruction to its caller's next, one instruction at a time, as disassembled."""
    start = at["__x64_sys_getppid"]
    loop = f"while $pc != $caller && $count < 500\n printf \"@step=\"\n output/x $pc\n echo \\n\n stepi\n set $count = $count + 1\nend\n"
    with tempfile.NamedTemporaryFile("w", suffix=".gdb") as script:
        script.write(f"break *{start:#x}\ncontinue\ndelete\nset $caller = *(unsigned long *)$rsp\nset $count = 0\n{loop}")
        script.write("printf \"@count=%d\\n\", $count\nprintf \"@back=%d\\n\", $pc == $caller\ndetach\n")
        script.flush()
        output = gdb.run(f"source {script.name}")
    steps = re.findall(r"@step=0x([0-9a-f]+)", output)
    values = marked(output)
    good = steps and int(steps[0], 16) == start and values.get("back") == "1" and 5 <= int(values.get("count", 0)) < 500
    group.report(f"{len(steps)} steps through a kernel function to its caller", None if good else output)


def check_watchpoint(group, gdb, at):
    word = f"*(unsigned long *){at['jiffies_64']:#x}"
    output = gdb.run(*show("before", word, "/u"), f"watch {word}", "continue", *show("after", word, "/u"), "continue",
                     *show("again", word, "/u"), "detach")  # fmt: skip
    values = {name: int(text) for name, text in marked(output).items() if text.isdigit()}
    good = len(values) == 3 and values["before"] < values["after"] < values["again"]
    group.report("a watchpoint on the kernel's clock", None if good and "watchpoint" in output else output)
    where = at["uts_name"]
    output = gdb.run(f"rwatch *(char *){where:#x}", "continue", *show("pc", "$pc"), "detach")
    group.report("a watchpoint for reads", None if "Hardware read watchpoint" in output and int(marked(output)["pc"], 16) >> 40 else output)


def check_memory(group, guest, gdb, at):
    where = at["uts_name"]
    name, _ = guest.shell("hostname")
    output = gdb.run(f"printf \"@name=%s\\n\", (char *){where:#x}", f"set var *(char (*)[6]){where:#x} = \"gdbed\"", "detach")
    changed, _ = guest.shell("hostname")
    group.equal("memory is read and written", (marked(output).get("name"), changed.strip()), (name.strip(), "gdbed"))
    output = gdb.run(f"break *{at['__x64_sys_getpid']:#x}", "continue", "delete", "set $xmm7.v2_int64[0] = 0x123456789", *show("xmm", "$xmm7.v2_int64[0]"),
                     "set $r15 = $r15", *show("r15", "$r15 == $r15", "/d"), "x/i 0", "detach")  # fmt: skip
    values = marked(output)
    good = values.get("xmm") == "0x123456789" and values.get("r15") == "1" and "Cannot access memory" in output
    group.report("registers are written; what is not mapped is said to be so", None if good else output)


def check_interrupt(group, guest, gdb):
    words = gdb.words("continue", *show("pc", "$pc"), "detach")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        first = process.stdout.readline()  # gdb speaks when it has attached: before, the signal would only end it
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output = first + process.communicate(timeout=GDB_SECONDS)[0]
    group.report("^C stops the guest", None if "SIGINT" in output and "@pc=0x" in output else output)
    answer, status = guest.shell("echo alive")
    group.equal("the guest goes on when gdb has gone", (answer.strip(), status), ("alive", 0))


BOTH_HIT = """\
set $hits = 0
set $both = 0
while $both != 3 && $hits < 500
 continue
 set $both = $both | $_thread
 set $hits = $hits + 1
 if $pc != {at}
  printf "@elsewhere=%lx\\n", $pc
 end
end
printf "@both=%d\\n", $both
"""
# With the scheduler locked, steps of one thread leave the other's registers alone. gdb believes that too: it must ask again.
STEP_ONE = """\
thread {other}
set $before = $pc
set $stack = $rsp
thread {one}
set scheduler-locking on
set $count = 0
set $moved = 0
while $count < 20
 set $was = $pc
 stepi
 set $moved = $moved + ($pc != $was)
 set $count = $count + 1
end
printf "@thread{one}=%d\\n", $_thread
printf "@moved{one}=%d\\n", $moved
maintenance flush register-cache
thread {other}
printf "@stayed{other}=%d\\n", $pc == $before && $rsp == $stack
set scheduler-locking replay
"""


def check_processors(group, guest, gdb, at):
    """Two vCPUs run the same: each meets the breakpoint; one is stepped while the other stands; both go on."""
    for cpu in (0, 1):
        guest.shell(f"taskset {1 << cpu} sh -c 'while :; do sh -c :; done' >/dev/null 2>&1 &")
    where = at["__x64_sys_getpid"]
    with tempfile.NamedTemporaryFile("w", suffix=".gdb") as script:
        script.write(f"info threads\nbreak *{where:#x}\n" + BOTH_HIT.format(at=f"{where:#x}") + "delete\n")
        script.write(STEP_ONE.format(one=1, other=2) + STEP_ONE.format(one=2, other=1) + "detach\n")
        script.flush()
        output = gdb.run(f"source {script.name}")
    values = marked(output)
    group.report("two vCPUs are two threads", None if "vCPU 0" in output and "vCPU 1" in output else output)
    group.report("a breakpoint is met on either vCPU", None if values.get("both") == "3" and "elsewhere" not in values else output)
    for one, other in (("1", "2"), ("2", "1")):
        good = values.get(f"thread{one}") == one and int(values.get(f"moved{one}", 0)) > 0 and values.get(f"stayed{other}") == "1"
        group.report(f"vCPU {int(one) - 1} is stepped, vCPU {int(other) - 1} stands", None if good else output)
    counts = "for i in 1 2; do grep -E '^cpu[01] ' /proc/stat | tr '\\n' ' '; echo; sleep 2; done"
    first, second = [re.findall(r"cpu\d (\d+) \d+ (\d+)", line) for line in guest.shell(counts, 60)[0].splitlines() if line.startswith("cpu0")]
    work = [sum(map(int, after)) > sum(map(int, before)) for before, after in zip(first, second, strict=True)]
    group.equal("both go on when gdb has gone", work, [True, True])


def run_processors(group, boot, start):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gdb"
        with start("initramfs", append="nokaslr", options=["--gdb", f"unix:{path}"], cpus=2) as guest:
            boot(group, guest)
            check_processors(group, guest, Gdb(path), symbols(guest, ["__x64_sys_getpid"]))
            group.power_off(guest)


def run(group, boot, start):
    if shutil.which("gdb") is None:
        raise AssertionError("Debian's gdb is needed: make setup")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gdb"
        with start("initramfs", append="nokaslr", options=["--gdb", f"unix:{path}"]) as guest:
            boot(group, guest)
            gdb = Gdb(path)
            names = ["__x64_sys_getpid", "__x64_sys_getppid", "entry_SYSCALL_64", "jiffies_64", "init_uts_ns"]
            at = symbols(guest, names)
            # struct uts_namespace begins with struct new_utsname: sysname, then nodename, 65 bytes each.
            at["uts_name"] = at["init_uts_ns"] + 65
            guest.shell("while :; do sh -c 'hostname' ; done >/dev/null 2>&1 &")
            check_breakpoints(group, gdb, at)
            check_steps(group, gdb, at)
            check_watchpoint(group, gdb, at)
            check_memory(group, guest, gdb, at)
            check_interrupt(group, guest, gdb)
            group.power_off(guest)
    group.about = "two vCPUs"
    run_processors(group, boot, start)
    group.about = ""
