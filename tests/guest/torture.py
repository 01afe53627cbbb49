# SPDX-License-Identifier: MIT
"""Several processors at work for minutes: a parallel compile, and stress-ng's torture of locks, futexes, pipes, signals and mappings,
in Debian's own SMP kernel. Nothing may stall, be lost, or come out other than with one job at a time.
"""

import contextlib
import io
import socket
import subprocess
import tarfile
import threading

import debian_image
import servers
from guest import ROOT, GuestError, nfold_path

SOURCES = sorted([*(ROOT / "bench" / "programs").glob("*.[ch]"), *(ROOT / "tests" / "guest" / "programs").glob("*.[ch]")])
LEVELS = (0, 2)
COMPILE_SECONDS = 900
TORTURE_SECONDS = 120
# Each with an instance for each processor, and their own checks on.
STRESSORS = [
    "futex", "mutex", "sem", "sem-sysv", "switch", "pipe", "membarrier", "eventfd", "lockbus", "atomic", "sigq", "yield", "clone", "fork",
    "tlb-shootdown", "mcontend", "hrtimers", "schedpolicy",
]  # fmt: skip
MAKEFILE = """\
FLAGS := -std=gnu17 -D_GNU_SOURCE -w
OBJECTS := $(foreach level,{levels},$(patsubst %.c,out/%-$(level).o,$(wildcard *.c)))
all: $(OBJECTS)
define rule
out/%-$(1).o: %.c
	gcc $(FLAGS) -O$(1) -c -o $$@ $$<
endef
$(foreach level,{levels},$(eval $(call rule,$(level))))
"""


def archive():
    """A tar file of C files and their Makefile."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for source in SOURCES:
            tar.add(source, arcname=source.name)
        makefile = MAKEFILE.format(levels=" ".join(map(str, LEVELS))).encode()
        entry = tarfile.TarInfo("Makefile")
        entry.size = len(makefile)
        tar.addfile(entry, io.BytesIO(makefile))
    return packed.getvalue()


@contextlib.contextmanager
def offered(data):
    """A port of this host that sends the data to the first that connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(servers.BOOT_SECONDS)

        def send():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(data)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


def compile_all(guest, jobs):
    """The objects' hashes, in order."""
    output, status = guest.shell(f"rm -rf out; mkdir out; make -s -j{jobs} >/tmp/make 2>&1", COMPILE_SECONDS)
    if status != 0:
        raise GuestError(f"make -j{jobs}: {guest.shell('tail -n 20 /tmp/make', 60)[0]}{output}")
    return guest.shell("sha256sum out/*.o", 120)[0].splitlines()


def check_compile(group, guest, cpus):
    with offered(archive()) as port:
        _, status = guest.shell(f"mkdir /var/tmp/c && cd /var/tmp/c && tar -x </dev/tcp/10.0.2.2/{port}", 120)
    group.equal("sources come from the host", status, 0)
    alone = compile_all(guest, 1)
    together = compile_all(guest, cpus)
    wrong = [pair for pair in zip(alone, together, strict=False) if pair[0] != pair[1]]
    good = len(alone) == len(together) == len(LEVELS) * sum(source.suffix == ".c" for source in SOURCES) and not wrong
    group.report(f"make -j{cpus}: {len(together)} files compiled as with -j1", None if good else f"{len(alone)}, {len(together)}, {wrong[:3]}")


def stress(guest, words, seconds):
    """None when stress-ng ends by itself and found nothing wrong: a lost wake-up would keep it for ever."""
    _, status = guest.shell(f"stress-ng --verify --timeout {seconds} {words} >/tmp/stress 2>&1", seconds * 4 + 300)
    said, _ = guest.shell("tail -n 20 /tmp/stress", 60)
    return None if status == 0 and "successful run completed" in said else f"status {status}\n{said}"


def check_locks(group, guest, cpus, seconds):
    """Half of the time for all kinds at once, half for one after the other."""
    known = set(guest.shell("stress-ng --stressors", 60)[0].split())
    group.equal("stress-ng knows all that it is asked for", sorted(set(STRESSORS) - known), [])
    problem = stress(guest, " ".join(f"--{name} {cpus}" for name in STRESSORS), seconds // 2)
    group.report(f"stress-ng, {len(STRESSORS)} kinds at once, {cpus} of each", problem)
    share = max(seconds // 2 // len(STRESSORS), 2)
    problems = [problem for name in STRESSORS if (problem := stress(guest, f"--{name} {cpus}", share))]
    group.report(f"stress-ng, {len(STRESSORS)} kinds in turns, {cpus} of each", "\n".join(problems) or None)


def torture(group, folder, cpus):
    disk, name = folder / "torture.qcow2", servers.name_of(f"torture-{cpus}")
    subprocess.run([nfold_path(), "clone", str(debian_image.image("server")), str(disk)], check=True, timeout=60)
    with servers.start(name, disk, memory="1G", cpus=cpus) as guest:
        servers.log_in(guest)
        group.report("boot to the login prompt")
        servers.check_processors(group, guest, cpus)
        guest.shell("systemctl stop postgresql nginx", 120)
        check_compile(group, guest, cpus)
        check_locks(group, guest, cpus, TORTURE_SECONDS)
        servers.check_log(group, guest)
        servers.shut_down(group, guest, name)


GROUPS = {f"torture-{cpus}": [(f"{cpus} processors", torture, [cpus], [])] for cpus in (2, 4)}
