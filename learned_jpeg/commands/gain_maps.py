"""Recompresses the gain map of an image, at a quality of its own."""

from __future__ import annotations

import dataclasses

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import standard_tables
from learned_jpeg.commands.originals import original_of
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.pictures.gain_map import GainMap

# A step of a map is a step of the logarithm of light, and less visible than the same
# step of the image. But a map is enlarged several times, so that its blocks are, too.
LEAST_QUALITY = 85


def recompressed(own_map: GainMap, encoder: Encoder) -> GainMap | None:
    """Returns a gain map turned upright, in no more bytes than before.

    Its squared error is minimised, which is that of the logarithm of light. Where a
    lossy pass would gain too little, as for the map of an earlier result, only the
    lossless one is made.

    Args:
      own_map: the map.
      encoder: of the image; its quality is that of the map, from `LEAST_QUALITY` on.

    Returns:
      The map; None where it would have to be turned and cannot be decoded.
    """
    upright, pixels = own_map.upright(), own_map.pixels()
    if upright is None or pixels is None:
        return upright
    original = original_of(upright.data, is_optimized=True)
    if original is None:
        return upright
    smaller = dataclasses.replace(upright, data=original.data)
    quality = max(encoder.quality, LEAST_QUALITY)
    if original.reason_not_to_encode(quality, None):
        return smaller
    try:
        own = _encoder(encoder.options, quality, upright.subsampling())
        coded = upright.coded_as(own.encode(pixels).data)
    except UserError:  # too small for the search, for example
        return smaller
    return smaller if original.reason_not_to_write(coded.data, None) else coded


def _encoder(options: EncodeOptions, quality: int, subsampling: str) -> Encoder:
    """Returns the encoder of maps for the options of that of an image."""
    own = EncodeOptions(
        quality=quality,
        quantization=options.quantization,
        tune="psnr" if options.quantization == "search" else None,
        subsampling=subsampling if subsampling in SUBSAMPLINGS else "4:4:4",
        entropy_coding=options.entropy_coding,
    )
    return Encoder(own, [standard_tables()])
