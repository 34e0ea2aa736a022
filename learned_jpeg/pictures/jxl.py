"""Reads JPEG XL files (ISO/IEC 18181-1 and -2): header here, pixels by libjxl.

libjxl decodes a whole file at once. So the size and the orientation are read from the
header of the codestream before that.
"""

from __future__ import annotations

import contextlib
import re
from typing import NamedTuple

from PIL import Image

from learned_jpeg.common.paths import PathLike
from learned_jpeg.pictures import tiff
from learned_jpeg.pictures.colour import Cicp
from learned_jpeg.pictures.extras import needs_extra
from learned_jpeg.pictures.heif_boxes import boxes
from learned_jpeg.pictures.metadata import TURNED_BY_90

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEADER = 64  # bytes of a codestream that hold its header
_SIDE = (9, 13, 18, 30)  # bits of a height or width
_PREVIEW_SIDE, _PREVIEW_BLOCKS = (6, 8, 10, 12), (0, 0, 5, 9)
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4)}
_RATIOS |= {7: (2, 1)}  # width to height
_CICP_TAG = re.compile(rb"cicp\0{4}(.{4})", re.DOTALL)  # of ICC.1:2022
_GRAY_HDR_NAMES = {"_PeQ".encode("utf-16-be"): 16, "_HLG".encode("utf-16-be"): 18}
_MAX_TEXT = 1 << 26  # bytes of a packed box once it is unpacked
_STEP = 4096  # packed bytes that are unpacked at a time


class Header(NamedTuple):
    """The header of a codestream.

    Attributes:
      size: (width, height) in px, before the image is turned upright.
      orientation: 1..8, as in EXIF.
      is_animated: whether it has frames of an animation.
    """

    size: tuple[int, int]
    orientation: int
    is_animated: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """The (width, height) of the upright image."""
        width, height = self.size
        is_turned = self.orientation in TURNED_BY_90
        return (height, width) if is_turned else (width, height)


def is_jxl(head: bytes) -> bool:
    """Returns whether the first bytes of a file are those of JPEG XL."""
    return head.startswith((_CODESTREAM, _CONTAINER))


class _Bits:
    """Reads a codestream bit by bit, from the lowest bit of a byte on."""

    def __init__(self, data: bytes):
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Returns the number that the next bits are."""
        if count > self._left:
            raise ValueError("its header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def choice(self, widths: tuple[int, ...]) -> int:
        """Returns a number of as many bits as the next two bits select."""
        return self.read(widths[self.read(2)])


def header(data: bytes) -> Header:
    """Reads the header of a file (18181-1, annex D).

    Raises:
      ValueError: it is cut off.
    """
    bits = _Bits(_start_of_codestream(data))
    size, orientation, is_animated = _size(bits), 1, False
    if not bits.read(1) and bits.read(1):  # not all by default, and extra fields
        orientation = 1 + bits.read(3)
        if bits.read(1):  # intrinsic size
            _size(bits)
        if bits.read(1):
            _skip_preview(bits)
        is_animated = bool(bits.read(1))
    return Header(size, orientation, is_animated)


def _size(bits: _Bits) -> tuple[int, int]:
    """Returns (width, height)."""
    is_small = bits.read(1)

    def side() -> int:
        return 8 * (1 + bits.read(5)) if is_small else 1 + bits.choice(_SIDE)

    height = side()
    ratio = bits.read(3)
    if ratio == 0:
        return side(), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def _skip_preview(bits: _Bits) -> None:
    widths = _PREVIEW_BLOCKS if bits.read(1) else _PREVIEW_SIDE
    bits.choice(widths)
    if bits.read(3) == 0:  # no ratio of the sides
        bits.choice(widths)


def _start_of_codestream(data: bytes) -> bytes:
    """Returns the first bytes of the codestream, behind its signature."""
    if data.startswith(_CODESTREAM):
        return data[len(_CODESTREAM) : _HEADER]
    pieces = []
    for box in boxes(data, 0, len(data)):
        if box.kind in (b"jxlc", b"jxlp"):
            start = box.start + (4 if box.kind == b"jxlp" else 0)  # the part's number
            pieces.append(data[start : min(box.end, start + _HEADER)])
            if sum(map(len, pieces)) >= _HEADER:
                break
    return b"".join(pieces)[len(_CODESTREAM) : _HEADER]


def decode(data: bytes, path: PathLike) -> tuple[Image.Image | bytes, bytes | None]:
    """Decodes a file by libjxl.

    Args:
      data: bytes of the file, whose header was checked.
      path: path of the file, for errors.

    Returns:
      (Pillow image, turned upright, its ICC profile or None). The bytes of a JPEG
      file that was packed without loss stand in place of the image.

    Raises:
      UserError: pillow_jxl is not installed, or the pixels are of an unusual kind.
      Exception: whatever libjxl raises for a damaged file.
    """
    with needs_extra(path, "JPEG XL", "pillow-jxl-plugin", "jxl"):
        from pillow_jxl import Decoder

    is_jpeg, info, pixels, profile, *_ = _without_panic(Decoder(num_threads=1), data)
    if is_jpeg:
        return bytes(pixels), None
    size = (info.width, info.height)
    image = Image.frombytes(info.mode, size, bytes(pixels), "raw", info.mode)
    return image, bytes(profile) if profile else None


def colours(profile: bytes) -> Cicp | None:
    """Returns the numbers of the colours of a profile that libjxl made, or None."""
    if match := _CICP_TAG.search(profile):
        return Cicp(*match[1])
    # The profiles of gray have a name only.
    transfers = (t for name, t in _GRAY_HDR_NAMES.items() if name in profile)
    transfer = next(transfers, None)
    return None if transfer is None else Cicp(1, transfer, 0, 1)


def _without_panic(decoder, data):
    """Decodes; a panic of the library, which is no `Exception`, becomes one."""
    try:
        return decoder(data)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ValueError(str(error)) from None


class Texts(NamedTuple):
    """The metadata of a file.

    Attributes:
      exif: EXIF block, from its TIFF header on, or None.
      xmp: XMP packet, or None.
      unread: names of those that are there and cannot be read.
    """

    exif: bytes | None
    xmp: bytes | None
    unread: tuple[str, ...]


def texts(data: bytes) -> Texts:
    """Reads the metadata of a file (18181-2)."""
    if not data.startswith(_CONTAINER):
        return Texts(None, None, ())
    found: dict[bytes, bytes | None] = {}
    for box in boxes(data, 0, len(data)):
        kind, content = box.kind, data[box.start : box.end]
        if kind == b"brob":
            kind = content[:4]
        if kind in (b"Exif", b"xml "):
            packed = content[4:] if box.kind == b"brob" else None
            found.setdefault(kind, content if packed is None else _unpacked(packed))
    names = {b"Exif": "EXIF", b"xml ": "XMP"}
    unread = tuple(names[kind] for kind, content in found.items() if content is None)
    return Texts(_tiff_block(found.get(b"Exif")), found.get(b"xml "), unread)


def _unpacked(packed: bytes) -> bytes | None:
    """Returns the content of a packed box; None if it is damaged or cannot be read."""
    try:
        import brotli
    except ImportError:
        return None
    decompressor, pieces, length = brotli.Decompressor(), [], 0
    with contextlib.suppress(brotli.error):
        for start in range(0, len(packed), _STEP):
            pieces.append(decompressor.process(packed[start : start + _STEP]))
            length += len(pieces[-1])
            if length > _MAX_TEXT:
                return None
        if decompressor.is_finished():
            return b"".join(pieces)
    return None


def _tiff_block(content: bytes | None) -> bytes | None:
    """Returns an EXIF block from its TIFF header on.

    Some programs leave out the number before it, which tells where it begins.
    """
    if not content or tiff.has_tiff_header(content):
        return content
    return content[4 + int.from_bytes(content[:4], "big") :]
