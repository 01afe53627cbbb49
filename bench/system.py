# SPDX-License-Identifier: MIT
"""Programs that keep the kernel and the MMU busy."""

from images import SMALL
from program import program

ROWS = [
    program("system", "getppid", "getppid", SMALL, "/bench/getppid"),
    program("system", "fork-exit", "fork, exit", SMALL, "/bench/fork exit"),
    program("system", "fork-exec", "fork, exec", SMALL, "/bench/fork exec"),
    program("system", "pipe", "pipe ping-pong of 2 processes", SMALL, "/bench/pipe 2"),
    program("system", "switch", "context switches among 8 processes", SMALL, "/bench/pipe 8"),
    program("system", "fault", "page faults", SMALL, "/bench/fault touch"),
    program("system", "munmap", "mmap, munmap storm", SMALL, "/bench/fault unmap"),
    program("system", "mapfile", "mmap of a file", SMALL, "/bench/mapfile"),
    program("system", "signal", "signal delivery", SMALL, "/bench/signal"),
    program("system", "files", "small files: create, read, unlink", SMALL, "/bench/files"),
]
