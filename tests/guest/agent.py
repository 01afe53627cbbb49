# SPDX-License-Identifier: MIT
"""What a server guest has beside disks and networks, with Debian's own drivers and agent: random bytes."""

from group import BOOT_SECONDS
from guest import GUEST
from pc import Pc

KERNEL = GUEST / "vmlinuz-linux-image-cloud-amd64"
INITRD = GUEST / "agent.cpio.gz"
FILES = [KERNEL, INITRD]
RANDOM_BYTES = 100000


def machine(append="", **options):
    return Pc(kernel=KERNEL, initrd=INITRD, append=f"console=ttyS0 quiet {append}".strip(), memory_mib=256, **options)


def check_random(group, guest):
    group.equal("the entropy device is the one in use", guest.shell("cat /sys/class/misc/hw_random/rng_current")[0].strip(), "virtio_rng.0")
    output, status = guest.shell(f"head -c {RANDOM_BYTES} /dev/hwrng >/tmp/one && head -c {RANDOM_BYTES} /dev/hwrng >/tmp/two; echo $?", 60)
    group.equal("bytes are read", (output.strip(), status), ("0", 0))
    # Random bytes hardly get smaller by gzip, and are not the same twice.
    output, _ = guest.shell("cmp -s /tmp/one /tmp/two; echo $?; gzip -c /tmp/one | wc -c")
    same, size = output.split()
    group.equal("they are random", (same, int(size) > RANDOM_BYTES * 99 // 100), ("1", True))


def devices(group, _folder):
    with machine() as guest:
        guest.boot(BOOT_SECONDS)
        check_random(group, guest)
        group.power_off(guest)


GROUP = [("devices", devices, [], FILES)]
