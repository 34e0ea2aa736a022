"""Reads and writes the index of a file of several JPEG images (CIPA DC-007, MPF)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from learned_jpeg.pictures import tiff

LABEL = b"MPF\0"  # of the segment, before the header that offsets count from

_VERSION, _NUMBER_OF_IMAGES, _ENTRIES = 0xB000, 0xB001, 0xB002
_LONG, _UNDEFINED = 4, 7  # types of TIFF
_ENTRY = struct.Struct(">IIIHH")  # attributes, bytes, offset, two dependent images
_MAX_IMAGES = 16  # that are looked at; cameras write two or three
_PRIMARY = 0x030000  # attributes of a baseline primary image
_HEAD = struct.Struct(">4s2sHI H HHI4s HHII HHII I")  # up to the entries


class Image(NamedTuple):
    """An image of an index.

    Attributes:
      start, end: where its bytes stand in the file; the first image starts at 0.
      attributes: its flags and type.
    """

    start: int
    end: int
    attributes: int


def read(payload: bytes, position: int) -> list[Image]:
    """Reads the images of an index, as far as it is whole.

    Args:
      payload: of the segment, with its label.
      position: of the payload in the file.
    """
    block = payload[len(LABEL) :]
    first = tiff.first_directory(block)
    if first is None:
        return []
    layout, offset = first
    entries, _ = tiff.directory(block, layout, offset)
    (count,) = tiff.numbers_of(block, layout, offset, _NUMBER_OF_IMAGES)[:1] or (0,)
    found = next((entry for entry in entries if entry.tag == _ENTRIES), None)
    if found is None:
        return []
    inside = max(len(block) - found.position, 0) // _ENTRY.size
    images = []
    for index in range(min(count, inside, _MAX_IMAGES)):
        at = found.position + index * _ENTRY.size
        code = layout.order + _ENTRY.format[1:]
        attributes, size, start, *_ = struct.unpack_from(code, block, at)
        start += position + len(LABEL) if start else 0
        images.append(Image(start, start + size, attributes))
    return images


def payload_size(count: int) -> int:
    """Returns the bytes of the payload of an index of so many images."""
    return _HEAD.size + _ENTRY.size * count


def payload_of(images: list[Image], position: int) -> bytes:
    """Returns the payload of the segment of an index.

    Args:
      images: the first one starts at 0. Their attributes are written as they are; the
        first one is a primary image where it has none.
      position: of the payload in the file.
    """
    size = _ENTRY.size * len(images)
    head = _HEAD.pack(
        *(LABEL, b"MM", 42, 8),
        3,
        *(_VERSION, _UNDEFINED, 4, b"0100"),
        *(_NUMBER_OF_IMAGES, _LONG, 1, len(images)),
        *(_ENTRIES, _UNDEFINED, size, _HEAD.size - len(LABEL)),
        0,
    )
    entries = b""
    for number, image in enumerate(images):
        attributes = image.attributes or (0 if number else _PRIMARY)
        offset = image.start - position - len(LABEL) if number else 0
        entries += _ENTRY.pack(attributes, image.end - image.start, offset, 0, 0)
    return head + entries
