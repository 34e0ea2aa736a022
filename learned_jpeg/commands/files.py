"""One input file to the bytes of its result, for `compress` and for Python."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import NamedTuple

import numpy as np

from learned_jpeg.codec.encoder import Encoded, Encoder
from learned_jpeg.commands.gain_maps import recompressed
from learned_jpeg.commands.keeping import KEEP_ALL, Keeping
from learned_jpeg.commands.originals import Original, read_original
from learned_jpeg.commands.records import COMPRESSED, ORIGINAL
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures.image_files import Metadata, log_notes, read_image_file
from learned_jpeg.pictures.metadata import embed
from learned_jpeg.pictures.read_options import DEFAULT, SRGB, ReadOptions
from learned_jpeg.search.targets import Target

logger = logging.getLogger(__name__)


class EncodedFile(NamedTuple):
    """The result of one input.

    Attributes:
      image: the input, uint8 RGB `[h, w, 3]`.
      data: bytes of the result.
      status: `COMPRESSED`, or `ORIGINAL` where the integers of a JPEG input are kept.
      setting: in words how the result was made.
      score: SSIMULACRA2 of the result, where the search measured it.
    """

    image: np.ndarray
    data: bytes
    status: str
    setting: str
    score: float | None = None


def encode_file(
    encoder: Encoder,
    path: str,
    *,
    keeping: Keeping = KEEP_ALL,
    keeps_smaller: bool = True,
    reading: ReadOptions = DEFAULT,
) -> EncodedFile:
    """Reads an image file and encodes it.

    Args:
      encoder: `Encoder`.
      path: of the input.
      keeping: what of the metadata of the input is part of the result.
      keeps_smaller: whether a JPEG input is kept, after the lossless pass, where the
        result would be larger or gain too little, see `originals.Original`.
      reading: how the file is read.

    Raises:
      UserError: the image cannot be read or encoded, or the target cannot be reached.
    """
    file = read_image_file(path, reading)
    image = file.pixels
    height, width = image.shape[:2]
    jpeg_file.check_size(height, width, path)
    largest = _largest_size(encoder.options.target, height * width)
    original = None
    # The integers of the original may have the colours that are not wanted.
    if keeps_smaller and not (file.is_converted and reading.colour == SRGB):
        is_optimized = encoder.options.entropy_coding == "optimized"
        original = read_original(path, keeping=keeping, is_optimized=is_optimized)
    for note in keeping.notes(file.metadata):
        logger.warning("%s: %s", path, note)
    if original:
        reason = original.reason_not_to_encode(encoder.quality, largest)
        if reason:
            return _kept(path, image, original, reason)
    metadata = _with_finished_map(keeping.of(file.metadata), encoder, keeping, path)
    data, setting, score = _encoded(encoder, image, metadata, path)
    if original:
        reason = original.reason_not_to_write(data, largest, metadata.bytes_behind)
        if reason:
            return _kept(path, image, original, reason)
    log_notes(path, file)  # of what the original would have kept
    return EncodedFile(image, data, COMPRESSED, setting, score)


def _encoded(
    encoder: Encoder, image: np.ndarray, metadata: Metadata, path: str
) -> Encoded:
    try:
        return encoder.encode(
            image, embed=functools.partial(embed, metadata=metadata), name=path
        )
    except UserError as error:
        if metadata.video is None or encoder.options.target is None:
            raise
        raise UserError(
            f"{error}; its video has {len(metadata.video.data)} bytes, which --video "
            "drop leaves out"
        ) from None


def _with_finished_map(
    metadata: Metadata, encoder: Encoder, keeping: Keeping, path: str
) -> Metadata:
    """Turns the gain map upright like the image, and recompresses it."""
    own_map = metadata.gain_map
    if own_map is None:
        return metadata
    if keeping.gain_map == "copy":
        finished = own_map.upright()
    else:
        finished = recompressed(own_map, encoder)
    if finished is None:
        logger.warning(
            "%s: its gain map (HDR) cannot be turned with the image: left out", path
        )
    return dataclasses.replace(metadata, gain_map=finished)


def _kept(path: str, image: np.ndarray, original: Original, reason: str) -> EncodedFile:
    for note in original.lost:
        logger.warning("%s: %s", path, note)
    setting = f"kept the original ({len(original.data)} bytes; {reason})"
    return EncodedFile(image, original.data, ORIGINAL, setting)


def _largest_size(target: Target | None, pixels: int) -> float | None:
    """Returns the bytes that a target allows for so many pixels; None without one."""
    units = {"bytes": 1, "bpp": pixels / 8}
    if target is None or target.name not in units:
        return None
    return target.value * units[target.name]
