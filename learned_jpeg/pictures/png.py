"""Reads the chunks of a PNG file one by one (PNG, third edition, section 5).

Pillow refuses an image for any chunk that is damaged or large, even if the chunk does
not matter. So Pillow gets only the pixels, and the rest is read here.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import BinaryIO, NamedTuple

from learned_jpeg.pictures.colour import Cicp

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FOR_PIXELS = (b"tRNS",)  # in addition to the critical chunks
_FRAMES = (b"fcTL", b"fdAT")  # frames of an animation after the first one
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_TEXT = 1 << 26  # bytes of a text or profile once it is inflated


class Chunk(NamedTuple):
    """One chunk: its name, and the place of its content in the file."""

    name: bytes
    start: int
    length: int

    @property
    def is_ancillary(self) -> bool:
        """Whether the image can be decoded without the chunk."""
        return bool(self.name[0] & 0x20)


class Chunks:
    """The chunks of an opened PNG file, without its pixels.

    Attributes:
      damaged: names of the ancillary chunks whose checksum is wrong; they are ignored.
    """

    def __init__(self, file: BinaryIO):
        """Reads the heads of all chunks, up to the first one that is cut off."""
        self._file = file
        self._chunks: list[Chunk] = []
        self.damaged: list[str] = []
        size = file.seek(0, io.SEEK_END)
        position = len(SIGNATURE)
        while position + 12 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            chunk = Chunk(name, position + 8, length)
            position += length + 12
            if position > size and chunk.is_ancillary:
                break
            if chunk.is_ancillary and name not in _FRAMES and not self._sound(chunk):
                self.damaged.append(name.decode("latin1"))
            else:
                self._chunks.append(chunk)
            if name == b"IEND":
                break

    def _sound(self, chunk: Chunk) -> bool:
        content = self._content(chunk)
        self._file.seek(chunk.start + chunk.length)
        return zlib.crc32(chunk.name + content) == int.from_bytes(
            self._file.read(4), "big"
        )

    def _content(self, chunk: Chunk) -> bytes:
        self._file.seek(chunk.start)
        return self._file.read(chunk.length)

    def first(self, name: bytes) -> bytes | None:
        """Returns the content of the first undamaged chunk of a name, or None."""
        return next((self._content(c) for c in self._chunks if c.name == name), None)

    def only_pixels(self, headers_only: bool) -> BinaryIO:
        """Returns a PNG file in memory that holds only the pixels, or their header."""
        kept = [SIGNATURE]
        for chunk in self._chunks:
            if chunk.is_ancillary and chunk.name not in _FOR_PIXELS:
                continue
            if chunk.name == b"IDAT" and headers_only:
                kept.append(struct.pack(">I", chunk.length) + chunk.name)
                break
            self._file.seek(chunk.start - 8)
            kept.append(self._file.read(chunk.length + 12))
        return io.BytesIO(b"".join(kept))

    def bit_depth(self) -> int:
        """Returns the bits of a sample or palette index; 8 if there is no header."""
        header = self.first(b"IHDR") or b""
        return header[8] if len(header) > 8 else 8

    def is_gray(self) -> bool:
        """Returns whether the image is gray, perhaps with alpha."""
        header = self.first(b"IHDR") or b""
        return len(header) > 9 and header[9] in (0, 4)

    def frame_count(self) -> int:
        """Returns the number of frames of an animation, else 1."""
        control = self.first(b"acTL") or b""
        return int.from_bytes(control[:4], "big") if len(control) == 8 else 1

    def cicp(self) -> Cicp | None:
        """Returns the colours that are named by numbers, or None."""
        content = self.first(b"cICP") or b""
        return Cicp(*content) if len(content) == 4 else None

    def gamma(self) -> float | None:
        """Returns the exponent of gAMA, None where another chunk overrides it."""
        content = self.first(b"gAMA") or b""
        if self.first(b"sRGB") or self.first(b"iCCP") or len(content) != 4:
            return None
        return int.from_bytes(content, "big") / 100_000

    def icc_profile(self) -> bytes | None:
        """Returns the bytes of the ICC profile, or None."""
        _, _, packed = (self.first(b"iCCP") or b"").partition(b"\0")
        return _inflated(packed[1:]) or None

    def density(self) -> tuple[int, int, int] | None:
        """Returns (unit, x, y) as in a JFIF header, or None.

        The unit is 0 for an aspect ratio and 1 for dots per inch.
        """
        content = self.first(b"pHYs") or b""
        if len(content) != 9:
            return None
        x, y, unit = struct.unpack(">IIB", content)
        if unit == 1:  # pixels per metre
            x, y = round(x * 0.0254), round(y * 0.0254)
        return (1 if unit == 1 else 0, x, y)

    def texts(self) -> dict[bytes, bytes]:
        """Returns the bytes of the first text of each keyword."""
        found: dict[bytes, bytes] = {}
        for chunk in self._chunks:
            if chunk.name in _TEXTS:
                keyword, _, rest = self._content(chunk).partition(b"\0")
                found.setdefault(keyword, _text(chunk.name, rest))
        return found


def _text(name: bytes, rest: bytes) -> bytes:
    """Returns the text of a chunk, given what follows its keyword."""
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return _inflated(rest[1:])
    is_packed, content = rest[:1] == b"\1", rest[2:]
    _, _, content = content.partition(b"\0")  # the language
    _, _, content = content.partition(b"\0")  # the translated keyword
    return _inflated(content) if is_packed else content


def _inflated(data: bytes) -> bytes:
    """Returns the inflated bytes; b"" if they are damaged or too many."""
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(data, _MAX_TEXT)
    except zlib.error:
        return b""
    return content if inflater.eof else b""


def raw_profile(text: bytes) -> bytes:
    """Returns the bytes of ImageMagick's "Raw profile": name, length, hex digits."""
    match = re.match(rb"\n\S+\n\s*\d+\n([0-9a-fA-F\s]*)$", text)
    digits = b"".join(match[1].split()) if match else b""
    return bytes.fromhex(digits.decode()) if len(digits) % 2 == 0 else b""
