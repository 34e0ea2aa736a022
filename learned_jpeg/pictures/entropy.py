"""Checks whether the entropy-coded data of a JPEG file are whole.

libjpeg decodes whatever it finds and counts warnings, which Pillow does not pass on.
libjpeg-turbo's own interface does. It is reached through simplejpeg 1.9.0, at an eighth
of the size, which takes little more time than the Huffman decoding.
"""

from __future__ import annotations

import contextlib

import simplejpeg

from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.segments import (
    APP0,
    APP14,
    APP15,
    COM,
    EOI,
    SOS,
    IncompleteError,
    segments,
)

END = bytes([0xFF, EOI])


def problem(data: bytes) -> str | None:
    """Returns libjpeg's complaint about the pixels of a JPEG file.

    It is None if there is none, or if the file cannot be decoded at all: then
    `frame.check` or Pillow has its own message.
    """
    try:
        frame.check(data)
    except frame.UnsupportedError:
        return None
    data = _without_application_data(data)
    try:
        _decode(data, strict=True)
    except ValueError as error:
        with contextlib.suppress(ValueError):
            _decode(data, strict=False)
            return " ".join(str(error).split())
    return None


def _decode(data: bytes, strict: bool) -> None:
    # A height of 1 asks for the smallest scale.
    simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, strict=strict)


def _without_application_data(data: bytes) -> bytes:
    """Returns the file without the segments that do not matter for the pixels.

    They may be damaged without any harm.
    """
    kept, copied = [], 0
    with contextlib.suppress(IncompleteError):
        for marker, start, end in segments(data):
            if marker == SOS:
                break
            if marker == COM or (APP0 <= marker <= APP15 and marker != APP14):
                kept.append(data[copied:start])
                copied = end
    return b"".join([*kept, data[copied:]])
