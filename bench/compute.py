# SPDX-License-Identifier: MIT
"""Programs that keep to user mode."""

from images import SMALL
from program import program

XZ_FILE = "/tmp/bench-data"
MAKE_DATA = f"head -c 1200000 /usr/bin/busybox >{XZ_FILE}"

ROWS = [
    program("compute", "hash", "integer hash table", SMALL, "/bench/hash"),
    program("compute", "sieve", "sieve of Eratosthenes", SMALL, "/bench/sieve"),
    program("compute", "sort", "quicksort, qsort", SMALL, "/bench/sort"),
    program("compute", "chase", "pointer chase", SMALL, "/bench/chase"),
    program("compute", "float", "scalar floating point", SMALL, "/bench/float"),
    program("compute", "simd-sse2", "SSE2 kernels", SMALL, "/bench/simd sse2"),
    program("compute", "simd-avx2", "AVX2 kernels", SMALL, "/bench/simd avx2"),
    program("compute", "matrix", "matrix multiply", SMALL, "/bench/matrix"),
    program("compute", "memcpy", "memcpy, memmove, memset", SMALL, "/bench/memory copy"),
    program("compute", "strings", "string functions", SMALL, "/bench/memory strings"),
    program("compute", "recursion", "recursion", SMALL, "/bench/recursion"),
    program("compute", "interpreter", "interpreter loop", SMALL, "/bench/interpreter"),
    program("compute", "sha256", "SHA-256 in C", SMALL, "/bench/sha256"),
    program("compute", "aes", "AES in C", SMALL, "/bench/aes"),
    program("compute", "regex", "regular expressions", SMALL, "/bench/regex"),
    program("compute", "xz", "xz -2", SMALL, f"xz -2 -T1 -c {XZ_FILE}", before=MAKE_DATA),
    program("compute", "zstd", "zstd -12", SMALL, f"zstd -q -12 -T1 -c {XZ_FILE}", before=MAKE_DATA),
]
