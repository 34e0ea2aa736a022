"""Converts pixels with an ICC profile to sRGB, by Little CMS.

Conversions are relative colorimetric with black point compensation, as in most programs
for images. Little CMS is loaded late, because few images need it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

_GRID = 17  # values of each channel of a profile that is compared with sRGB
_ROUNDING = 1  # largest difference from sRGB, of 255, of a profile that is sRGB itself


def space_of(profile: bytes | None) -> bytes:
    """Returns the colour space of a profile, such as b"RGB " or b"CMYK"."""
    return (profile or b"")[16:20]


def is_srgb(profile: bytes) -> bool:
    """Returns whether a profile of RGB gives the colours of sRGB, up to rounding."""
    steps = np.rint(np.linspace(0, 255, _GRID)).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    converted = to_srgb(Image.fromarray(grid), profile)
    if converted is None:
        return False
    difference = np.asarray(converted).astype(int) - grid
    return bool(np.abs(difference).max() <= _ROUNDING)


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Converts an image of mode RGB or CMYK.

    Returns:
      Image of mode RGB, or None if the profile is damaged or of another colour space.
    """
    return _converted(image, profile, None)


def from_srgb(colour: tuple[int, int, int], profile: bytes) -> tuple[int, int, int]:
    """Returns a colour of sRGB in the values of a profile of RGB.

    It is returned as it is if the profile is damaged.
    """
    image = Image.new("RGB", (1, 1), colour)
    converted = _converted(image, None, profile)
    return colour if converted is None else converted.getpixel((0, 0))  # type: ignore


def srgb_of_gray(profile: bytes) -> np.ndarray | None:
    """Returns the sRGB of 8-bit gray with a profile of gray or RGB, uint8 `[256, 3]`.

    None if the profile is damaged. Channels that differ by rounding are made equal, so
    that gray stays gray.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    if space_of(profile) == b"RGB ":
        ramp = ramp.convert("RGB")
    # Without a coarse table, which is off by 3 in the shadows.
    converted = _converted(ramp, profile, None, is_exact=True)
    if converted is None:
        return None
    table = np.array(converted)[0]
    if np.ptp(table.astype(int), axis=1).max() <= _ROUNDING:
        table[:] = table[:, 1:2]
    return table


def _converted(
    image: Image.Image, source: bytes | None, target: bytes | None, is_exact=False
) -> Image.Image | None:
    """Converts between two profiles to mode RGB; None stands for sRGB.

    Returns:
      The image; None if a profile is damaged or does not fit.
    """
    from PIL import ImageCms

    def opened(profile: bytes | None) -> Any:
        if profile is None:
            return ImageCms.createProfile("sRGB")
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))

    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if is_exact:
        flags |= ImageCms.Flags.NOOPTIMIZE
    try:
        return ImageCms.profileToProfile(
            image,
            opened(source),
            opened(target),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=flags,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
