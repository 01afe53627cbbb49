# SPDX-License-Identifier: MIT
"""Boot times: the wall clock's, from just before the command is started to what shows that the guest is there."""

from rows import Row, RowError, Sample
from subjects import guest, use

MIB = 1 << 20
BOOT_SECONDS = 300
POWER_OFF_SECONDS = 60


def linux_init(subject, options):
    """A Linux entered directly, to the first line of /init; then the memory beyond guest RAM, at the shell."""
    use(subject)
    words = subject.words(options.kernel, options.initrd, options.append, options.memory)
    with guest.Guest(words) as machine:
        seconds = machine.boot(BOOT_SECONDS)
        beyond, touched = guest.resident_beyond_ram(machine.vm_pids(), options.memory * MIB)
        status = machine.power_off(POWER_OFF_SECONDS)
        if status != 0:
            raise RowError(f"ended with status {status}\n{machine.tail()}")
    return Sample(seconds, extra={"mib_beyond_ram": round(beyond / MIB, 1), "mib_ram_touched": round(touched / MIB, 1)})


# Add rows here; each is a function of (subject, options) that returns a Sample.
ROWS = [
    Row("boot", "init", "Linux to /init", linux_init),
]
