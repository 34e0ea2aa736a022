"""One input file to the bytes of its result, for `compress` and for Python."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.commands.originals import smaller_original
from learned_jpeg.commands.records import COMPRESSED, ORIGINAL
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures import MAX_MEGAPIXELS
from learned_jpeg.pictures.image_files import Metadata, read_image_and_metadata
from learned_jpeg.pictures.metadata import embed


class EncodedFile(NamedTuple):
    """The result of one input.

    Attributes:
      image: the input, uint8 RGB `[h, w, 3]`.
      data: bytes of the result.
      status: `COMPRESSED`, or `ORIGINAL` where the input's own bytes are kept.
      setting: in words how the result was made.
    """

    image: np.ndarray
    data: bytes
    status: str
    setting: str


def encode_file(
    encoder: Encoder,
    path: str,
    *,
    keeps_metadata: bool = True,
    keeps_smaller: bool = True,
    lenient: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> EncodedFile:
    """Reads an image file and encodes it.

    Args:
      encoder: `Encoder`.
      path: of the input.
      keeps_metadata: whether the metadata of the input are part of the result.
      keeps_smaller: whether a JPEG input that is smaller than the result is kept.
      lenient: whether a JPEG file with damaged pixels is decoded as far as possible.
      max_megapixels: size up to which an image is decoded.

    Raises:
      UserError: the image cannot be read or encoded, or the target cannot be reached.
    """
    image, metadata = read_image_and_metadata(path, lenient, max_megapixels)
    if not keeps_metadata:
        metadata = Metadata()
    height, width = image.shape[:2]
    jpeg_file.check_size(height, width, path)
    encoded = encoder.encode(
        image, embed=functools.partial(embed, metadata=metadata), name=path
    )
    data, setting = encoded
    if keeps_smaller:
        original = smaller_original(path, len(data), not keeps_metadata)
        if original is not None:
            setting = (
                f"kept the original ({len(original)} bytes; ours would be {len(data)})"
            )
            return EncodedFile(image, original, ORIGINAL, setting)
    return EncodedFile(image, data, COMPRESSED, setting)
