"""Reads the structure of TIFF files and EXIF blocks (TIFF 6.0; BigTIFF).

Pillow reads the pixels of TIFF files. This module finds out what Pillow does not tell:
whether the first directory is the preview of a raw file, how many pages there are, and
where a tag stands. A damaged entry does not affect the others.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from mmap import mmap
from typing import Any, NamedTuple, cast

from PIL.TiffImagePlugin import TiffImageFile

from learned_jpeg.common.paths import PathLike
from learned_jpeg.pictures.pixels import GrayScale

Block = bytes | bytearray | mmap  # the bytes of a file

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT = 254, 255, 256, 257
BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, PLANAR_CONFIGURATION = 258, 259, 262, 284
MAKE, ORIENTATION, X_RESOLUTION, Y_RESOLUTION = 271, 274, 282, 283
EXIF_IFD, GPS_IFD, MAKER_NOTE = 34665, 34853, 37500
PIXEL_X_DIMENSION, PIXEL_Y_DIMENSION, INTEROPERABILITY_IFD = 40962, 40963, 40965
RESOLUTION_UNIT, SUB_IFDS, SAMPLE_FORMAT, XMP = 296, 330, 339, 700
CFA_REPEAT_DIM, CFA_PATTERN, PHOTOSHOP, DNG_VERSION = 33421, 33422, 34377, 50706

INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
SIZES |= {13: 4, 16: 8, 17: 8, 18: 8}
_THUMBNAIL = 513, 514  # offset and bytes of a JPEG thumbnail
_MAX_ENTRIES = 4096  # a directory with more is damaged
_MAX_NUMBERS = 256  # of an entry, for more are not used; many entries may share them
_MAX_PAGES = 10_000

_JPEG = (6, 7)  # values of COMPRESSION
_RAW_PHOTOMETRICS = (32803, 34892)  # color filter array, linear raw
_RAW_SUFFIXES = (".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".fff", ".iiq")
_RAW_SUFFIXES += (".kdc", ".mef", ".mos", ".nef", ".nrw", ".orf", ".pef", ".raf")
_RAW_SUFFIXES += (".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw")
# Raw files with their own header: Olympus, Panasonic, Fujifilm, Sigma, Minolta; and
# Canon's older ones, behind the byte order and an offset.
_RAW_HEADERS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb")
_RAW_HEADERS += (b"\0MRM",)
_CANON_HEADER = b"HEAPCCDR"


class Entry(NamedTuple):
    """One tag of a directory.

    Attributes:
      tag: its number.
      numbers: its values if they are whole numbers and lie in the file, else ().
      position: place of the first value in the file.
      kind: the TIFF type.
      count: number of values of this type.
    """

    tag: int
    numbers: tuple[int, ...]
    position: int
    kind: int
    count: int


class Layout(NamedTuple):
    """The layout of a file.

    Attributes:
      order: byte order, "<" or ">".
      is_big: whether offsets have 8 bytes, as in BigTIFF.
    """

    order: str
    is_big: bool


def first_directory(block: Block) -> tuple[Layout, int] | None:
    """Returns the layout of a file and the offset of its first directory.

    None if the block has no TIFF header.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if order is None or len(block) < 16:
        return None
    magic, offset = struct.unpack_from(f"{order}HI", block, 2)
    if magic == 43:
        return Layout(order, True), struct.unpack_from(f"{order}Q", block, 8)[0]
    return (Layout(order, False), offset) if magic == 42 else None


def has_tiff_header(head: bytes) -> bool:
    """Returns whether the first bytes of a file are a TIFF header."""
    return first_directory(head) is not None


def directory(block: Block, layout: Layout, offset: int) -> tuple[list[Entry], int]:
    """Reads one directory as far as it lies in the file.

    Args:
      block: the bytes of a file, from the TIFF header on.
      layout, offset: as `first_directory` returns them.

    Returns:
      (entries, offset of the next directory or 0).
    """
    count_code, size = ("Q", 20) if layout.is_big else ("H", 12)
    start = offset + struct.calcsize(f"={count_code}")
    if offset < 8 or start > len(block):
        return [], 0
    (count,) = struct.unpack_from(layout.order + count_code, block, offset)
    if count > _MAX_ENTRIES:
        return [], 0
    inside = min(count, (len(block) - start) // size)
    found = [_entry(block, layout, start + index * size) for index in range(inside)]
    end = start + count * size
    next_code, width = ("Q", 8) if layout.is_big else ("I", 4)
    if end + width > len(block):
        return found, 0
    return found, struct.unpack_from(layout.order + next_code, block, end)[0]


def _entry(block: Block, layout: Layout, position: int) -> Entry:
    word, width = ("Q", 8) if layout.is_big else ("I", 4)
    tag, kind, count = struct.unpack_from(f"{layout.order}HH{word}", block, position)
    value_at = position + 4 + width
    if count * SIZES.get(kind, 1) > width:
        (value_at,) = struct.unpack_from(layout.order + word, block, value_at)
    numbers = ()
    if kind in INTEGERS and 0 < count <= _MAX_NUMBERS:
        code = f"{layout.order}{count}{INTEGERS[kind]}"
        if value_at + struct.calcsize(code) <= len(block):
            numbers = struct.unpack_from(code, block, value_at)
    return Entry(tag, numbers, value_at, kind, count)


def numbers_of(block: Block, layout: Layout, offset: int, tag: int) -> tuple[int, ...]:
    """Returns the whole numbers of a tag of a directory, () where there are none."""
    entries, _ = directory(block, layout, offset)
    return next((entry.numbers for entry in entries if entry.tag == tag), ())


def set_number(block: bytearray, layout: Layout, entry: Entry, number: int) -> None:
    """Writes the first whole number of a tag, if its type has room for it."""
    code = layout.order + INTEGERS[entry.kind]
    if number < 1 << 8 * struct.calcsize(code):
        struct.pack_into(code, block, entry.position, number)


def drop_thumbnail(block: bytearray, layout: Layout, offset: int) -> None:
    """Makes the first directory of an EXIF block the last one.

    The thumbnail that the next one names is cut off, or overwritten where something
    else follows it.
    """
    _, link = directory(block, layout, offset)
    if not link or layout.is_big:
        return
    (count,) = struct.unpack_from(f"{layout.order}H", block, offset)
    struct.pack_into(f"{layout.order}I", block, offset + 2 + 12 * count, 0)
    tags = _numbers_by_tag(directory(block, layout, link)[0])
    start, size = (tags.get(tag, (0,))[0] for tag in _THUMBNAIL)
    end = start + size
    if not 8 < start < end <= len(block) or block[start : start + 2] != b"\xff\xd8":
        return
    if any(start <= place < end for place in _places(block, layout, offset)):
        return
    block[start:end] = bytes(size) if end < len(block) else b""


def _places(block: Block, layout: Layout, offset: int) -> list[int]:
    """Returns where an EXIF block has directories and values, not thumbnails."""
    places, directories = [], [offset]
    for tag in (EXIF_IFD, GPS_IFD):
        directories += numbers_of(block, layout, offset, tag)[:1]
    for place in list(directories[1:]):
        directories += numbers_of(block, layout, place, INTEROPERABILITY_IFD)[:1]
    for place in directories:
        places += [place, *(e.position for e in directory(block, layout, place)[0])]
    return places


def is_raw(block: Block, path: PathLike) -> bool:
    """Returns whether a file is a camera's raw file, whose first image is a preview.

    Args:
      block: the bytes of the file.
      path: path of the file; a TIFF file with the suffix of a raw file is one.
    """
    head = bytes(block[:16])
    if head.startswith(_RAW_HEADERS) or head[4:12] == b"ftypcrx ":
        return True
    if head[6:14] == _CANON_HEADER:
        return True
    first = first_directory(block)
    if first is None:
        return False
    if block[8:10] == b"CR" or os.path.splitext(path)[1].lower() in _RAW_SUFFIXES:
        return True
    layout, offset = first
    tags = _numbers_by_tag(directory(block, layout, offset)[0])
    inner = [
        _numbers_by_tag(directory(block, layout, offset)[0])
        for offset in tags.get(SUB_IFDS, ())[:16]
    ]
    is_of_camera = MAKE in tags and (CFA_PATTERN in tags or CFA_REPEAT_DIM in tags)
    if DNG_VERSION in tags or is_of_camera:
        return True
    if any(t.get(PHOTOMETRIC, (0,))[0] in _RAW_PHOTOMETRICS for t in (tags, *inner)):
        return True
    is_preview = tags.get(NEW_SUBFILE_TYPE, (0,))[0] & 1
    return bool(is_preview) and any(_area(t) > _area(tags) for t in inner)


def _numbers_by_tag(entries: list[Entry]) -> dict[int, tuple[int, ...]]:
    """Returns the whole numbers of the first entry of each tag."""
    found: dict[int, tuple[int, ...]] = {}
    for entry in entries:
        found.setdefault(entry.tag, entry.numbers or (0,))
    return found


def _area(tags: dict[int, tuple[int, ...]]) -> int:
    return tags.get(WIDTH, (0,))[0] * tags.get(HEIGHT, (0,))[0]


def page_count(block: Block) -> int:
    """Returns the number of pages of a TIFF file, without previews and masks."""
    first = first_directory(block)
    if first is None:
        return 0
    layout, offset = first
    seen: set[int] = set()
    pages = 0
    while offset and offset not in seen and len(seen) < _MAX_PAGES:
        seen.add(offset)
        entries, offset = directory(block, layout, offset)
        tags = _numbers_by_tag(entries)
        is_other = tags.get(NEW_SUBFILE_TYPE, (0,))[0] & 5  # 1: preview, 4: mask
        pages += not is_other and tags.get(SUBFILE_TYPE, (0,))[0] != 2
    return pages


# Pixels that Pillow misreads, or refuses without saying why


def prepare(image: TiffImageFile) -> None:
    """Corrects how Pillow will decode an opened TIFF image.

    Pillow would take uncompressed planes of 16 bits for planes of 8 bits.
    """
    tags = image.tag_v2
    is_planar = tags.get(PLANAR_CONFIGURATION, 1) == 2
    if is_planar and not image.use_load_libtiff and 16 in tags.get(BITS_PER_SAMPLE, ()):
        order = "L" if tags.prefix == b"II" else "B"
        tiles = [(tile, cast(tuple, tile.args)) for tile in image.tile]
        image.tile = [
            tile._replace(args=(f"{mode};16{order}", *others))
            for tile, (mode, *others) in tiles
        ]


def refusal(tags: Mapping[int, Any]) -> str | None:
    """Returns why the pixels of an opened TIFF file cannot be read, or None.

    Args:
      tags: `tag_v2` of a Pillow image.
    """
    is_signed = 2 in _tuple(tags.get(SAMPLE_FORMAT, 1))
    if is_signed and max(_tuple(tags.get(BITS_PER_SAMPLE, 1))) <= 16:
        return "holds signed pixels: convert it to unsigned 8 or 16 bits"
    if tags.get(PHOTOMETRIC) == 6 and tags.get(COMPRESSION, 1) not in _JPEG:
        return "holds YCbCr pixels that are not JPEG: convert it to RGB"
    return None


def describe(block: Block) -> str | None:
    """Returns what kind of pixels a TIFF file holds that Pillow has no mode for.

    None for a file without a first page.
    """
    first = first_directory(block)
    if first is None:
        return None
    layout, offset = first
    tags = _numbers_by_tag(directory(block, layout, offset)[0])
    if WIDTH not in tags:
        return None
    bits = "+".join(str(n) for n in tags.get(BITS_PER_SAMPLE, (1,))[:8])
    return (
        f"holds pixels of {bits} bits (photometric interpretation "
        f"{tags.get(PHOTOMETRIC, (0,))[0]}), which cannot be read: convert it to gray "
        "or RGB of 8 or 16 bits"
    )


def gray_scale(tags: Mapping[int, Any]) -> GrayScale:
    """Returns what gray of more than 8 bits means, by the tags of a Pillow image.

    Gray of up to 8 bits is scaled and inverted by Pillow.
    """
    bits = max(_tuple(tags.get(BITS_PER_SAMPLE, 16)))
    return GrayScale(2 ** min(bits, 16) - 1, tags.get(PHOTOMETRIC, 1) == 0)


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
