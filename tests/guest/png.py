# SPDX-License-Identifier: MIT
"""Reads the PNG files that runners write of a guest's screen: 8 bits a channel, RGB or RGBA, not interlaced."""

import struct
import zlib
from collections import Counter
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 6: 4}  # by colour type, PNG section 11.2.2


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise ValueError(f"wrong checksum of the chunk {kind}")
        yield kind, body
        at += 12 + length


def paeth(a, b, c):
    estimate = a + b - c
    return min((abs(estimate - a), 0, a), (abs(estimate - b), 1, b), (abs(estimate - c), 2, c))[2]


def unfilter(kind, line, above, step):
    """Section 9.2: each byte is stored as the difference from its neighbours. `line` is changed in place."""
    for i in range(len(line)):
        a = line[i - step] if i >= step else 0
        if kind == 1:
            line[i] = (line[i] + a) & 255
        elif kind == 2:
            line[i] = (line[i] + above[i]) & 255
        elif kind == 3:
            line[i] = (line[i] + (a + above[i]) // 2) & 255
        elif kind == 4:
            line[i] = (line[i] + paeth(a, above[i], above[i - step] if i >= step else 0)) & 255


class Picture:
    """width, height, and how often each colour occurs."""

    def __init__(self, path):
        data = Path(path).read_bytes()
        if not data.startswith(SIGNATURE):
            raise ValueError(f"{path} is no PNG file")
        parts = list(chunks(data))
        self.width, self.height, bits, kind, _, _, interlace = struct.unpack(">IIBBBBB", parts[0][1])
        if bits != 8 or kind not in CHANNELS or interlace:
            raise ValueError(f"{path}: a PNG of colour type {kind} with {bits} bits")
        step = CHANNELS[kind]
        raw = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
        size = self.width * step
        if len(raw) != (size + 1) * self.height:
            raise ValueError(f"{path}: {len(raw)} bytes of pixels")
        self.colours = Counter()
        above = bytes(size)
        for row in range(self.height):
            start = row * (size + 1)
            line = bytearray(raw[start + 1 : start + 1 + size])
            if raw[start]:
                unfilter(raw[start], line, above, step)
            self.colours.update(zip(*(line[channel::step] for channel in range(3))))
            above = line

    def __str__(self):
        return f"{self.width}x{self.height}, {len(self.colours)} colours"

    def commonest(self):
        """The part of the picture, 0 to 1, that its commonest colour fills."""
        return max(self.colours.values()) / (self.width * self.height)
