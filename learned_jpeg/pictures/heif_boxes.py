"""Reads the boxes of HEIF and AVIF files (ISO/IEC 14496-12, 23008-12; AVIF 1.1).

The boxes tell what the decoders do not: the codec, the numbers of the colours, the
metadata byte for byte, and what else is in the file. Boxes that are damaged are left
out; if they matter, the decoders refuse the file.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import Image

from learned_jpeg.pictures.colour import Cicp

_BRANDS = frozenset(
    (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm")
    + (b"hevs", b"mif1", b"mif2", b"mif3", b"msf1", b"miaf")
)
_AV1_BRANDS = frozenset((b"avif", b"avis"))
_HEAD = 256  # bytes of a file that hold its brands
_AV1, _HEVC, _GRID = b"av01", b"hvc1", b"grid"  # types of items
_GAIN_MAP = b"tmap"  # type of an item, ISO 21496-1
_EXIF = b"Exif"
_VIDEO = b"mpvd"  # the box of a motion photo
_XMP_TYPE = b"application/rdf+xml"
_ICC_TYPES = (b"prof", b"rICC")
_APPLE_GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"
_ALPHA = (b"auxid:1", b"auxiliary:alpha")  # ends of the names of auxiliary images
_DEPTH = (b"auxid:2", b"auxiliary:depth")
_UNSPECIFIED, _SRGB_PRIMARIES, _SRGB_TRANSFER = 2, 1, 13  # of H.273
_MAX_PLACES = 20_000  # of all items together
_MAX_COUNT = 20_000  # boxes of a level, or items; a file with more is damaged

_ROTATIONS = {
    1: Image.Transpose.ROTATE_90,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_270,
}
_MIRRORS = {0: Image.Transpose.FLIP_TOP_BOTTOM, 1: Image.Transpose.FLIP_LEFT_RIGHT}


class Box(NamedTuple):
    """One box: its type, and where its content lies in the file."""

    kind: bytes
    start: int
    end: int


class _Item(NamedTuple):
    """One item: its type, its MIME type or b"", and the place of its type."""

    kind: bytes
    mime_type: bytes
    kind_at: int


def brands(head: bytes) -> frozenset[bytes]:
    """Returns the brands of a file by its first bytes; none for other files."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset((head[8:12], *(head[at : at + 4] for at in range(16, end, 4))))


def is_heif(head: bytes) -> bool:
    """Returns whether the first bytes of a file are those of HEIF or AVIF."""
    return not _BRANDS.isdisjoint(brands(head))


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yields the boxes between two places of a file, up to the first damaged one."""
    for _ in range(_MAX_COUNT):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            if content + 8 > end:
                return
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        following = start + size if size else end
        if not content <= following <= end:
            return
        yield Box(kind, content, following)
        start = following


class HeifBoxes:
    """The properties of the primary image by the boxes of a HEIF or AVIF file.

    Attributes:
      data: bytes of the file.
      is_av1: whether it is coded by AV1, else by HEVC or another codec.
      size: (width, height) in px, before it is turned; (0, 0) if it is not there.
      turns: what turns the decoded pixels upright, in this order.
      cicp: the numbers of the colours of the decoded pixels, or None.
      icc_profile: bytes of the ICC profile, or None.
      exif: the EXIF block from its TIFF header on, or None.
      xmp: the XMP packet, or None.
      lost: kinds of further images and of a video in the file.
    """

    def __init__(self, data: bytes):
        """Reads the boxes of a file."""
        self.data = data
        self._primary = 0
        self._items: dict[int, _Item] = {}
        self._places: dict[int, list[tuple[int, int]]] = {}
        self._properties: list[Box] = []
        self._indices: dict[int, list[int]] = {}
        self._content = Box(b"idat", 0, 0)  # of items that lie in the meta box
        top = list(boxes(data, 0, len(data)))
        for meta in (box for box in top if box.kind == b"meta"):
            self._read_meta(meta)
        self.is_av1 = self._is_av1()
        self.size = self._size()
        self.turns = tuple(self._turns())
        self.cicp, self.icc_profile = self._colours()
        self.exif, self.xmp = self._exif(), self._first_item(self._is_xmp)
        self.lost = self._lost()
        if any(box.kind == _VIDEO for box in top):
            self.lost += ("video (motion photo)",)

    # Reading

    def _read_meta(self, meta: Box) -> None:
        inner = {b.kind: b for b in boxes(self.data, meta.start + 4, meta.end)}
        self._content = inner.get(b"idat", self._content)
        readers: dict[bytes, Callable[[Box], None]] = {
            b"pitm": self._read_primary,
            b"iinf": self._read_items,
            b"iloc": self._read_places,
            b"iprp": self._read_properties,
        }
        for kind, read in readers.items():
            with contextlib.suppress(struct.error, IndexError):
                if kind in inner:
                    read(inner[kind])

    def _read_primary(self, box: Box) -> None:
        self._primary = self._number(box.start + 4, 4 if self._version(box) else 2)

    def _read_items(self, box: Box) -> None:
        start = box.start + 4 + (4 if self._version(box) else 2)
        for entry in boxes(self.data, start, box.end):
            version = self._version(entry)
            if entry.kind == b"infe" and version >= 2:
                width = 4 if version > 2 else 2
                at = entry.start + 4 + width + 2  # a protection index comes between
                kind = self.data[at : at + 4]
                # The name, and for the type `mime` the MIME type.
                texts = self.data[at + 4 : entry.end].split(b"\0")
                mime_type = texts[1] if kind == b"mime" and len(texts) > 1 else b""
                item = _Item(kind, mime_type, at)
                self._items[self._number(entry.start + 4, width)] = item

    def _read_places(self, box: Box) -> None:
        version, at = self._version(box), box.start + 4
        sizes, at = self._number(at, 2), at + 2
        offset_size, length_size, base_size, index_size = (
            sizes >> shift & 15 for shift in (12, 8, 4, 0)
        )
        index_size = index_size if version else 0
        id_size = 4 if version > 1 else 2
        count, at = self._number(at, id_size), at + id_size
        count_of_places = 0
        for _ in range(min(count, _MAX_COUNT)):
            item, at = self._number(at, id_size), at + id_size
            method = 0
            if version:
                method, at = self._number(at, 2) & 15, at + 2
            at += 2  # which file
            base, at = self._number(at, base_size), at + base_size
            extents, at = self._number(at, 2), at + 2
            # Other methods than these two are for parts of other items.
            start = base + (self._content.start if method == 1 else 0)
            for _ in range(extents):
                at += index_size
                offset, at = self._number(at, offset_size), at + offset_size
                length, at = self._number(at, length_size), at + length_size
                if at > box.end or count_of_places == _MAX_PLACES:
                    return
                count_of_places += 1
                if method <= 1:
                    places = self._places.setdefault(item, [])
                    places.append((start + offset, start + offset + length))

    def _read_properties(self, box: Box) -> None:
        for inner in boxes(self.data, box.start, box.end):
            if inner.kind == b"ipco":
                self._properties = list(boxes(self.data, inner.start, inner.end))
            elif inner.kind == b"ipma":
                self._read_associations(inner)

    def _read_associations(self, box: Box) -> None:
        id_size = 4 if self._version(box) else 2
        index_size = 2 if self.data[box.start + 3] & 1 else 1
        essential = 1 << (8 * index_size - 1)  # a flag beside the index
        count, at = self._number(box.start + 4, 4), box.start + 8
        for _ in range(min(count, _MAX_COUNT)):
            item, at = self._number(at, id_size), at + id_size
            end = at + 1 + self.data[at] * index_size
            places = range(at + 1, end, index_size)
            found = [self._number(place, index_size) & ~essential for place in places]
            self._indices.setdefault(item, []).extend(found)
            at = end

    def _version(self, box: Box) -> int:
        return self.data[box.start]

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], "big")

    # Meaning

    def _properties_of(self, item: int) -> list[Box]:
        count = len(self._properties)
        indices = self._indices.get(item, ())
        return [self._properties[index - 1] for index in indices if 0 < index <= count]

    def _kinds(self) -> set[bytes]:
        return {item.kind for item in self._items.values()}

    def _kind(self) -> bytes:
        """Returns the type of the primary image."""
        item = self._items.get(self._primary)
        return item.kind if item else b""

    def _is_av1(self) -> bool:
        kind = self._kind()
        if kind in (_AV1, _HEVC):
            return kind == _AV1
        if self._items:  # a grid or overlay of others
            return _AV1 in self._kinds()
        return not _AV1_BRANDS.isdisjoint(brands(self.data[:_HEAD]))

    def _size(self) -> tuple[int, int]:
        for box in self._properties_of(self._primary):
            if box.kind == b"ispe":
                return self._number(box.start + 4, 4), self._number(box.start + 8, 4)
        return 0, 0

    def _turns(self) -> Iterator[Image.Transpose]:
        for box in self._properties_of(self._primary):
            value = self._number(box.start, 1) if box.end > box.start else 0
            if box.kind == b"irot" and value & 3:
                yield _ROTATIONS[value & 3]
            elif box.kind == b"imir":
                yield _MIRRORS[value & 1]

    def _colours(self) -> tuple[Cicp | None, bytes | None]:
        """Returns the numbers and the profile of the image, or else of its tiles."""
        items = [self._primary]
        if self._kind() == _GRID:
            items += [own for own, item in self._items.items() if item.kind != _GRID]
        cicp, profile = None, None
        for box in (box for item in items for box in self._properties_of(item)):
            if box.kind != b"colr":
                continue
            kind, content = self.data[box.start : box.start + 4], box.start + 4
            if kind == b"nclx" and cicp is None and box.end - content >= 6:
                primaries, transfer = struct.unpack_from(">HH", self.data, content)
                cicp = Cicp(
                    _SRGB_PRIMARIES if primaries == _UNSPECIFIED else primaries,
                    _SRGB_TRANSFER if transfer == _UNSPECIFIED else transfer,
                    0,  # the decoder applies the matrix and the range
                    1,
                )
            elif kind in _ICC_TYPES and profile is None:
                profile = self.data[content : box.end] or None
        return cicp, profile

    def _exif(self) -> bytes | None:
        block = self._first_item(lambda item: item.kind == _EXIF)
        if block is None or len(block) < 4:
            return None
        return block[4 + int.from_bytes(block[:4], "big") :]

    @staticmethod
    def _is_xmp(item: _Item) -> bool:
        return item.mime_type == _XMP_TYPE

    def without_exif(self) -> bytes:
        """Returns the file with other names for its EXIF blocks.

        Pillow would refuse the image for a damaged one.
        """
        data = bytearray(self.data)
        for item in self._items.values():
            if item.kind == _EXIF:
                data[item.kind_at : item.kind_at + 4] = b"skip"
        return bytes(data)

    def _first_item(self, is_wanted: Callable[[_Item], bool]) -> bytes | None:
        """Returns the content of the first item of a kind, or None."""
        for number, item in self._items.items():
            if is_wanted(item):
                places = self._places.get(number, ())
                if sum(end - start for start, end in places) > len(self.data):
                    return None
                return b"".join(self.data[start:end] for start, end in places) or None
        return None

    def _lost(self) -> tuple[str, ...]:
        """Returns the kinds of images other than the primary one and previews."""
        names = [
            self.data[box.start + 4 : box.end].partition(b"\0")[0]
            for box in self._properties
            if box.kind == b"auxC"
        ]
        found = [_name_of_auxiliary(name) for name in names]
        if _GAIN_MAP in self._kinds():
            found.append("gain map (HDR)")
        return tuple(dict.fromkeys(name for name in found if name))


def _name_of_auxiliary(name: bytes) -> str | None:
    """Returns what an auxiliary image is; None for transparency, which is not lost."""
    if name.endswith(_ALPHA):
        return None
    if name.endswith(_DEPTH):
        return "depth map"
    return "gain map (HDR)" if name == _APPLE_GAIN_MAP else "auxiliary image"
