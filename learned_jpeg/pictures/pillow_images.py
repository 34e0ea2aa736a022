"""Pillow images of a caller as RGB pixels, with the metadata that they carry."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from learned_jpeg.pictures import metadata
from learned_jpeg.pictures.exif import UPRIGHT
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.pixels import rgb_pixels
from learned_jpeg.pictures.read_options import DEFAULT, ReadOptions

_NAME = "the image"  # in messages


def pixels_and_metadata(
    image: Image.Image, options: ReadOptions = DEFAULT
) -> tuple[np.ndarray, Metadata]:
    """Converts an image as `image_files.read_image_and_metadata` does a file.

    Args:
      image: of any mode; it is not changed.
      options: `ReadOptions`.

    Returns:
      (uint8 RGB `[h, w, 3]`, turned upright, and the `Metadata` that belong to it).

    Raises:
      UserError: pixels of a kind that has no place in 8 bits.
    """
    image.load()
    orientation, found = metadata.upright(_metadata_of(image))
    # Pillow turns a TIFF image itself when it loads it.
    if orientation in UPRIGHT and image.format != "TIFF":
        kind = image.format
        image = image.transpose(UPRIGHT[orientation])
        image.format = kind
    pixels = rgb_pixels(image, _NAME, found.icc_profile, options=options)
    found = dataclasses.replace(found, icc_profile=pixels.icc_profile)
    return pixels.rgb, metadata.fitting(found)[0]


def _metadata_of(image):
    if hasattr(image, "applist"):
        return metadata.of_jpeg(image)
    if hasattr(image, "tag_v2"):
        return metadata.of_tiff(image)
    return metadata.of_other(image)
