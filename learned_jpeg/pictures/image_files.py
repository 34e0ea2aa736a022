"""Finds and reads picture files.

Whatever a photographer's folder holds is turned into uint8 RGB, or refused with one
line that names the file. Pixel values are taken as they are, the ICC profile of an
RGB picture travels beside them; gray with a gray profile is converted to sRGB, since
that profile would not fit the three components of the result.
"""

import collections
import contextlib
import dataclasses
import glob
import logging
import os
import re
import stat

import numpy as np
from PIL import Image, UnidentifiedImageError

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import MAX_MEGAPIXELS, metadata, sources
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.pixels import rgb_pixels

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".ppm",
)

logger = logging.getLogger(__name__)

_SEPARATORS = re.escape(os.sep + (os.altsep or ""))
_TWO_STARS = re.compile(rf"(?:^|(?<=[{_SEPARATORS}]))\*\*(?:[{_SEPARATORS}]+|$)")

# What turns a picture of EXIF orientation 2..8 upright (EXIF 2.3, section 4.6.4).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# Reading


def read_image(path) -> np.ndarray:
    """Reads a picture file as RGB, turned upright by its EXIF orientation.

    Gray of more than 8 bits is scaled to 8, transparency blended over white, CMYK
    converted without its profile; of pages or an animation the first one is taken.

    Returns:
      uint8 `[h, w, 3]`.

    Raises:
      UserError: one line with the file's name and why it cannot be read.
    """
    return _read(path, MAX_MEGAPIXELS, lenient=False)[0]


def read_image_and_metadata(
    path, lenient=False, max_megapixels=MAX_MEGAPIXELS
) -> tuple[np.ndarray, Metadata]:
    """Reads a picture as `read_image` does, and its `Metadata`.

    What of the file is lost, or damaged beside its pixels, is logged as a warning.

    Args:
      path: of the file.
      lenient: takes what there is of a JPEG file whose pixels are damaged.
      max_megapixels: size up to which a picture is decoded.

    Returns:
      (uint8 `[h, w, 3]`, `Metadata`).

    Raises:
      UserError: as `read_image`.
    """
    pixels, found, notes = _read(path, max_megapixels, lenient)
    for note in notes:
        logger.warning("%s: %s", path, note)
    return pixels, found


def image_size(path, max_megapixels=MAX_MEGAPIXELS) -> tuple[int, int]:
    """(height, width) in px as `read_image` returns them, from the header alone.

    Args:
      path: of the file.
      max_megapixels: as for `read_image_and_metadata`.

    Raises:
      UserError: as `read_image`, for all that the header can tell.
    """
    with _opened(path, max_megapixels, headers_only=True) as source:
        orientation, _ = metadata.upright(source.metadata())
        width, height = source.image.size
        if orientation in metadata.TURNED_BY_90 and not source.has_upright_size:
            width, height = height, width
        return height, width


def _read(path, max_megapixels, lenient):
    """(pixels, `Metadata`, what the user should know of the file, in words)."""
    with _opened(path, max_megapixels, lenient=lenient) as source:
        image = source.image
        image.load()
        orientation, found = metadata.upright(source.metadata())
        if orientation in UPRIGHT and not source.turns_itself:
            image = image.transpose(UPRIGHT[orientation])
            image.format = source.image.format
        pixels, profile, note = rgb_pixels(
            image, path, found.icc_profile, source.gray_scale
        )
        found, too_large = metadata.fitting(
            dataclasses.replace(found, icc_profile=profile)
        )
        notes = [*source.notes, note] if note else [*source.notes]
        notes += [f"{name} is too large for JPEG: left out" for name in too_large]
        return pixels, found, notes


@contextlib.contextmanager
def _opened(path, max_megapixels, **options):
    """Yields a `sources.Source`; any failure inside comes out as a UserError."""
    try:
        with (
            _open_regular_file(path) as file,
            sources.opened(file, path, max_megapixels, **options) as source,
        ):
            yield source
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(
            f"{path}: not a picture in a format that can be read: give a PNG, JPEG, "
            "TIFF, WebP, BMP, GIF or PPM file"
        ) from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: a GIF image whose first frame is too large: convert it to PNG"
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


# Finding


def find_images(patterns, suffixes=SUFFIXES, recursive=False) -> list[str]:
    """Lists the picture files that the user's words stand for.

    Each pattern is, in this order: an existing file, taken whatever its name; a
    folder, for the pictures in it (by suffix in any case, no hidden files); or a glob
    pattern, `**` for any depth. A glob is taken at its word, so that folders and
    dangling links among its matches are reported when they are read; only one that
    ends in `**` is restricted to the suffixes.

    Args:
      patterns: a list of patterns, or one.
      suffixes: lower-case suffixes of pictures in a folder.
      recursive: whether a folder stands for the pictures in its subfolders, too.

    Returns:
      Sorted list of paths, each file once.

    Raises:
      UserError: a pattern stands for nothing, or a folder cannot be read.
    """
    if isinstance(patterns, (str, os.PathLike)):
        patterns = [patterns]
    found = {}
    for pattern in patterns:
        for path in _matches(os.fspath(pattern), suffixes, recursive):
            found.setdefault(_location(path), path)
    return sorted(found.values())


def _matches(pattern, suffixes, recursive):
    """Paths of one pattern, at least one."""
    if not os.path.lexists(pattern):
        pattern = os.path.expanduser(pattern)  # the shell leaves a quoted ~ alone
    if os.path.isdir(pattern):
        if recursive:
            return _images_below(pattern, suffixes)
        return _images_in_folder(pattern, suffixes)
    if os.path.lexists(pattern):
        return [pattern]
    paths = _glob(pattern)
    if os.path.basename(pattern) == "**":
        paths = [path for path in paths if _is_image(path, suffixes)]
    if not paths:
        raise UserError(
            f"{pattern}: no such file, and no file matches it: check the name, or "
            'quote the pattern, as in "photos/*.png"'
        )
    return paths


def _glob(pattern):
    """What a pattern matches; `**` enters each folder once, by links too.

    `glob` would go round a loop of links until the path is too long.
    """
    stars = _TWO_STARS.search(pattern)
    if not stars:
        return glob.glob(pattern)
    head, tail = pattern[: stars.start()], pattern[stars.end() :] or "*"
    tops = glob.glob(head) if head else [""]
    folders = [folder for top in tops for folder in _folders_below(top)]
    patterns = [os.path.join(glob.escape(folder), tail) for folder in folders]
    return [path for pattern in patterns for path in _glob(pattern)]


def _folders_below(top):
    """`top` and the folders at any depth below it, each once, no hidden ones."""
    seen, pending = set(), collections.deque([top])
    while pending:
        folder = pending.popleft()
        try:
            status = os.stat(folder or os.curdir)
            names = os.listdir(folder or os.curdir)
        except OSError:  # not a folder, or one that may not be read
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield folder
        below = [os.path.join(folder, name) for name in names if name[0] != "."]
        # Links last: a folder goes by its own name where it has one.
        pending.extend(sorted(below, key=lambda path: (os.path.islink(path), path)))


def _images_in_folder(folder, suffixes):
    try:
        paths = _images_of([folder], suffixes)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    if not paths:
        if os.path.splitext(folder)[1].lower() in suffixes:
            return [folder]  # One bad file of a batch, reported when it is read.
        raise UserError(
            f"{folder}: no pictures in this folder ({' '.join(suffixes)}): name "
            f'another, or give a pattern such as "{os.path.join(folder, "**")}"'
        )
    return paths


def _images_below(top, suffixes):
    paths = _images_of(_folders_below(top), suffixes)
    if not paths:
        raise UserError(
            f"{top}: no pictures in this folder or below it ({' '.join(suffixes)}): "
            "name another"
        )
    return paths


def _images_of(folders, suffixes):
    """Paths of the pictures in folders, but for hidden ones."""
    paths = [os.path.join(f, n) for f in folders for n in os.listdir(f) if n[0] != "."]
    return [path for path in paths if _is_image(path, suffixes)]


def _is_image(path, suffixes):
    suffix = os.path.splitext(path)[1].lower()
    return suffix in suffixes and not os.path.isdir(path)


def _location(path):
    """Key that is the same for `x.png` and `./x.png`; a link is a file of its own."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)
