"""Finds and reads picture files.

Whatever a photographer's folder holds is turned into uint8 RGB, or refused with one
line that names the file. Pixel values are taken as they are: no colour management,
the ICC profile of an RGB picture travels beside them.
"""

import contextlib
import glob
import logging
import mmap
import os
import stat
import warnings

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from errors import UserError
from jpeg.metadata import Metadata

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".ppm",
)
MAX_PIXELS = 10**9

# Pillow refuses pictures above twice this number (its default, 179 million, is less
# than a stitched panorama). Set for the whole process, as are the two lines below:
# a change around each call would not be safe with threads.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
# What Pillow finds odd in a file is no news to the user: either it can be read, or
# the error says why not.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_ORIENTATION = ExifTags.Base.Orientation
# What turns a picture of EXIF orientation 2..8 upright (EXIF 2.3, section 4.6.4).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED_BY_90 = (5, 6, 7, 8)  # those that swap height and width
# Where a PNG may say how it is turned; uncompressed, so that a search finds them.
_PNG_EXIF_NAMES = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


# Reading


def read_image(path) -> np.ndarray:
    """Reads a picture file as RGB, turned upright by its EXIF orientation.

    16-bit gray is scaled to 8 bits, transparency blended over white, CMYK
    converted without its profile; of an animation the first frame is taken.

    Returns:
      uint8 `[h, w, 3]`.

    Raises:
      UserError: one line with the file's name and why it cannot be read.
    """
    return read_image_and_metadata(path)[0]


def read_image_and_metadata(path) -> tuple[np.ndarray, Metadata]:
    """Reads a picture as `read_image` does, and its `Metadata`.

    Returns:
      (uint8 `[h, w, 3]`, `Metadata`).

    Raises:
      UserError: as `read_image`.
    """
    with _opened(path) as (file, image):
        image.load()
        exif = _exif(file, image)
        orientation = exif.pop(_ORIENTATION, 1)
        metadata = Metadata(_rgb_profile(image), _exif_bytes(exif))
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        return _rgb_pixels(image, path), metadata


def image_size(path) -> tuple[int, int]:
    """(height, width) in px as `read_image` returns them, from the header alone.

    Raises:
      UserError: as `read_image`, for all that the header can tell.
    """
    with _opened(path) as (file, image):
        width, height = image.size
        turned = _exif(file, image).get(_ORIENTATION) in _TURNED_BY_90
        return (width, height) if turned else (height, width)


@contextlib.contextmanager
def _opened(path):
    """Yields (file, Pillow image); any failure inside comes out as a UserError."""
    try:
        with _open_regular_file(path) as file, Image.open(file) as image:
            yield file, image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(
            f"{path}: not a picture in a format that can be read: give a PNG, JPEG, "
            "TIFF, WebP or similar file"
        ) from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: more than {MAX_PIXELS // 10**6} million pixels: scale it down"
        ) from None
    except MemoryError:
        raise UserError(
            f"{path}: not enough memory for a picture of this size: scale it down"
        ) from None
    except Exception as error:  # on a damaged file Pillow may raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: damaged or incomplete picture file ({reason}): "
            "replace it by a good copy"
        ) from error


def _open_regular_file(path):
    """Opens a file that has something in it, or raises UserError."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path}: is a folder, not a picture: name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: is not a regular file: name a picture file")
        if status.st_size == 0:
            raise UserError(f"{path}: the file is empty: replace it by a good copy")
        return open(path, "rb")
    except FileNotFoundError:
        if os.path.islink(path):
            raise UserError(
                f"{path}: the link points to {os.readlink(path)}, which does not "
                "exist: mend or remove the link"
            ) from None
        raise UserError(f"{path}: no such file: check the name") from None
    except PermissionError:
        raise UserError(
            f"{path}: no permission to read it: change it with chmod"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be opened ({reason}): check it") from None


def _exif(file, image):
    """`Image.Exif` of an opened image; empty if it has none or a damaged one.

    Empty for TIFF too, which Pillow itself turns upright: its size already at the
    opening, its pixels in load().
    """
    if image.format == "TIFF" or (
        image.format == "PNG" and "exif" not in image.info and not _names_exif(file)
    ):
        return Image.Exif()
    try:
        return image.getexif()
    except MemoryError:
        raise
    except Exception:  # what Pillow raises varies; the pixels may well be sound
        return Image.Exif()


def _names_exif(file):
    """Whether a PNG may hold EXIF anywhere.

    It may stand behind the pixels, and Pillow decodes them all to look for it.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(name) >= 0 for name in _PNG_EXIF_NAMES)


def _exif_bytes(exif):
    """EXIF block with its label, or None for an empty or damaged one."""
    if not len(exif):
        return None
    try:
        return exif.tobytes()
    except MemoryError:
        raise
    except Exception:  # a value that does not fit its type, for one
        return None


def _rgb_profile(image):
    """ICC profile bytes if it belongs to RGB pixels, else None."""
    profile = image.info.get("icc_profile")
    is_rgb = image.mode in ("RGB", "RGBA", "RGBa", "P", "RGBX")
    return profile if profile and is_rgb and profile[16:20] == b"RGB " else None


def _rgb_pixels(image, path):
    """uint8 `[h, w, 3]` of a loaded, upright Pillow image of any mode."""
    if image.mode.startswith("I"):
        return _rgb_of_16_bit_gray(image, path)
    if image.mode in ("F", "LAB"):
        kind = "floating-point" if image.mode == "F" else "Lab"
        raise UserError(
            f"{path}: holds {kind} pixels: convert it to RGB of 8 or 16 bits"
        )
    if image.has_transparency_data:
        return _over_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _rgb_of_16_bit_gray(image, path):
    """16-bit gray to 8-bit RGB: 65535 / 257 = 255. Pillow itself would clip at 255."""
    gray = np.asarray(image)
    # "I" is 16 bits in a PNG, where Pillow has no other mode for some, else 32 bits.
    is_wide = image.mode == "I" and image.format not in ("PNG", "PPM")
    if is_wide or gray.min() < 0 or gray.max() > 65535:
        raise UserError(
            f"{path}: holds 32-bit integer pixels: convert it to 8 or 16 bits"
        )
    rgb = np.repeat(_rounded_ratio(gray, 257)[..., np.newaxis], 3, axis=-1)
    transparent = image.info.get("transparency")
    if transparent is not None:
        rgb[gray == transparent] = 255
    return rgb


def _over_white(rgba):
    """Blends uint8 `[h, w, 4]` over white: (c a + 255 (255 - a)) / 255, rounded."""
    colour = rgba[..., :3].astype(np.uint32)
    alpha = rgba[..., 3:].astype(np.uint32)
    return _rounded_ratio(colour * alpha + 255 * (255 - alpha), 255)


def _rounded_ratio(values, divisor):
    return ((values.astype(np.uint32) + divisor // 2) // divisor).astype(np.uint8)


# Finding


def find_images(patterns, suffixes=SUFFIXES) -> list[str]:
    """Lists the picture files that the user's words stand for.

    Each pattern is, in this order: an existing file, taken whatever its name; a
    folder, for the pictures in it (by suffix in any case, not in its subfolders, no
    hidden files); or a glob pattern, `**` for any depth. A glob is taken at its
    word, so that folders and dangling links among its matches are reported when
    they are read; only one that ends in `**` is restricted to the suffixes.

    Args:
      patterns: a list of patterns, or one.
      suffixes: lower-case suffixes of pictures in a folder.

    Returns:
      Sorted list of paths, each file once.

    Raises:
      UserError: a pattern stands for nothing, or a folder cannot be read.
    """
    if isinstance(patterns, (str, os.PathLike)):
        patterns = [patterns]
    found = {}
    for pattern in patterns:
        for path in _matches(os.fspath(pattern), suffixes):
            found.setdefault(_location(path), path)
    return sorted(found.values())


def _matches(pattern, suffixes):
    """Paths of one pattern, at least one."""
    if not os.path.lexists(pattern):
        pattern = os.path.expanduser(pattern)  # the shell leaves a quoted ~ alone
    if os.path.isdir(pattern):
        return _images_in_folder(pattern, suffixes)
    if os.path.lexists(pattern):
        return [pattern]
    paths = glob.glob(pattern, recursive=True)
    if os.path.basename(pattern) == "**":
        paths = [path for path in paths if _is_image(path, suffixes)]
    if not paths:
        raise UserError(
            f"{pattern}: no such file, and no file matches it: check the name, or "
            'quote the pattern, as in "photos/*.png"'
        )
    return paths


def _images_in_folder(folder, suffixes):
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    paths = [os.path.join(folder, name) for name in names if not name.startswith(".")]
    paths = [path for path in paths if _is_image(path, suffixes)]
    if not paths:
        if os.path.splitext(folder)[1].lower() in suffixes:
            return [folder]  # One bad file of a batch, reported when it is read.
        raise UserError(
            f"{folder}: no pictures in this folder ({' '.join(suffixes)}): name "
            f'another, or give a pattern such as "{os.path.join(folder, "**")}"'
        )
    return paths


def _is_image(path, suffixes):
    suffix = os.path.splitext(path)[1].lower()
    return suffix in suffixes and not os.path.isdir(path)


def _location(path):
    """Key that is the same for `x.png` and `./x.png`; a link is a file of its own."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)
