"""Segments of a JPEG file: from SOI to EOI, marker by marker (ITU-T T.81, annex B)."""

import re

SOF0, SOF1, SOF2 = 0xC0, 0xC1, 0xC2  # baseline, extended sequential, progressive
DHT, SOI, EOI, SOS, DQT = 0xC4, 0xD8, 0xD9, 0xDA, 0xDB
APP0, APP1, APP2, APP13, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
COM = 0xFE

MAX_PAYLOAD = 65533  # bytes of a segment: a 16-bit length that counts itself

# In entropy-coded data a marker is FF followed by neither 00 (a stuffed byte), nor
# a restart marker, nor another FF (fill).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class IncompleteError(ValueError):
    """Bytes that are not a JPEG file from SOI to EOI."""


def segment(marker, payload):
    """The bytes of a segment, of at most `MAX_PAYLOAD` bytes of content."""
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def segments(data):
    """Yields (marker, start, end) of every segment from SOI to EOI.

    data[start:end] is the whole segment with its marker, for SOS without the
    entropy-coded data that follows.

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


def without_segments(data, markers):
    """The file without the segments of these marker codes."""
    kept, copied = [], 0
    for marker, start, end in segments(data):
        if marker in markers:
            kept.append(data[copied:start])
            copied = end
    return b"".join([*kept, data[copied:]])
