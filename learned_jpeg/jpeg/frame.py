"""Reads the frame header of a JPEG file, and refuses what libraries cannot decode.

libjpeg's callers trust a header: one decodes lossless JPEG at a reduced scale into a
buffer that is too small, one has room for four components where a header may name 255,
one ends the process. So every file is checked here before any of them sees it.
"""

from __future__ import annotations

import io
from typing import BinaryIO, NamedTuple

from learned_jpeg.jpeg.sampling import with_factors
from learned_jpeg.jpeg.segments import (
    APP0,
    APP14,
    DHP,
    DQT,
    EXP,
    SOF0,
    SOF1,
    SOF2,
    SOF55,
    SOS,
    found_segments,
    header_segments,
)

MAX_SCANS = 500  # what libjpeg-turbo suggests: each one may touch every block

_SOF3, _SOF9, _SOF10, _SOF11 = 0xC3, 0xC9, 0xCA, 0xCB
_HUFFMAN = (SOF0, SOF1, SOF2)
_ARITHMETIC = (_SOF9, _SOF10)
_LOSSLESS = (_SOF3, _SOF11, SOF55)
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, DHP, EXP)
_FRAMES = (*_HUFFMAN, *_ARITHMETIC, *_LOSSLESS, *_HIERARCHICAL)
_MAX_BLOCKS_IN_MCU = 10  # ITU-T T.81, B.2.3
_RGB_NUMBERS = tuple(b"RGB")


class UnsupportedError(ValueError):
    """A JPEG file of a kind that is not read; the text says why and what to do."""


class Component(NamedTuple):
    """A component of a frame.

    Attributes:
      number: by which scans name it.
      h, v: sampling factors, across and down.
      table: number of its quantization table.
    """

    number: int
    h: int
    v: int
    table: int


class Frame(NamedTuple):
    """The frame header of a file that libjpeg decodes.

    Attributes:
      marker: `segments.SOF0` or another one.
      height, width: in px.
      components: `Component` of each, in the order of the file: 1, 3 or 4.
    """

    marker: int
    height: int
    width: int
    components: tuple[Component, ...]

    @property
    def is_huffman_coded(self) -> bool:
        """Whether it is Huffman-coded, which all decoders and encoders know."""
        return self.marker in _HUFFMAN

    @property
    def subsampling(self) -> str:
        """The resolution of chroma, such as "4:2:0", or "gray" or "other"."""
        if len(self.components) == 1:
            return "gray"
        luma, *chroma = self.components[:3]
        ratios = {(luma.v / own.v, luma.h / own.h) for own in chroma}
        return (len(ratios) == 1 and with_factors(*ratios.pop())) or "other"

    @property
    def fits_one_scan(self) -> bool:
        """Whether a scan may interleave all components."""
        blocks = sum(component.h * component.v for component in self.components)
        return len(self.components) == 1 or blocks <= _MAX_BLOCKS_IN_MCU


def read_frame(stream: BinaryIO) -> Frame | None:
    """Reads the frame header of an opened JPEG file; None where there is none.

    The place in the stream is another one afterwards.

    Raises:
      UnsupportedError: JPEG of a kind that is not read.
    """
    stream.seek(0)
    frames = [
        (marker, payload)
        for marker, payload in header_segments(stream)
        if marker in _FRAMES
    ]
    if not frames:
        return None
    for marker, payload in frames:
        _check_kind(marker, payload)
    if len(frames) > 1:
        raise UnsupportedError(
            "damaged JPEG header (more than one frame): replace it by a good copy"
        )
    return _frame(*frames[0])


def check(data: bytes) -> Frame | None:
    """Checks the bytes of a JPEG file as `read_frame` does, and counts its scans.

    Raises:
      UnsupportedError: as `read_frame`, or more than `MAX_SCANS` scans.
    """
    frame = read_frame(io.BytesIO(data))
    scans = sum(marker == SOS for marker, _, _ in found_segments(data))
    if scans > MAX_SCANS:
        raise UnsupportedError(
            f"JPEG of {scans} scans, which takes too long to decode: only "
            f"{MAX_SCANS} are allowed; save it again with fewer"
        )
    return frame


def is_ycbcr(data: bytes) -> bool:
    """Returns whether libjpeg takes three components of a file for YCbCr."""
    frame = read_frame(io.BytesIO(data))
    if frame is None or len(frame.components) != 3:
        return False
    segments = list(header_segments(io.BytesIO(data)))
    if any(m == APP0 and p.startswith(b"JFIF\0") for m, p in segments):
        return True
    for marker, payload in segments:
        if marker == APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
            return payload[11] != 0
    return tuple(component.number for component in frame.components) != _RGB_NUMBERS


def has_one_table_each(data: bytes, frame: Frame) -> bool:
    """Returns whether each component has one quantization table for the whole file."""
    defined: set[int] = set()
    has_begun = False
    for marker, start, end in found_segments(data):
        has_begun = has_begun or marker == SOS
        if marker == DQT:
            if has_begun:
                return False
            defined |= _table_numbers(data[start + 4 : end])
    return all(component.table in defined for component in frame.components)


def _table_numbers(payload: bytes) -> set[int]:
    """Returns the numbers of the quantization tables of a DQT segment."""
    numbers, at = set(), 0
    while at < len(payload):
        precision, number = divmod(payload[at], 16)
        numbers.add(number)
        at += 1 + 64 * (2 if precision else 1)
    return numbers


def _check_kind(marker: int, payload: bytes) -> None:
    if marker in _LOSSLESS:
        raise UnsupportedError("lossless JPEG is not supported: convert it to PNG")
    if marker in _HIERARCHICAL:
        raise UnsupportedError("hierarchical JPEG is not supported: convert it to PNG")
    bits = payload[0] if payload else 8
    if bits != 8:
        raise UnsupportedError(
            f"JPEG of {bits} bits is not supported: convert it to 8 bits"
        )


def _frame(marker: int, payload: bytes) -> Frame:
    """Returns the frame of a header of 8 bits."""
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
        raise UnsupportedError(
            "damaged JPEG header (the length of its frame): replace it by a good copy"
        )
    height, width = (int.from_bytes(payload[at : at + 2], "big") for at in (1, 3))
    components = tuple(
        Component(payload[at], *divmod(payload[at + 1], 16), payload[at + 2])
        for at in range(6, len(payload), 3)
    )
    if 0 in (height, width):
        raise UnsupportedError(
            f"JPEG header of {width}x{height} px, which holds no image: replace it by "
            "a good copy"
        )
    if len(components) not in (1, 3, 4):
        raise UnsupportedError(
            f"JPEG of {len(components)} components is not supported: convert it to "
            "gray or RGB"
        )
    _check_factors(components)
    return Frame(marker, height, width, components)


def _check_factors(components: tuple[Component, ...]) -> None:
    across = max(component.h for component in components)
    down = max(component.v for component in components)
    for component in components:
        h, v = component.h, component.v
        if not (1 <= h <= 4 and 1 <= v <= 4) or across % h or down % v:
            factors = ", ".join(f"{c.h}x{c.v}" for c in components)
            raise UnsupportedError(
                f"JPEG of the sampling factors {factors} is not supported: convert "
                "it to PNG"
            )
