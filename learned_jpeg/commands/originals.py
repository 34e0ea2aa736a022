"""Keeps a JPEG input, after the lossless pass, where a lossy one gains too little."""

from __future__ import annotations

import dataclasses
import math
import struct

import numpy as np

from learned_jpeg.commands.keeping import KEEP_ALL, LOOK, NONE, Keeping
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
from learned_jpeg.pictures import apple, containers, entropy, metadata
from learned_jpeg.pictures.containers import Behind
from learned_jpeg.pictures.metadata import Metadata
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
      behind: how many of them stand behind the image: a gain map, a video or others.
      counts: `[64]`, how many integers of luma are not 0, by their place in a block;
        all 0 where the file has no luma.
      steps: `[64]`, the quantization table of luma.
      lost: notes to the user on what stood behind the image and is left out.
    """

    data: bytes
    behind: int
    counts: np.ndarray
    steps: np.ndarray
    lost: tuple[str, ...] = ()

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

    def reason_not_to_write(
        self, result: bytes, largest: float | None, behind: int = 0
    ) -> str | None:
        """Returns in words why the file is better than a lossy result, or None.

        Args:
          result: bytes of the result.
          largest: as for `reason_not_to_encode`.
          behind: how many bytes of the result stand behind its image. Only the images
            are compared, since the others have nothing to do with their quality.
        """
        size = f"ours would be {len(result)}"
        own, others = len(self.data) - self.behind, len(result) - behind
        if own <= others:
            return size
        if largest is not None:
            return None
        if others > (1 - LEAST_SAVING) * own:
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
    path: str, *, keeping: Keeping, is_optimized: bool
) -> Original | None:
    """Reads a JPEG input, and makes the lossless pass.

    Args:
      path: of the input.
      keeping: what of its metadata is kept; the orientation always is.
      is_optimized: whether the lossless pass is made, which writes progressive files.

    Returns:
      `Original`; None where the input is no JPEG file, or damaged.
    """
    with open(path, "rb") as file:
        head = file.read(len(_JPEG))
        if head != _JPEG:
            return None
        data = head + file.read()
    return original_of(data, keeping=keeping, is_optimized=is_optimized)


def original_of(
    data: bytes, *, keeping: Keeping = KEEP_ALL, is_optimized: bool = False
) -> Original | None:
    """Returns the `Original` of the bytes of a JPEG file, see `read_original`."""
    try:
        bare = without_metadata(data)
    except ValueError:  # cut off
        return None
    if entropy.problem(bare) is not None:
        return None
    behind = containers.read(data)
    result, lost = _kept_without_loss(data, bare, behind, keeping, is_optimized)
    size_behind = len(result) - (containers.read(result).end or len(result))
    return Original(result, size_behind, *_luma(bare), lost)


def _kept_without_loss(
    data: bytes, bare: bytes, behind: Behind, keeping: Keeping, is_optimized: bool
) -> tuple[bytes, tuple[str, ...]]:
    """Returns (a file with the same pixels, notes on what is lost of the input).

    The pixels are not turned, and neither is the gain map.
    """
    shrink = optimized if is_optimized else _unchanged
    if keeping.extent == NONE:
        return shrink(bare), ()
    opened = open_jpeg(data)
    with opened:
        found = metadata.of_jpeg(opened, behind)
    kept = keeping.of(found)
    own_map = kept.gain_map
    if own_map and is_optimized and keeping.gain_map == "keep":
        own_map = own_map.smaller_without_loss()
    if keeping.extent == LOOK:
        bare, kept = _with_orientation(bare, kept, found)
        image = shrink(metadata.inserted(bare, kept))
        return containers.joined(image, own_map, None), ()
    drops_map = behind.gain_map is not None and own_map is None
    is_less = drops_map or kept.video != behind.video
    if not (behind.gain_map or behind.video or is_less):
        return shrink(data), ()
    if behind.lost and not is_less:  # offsets of unknown kinds may point there
        return data, ()
    result = containers.joined(shrink(data[: behind.end]), own_map, kept.video)
    if len(result) >= len(data) and not is_less:
        return data, ()
    return result, behind.lost


def _with_orientation(
    bare: bytes, kept: Metadata, found: Metadata
) -> tuple[bytes, Metadata]:
    """Moves the orientation of a bare file into the EXIF block that is kept, if any."""
    orientation, _ = metadata.upright(found)
    if kept.exif and orientation != 1:
        bare = bare.replace(segment(APP1, _exif_of(orientation)), b"", 1)
        block = apple.headroom(found.exif, orientation)
        kept = dataclasses.replace(kept, exif=block)
    return bare, kept


def _unchanged(data: bytes) -> bytes:
    return data


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
