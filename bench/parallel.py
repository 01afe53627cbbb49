# SPDX-License-Identifier: MIT
"""The same program on two processors, by one thread and by two."""

from images import PAIR
from program import program

ROWS = [
    program("parallel", "one", "parallel work, 1 thread, 2 processors", PAIR, "/bench/parallel 1"),
    program("parallel", "two", "parallel work, 2 threads, 2 processors", PAIR, "/bench/parallel 2"),
]
