"""Turns the pixels of a Pillow image of any mode into uint8 RGB."""

import io

import numpy as np
from PIL import Image

from learned_jpeg.common.errors import UserError

_GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_RGB_MODES = ("RGB", "RGBA", "RGBa", "P", "PA", "RGBX")


def rgb_pixels(image, path, profile=None, gray_scale=(65535, False)):
    """Converts a loaded image.

    Args:
      image: Pillow image, upright.
      path: of the file, for the error.
      profile: bytes of the ICC profile that stands in the file, or None.
      gray_scale: (brightest value, whether 0 is white) of gray in more than 8 bits.

    Returns:
      (uint8 `[h, w, 3]`, ICC profile that they are to be shown with or None, what the
      user should know of the profile or None).

    Raises:
      UserError: pixels of a kind that has no place in 8 bits.
    """
    is_gray = image.mode in _GRAY_MODES
    space = (profile or b"")[16:20]
    if is_gray and space == b"GRAY":
        table = _srgb_of_gray(profile)
        if table is not None:
            return _converted(image, path, gray_scale, table), None, None
        note = "its gray ICC profile is damaged: left out"
        return _converted(image, path, gray_scale), None, note
    pixels = _converted(image, path, gray_scale)
    if not profile:
        return pixels, None, None
    # Equal components with an RGB profile are what gray with that profile is.
    if space == b"RGB " and (is_gray or image.mode in _RGB_MODES):
        return pixels, profile, None
    return pixels, None, "its ICC profile does not fit RGB pixels: left out"


def _srgb_of_gray(profile):
    """uint8 `[256, 3]`, sRGB of 8-bit gray with an ICC profile; None if damaged."""
    from PIL import ImageCms  # loads Little CMS, which few pictures need

    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    try:
        converted = ImageCms.profileToProfile(
            ramp,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            # Not by a coarse table, which is off by 3 in the shadows.
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return np.asarray(converted)[0]


def _converted(image, path, gray_scale, table=None):
    """uint8 `[h, w, 3]`; `table` turns 8-bit gray into RGB."""
    if image.mode.startswith("I"):
        return _rgb_of_wide_gray(image, path, *gray_scale, table)
    if image.mode in ("F", "LAB"):
        kind = "floating-point" if image.mode == "F" else "Lab"
        raise UserError(
            f"{path}: holds {kind} pixels: convert it to RGB of 8 or 16 bits"
        )
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        if table is not None:
            rgba[..., :3] = table[rgba[..., 0]]
        return _over_white(rgba)
    if table is not None:
        return table[np.asarray(image.convert("L"))]
    return np.array(image.convert("RGB"))


def _rgb_of_wide_gray(image, path, white, is_inverted, table):
    """Gray in 0..`white` to 8-bit RGB. Pillow itself would clip at 255."""
    gray = np.asarray(image)
    # "I" is 16 bits in a PNG, where Pillow has no other mode for some, else 32 bits.
    is_wide = image.mode == "I" and image.format not in ("PNG", "PPM")
    if is_wide or gray.min() < 0 or gray.max() > white:
        raise UserError(
            f"{path}: holds 32-bit integer pixels: convert it to 8 or 16 bits"
        )
    rgb = _wide_table(white, is_inverted, table)[gray]
    transparent = image.info.get("transparency")
    if transparent is not None:
        rgb[gray == transparent] = 255
    return rgb


def _wide_table(white, is_inverted, table):
    """uint8 `[white + 1, 3]`, RGB of each value of gray."""
    values = np.arange(white + 1) * (255 / white)
    if is_inverted:
        values = values[::-1]
    if table is None:
        return np.repeat(np.rint(values).astype(np.uint8)[:, np.newaxis], 3, axis=1)
    channels = [np.interp(values, np.arange(256), channel) for channel in table.T]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def _over_white(rgba):
    """Blends uint8 `[h, w, 4]` over white: (c a + 255 (255 - a)) / 255, rounded."""
    colour = rgba[..., :3].astype(np.uint32)
    alpha = rgba[..., 3:].astype(np.uint32)
    blended = colour * alpha + 255 * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)
