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
