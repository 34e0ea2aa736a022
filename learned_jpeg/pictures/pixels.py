"""Converts the pixels of a Pillow image of any mode to uint8 RGB."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.pictures import profiles
from learned_jpeg.pictures.read_options import DEFAULT, SRGB, Colour, ReadOptions

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


class Pixels(NamedTuple):
    """The converted pixels of an image.

    Attributes:
      rgb: uint8 `[h, w, 3]`.
      icc_profile: their ICC profile; None for sRGB.
      is_converted: whether the colours of the file were converted to sRGB.
      notes: to the user, on what is lost.
    """

    rgb: np.ndarray
    icc_profile: bytes | None
    is_converted: bool
    notes: list[str]


def rgb_pixels(
    image: Image.Image,
    path: PathLike,
    profile: bytes | None = None,
    gray_scale: GrayScale = FULL_GRAY,
    to_srgb: np.ndarray | None = None,
    options: ReadOptions = DEFAULT,
) -> Pixels:
    """Converts a loaded image.

    CMYK, and gray with a gray profile, are converted to sRGB. Other pixels keep their
    values and their profile, unless the options ask for sRGB.

    Args:
      image: Pillow image, upright.
      path: path of the file, for the error.
      profile: bytes of the ICC profile of the file, or None.
      gray_scale: what gray values of more than 8 bits mean.
      to_srgb: uint8 `[256, 3]`, sRGB for the values of each channel; None to keep them.
      options: `ReadOptions`, of which the colour and the background count.

    Raises:
      UserError: the pixels are of a kind that has no place in 8 bits.
    """
    image, notes = _opaque_if_blank(image)
    space, is_converted = profiles.space_of(profile), False
    if image.mode == "CMYK":
        image, note = _rgb_of_cmyk(image, profile)
        notes, profile, is_converted = [*notes, *note], None, True
    elif profile and not _fits(space, image.mode):
        notes.append("its ICC profile does not fit RGB pixels: left out")
        profile = None
    elif profile and (space == b"GRAY" or options.colour == SRGB):
        image, to_srgb, note = _converted_to_srgb(image, profile)
        notes, profile, is_converted = [*notes, *note], None, not note
    background = options.background
    if profile and len(set(background)) > 1:
        background = profiles.from_srgb(background, profile)
    rgb = _converted(image, path, gray_scale, to_srgb, background)
    return Pixels(rgb, profile, is_converted, notes)


def _fits(space: bytes, mode: str) -> bool:
    """Returns whether a profile of a colour space fits pixels of a mode.

    Gray with an RGB profile is the same as equal components with that profile.
    """
    if mode in _GRAY_MODES:
        return space in (b"GRAY", b"RGB ")
    return space == b"RGB " and mode in _RGB_MODES


def _rgb_of_cmyk(
    image: Image.Image, profile: bytes | None
) -> tuple[Image.Image, list[str]]:
    """Returns a CMYK image as RGB, and notes to the user."""
    without = "converted from CMYK without a profile: its colours are approximate"
    if profile is None:
        return image, [without]
    converted = None
    if profiles.space_of(profile) == b"CMYK":
        converted = profiles.to_srgb(image, profile)
    if converted is None:
        return image, ["its ICC profile does not fit CMYK: left out", without]
    return converted, []


def _converted_to_srgb(
    image: Image.Image, profile: bytes
) -> tuple[Image.Image, np.ndarray | None, list[str]]:
    """Converts a gray or RGB image with a profile that fits.

    Returns:
      (RGB image, or gray image; the sRGB of each gray value `[256, 3]` or None; notes).
    """
    damaged = ["its ICC profile is damaged: left out"]
    gray = image if image.mode in _GRAY_MODES else _gray_of_equal_channels(image)
    if gray is not None:
        table = profiles.srgb_of_gray(profile)
        return gray, table, damaged if table is None else []
    if profiles.is_srgb(profile):
        return image, None, []
    has_alpha = image.has_transparency_data
    rgba = image.convert("RGBA") if has_alpha else image
    rgb = profiles.to_srgb(rgba.convert("RGB"), profile)
    if rgb is None:
        return image, None, damaged
    if has_alpha:
        rgb.putalpha(rgba.getchannel("A"))
    return rgb, None, []


def _gray_of_equal_channels(image: Image.Image) -> Image.Image | None:
    """Returns an opaque RGB image as gray if its channels are equal, else None."""
    if image.mode != "RGB" or image.has_transparency_data:
        return None
    pixels = np.asarray(image)
    is_gray = np.array_equal(pixels[..., 0], pixels[..., 1])
    is_gray = is_gray and np.array_equal(pixels[..., 0], pixels[..., 2])
    return image.getchannel(0) if is_gray else None


def _opaque_if_blank(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Returns a BMP image without an alpha of 0 everywhere, and notes to the user.

    Many programs leave the fourth byte of a pixel 0, and viewers ignore it then.
    """
    is_bmp = image.format == "BMP" and image.mode == "RGBA"
    if not is_bmp or image.getchannel("A").getextrema() != (0, 0):
        return image, []
    opaque = image.convert("RGB")
    return opaque, ["is transparent everywhere: taken as opaque, as viewers show it"]


def _converted(
    image: Image.Image,
    path: PathLike,
    gray_scale: GrayScale,
    to_srgb: np.ndarray | None,
    background: Colour,
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
        return _over(background, rgba)
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
    background: Colour,
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


def _over(background: Colour, rgba: np.ndarray) -> np.ndarray:
    """Blends uint8 `[h, w, 4]`: (c a + background (255 - a)) / 255, rounded."""
    colour = rgba[..., :3].astype(np.uint32)
    alpha = rgba[..., 3:].astype(np.uint32)
    blended = colour * alpha + np.array(background, np.uint32) * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)
