"""Tells the results of earlier calls that lie beside their inputs from new inputs."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.segments import DHT, SOF2, SOS, segments
from learned_jpeg.pictures.image_files import (
    image_size,
    read_image,
    read_image_file,
    read_metadata,
)
from learned_jpeg.pictures.read_options import DEFAULT, ReadOptions

_AC = 1  # class of Huffman tables
_NUMBERED = re.compile(r"(.+)-\d+")  # a result's stem where other names are taken
_THUMBNAIL = (8, 8)
# JPEG of quality 5 has a correlation of 0.92 with its image in such thumbnails, other
# images of 0.7 at most. Where there is no contrast the mean decides.
_LEAST_CORRELATION = 0.8
_LEAST_CONTRAST, _LARGEST_DIFFERENCE = 4.0, 16.0  # of 255


def earlier_results(
    inputs: Sequence[str], folder_of_result: Callable[[str], str], reading: ReadOptions
) -> set[str]:
    """Finds the inputs that are results of other inputs, made by an earlier call.

    A result has a name that this call would give as well (`outputs.plan_outputs`) and
    the size of its input in px. It has the scans of our files; where another encoder
    may have made it, it shows the same image, and has no metadata of its own.

    Args:
      inputs: paths of images.
      folder_of_result: function from the path of an input to the folder of its result.
      reading: how images are read.

    Returns:
      Those of `inputs`.
    """
    by_place = _by_place_of_result(inputs, folder_of_result)
    return {
        path
        for path in inputs
        for source in _possible_sources(path, by_place)
        if source != path and _is_result(path, source, reading)
    }


def _by_place_of_result(inputs, folder_of_result):
    """Returns {(real folder, stem): paths} of the results that inputs may have had."""
    by_place = {}
    for path in inputs:
        name = os.path.basename(path)
        folder = os.path.realpath(folder_of_result(path))
        for stem in {name, os.path.splitext(name)[0]}:
            by_place.setdefault((folder, stem), []).append(path)
    return by_place


def results_in_subfolders(inputs: Sequence[str], reading: ReadOptions) -> set[str]:
    """Finds the inputs that are results of others, made with an output folder.

    An output folder inside the folder of the inputs keeps their tree: `a/out/b/c.jpg`
    is a result of `a/b/c.png` if it has the scans of our files and shows that image.

    Args:
      inputs: paths of images.
      reading: how images are read.

    Returns:
      Those of `inputs`.
    """
    by_place = _by_place_of_result(inputs, os.path.dirname)
    folders = {folder for folder, _ in by_place}
    sources_of = {folder: _folders_of_sources(folder, folders) for folder in folders}
    found = set()
    for path in inputs:
        folder, name = os.path.split(path)
        stem, suffix = os.path.splitext(name)
        places = sources_of[os.path.realpath(folder)] if suffix == ".jpg" else ()
        sources = [p for place in places for p in by_place.get((place, stem), ())]
        if any(_is_ours_of(path, source, reading) for source in sources):
            found.add(path)
    return found


def _folders_of_sources(folder, folders):
    """Returns those of some folders of which one may keep the results, in their tree.

    They are what is left where a row of parts is cut out of the path of the one.
    """
    parts = folder.split(os.sep)
    rows = itertools.combinations(range(1, len(parts) + 1), 2)
    left = {os.sep.join(parts[:start] + parts[end:]) or os.sep for start, end in rows}
    return sorted(left & folders)


def _is_ours_of(path, source, reading):
    try:
        return _has_our_scans(path) and is_same_image(path, source, reading=reading)
    except (OSError, UserError):
        return False


def _possible_sources(path, by_place):
    """Returns the inputs whose results may have the name of a path."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    if suffix != ".jpg":
        return []
    folder = os.path.realpath(folder)
    possible = list(by_place.get((folder, stem), ()))
    if match := _NUMBERED.fullmatch(stem):
        named = by_place.get((folder, match[1]), ())
        possible += [p for p in named if os.path.basename(p) == match[1]]
    return possible


def _is_result(path, source, reading):
    try:
        size = image_size(path, reading)
        if size != image_size(source, reading):
            return False
        return _has_our_scans(path) or is_same_image(path, source, reading=reading)
    except UserError:  # it cannot be read: an input that fails, by its name
        return False


def is_ours(path: str, source: str, reading: ReadOptions) -> bool:
    """Returns whether a file is a result of ours of an image, by size and scans.

    Args:
      path: of the file; it is no older than the image.
      source: path of the image.
      reading: how images are read.
    """
    try:
        if os.stat(path).st_mtime_ns < os.stat(source).st_mtime_ns:
            return False
        sizes = [image_size(name, reading) for name in (path, source)]
    except (OSError, UserError):
        return False
    return sizes[0] == sizes[1] and _has_our_scans(path)


def _has_our_scans(path):
    """Whether a JPEG file begins with luma's DC, and has tables of AC before that.

    No other encoder that we know does both; see `jpeg.progressive`.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        found = list(segments(data))
    except ValueError:  # no JPEG file, or cut off
        return False
    markers = [marker for marker, *_ in found]
    if SOF2 not in markers or SOS not in markers:
        return False
    header, (_, start, _) = found[: markers.index(SOS)], found[markers.index(SOS)]
    has_ac = any(
        _AC in _classes(data[first + 4 : end])
        for marker, first, end in header
        if marker == DHT
    )
    return has_ac and data[start + 4] == 1  # component


def _classes(definitions):
    """Yields the class of each Huffman table that a segment defines."""
    while definitions:
        yield definitions[0] >> 4
        definitions = definitions[17 + sum(definitions[1:17]) :]


def is_same_image(
    path: str,
    source: str,
    pixels: np.ndarray | None = None,
    reading: ReadOptions = DEFAULT,
) -> bool:
    """Returns whether a file may be a result of an image, by what it shows.

    Args:
      path: of the file.
      source: path of the image.
      pixels: of the image, uint8 RGB `[h, w, 3]`; None to read them.
      reading: how the image is read.

    Raises:
      UserError: one of them cannot be read.
    """
    own, given = read_metadata(path), read_metadata(source, reading)
    if (own.exif and not given.exif) or (own.xmp and not given.xmp):
        return False
    if pixels is None:
        pixels = read_image_file(source, reading).pixels
    images = [read_image(path), pixels]
    if images[0].shape != images[1].shape:
        return False
    return _look_alike(*map(_thumbnail, images))


def _look_alike(gray, other):
    contrasts = gray.std(), other.std()
    if max(contrasts) < _LEAST_CONTRAST:
        return bool(abs(gray.mean() - other.mean()) <= _LARGEST_DIFFERENCE)
    product = np.mean((gray - gray.mean()) * (other - other.mean()))
    return bool(product >= _LEAST_CORRELATION * contrasts[0] * contrasts[1])


def _thumbnail(pixels):
    gray = Image.fromarray(pixels).convert("L")
    return np.asarray(gray.resize(_THUMBNAIL, Image.Resampling.BOX), np.float64)
