"""libjpeg through jpeglib 1.0.2: mozjpeg's trellis, and coefficients of any file.

jpeglib works on files only, and the version of libjpeg that it runs is a global
setting, so every call holds a lock and has a temporary folder of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jpeglib
import jpeglib.dct_jpeg
import numpy as np

from learned_jpeg.common.leftovers import temporary_folder
from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.jpeg.segments import (
    APPLICATION_DATA,
    SOF0,
    SOF1,
    SOF2,
    SOS,
    IncompleteError,
    segments,
    without_segments,
)

if TYPE_CHECKING:
    from jpeglib.dct_jpeg import DCTJPEG

_COEFFICIENT_LIBRARY = "turbo210"
_TRELLIS_LIBRARY = "mozjpeg403"
_LOCK = threading.Lock()


def mozjpeg(pixels: np.ndarray, qtables: np.ndarray | int, sampling: str) -> bytes:
    """Writes a progressive JPEG file with mozjpeg's trellis quantization.

    Args:
      pixels: uint8 `[h, w, 3 (RGB)]` or `[h, w, 1 (gray)]`, contiguous.
      qtables: uint16 `[2, 8, 8]`, contiguous, or a quality of mozjpeg's own tables.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: another sampling.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    jpeg = jpeglib.from_spatial(pixels)
    # (v, h) of each component.
    all_factors = [factors(sampling), (1, 1), (1, 1)]
    jpeg.samp_factor = np.array(all_factors if pixels.shape[2] == 3 else [(1, 1)])
    try:
        with _library(_TRELLIS_LIBRARY) as folder:
            path = os.path.join(folder, "coded.jpg")
            jpeg.write_spatial(path, qt=qtables)
            with open(path, "rb") as file:
                data = file.read()
        return _with_larger_component_ids(data)
    except (OSError, IncompleteError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # jpeglib does not pass the system's reason on
        raise OSError(
            f"cannot write a temporary JPEG file in {tempfile.gettempdir()}: is the "
            "disk full? Set TMPDIR to a folder with space"
        ) from error


def read_dct(data: bytes) -> DCTJPEG:
    """Reads the coefficients of a JPEG file.

    Raises:
      ValueError: not a complete JPEG file, one that `frame.check` refuses, or one with
        several quantization tables for a component.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    # jpeglib keeps markers in 50 fixed slots without a check, and a long ICC profile
    # needs more.
    data = without_segments(data, APPLICATION_DATA)
    header = frame.check(data)
    if header is None or not frame.has_one_table_each(data, header):
        raise ValueError("a JPEG file without one quantization table a component")
    with _library(_COEFFICIENT_LIBRARY) as folder:
        path = os.path.join(folder, "coded.jpg")
        with open(path, "wb") as file:
            file.write(data)
        try:
            jpeg = jpeglib.read_dct(path)
            jpeg.load()
        except OSError as error:
            if error.errno is None:  # libjpeg's refusal, not the system's
                raise ValueError("not a readable JPEG file") from error
            raise
    return jpeg


@contextlib.contextmanager
def _library(version: str) -> Iterator[str]:
    """Yields a temporary folder for jpeglib, which runs `version` of libjpeg inside.

    jpeglib leaves its own temporary files behind when it fails; here they go into the
    same folder.
    """
    with _LOCK, temporary_folder() as folder:
        previous = jpeglib.version.get() or "6b"  # None before its first use
        jpeglib.version.set(version)
        jpeglib.dct_jpeg.tempfile = types.SimpleNamespace(
            NamedTemporaryFile=functools.partial(
                tempfile.NamedTemporaryFile, dir=folder
            )
        )
        try:
            yield folder
        finally:
            jpeglib.dct_jpeg.tempfile = tempfile
            jpeglib.version.set(previous)


def _with_larger_component_ids(data: bytes) -> bytes:
    """Adds 1 to the numbers of the components.

    jpeglib numbers them 0, 1, 2 when it is given tables, and JFIF asks for 1, 2, 3:
    decoders other than libjpeg may tell the colour space by these numbers. For a
    quality jpeglib has 1, 2, 3 already, and files are left with 2, 3, 4.
    """
    changed = bytearray(data)
    for marker, start, _ in segments(data):
        if marker in (SOF0, SOF1, SOF2):  # length 2, precision 1, size 4, count 1
            count_at, stride = start + 9, 3
        elif marker == SOS:  # length 2, count 1
            count_at, stride = start + 4, 2
        else:
            continue
        for component in range(data[count_at]):
            changed[count_at + 1 + component * stride] += 1
    return bytes(changed)
