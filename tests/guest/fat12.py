# SPDX-License-Identifier: MIT
"""Reads a file from the root folder of a FAT12 floppy image: what a guest wrote, seen from the host."""

import struct

ENTRY = 32


def read_file(image, name):
    """The bytes of NAME.EXT in the root folder, or None."""
    stem, _, extension = name.upper().partition(".")
    wanted = stem.ljust(8).encode() + extension.ljust(3).encode()
    bytes_per_sector, sectors_per_cluster, reserved, fats, entries = struct.unpack_from("<HBHBH", image, 11)
    (sectors_per_fat,) = struct.unpack_from("<H", image, 22)
    fat = image[reserved * bytes_per_sector :]
    root = (reserved + fats * sectors_per_fat) * bytes_per_sector
    cluster_size = bytes_per_sector * sectors_per_cluster
    for at in range(root, root + entries * ENTRY, ENTRY):
        if image[at : at + 11] == wanted:
            cluster, size = struct.unpack_from("<HI", image, at + 26)
            return b"".join(clusters(image, fat, cluster, root + entries * ENTRY, cluster_size))[:size]
    return None


def clusters(image, fat, cluster, start, size):
    for _ in range(len(image) // size):  # a chain that bites its tail ends too
        if not 2 <= cluster < 0xFF8:
            return
        at = start + (cluster - 2) * size
        yield image[at : at + size]
        pair = fat[cluster * 3 // 2] | fat[cluster * 3 // 2 + 1] << 8
        cluster = pair >> 4 if cluster & 1 else pair & 0xFFF
