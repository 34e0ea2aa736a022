"""Pillow images of a caller as RGB pixels, with the metadata that they carry."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from learned_jpeg.pictures import metadata
from learned_jpeg.pictures.exif import UPRIGHT
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.pixels import rgb_pixels

_NAME = "the image"  # in messages


def pixels_and_metadata(image: Image.Image) -> tuple[np.ndarray, Metadata]:
    """Converts an image as `image_files.read_image_and_metadata` does a file.

    Args:
      image: of any mode; it is not changed.

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
    pixels, profile, _ = rgb_pixels(image, _NAME, found.icc_profile)
    found, _ = metadata.fitting(dataclasses.replace(found, icc_profile=profile))
    return pixels, found


def _metadata_of(image):
    if hasattr(image, "applist"):
        return metadata.of_jpeg(image)
    if hasattr(image, "tag_v2"):
        return metadata.of_tiff(image)
    return metadata.of_other(image)
