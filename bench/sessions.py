# SPDX-License-Identifier: MIT
"""Where programs are run: a guest behind its serial console, or a shell of this machine in the same tree of files.

Both are driven by the same lines. What runs is a child of bench/programs/timer, which tells its time; see there for the lines it writes.
"""

import os
import re
import shlex
import time

import images
from rows import NotThere, RowError, Sample
from subjects import guest, use

BOOT_SECONDS = 300
RUN_SECONDS = 300
NOT_THERE = 33  # what programs of bench/programs return where CPUID does not promise what they use
BEGIN = re.compile(rb"@B\r?\n")
END = re.compile(rb"@E (\d+) (-?\d+)\r?\n")
HASH = re.compile(rb"@H ([0-9a-f]{16})\r?\n")

# Natively: an own mount namespace with a tmpfs where the guest has one, so that files cost the same and nothing is left behind.
NATIVE_SHELL = """
mount -t tmpfs tmpfs {tree}/tmp && mount -t tmpfs tmpfs {tree}/root && mount -t tmpfs tmpfs {tree}/run &&
mount -t tmpfs tmpfs {tree}/dev && for node in null zero full random urandom tty; do
	: >{tree}/dev/$node && mount --bind /dev/$node {tree}/dev/$node || exit; done &&
ln -s /proc/self/fd {tree}/dev/fd && mkdir {tree}/dev/shm && mount -t proc proc {tree}/proc &&
exec env -i PATH=/usr/sbin:/usr/bin HOME=/root TERM=vt100 LC_ALL=C {chroot} {tree} /bin/sh -c 'cd /root; echo native-ready; exec sh'
"""


def native_words(tree):
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        words += ["--user", "--map-root-user"]
    return [*words, "/bin/sh", "-c", NATIVE_SHELL.format(tree=shlex.quote(str(tree)), chroot="/usr/sbin/chroot")]


class Session(guest.Guest):
    """A place that is ready to run programs."""

    def __init__(self, subject, image, options):
        self.subject = subject
        if subject.is_guest:
            use(subject)
            super().__init__(subject.words(options.kernel, image.archive, options.append, image.memory_mib, image.cpus))
        else:
            super().__init__(native_words(image.tree))
        try:
            self.prepare(image)
        except guest.GuestError as error:
            self.__exit__()
            raise RowError(f"no session: {error}\n{self.tail()}") from None
        except BaseException:  # an interrupt too leaves no guest behind
            self.__exit__()
            raise

    def prepare(self, image):
        if self.subject.is_guest:
            self.boot(BOOT_SECONDS)
            self.shell("dmesg -n 1; ifconfig lo up")
        else:
            self.expect(rb"native-ready\r?\n", 30, "native shell")
            # As many processors as guests have.
            for pid in self.vm_pids():
                os.sched_setaffinity(pid, set(sorted(os.sched_getaffinity(0))[-image.cpus :]))

    def run(self, command, seconds=RUN_SECONDS):
        """One command through the timer."""
        self.send(f"/bench/timer {command}\n")
        self.expect(BEGIN, seconds, f"start of {command!r}")
        began = time.monotonic()
        match = self.expect(END, seconds, f"end of {command!r}")
        host_seconds = time.monotonic() - began
        answer = self.expect(HASH, seconds, f"output of {command!r}").group(1).decode()
        if int(match.group(2)) == NOT_THERE << 8:
            raise NotThere
        if match.group(2) != b"0":
            raise RowError(f"{command}: wait status {match.group(2).decode()}: {self.output().strip()}")
        return Sample(int(match.group(1)) / 1e9, host_seconds, answer)

    def output(self):
        """The end of what the last command wrote."""
        return self.shell("tail -c 2000 /tmp/bench-output")[0]


class Sessions:
    """One session for each subject, of one image at a time: idle guests of another image would only take memory and ticks."""

    def __init__(self):
        self.lock = images.Lock()
        self.image = None
        self.open = {}
        self.refused = set()  # subjects that did not start with this image: they are not waited for at every row

    def get(self, subject, image, options):
        if self.image != image:
            self.close()
            images.build(image, self.lock)
            self.image = image
        if subject.name in self.refused:
            raise RowError("no session, as above")
        if subject.name not in self.open:
            self.refused.add(subject.name)
            self.open[subject.name] = Session(subject, image, options)
            self.refused.discard(subject.name)
        return self.open[subject.name]

    def drop(self, subject):
        session = self.open.pop(subject.name, None)
        if session:
            session.__exit__()

    def close(self):
        for session in self.open.values():
            session.__exit__()
        self.open = {}
        self.image = None
        self.refused = set()
