"""Finds and reads image files.

Every file is converted to uint8 RGB, or refused with one line that names it. The values
of RGB pixels are kept with their ICC profile, unless sRGB is asked for. CMYK and gray
with a gray profile are converted to sRGB, since their profiles would not fit the three
components of the result.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import glob
import io
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.jpeg.frame import UnsupportedError
from learned_jpeg.pictures import metadata, sources
from learned_jpeg.pictures.exif import UPRIGHT
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.pixels import rgb_pixels
from learned_jpeg.pictures.read_options import DEFAULT, ReadOptions

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
    ".avif",
    ".heic",
    ".heif",
    ".hif",
    ".jxl",
    ".bmp",
    ".gif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)

logger = logging.getLogger(__name__)


class ImageFile(NamedTuple):
    """An image file that was read.

    Attributes:
      pixels: uint8 RGB `[h, w, 3]`, turned upright.
      metadata: `Metadata`.
      is_converted: whether the colours of the file were converted to sRGB.
      notes: to the user, on what is lost of the file or damaged.
    """

    pixels: np.ndarray
    metadata: Metadata
    is_converted: bool
    notes: list[str]


_SEPARATORS = re.escape(os.sep + (os.altsep or ""))
_TWO_STARS = re.compile(rf"(?:^|(?<=[{_SEPARATORS}]))\*\*(?:[{_SEPARATORS}]+|$)")


# Reading


def read_image(path: PathLike) -> np.ndarray:
    """Reads an image file as RGB, turned upright by its EXIF orientation.

    More than 8 bits are scaled to 8, transparency is blended over white, and CMYK is
    converted to sRGB. Only the first page or frame is read.

    Returns:
      uint8 `[h, w, 3]`.

    Raises:
      UserError: the file cannot be read; the text names it and says why.
    """
    return read_image_file(path).pixels


def read_image_and_metadata(
    path: PathLike, options: ReadOptions = DEFAULT
) -> tuple[np.ndarray, Metadata]:
    """Reads an image, and its metadata.

    A warning is logged for what is lost of the file, or damaged outside of its pixels.

    Args:
      path: path of the file.
      options: `ReadOptions`.

    Returns:
      (uint8 `[h, w, 3]`, metadata).

    Raises:
      UserError: as `read_image`.
    """
    image = read_image_file(path, options)
    log_notes(path, image)
    return image.pixels, image.metadata


def read_image_file(path: PathLike, options: ReadOptions = DEFAULT) -> ImageFile:
    """Reads an image as `read_image_and_metadata` does, without logging its notes."""
    with _opened(_regular_file(path), path, options) as source:
        return _image_file(source, path, options)


def log_notes(path: PathLike, image: ImageFile) -> None:
    """Logs a warning for each note on an image."""
    for note in image.notes:
        logger.warning("%s: %s", path, note)


def decode_jpeg(data: bytes | bytearray, name: str) -> np.ndarray:
    """Decodes the bytes of a JPEG file as `read_image` does a file.

    Args:
      data: the bytes.
      name: of the bytes, for messages.

    Raises:
      UserError: as `read_image`, or no JPEG file.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        raise UserError(f"{name}: not a .jpg file")
    stream = contextlib.nullcontext(io.BytesIO(data))
    with _opened(stream, name, DEFAULT) as source:
        return _image_file(source, name, DEFAULT).pixels


def image_size(path: PathLike, options: ReadOptions = DEFAULT) -> tuple[int, int]:
    """Returns (height, width) in px of the image that `read_image` would return.

    Only the header is read.

    Args:
      path: path of the file.
      options: `ReadOptions`.

    Raises:
      UserError: as for `read_image`, as far as the header shows it.
    """
    with _opened(_regular_file(path), path, options, headers_only=True) as source:
        width, height = source.size
        if not source.has_upright_size:
            orientation, _ = metadata.upright(source.metadata())
            if orientation in metadata.TURNED_BY_90:
                width, height = height, width
        return height, width


def read_metadata(path: PathLike, options: ReadOptions = DEFAULT) -> Metadata:
    """Returns the metadata of an image, without reading its pixels.

    Args, raises: as for `image_size`.
    """
    with _opened(_regular_file(path), path, options, headers_only=True) as source:
        return metadata.upright(source.metadata())[1]


def _image_file(
    source: sources.Source, path: PathLike, options: ReadOptions
) -> ImageFile:
    """Decodes an opened file."""
    image = source.decode()
    orientation, found = metadata.upright(source.metadata())
    if orientation in UPRIGHT and not source.turns_itself:
        kind = image.format
        image = image.transpose(UPRIGHT[orientation])
        image.format = kind
    pixels = rgb_pixels(
        image,
        path,
        found.icc_profile,
        source.gray_scale,
        source.to_srgb,
        options,
    )
    found = dataclasses.replace(found, icc_profile=pixels.icc_profile)
    found, left_out = metadata.fitting(found)
    notes = [*source.notes, *pixels.notes, *left_out]
    return ImageFile(pixels.rgb, found, pixels.is_converted, notes)


@contextlib.contextmanager
def _opened(
    file_context: contextlib.AbstractContextManager[BinaryIO],
    path: PathLike,
    options: ReadOptions,
    headers_only: bool = False,
) -> Iterator[sources.Source]:
    """Yields a `sources.Source`; any failure inside comes out as a UserError."""
    try:
        with (
            file_context as file,
            sources.opened(file, path, options, headers_only) as source,
        ):
            yield source
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(
            f"{path}: not an image in a format that can be read: give a PNG, JPEG, "
            "TIFF, WebP, AVIF, HEIC, JPEG XL, BMP, GIF or PPM file"
        ) from None
    except UnsupportedError as error:
        raise UserError(f"{path}: {error}") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: a GIF image whose first frame is too large: convert it to PNG"
        ) from None
    except MemoryError:
        raise UserError(
            f"{path}: not enough memory for an image of this size: scale it down"
        ) from None
    except Exception as error:  # on a damaged file Pillow may raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: damaged or incomplete image file ({reason}): "
            "replace it by a good copy"
        ) from error


def _regular_file(path: PathLike) -> BinaryIO:
    """Opens a file that is not empty, or raises UserError."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path}: is a folder, not an image: name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: is not a regular file: name an image file")
        if status.st_size == 0:
            raise UserError(f"{path}: the file is empty: replace it by a good copy")
        return open(path, "rb")
    except FileNotFoundError:
        if os.path.islink(path):
            raise UserError(
                f"{path}: the link points to {os.readlink(path)}, which does not "
                "exist: correct or remove the link"
            ) from None
        raise UserError(f"{path}: no such file: check the name") from None
    except PermissionError:
        raise UserError(
            f"{path}: no permission to read it: change it with chmod"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be opened ({reason}): check it") from None


# Finding


def find_images(
    patterns: PathLike | Sequence[PathLike],
    suffixes: Sequence[str] = SUFFIXES,
    recursive: bool = False,
) -> list[str]:
    """Lists the image files that the user's patterns name.

    Each pattern is one of these, in this order: an existing file of any name; a folder,
    which stands for the images in it (by suffix in any case, without hidden files); or
    a glob pattern, with `**` for any depth. All matches of a glob pattern are listed,
    so that folders and dangling links among them are reported when they are read. Only
    a pattern that ends in `**` is restricted to the suffixes.

    Args:
      patterns: a list of patterns, or one pattern.
      suffixes: lower-case suffixes of images in a folder.
      recursive: whether a folder also stands for the images in its subfolders.

    Returns:
      Sorted list of paths, each file once.

    Raises:
      UserError: a pattern matches nothing, or a folder cannot be read.
    """
    if isinstance(patterns, (str, os.PathLike)):
        patterns = [patterns]
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in _matches(os.fspath(pattern), suffixes, recursive):
            found.setdefault(location(path), path)
    return sorted(found.values())


def _matches(pattern: str, suffixes: Sequence[str], recursive: bool) -> list[str]:
    """Returns the paths of one pattern, at least one."""
    if not os.path.lexists(pattern):
        pattern = os.path.expanduser(pattern)  # the shell does not expand a quoted ~
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


def _glob(pattern: str) -> list[str]:
    """Returns what a pattern matches; `**` enters each folder once, also through links.

    `glob` would follow a loop of links until the path is too long.
    """
    stars = _TWO_STARS.search(pattern)
    if not stars:
        return glob.glob(pattern)
    head, tail = pattern[: stars.start()], pattern[stars.end() :] or "*"
    tops = glob.glob(head) if head else [""]
    folders = [folder for top in tops for folder in _folders_below(top)]
    patterns = [os.path.join(glob.escape(folder), tail) for folder in folders]
    return [path for pattern in patterns for path in _glob(pattern)]


def _folders_below(top: str) -> Iterator[str]:
    """Yields `top` and the folders at any depth below it, each once, no hidden ones."""
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
        # Links last, so that a folder is listed by its own name where possible.
        pending.extend(sorted(below, key=lambda path: (os.path.islink(path), path)))


def _images_in_folder(folder: str, suffixes: Sequence[str]) -> list[str]:
    try:
        paths = _images_of([folder], suffixes)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    if not paths:
        if os.path.splitext(folder)[1].lower() in suffixes:
            return [folder]  # one bad file of a batch, reported when it is read
        raise UserError(
            f"{folder}: no images in this folder ({' '.join(SUFFIXES)}): name "
            f'another, or give a pattern such as "{os.path.join(folder, "**")}"'
        )
    return paths


def _images_below(top: str, suffixes: Sequence[str]) -> list[str]:
    paths = _images_of(_folders_below(top), suffixes)
    if not paths:
        raise UserError(
            f"{top}: no images in this folder or below it ({' '.join(SUFFIXES)}): "
            "name another"
        )
    return paths


def _images_of(folders: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    """Returns the paths of the images in folders, without hidden ones."""
    paths = [os.path.join(f, n) for f in folders for n in os.listdir(f) if n[0] != "."]
    return [path for path in paths if _is_image(path, suffixes)]


def _is_image(path: str, suffixes: Sequence[str]) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    return suffix in suffixes and not os.path.isdir(path)


def location(path: str) -> str:
    """Returns a key that is the same for `x.png` and `./x.png`, but not for a link."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)
