"""Keeps a JPEG input, after the lossless pass, where a lossy one gains too little."""

from __future__ import annotations

import dataclasses
import math
import struct

import numpy as np

from learned_jpeg.jpeg.file import open_jpeg
from learned_jpeg.jpeg.frame import is_ycbcr
from learned_jpeg.jpeg.lossless import optimized
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
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.pictures import entropy, metadata
from learned_jpeg.pictures.tiff import ORIENTATION

_JPEG = b"\xff\xd8\xff"
_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"  # version 1.1, square pixels, no thumbnail
_SHORT = 3  # a type of TIFF


# A lossy result saves at least this part of the bytes.
LEAST_SAVING = 0.03
# The steps of a lossy result are at least so many times those of the input. Integers
# that are quantized again by little more than their own step lose twice the quality
# that their bytes are worth elsewhere, and lose it again at the next call: the steps
# are then 1.05 to 1.55 times those of the first result. docs/compress.md has numbers.
LEAST_COARSENING = 1.75


@dataclasses.dataclass(frozen=True, eq=False)
class Original:
    """A JPEG input after the lossless pass, and how its luma is quantized.

    Attributes:
      data: bytes of the file.
      counts: `[64]`, how many integers of luma are not 0, by their place in a block;
        all 0 where the file has no luma.
      steps: `[64]`, the quantization table of luma.
    """

    data: bytes
    counts: np.ndarray
    steps: np.ndarray

    def reason_not_to_encode(self, quality: int, largest: float | None) -> str | None:
        """Returns in words why the file is what is asked for, or None.

        Args:
          quality: JPEG quality that the file shall look like; 0 for none.
          largest: bytes that the file may have; None where none are named.
        """
        if largest is not None and len(self.data) <= largest:
            return "within the target"
        if quality and self._coarsening(ijg_qtables(quality)[0].ravel()) <= 1:
            return f"quantized no finer than JPEG of quality {quality}"
        return None

    def reason_not_to_write(self, result: bytes, largest: float | None) -> str | None:
        """Returns in words why the file is better than a lossy result, or None.

        Args:
          result: bytes of the result.
          largest: as for `reason_not_to_encode`.
        """
        size = f"ours would be {len(result)}"
        if len(self.data) <= len(result):
            return size
        if largest is not None:
            return None
        if len(result) > (1 - LEAST_SAVING) * len(self.data):
            return f"{size}, which saves too little"
        _, steps = _luma(result)
        if self._coarsening(steps) < LEAST_COARSENING:
            return f"{size}, quantized hardly more coarsely"
        return None

    def _coarsening(self, steps: np.ndarray) -> float:
        """Returns how many times larger other steps are, infinite without luma.

        It is the geometric mean over the integers that are not 0.
        """
        if not self.counts.any():
            return math.inf
        logarithms = np.log(steps) - np.log(self.steps)
        return math.exp(np.dot(self.counts, logarithms) / self.counts.sum())


def read_original(
    path: str, *, strips_metadata: bool, is_optimized: bool
) -> Original | None:
    """Reads a JPEG input, and makes the lossless pass.

    Args:
      path: of the input.
      strips_metadata: whether the metadata, except for the orientation, are left out.
      is_optimized: whether the lossless pass is made, which writes progressive files.

    Returns:
      `Original`; None where the input is no JPEG file, or damaged.
    """
    with open(path, "rb") as file:
        head = file.read(len(_JPEG))
        if head != _JPEG:
            return None
        data = head + file.read()
    try:
        bare = without_metadata(data)
    except ValueError:  # cut off
        return None
    if entropy.problem(bare) is not None:
        return None
    if strips_metadata:
        data = bare
    if is_optimized:
        data = optimized(data)
    return Original(data, *_luma(bare))


def _luma(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the counts and steps of a file, see `Original`."""
    from learned_jpeg.jpeg import libjpeg  # takes a third of a second

    try:
        jpeg = libjpeg.read_dct(data)
    except ValueError:
        return np.zeros(64), np.ones(64)
    counts = np.count_nonzero(jpeg.Y, axis=(0, 1)).ravel()
    if jpeg.num_components != 1 and not is_ycbcr(data):
        counts = np.zeros(64)
    return counts, np.maximum(jpeg.get_component_qt(0).ravel(), 1)


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
