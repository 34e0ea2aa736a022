"""Keeps the bytes of a JPEG input where the result would be larger."""

from __future__ import annotations

import os
import struct

from learned_jpeg.jpeg.file import open_jpeg
from learned_jpeg.jpeg.segments import (
    APP0,
    APP1,
    APP14,
    APP15,
    COM,
    SOI,
    segment,
    segments,
    without_segments,
)
from learned_jpeg.pictures import entropy, metadata
from learned_jpeg.pictures.tiff import ORIENTATION

_JPEG = b"\xff\xd8\xff"
_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"  # version 1.1, square pixels, no thumbnail
_SHORT = 3  # a type of TIFF


def smaller_original(path: str, size: int, strips_metadata: bool) -> bytes | None:
    """Returns the bytes of a JPEG input if they are no more than `size`.

    Args:
      path: of the input.
      size: bytes of the result.
      strips_metadata: whether the metadata, except for the orientation, are left out.

    Returns:
      The bytes; None where the input is larger, no JPEG file, or damaged.
    """
    if os.path.getsize(path) > size and not strips_metadata:
        return None
    with open(path, "rb") as file:
        head = file.read(len(_JPEG))
        if head != _JPEG:
            return None
        data = head + file.read()
    try:
        bare = without_metadata(data)
    except ValueError:  # cut off
        return None
    if strips_metadata:
        data = bare
    return data if len(data) <= size and entropy.problem(bare) is None else None


def without_metadata(data: bytes) -> bytes:
    """Returns a JPEG file without its metadata and without what follows its end.

    The orientation stays, in an EXIF block of its own, because the pixels are not
    turned. The Adobe segment stays, because it tells the colour space.

    Args:
      data: bytes of a JPEG file.

    Raises:
      ValueError: it is cut off.
    """
    image = open_jpeg(data)
    with image:
        orientation, _ = metadata.upright(metadata.of_jpeg(image))
        head = segment(APP0, _JFIF) if "jfif" in image.info else b""
    if orientation != 1:
        head += segment(APP1, _exif_of(orientation))
    *_, (_, _, end) = segments(data)
    bare = without_segments(data[:end], {*range(APP0, APP15 + 1), COM} - {APP14})
    start = bytes([0xFF, SOI])
    return start + head + bare[len(start) :]


def _exif_of(orientation):
    """Returns an EXIF block that holds only the orientation."""
    entry = struct.pack(">HHIHH", ORIENTATION, _SHORT, 1, orientation, 0)
    header = struct.pack(">2sHIH", b"MM", 42, 8, 1)
    return metadata.EXIF_LABEL + header + entry + bytes(4)
