"""Decodes the primary image of HEIF and AVIF files, by libheif and libavif."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.pictures.extras import needs_extra
from learned_jpeg.pictures.heif_boxes import HeifBoxes
from learned_jpeg.pictures.opening import open_image

_QUARTERS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)


class HeifImage(NamedTuple):
    """The primary image of an opened file, which is not decoded yet.

    Attributes:
      size: (width, height) in px of the upright image.
      is_gray: whether it has no colours.
      count: number of images or frames.
      decode: returns the Pillow image, turned upright, of 8 bits.
      close: closes the file.
    """

    size: tuple[int, int]
    is_gray: bool
    count: int
    decode: Callable[[], Image.Image]
    close: Callable[[], None]


def open_avif(items: HeifBoxes, path: PathLike) -> HeifImage:
    """Opens an AVIF file by Pillow.

    Args:
      items: the boxes of the file.
      path: path of the file, for the error.

    Raises:
      UserError: Pillow lacks libavif.
      Exception: whatever Pillow raises for a damaged file.
    """
    if not features.check("avif"):
        raise UserError(
            f"{path}: AVIF needs a Pillow with libavif: run pip install -U Pillow"
        )
    try:
        image = open_image(io.BytesIO(items.without_exif()), ["AVIF"])
    except UnidentifiedImageError:
        raise ValueError("libavif cannot read it") from None
    turns = items.turns
    swaps_sides = sum(turn in _QUARTERS for turn in turns) % 2

    def decode() -> Image.Image:
        upright = image
        image.load()
        for turn in turns:
            upright = upright.transpose(turn)
        return upright

    width, height = image.size
    size = (height, width) if swaps_sides else (width, height)
    count = getattr(image, "n_frames", 1)
    return HeifImage(size, image.mode in ("L", "LA"), count, decode, image.close)


def open_heic(items: HeifBoxes, path: PathLike) -> HeifImage:
    """Opens a HEIF file by libheif.

    Args:
      items: the boxes of the file.
      path: path of the file, for the error.

    Raises:
      UserError: pillow_heif is not installed.
      Exception: whatever libheif raises for a damaged file.
    """
    with needs_extra(path, "HEIC", "pillow-heif", "heic"):
        import pillow_heif

    # The samples of 10 and 12 bits as they are.
    file = pillow_heif.open_heif(
        io.BytesIO(items.data), convert_hdr_to_8bit=False, hdr_to_16bit=False
    )
    is_gray = file.mode[0] in "IL"
    decode = functools.partial(_decode_heic, file)
    return HeifImage(file.size, is_gray, len(file), decode, lambda: None)


def _decode_heic(file: Any) -> Image.Image:
    """Decodes the primary image of a `pillow_heif.HeifFile`, scaled to 8 bits."""
    mode, _, bits = str(file.mode).partition(";")
    pixels = np.asarray(file)
    if bits:
        brightest = (1 << int(bits)) - 1
        table = np.rint(np.arange(brightest + 1) * (255 / brightest)).astype(np.uint8)
        pixels = table[np.minimum(pixels, brightest)]
    height, width = pixels.shape[:2]
    mode = "L" if mode == "I" else mode
    return Image.frombytes(mode, (width, height), pixels.tobytes())
