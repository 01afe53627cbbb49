# SPDX-License-Identifier: MIT
"""What a server guest has beside disks and networks, with Debian's own drivers and agent: random bytes, the virtio console, the
QEMU guest agent, the HPET.
"""

import base64
import contextlib
import json
import os
import socket
import subprocess

from group import BOOT_SECONDS
from guest import GUEST, Guest, nfold_path
from storage import MIB, make_image

KERNEL = GUEST / "vmlinuz-linux-image-cloud-amd64"
INITRD = GUEST / "agent.cpio.gz"
FILES = [KERNEL, INITRD]
RANDOM_BYTES = 100000
COMMAND_SECONDS = 60
PORT = "/dev/$(grep -l org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name | cut -d / -f 5)"
AGENT = f"qemu-ga --daemonize --path {PORT} --statedir /run --pidfile /run/ga.pid --logfile /run/ga.log"
MANY = 1200000  # bytes of output of a program: more than the channel holds at a time


class Server(Guest):
    def __init__(self, *options, append="quiet"):
        self.name = f"test-agent-{os.getpid()}"
        super().__init__([
            nfold_path(), "run", "--name", self.name, "--memory", "256M", "--no-reboot", "--kernel", str(KERNEL), "--initrd", str(INITRD),
            "--append", f"console=ttyS0 {append}", "--serial", "stdio", *map(str, options),
        ])  # fmt: skip

    def ask(self, *words, given=b""):
        """nfold guest: (status, output, what it says on stderr)."""
        result = subprocess.run(
            [nfold_path(), "guest", self.name, *words], input=given, capture_output=True, timeout=COMMAND_SECONDS, check=False)  # fmt: skip
        return result.returncode, result.stdout, result.stderr.decode()

    def behind(self, command):
        """In the background, and not as a child of the shell: busybox's may end when one ends while it waits for input."""
        self.shell(f"sh -c '({command}) &'")

    def start_agent(self):
        """Waits until it has its channel open."""
        output, status = self.shell(f"mkdir -p /var/run; {AGENT}; echo started")
        assert status == 0 and "started" in output, output
        self.shell("for i in $(seq 100); do [ -n \"$(ls -l /proc/$(cat /run/ga.pid)/fd 2>/dev/null | grep vport)\" ] && break; sleep 0.1; done")


def check_random(group, guest):
    group.equal("the entropy device is the one in use", guest.shell("cat /sys/class/misc/hw_random/rng_current")[0].strip(), "virtio_rng.0")
    output, status = guest.shell(f"head -c {RANDOM_BYTES} /dev/hwrng >/tmp/one && head -c {RANDOM_BYTES} /dev/hwrng >/tmp/two; echo $?", 60)
    group.equal("bytes are read", (output.strip(), status), ("0", 0))
    # Random bytes hardly get smaller by gzip, and are not the same twice.
    output, _ = guest.shell("cmp -s /tmp/one /tmp/two; echo $?; gzip -c /tmp/one | wc -c")
    same, size = output.split()
    group.equal("they are random", (same, int(size) > RANDOM_BYTES * 99 // 100), ("1", True))


def check_console(group, guest, path):
    """A line to the guest, and more from it than the socket's buffers hold at once."""
    guest.behind("head -n 1 </dev/hvc0 >/run/heard")
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(COMMAND_SECONDS)
        console.connect(path)
        console.sendall(b"hello\r")
        wait = "for i in $(seq 600); do [ -s /run/heard ] && break; sleep 0.1; done; cat /run/heard"
        group.equal("the virtio console: a line to the guest", guest.shell(wait, 90)[0].strip(), "hello")
        guest.send("seq 20000 >/dev/hvc0\n")  # Linux waits for each piece to be read
        got = b""
        while b"\n20000\r" not in got and (data := console.recv(65536)):
            got += data
    wanted = b"".join(b"%d\r\n" % number for number in range(1, 20001))
    group.equal("and 100 KB from it", wanted[:-2] in got, True)


def check_agent(group, guest):
    status, _, said = guest.ask("info")
    group.equal("no agent: a clear line", (status, "qemu-guest-agent" in said, said.count("\n")), (2, True, 1))
    guest.start_agent()
    status, output, said = guest.ask("info")
    group.equal("info", (status, b"nfold-guest" in output, b"kernel" in output, said), (0, True, True, ""))
    status, output, _ = guest.ask("info", "--json")
    group.equal("info as JSON", (status, json.loads(output)["host"]), (0, {"host-name": "nfold-guest"}))
    words = ["a b", "", "*", "'\"", "\N{GREEK SMALL LETTER MU}"]
    status, output, said = guest.ask("exec", "--", "printf", "<%s>", *words)
    group.equal("exec: arguments as they are", (status, output.decode(), said), (0, "".join(f"<{word}>" for word in words), ""))
    status, output, said = guest.ask("exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    group.equal("exec: both outputs and the status", (status, output, said), (7, b"out\n", "err\n"))
    group.equal("exec: a signal", guest.ask("exec", "--", "sh", "-c", "kill -9 $$")[0], 128 + 9)
    data = bytes(range(256)) * 100
    group.equal("exec: standard input", guest.ask("exec", "--stdin", "--", "cat", given=data)[:2], (0, data))
    status, output, _ = guest.ask("exec", "--", "head", "-c", str(MANY), "/dev/zero")
    group.equal("exec: much output", (status, len(output), output.strip(b"\0")), (0, MANY, b""))
    status, _, said = guest.ask("exec", "--", "/no/such/program")
    group.equal("exec: no such program", (status, said.count("\n")), (2, 1))
    status, _, said = guest.ask("exec", "--timeout", "1", "--", "sleep", "100")
    group.equal("exec: a program that takes too long", (status, "left running" in said), (4, True))
    with contextlib.ExitStack() as stack:
        words = [nfold_path(), "guest", guest.name, "exec", "--", "sh", "-c", "sleep 1; echo many"]
        many = [stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE)) for _ in range(8)]
        group.equal("eight at a time", [one.communicate(timeout=COMMAND_SECONDS)[0] for one in many], [b"many\n"] * 8)


def check_freeze(group, guest):
    guest.shell("mkdir /disk; mount -t ext4 /dev/vda /disk")
    group.equal("freeze", guest.ask("freeze")[:2], (0, f"1 file system frozen; 'nfold guest {guest.name} thaw' ends it, or else nfold does in 60 s\n".encode()))
    guest.behind("echo late >/disk/late; echo written >/run/written")
    output, _ = guest.shell("sleep 1; cat /run/written 2>/dev/null")
    group.equal("frozen: a write waits", output.strip(), "")
    group.equal("thaw", guest.ask("thaw")[:2], (0, b"1 file system thawed\n"))
    wait = "for i in $(seq 600); do [ -e {0} ] && break; sleep 0.1; done; cat {0}"
    group.equal("and goes on", guest.shell(wait.format("/run/written"), 90)[0].strip(), "written")
    group.equal("freeze with a limit", guest.ask("freeze", "--thaw-after", "2")[0], 0)
    guest.behind("echo late >/disk/later; echo written >/run/again")
    group.equal("thawed by itself", guest.shell(wait.format("/run/again"), 90)[0].strip(), "written")
    guest.pump(0)
    group.equal("and nfold says so", b"were frozen for 2 s" in guest.errors, True)


def check_hung_agent(group, guest):
    guest.shell("kill -STOP $(cat /run/ga.pid)")
    status, _, said = guest.ask("info", "--timeout", "1")
    group.equal("an agent that hangs: a clear line", (status, "does not answer" in said, said.count("\n")), (2, True, 1))
    guest.shell("kill -CONT $(cat /run/ga.pid)")
    group.equal("and one that goes on is heard again", guest.ask("exec", "--", "echo", "back")[:2], (0, b"back\n"))
    guest.shell("P=$(cat /run/ga.pid); kill -9 $P; for i in $(seq 100); do [ -z \"$(ls /proc/$P/fd 2>/dev/null)\" ] && break; sleep 0.1; done")
    group.equal("one that died", guest.ask("info")[0], 2)
    guest.start_agent()
    group.equal("and came back", guest.ask("exec", "--", "echo", "back")[:2], (0, b"back\n"))


def devices(group, folder):
    disk = make_image(folder / "disk.img", 16 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(disk)], env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}, check=True)
    path = str(folder / "console")
    with Server("--disk", f"{disk},device=virtio", "--console", f"unix:{path}") as guest:
        guest.boot(BOOT_SECONDS)
        check_random(group, guest)
        check_console(group, guest, path)
        check_agent(group, guest)
        check_freeze(group, guest)
        check_hung_agent(group, guest)
        group.equal("shutdown", guest.ask("shutdown")[0], 0)
        group.equal("the guest has powered off", guest.wait(60), 0)


def hpet(group, _folder):
    """Linux's clock by the HPET goes as its TSC does, which each of the guest's clocks is made from."""
    with Server("--hpet", "on", append="clocksource=hpet") as guest:
        guest.boot(BOOT_SECONDS)
        clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        group.equal("the HPET is the clock", guest.shell(f"cat {clock}")[0].strip(), "hpet")
        group.equal("of 100 MHz", guest.shell("dmesg | grep -c '3 comparators, 64-bit 100.000000 MHz counter'")[0].strip(), "1")
        output, _ = guest.shell("a=$(cut -d ' ' -f 1 /proc/uptime); sleep 3; b=$(cut -d ' ' -f 1 /proc/uptime); echo $a $b", 90)
        before, after = map(float, output.split())
        group.equal("it counts as timers do", 2.9 < after - before < 30, True)
        group.power_off(guest)


def hpet_repeats(group, _folder):
    """A deterministic guest takes no input: it is told what to do at its start."""
    script = "cat /sys/devices/system/clocksource/clocksource0/current_clocksource; sleep 2; cat /proc/uptime"
    logs = []
    for _ in range(2):
        append = f"clocksource=hpet quiet nfold.run={base64.b64encode(script.encode()).decode()}"
        with Server("--hpet", "on", "--clock", "deterministic", append=append) as guest:
            guest.expect(rb"nfold-guest: exit 0", BOOT_SECONDS)
            group.equal("the guest powers off", guest.wait(60), 0)
            logs.append(guest.log)
    group.equal("the HPET is the clock", b"hpet" in logs[0], True)
    group.equal("each run is the same", logs[0] == logs[1], True)


GROUP = [
    ("devices", devices, [], FILES),
    ("HPET", hpet, [], FILES),
    ("HPET, deterministic", hpet_repeats, [], FILES),
]
