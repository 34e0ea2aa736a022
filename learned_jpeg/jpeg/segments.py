"""Segments of a JPEG file, from SOI to EOI (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import BinaryIO

SOF0, SOF1, SOF2 = 0xC0, 0xC1, 0xC2  # baseline, extended sequential, progressive
SOF55 = 0xF7  # JPEG-LS (ITU-T T.87)
DHT, SOI, EOI, SOS, DQT = 0xC4, 0xD8, 0xD9, 0xDA, 0xDB
DHP, EXP = 0xDE, 0xDF  # of hierarchical files
APP0, APP1, APP2, APP13, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
COM = 0xFE
APPLICATION_DATA = (*range(APP0, APP15 + 1), COM)  # what a decoder can do without

MAX_PAYLOAD = 65533  # bytes of a segment: a 16-bit length that counts itself

# In entropy-coded data a marker is FF followed by neither 00 (a stuffed byte), nor
# a restart marker, nor another FF (fill).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TEM, _RST0, _RST7 = 0x01, 0xD0, 0xD7
_ALONE = (0x00, _TEM, *range(_RST0, _RST7 + 1), SOI)  # without a length


class IncompleteError(ValueError):
    """Bytes that are not a whole JPEG file."""


def segment(marker: int, payload: bytes) -> bytes:
    """Returns the bytes of a segment; the payload has at most `MAX_PAYLOAD` bytes."""
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields (marker, start, end) of every segment from SOI to EOI.

    data[start:end] is the whole segment with its marker. That of SOS does not include
    the entropy-coded data behind it.

    Raises:
      IncompleteError: not a JPEG file, or cut off.
    """
    position = 0
    while True:
        head = data[position : position + 4]
        if len(head) < 2 or head[0] != 0xFF or (head[1] == SOI) != (position == 0):
            raise IncompleteError("not a complete JPEG file")
        marker, end = head[1], position + 2
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker not in (SOI, EOI):
            end += int.from_bytes(head[2:], "big")
        yield marker, position, end
        if marker == EOI:
            return
        if marker == SOS:
            match = _NEXT_MARKER.search(data, end)
            end = match.start() if match else len(data)
        position = end


def header_segments(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields (marker, payload) of the segments up to the first scan.

    Like libjpeg, it skips what is no marker. It ends early where the file does.
    """
    while byte := stream.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = stream.read(1)
        if not byte or byte[0] == EOI:
            return
        if byte[0] in _ALONE:
            continue
        length = int.from_bytes(stream.read(2), "big")
        yield byte[0], stream.read(max(length - 2, 0))
        if byte[0] == SOS:
            return


def found_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields what `segments` does, of a damaged file, too, as far as libjpeg reads it.

    SOI is left out.
    """
    position = 0
    while match := _NEXT_MARKER.search(data, position):
        marker, position = data[match.start() + 1], match.end()
        if marker == EOI:
            yield marker, match.start(), position
            return
        if marker in _ALONE:
            continue
        position += int.from_bytes(data[position : position + 2], "big")
        yield marker, match.start(), position


def without_segments(data: bytes, markers: Collection[int]) -> bytes:
    """Returns the file without the segments of these markers."""
    kept, copied = [], 0
    for marker, start, end in segments(data):
        if marker in markers:
            kept.append(data[copied:start])
            copied = end
    return b"".join([*kept, data[copied:]])
