#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demonstration without a terminal: boots the guest, shows a few commands and their output, powers off."""

import sys

import guest

COMMANDS = ["uname -a", "cat /proc/uptime", "grep -m1 'model name' /proc/cpuinfo", "free -m", "ps | head -5"]


def main():
    words = guest.command_line(
        guest.runner_name(), guest.GUEST / "vmlinuz", guest.GUEST / "initramfs.cpio.gz", "console=ttyS0", 512
    )
    with guest.Guest(words, echo=sys.stdout.buffer) as machine:
        try:
            took = machine.boot(120)
            machine.echo = None
            for command in COMMANDS:
                print(f"# {command}\n{machine.shell(command)[0]}", end="", flush=True)
            status = machine.power_off()
        except guest.GuestError as error:
            print(f"\ndemo: {error}\n{machine.errors.decode(errors='replace')}", file=sys.stderr)
            return 1
    print(f"\ndemo: /init after {took:.2f} s; the guest powered itself off, status {status}")
    return status


sys.exit(main())
