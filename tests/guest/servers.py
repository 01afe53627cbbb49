# SPDX-License-Identifier: MIT
"""Debian with systemd as a server on two processors: boots to its login prompt, serves clients on this host through forwarded
ports, and shuts down when its power button is pressed.
"""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import debian_image
from guest import GUEST, Guest, GuestError, nfold_path

sys.path.insert(0, str(GUEST.parents[1] / "tools"))

from guest_packages import PackageStore  # noqa: E402  (found through the path above)

KERNEL = GUEST / "vmlinuz-linux-image-amd64"
INITRD = GUEST / "debian.cpio.gz"
SMALL = debian_image.FOLDER / "small.img"
BOOT_SECONDS = 600
STOP_SECONDS = 120
NUMBERS = "".join(f"{number}\n" for number in range(1, 50001)).encode()
PROMPT = rb"root@[\w-]+:~# "
# What a kernel says when a processor or a process does not get on.
STALLS = re.compile(r"rcu: INFO:.*|.*(?:self-detected stall|soft lockup|hard LOCKUP|blocked for more than|hung_task|BUG: |Oops|Call Trace).*")


def free_ports(count):
    """So many ports of this host that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def name_of(what):
    return f"test-debian-{what}-{os.getpid()}"


def start(name, disk, *words, memory="512M", cpus=2, forwards=()):
    """A guest with one virtio disk; `forwards` has pairs of a port here and one there."""
    net = ",".join(["user", *[f"forward={here}:{there}" for here, there in forwards]])
    return Guest([nfold_path(), "run", "--name", name, "--cpus", str(cpus), "--memory", memory, "--no-reboot", "--serial", "stdio",
                  "--disk", f"{disk},device=virtio", "--net", net, *map(str, words)])  # fmt: skip


def start_small(name, folder, *wanted, forwards=()):
    copy = folder / f"{name}.img"
    shutil.copyfile(SMALL, copy)
    append = " ".join(["console=ttyS0 rdinit=/boot-disk root=/dev/vda", *[f"systemd.wants={unit}.service" for unit in wanted]])
    return start(name, copy, "--kernel", KERNEL, "--initrd", INITRD, "--append", append, forwards=forwards)


def log_in(guest):
    """From power-on to root's shell, without echo and prompt."""
    guest.expect(rb"login: ", BOOT_SECONDS, "login prompt")
    guest.send("root\n")
    guest.expect(PROMPT, 60, "shell")
    guest.send("stty -echo; dmesg -n emerg; PS1=; PROMPT_COMMAND=; bind 'set enable-bracketed-paste off'; echo quiet-$((40 + 2))\n")
    guest.expect(rb"quiet-42\r?\n", 60, "answer of the shell")


def get(port, path):
    """What a server of the guest answers; None while it answers nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def await_answer(ask, seconds, what):
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        if time.monotonic() > deadline:
            raise GuestError(f"no {what} within {seconds} s")
        time.sleep(0.5)
    return answer


def check_web(group, port):
    answer = await_answer(lambda: get(port, "/numbers"), 120, "answer of nginx")
    group.report("nginx serves a file to a client here", None if answer == (200, NUMBERS) else f"status {answer[0]}, {len(answer[1])} bytes")
    status, _ = get(port, "/nothing") or (0, b"")
    group.equal("and says what it has not", status, 404)


def check_units(group, guest):
    state, _ = guest.shell("systemctl is-system-running --wait", 240)
    failed, _ = guest.shell("systemctl list-units --failed --plain --no-legend", 60)
    group.equal("systemd: the system runs, no unit failed", (state.strip(), failed.strip()), ("running", ""))


def check_processors(group, guest, cpus=2):
    output, _ = guest.shell("nproc; grep -c ^processor /proc/cpuinfo", 60)
    group.equal(f"{cpus} processors", output.split(), [str(cpus), str(cpus)])


def check_log(group, guest):
    """The kernel's whole log and what came over the console: nothing stalled."""
    output, _ = guest.shell("dmesg", 60)
    stalls = STALLS.findall(output + guest.log.decode(errors="replace"))
    group.report("no stall, lockup or hung task", "\n".join(stalls) or None)


def shut_down(group, guest, name):
    """The power button, as systemd understands it."""
    result = subprocess.run([nfold_path(), "stop", name], capture_output=True, text=True, timeout=60, check=False)
    group.equal("nfold stop", (result.returncode, result.stderr), (0, ""))
    status = guest.wait(STOP_SECONDS)
    said = guest.log.decode(errors="replace")
    good = status == 0 and "Power Off" in said and "reboot: Power down" in said
    group.report("systemd ends all units and powers off", None if good else f"status {status}")


def small(group, folder):
    (web,) = free_ports(1)
    name = name_of("small")
    with start_small(name, folder, "systemd-networkd", "nginx", forwards=[(web, 80)]) as guest:
        guest.expect(rb"login: ", BOOT_SECONDS, "login prompt")
        group.report("boot to the login prompt")
        guest.seen = 0
        log_in(guest)
        check_processors(group, guest)
        check_web(group, web)
        check_units(group, guest)
        check_log(group, guest)
        shut_down(group, guest, name)


def postgres_program(name):
    """Of the host's client package, or unpacked from the server's: only that has pgbench."""
    folder = PackageStore().fetch("postgresql-15")
    return folder / "usr/lib/postgresql/15/bin" / name


def sql(port, text):
    words = ["psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-c", text]
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def pgbench(port, *words):
    result = subprocess.run(
        [str(postgres_program("pgbench")), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", *words, "postgres"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)  # fmt: skip
    if result.returncode != 0:
        raise GuestError(f"pgbench: status {result.returncode}: {result.stderr.strip()[-500:]}")
    return result.stdout


def check_database(group, port, seconds):
    version = await_answer(lambda: sql(port, "show server_version"), 180, "answer of PostgreSQL")
    group.report(f"PostgreSQL {version.split()[0]} answers a client here")
    pgbench(port, "-i", "-q", "-s", "2")
    group.equal("pgbench fills its tables", sql(port, "select count(*), sum(abalance) from pgbench_accounts"), "200000|0")
    output = pgbench(port, "-c", "4", "-j", "2", "-T", str(seconds))
    found = re.search(r"actually processed: (\d+)", output)
    failed = re.search(r"failed transactions: (\d+)", output)
    count = int(found.group(1)) if found else 0
    group.report(f"pgbench: {count} transactions of 4 clients in {seconds} s", None if count > 100 and failed and failed.group(1) == "0" else output)
    sums = "select (select sum(abalance) from pgbench_accounts) - (select sum(delta) from pgbench_history), (select count(*) from pgbench_history)"
    group.equal("its books balance", sql(port, sums), f"0|{count}")
    return count


def serve(group, name, disk, seconds):
    """Boots the server's disk by firmware and GRUB, uses its web server and database, shuts it down. The transactions done."""
    web, database = free_ports(2)
    with start(name, disk, memory="1G", forwards=[(web, 80), (database, 5432)]) as guest:
        log_in(guest)
        group.report("firmware, GRUB, Debian's own initramfs, systemd: boot to the login prompt")
        check_processors(group, guest)
        check_web(group, web)
        count = check_database(group, database, seconds)
        check_units(group, guest)
        check_log(group, guest)
        shut_down(group, guest, name)
    return count


def again(group, name, disk, count):
    """What the database was told is there after a shutdown and another boot."""
    (database,) = free_ports(1)
    with start(name, disk, memory="1G", forwards=[(database, 5432)]) as guest:
        log_in(guest)
        found = await_answer(lambda: sql(database, "select count(*) from pgbench_history"), 180, "answer of PostgreSQL")
        group.equal("booted again, the database has it all", found, str(count))
        shut_down(group, guest, name)


def server(group, folder):
    """On a copy of the image."""
    disk = folder / "server.img"
    subprocess.run(["cp", "--sparse=always", "--no-preserve=mode", str(debian_image.image("server")), str(disk)], check=True)
    count = serve(group, name_of("server"), disk, 60)
    again(group, name_of("again"), disk, count)


def clone(group, folder):
    """On a linked clone, and a second one beside it that sees nothing of the first."""
    base, disk, other = debian_image.image("server"), folder / "clone.qcow2", folder / "other.qcow2"
    before = base.stat().st_mtime_ns
    for path in (disk, other):
        subprocess.run([nfold_path(), "clone", str(base), str(path)], check=True, timeout=60)
    count = serve(group, name_of("clone"), disk, 60)
    again(group, name_of("again"), disk, count)
    (database,) = free_ports(1)
    name = name_of("other")
    with start(name, other, memory="1G", forwards=[(database, 5432)]) as guest:
        log_in(guest)
        found = await_answer(lambda: sql(database, "select coalesce(to_regclass('pgbench_history')::text, 'none')"), 180, "answer of PostgreSQL")
        group.equal("another clone has none of it", found, "none")
        shut_down(group, guest, name)
    group.equal("the base was not written", base.stat().st_mtime_ns, before)
    print(f"  the clone has {disk.stat().st_blocks * 512 >> 20} MiB, its base {base.stat().st_blocks * 512 >> 20} MiB")


GROUPS = {
    "debian": [("Debian with systemd", small, [], [KERNEL, INITRD, SMALL])],
    "debian-server": [("a server", server, [], [])],
    "debian-clone": [("a server's linked clone", clone, [], [])],
}
