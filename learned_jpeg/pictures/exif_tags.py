"""Makes an EXIF block of the tags of a TIFF or raw file.

Most tags of such a file describe its own layout. Those that describe the photograph,
and the directories of EXIF and GPS, become a block of their own, byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from learned_jpeg.jpeg.segments import MAX_PAYLOAD
from learned_jpeg.pictures import tiff
from learned_jpeg.pictures.exif import LABEL

# Description, make, model, software, time, artist, copyright.
_KEPT = (270, 271, 272, 305, 306, 315, 33432)
# Maker notes have offsets from the start of the file, sizes are those of its image, and
# the interoperability block describes a file of its own.
_DROPPED = (37500, 40962, 40963, 40965)
_GPS_IFD = 34853
_LONG = 4  # a type of TIFF


class _Tag(NamedTuple):
    """One tag: its number, type and count, and the bytes of its value."""

    tag: int
    kind: int
    count: int
    content: bytes


def exif_of_tags(block: tiff.Block) -> bytes | None:
    """Returns an EXIF block, with its label, of what describes the photograph.

    Args:
      block: the bytes of a file that is built as TIFF.

    Returns:
      The block, or None if there is nothing of that.
    """
    first = tiff.first_directory(block)
    if first is None:
        return None
    layout, offset = first
    main = _small(_tags(block, layout, offset, lambda tag: tag in _KEPT))
    others: dict[int, list[_Tag]] = {}
    for pointer in (tiff.EXIF_IFD, _GPS_IFD):
        for inner in tiff.numbers_of(block, layout, offset, pointer)[:1]:
            found = _small(_tags(block, layout, inner, lambda tag: tag not in _DROPPED))
            if found:
                others[pointer] = found
    return LABEL + _written(layout.order, main, others) if main or others else None


def _small(tags: Iterator[_Tag]) -> list[_Tag]:
    """Returns the tags without those that have no room in a JPEG file.

    A damaged directory may name the whole file again and again.
    """
    kept, size = [], 0
    for tag in tags:
        if size + len(tag.content) <= MAX_PAYLOAD:
            kept.append(tag)
            size += len(tag.content)
    return kept


def tag_content(block: tiff.Block, tag: int) -> bytes | None:
    """Returns the bytes of a tag of the first directory, or None."""
    first = tiff.first_directory(block)
    found = first and next(_tags(block, *first, lambda own: own == tag), None)
    return found.content if found else None


def _tags(
    block: tiff.Block, layout: tiff.Layout, offset: int, is_kept: Callable[[int], bool]
) -> Iterator[_Tag]:
    """Yields the undamaged tags of a directory that are to be kept."""
    for entry in tiff.directory(block, layout, offset)[0]:
        size = entry.count * tiff.SIZES.get(entry.kind, 0)
        end = entry.position + size
        # Types of BigTIFF have no place in EXIF.
        if is_kept(entry.tag) and entry.kind < 14 and size > 0 and end <= len(block):
            content = bytes(block[entry.position : end])
            yield _Tag(entry.tag, entry.kind, entry.count, content)


def _written(order: str, main: list[_Tag], others: dict[int, list[_Tag]]) -> bytes:
    """Returns a block from its TIFF header on, without its label."""
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)

    def with_pointers(places: dict[int, int]) -> bytes:
        pointers = [
            _Tag(tag, _LONG, 1, struct.pack(f"{order}I", place))
            for tag, place in places.items()
        ]
        return _directory(order, main + pointers, len(header))

    place = len(header) + len(with_pointers(dict.fromkeys(others, 0)))
    places, written = {}, []
    for pointer, tags in others.items():
        places[pointer] = place
        written.append(_directory(order, tags, place))
        place += len(written[-1])
    return b"".join([header, with_pointers(places), *written])


def _directory(order: str, tags: list[_Tag], at: int) -> bytes:
    """Returns a directory that stands at a place, with what it refers to."""
    behind = at + 2 + 12 * len(tags) + 4
    entries, data = b"", b""
    for tag, kind, count, content in sorted(tags):
        field = content.ljust(4, b"\0")
        if len(content) > 4:
            field = struct.pack(f"{order}I", behind + len(data))
            data += content + bytes(len(content) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, count) + field
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + data
