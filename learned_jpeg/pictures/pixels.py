"""Converts the pixels of a Pillow image of any mode to uint8 RGB."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.pictures import WHITE

_GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_RGB_MODES = ("RGB", "RGBA", "RGBa", "P", "PA", "RGBX")


class GrayScale(NamedTuple):
    """The meaning of gray values of more than 8 bits.

    Attributes:
      brightest: the largest value.
      is_inverted: whether 0 is white.
    """

    brightest: int = 65535
    is_inverted: bool = False


FULL_GRAY = GrayScale()


def rgb_pixels(
    image: Image.Image,
    path: PathLike,
    profile: bytes | None = None,
    gray_scale: GrayScale = FULL_GRAY,
    to_srgb: np.ndarray | None = None,
    background: tuple[int, int, int] = WHITE,
) -> tuple[np.ndarray, bytes | None, list[str]]:
    """Converts a loaded image.

    Args:
      image: Pillow image, upright.
      path: path of the file, for the error.
      profile: bytes of the ICC profile of the file, or None.
      gray_scale: what gray values of more than 8 bits mean.
      to_srgb: uint8 `[256, 3]`, sRGB for the values of each channel; None to keep them.
      background: RGB that transparent pixels are blended over.

    Returns:
      (uint8 `[h, w, 3]`, their ICC profile or None, notes to the user).

    Raises:
      UserError: the pixels are of a kind that has no place in 8 bits.
    """
    image, notes = _opaque_if_blank(image)
    is_gray = image.mode in _GRAY_MODES
    space = (profile or b"")[16:20]
    if profile and is_gray and space == b"GRAY":
        to_srgb = _srgb_of_gray(profile)
        if to_srgb is None:
            notes.append("its gray ICC profile is damaged: left out")
        pixels = _converted(image, path, gray_scale, to_srgb, background)
        return pixels, None, notes
    pixels = _converted(image, path, gray_scale, to_srgb, background)
    if not profile:
        return pixels, None, notes
    # Gray with an RGB profile is the same as equal components with that profile.
    if space == b"RGB " and (is_gray or image.mode in _RGB_MODES):
        return pixels, profile, notes
    return pixels, None, [*notes, "its ICC profile does not fit RGB pixels: left out"]


def _opaque_if_blank(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Returns a BMP image without an alpha of 0 everywhere, and notes to the user.

    Many programs leave the fourth byte of a pixel 0, and viewers ignore it then.
    """
    is_bmp = image.format == "BMP" and image.mode == "RGBA"
    if not is_bmp or image.getchannel("A").getextrema() != (0, 0):
        return image, []
    opaque = image.convert("RGB")
    return opaque, ["is transparent everywhere: taken as opaque, as viewers show it"]


def _srgb_of_gray(profile: bytes) -> np.ndarray | None:
    """Returns the sRGB of 8-bit gray with an ICC profile, uint8 `[256, 3]`.

    None if the profile is damaged.
    """
    from PIL import ImageCms  # loads Little CMS, which few images need

    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    try:
        converted = ImageCms.profileToProfile(
            ramp,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            # Without a coarse table, which is off by 3 in the shadows.
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return np.asarray(converted)[0]


def _converted(
    image: Image.Image,
    path: PathLike,
    gray_scale: GrayScale,
    to_srgb: np.ndarray | None,
    background: tuple[int, int, int],
) -> np.ndarray:
    """Returns uint8 `[h, w, 3]`."""
    if image.mode.startswith("I"):
        return _rgb_of_wide_gray(image, path, gray_scale, to_srgb, background)
    if image.mode in ("F", "LAB"):
        kind = "floating-point" if image.mode == "F" else "Lab"
        raise UserError(
            f"{path}: holds {kind} pixels: convert it to RGB of 8 or 16 bits"
        )
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        _look_up(rgba[..., :3], to_srgb)
        return _blended(rgba, background)
    rgb = np.array(image.convert("RGB"))
    _look_up(rgb, to_srgb)
    return rgb


def _look_up(rgb: np.ndarray, table: np.ndarray | None) -> None:
    """Replaces the values of each channel by those of a table, `[256, 3]`."""
    if table is not None:
        for channel in range(3):
            rgb[..., channel] = table[rgb[..., channel], channel]


def _rgb_of_wide_gray(
    image: Image.Image,
    path: PathLike,
    gray_scale: GrayScale,
    table: np.ndarray | None,
    background: tuple[int, int, int],
) -> np.ndarray:
    """Converts gray of more than 8 bits to 8-bit RGB; Pillow would clip at 255."""
    gray = np.asarray(image)
    # "I" is 16 bits in a PNG, where Pillow has no other mode, else 32 bits.
    is_wide = image.mode == "I" and image.format not in ("PNG", "PPM")
    if is_wide or gray.min() < 0 or gray.max() > gray_scale.brightest:
        raise UserError(
            f"{path}: holds 32-bit integer pixels: convert it to 8 or 16 bits"
        )
    rgb = _wide_table(gray_scale, table)[gray]
    transparent = image.info.get("transparency")
    if transparent is not None:
        rgb[gray == transparent] = background
    return rgb


def _wide_table(gray_scale: GrayScale, table: np.ndarray | None) -> np.ndarray:
    """Returns the RGB of each value of gray, uint8 `[brightest + 1, 3]`."""
    values = np.arange(gray_scale.brightest + 1) * (255 / gray_scale.brightest)
    if gray_scale.is_inverted:
        values = values[::-1]
    if table is None:
        return np.repeat(np.rint(values).astype(np.uint8)[:, np.newaxis], 3, axis=1)
    channels = [np.interp(values, np.arange(256), channel) for channel in table.T]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def _blended(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Blends uint8 `[h, w, 4]` over a colour: (c a + b (255 - a)) / 255, rounded."""
    colour = rgba[..., :3].astype(np.uint32)
    alpha = rgba[..., 3:].astype(np.uint32)
    blended = colour * alpha + np.array(background, np.uint32) * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)
