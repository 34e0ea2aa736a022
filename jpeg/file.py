"""Writes and reads JPEG files: baseline or progressive, 4:4:4, 8 bits.

The integers and tables of a model ARE a JPEG file, and this module is the only one
that turns the one into the other. Three entropy codings:

- `default`: sequential, the Huffman tables of the standard's Annex K (ITU-T T.81).
  The bytes are those of Pillow's encoder without `optimize`.
- `optimized`: the same coefficients, coded again by mozjpeg's lossless pass
  (progressive, searched scans, Huffman tables of the picture).
- `trellis`: mozjpeg quantizes the edited picture itself with the given tables: a
  rate-distortion search over the coefficients, so other integers than ours.

libjpeg is reached through jpeglib 1.0.2, the lossless pass through
mozjpeg-lossless-optimization 1.3.2. All functions may be called from many threads.
"""

import contextlib
import dataclasses
import functools
import io
import os
import tempfile
import threading
import types

import jpeglib
import jpeglib.dct_jpeg
import mozjpeg_lossless_optimization
import numpy as np
from PIL import Image

from errors import UserError
from jpeg import ENTROPY_CODINGS
from jpeg.metadata import Metadata, with_metadata
from jpeg.segments import (
    APP1,
    APP14,
    COM,
    DHT,
    FRAME_HEADERS,
    SOS,
    IncompleteError,
    segments,
    without_segments,
)

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py
MAX_SIDE = 65500  # px, libjpeg's JPEG_MAX_DIMENSION

_COEFFICIENT_LIBRARY = "turbo210"
_TRELLIS_LIBRARY = "mozjpeg403"
_LIBRARY_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class QuantizedImage:
    """A picture as the integers that a JPEG file holds.

    Attributes:
      integers: int16 `[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`, quantized DCT
        coefficients; rows = ceil(height / 8), cols = ceil(width / 8). DC in
        [-1024, 1023], AC in [-1023, 1023].
      qtables: uint8 or uint16 `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255.
      height: true height in px.
      width: true width in px.
      edited: uint8 `[height, width, 3]` RGB, the picture as the model edited it
        before quantization; only the trellis coding needs it.
    """

    integers: np.ndarray
    qtables: np.ndarray
    height: int
    width: int
    edited: np.ndarray | None = None


def encode(
    quantized: QuantizedImage,
    entropy_coding: str = "default",
    metadata: Metadata | None = None,
) -> bytes:
    """Writes quantized coefficients as the bytes of a JPEG file.

    Args:
      quantized: `QuantizedImage`. `trellis` quantizes `edited` anew and does not
        look at `integers`.
      entropy_coding: one of `ENTROPY_CODINGS`.
      metadata: `jpeg.metadata.Metadata` to be stored, or None. An EXIF block or ICC
        profile that is too large for JPEG (65533 bytes, 16 MB) is left out.

    Raises:
      ValueError: unknown coding, wrong shapes, tables outside 1..255, coefficients
        beyond what 8-bit JPEG can code, or `trellis` without `edited`.
      UserError: a side above 65500 px.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    _check_coding(entropy_coding)
    check_size(quantized.height, quantized.width)
    qtables = _checked_qtables(quantized.qtables)
    if entropy_coding == "trellis":
        data = _trellis(_checked_edited(quantized), qtables)
    else:
        data = _write_coefficients(
            _checked_integers(quantized), qtables, quantized.height, quantized.width
        )
    return _finish(data, entropy_coding, metadata)


def encode_rgb(
    rgb: np.ndarray,
    quality: int,
    entropy_coding: str = "default",
    metadata: Metadata | None = None,
) -> bytes:
    """Writes a picture as plain JPEG: 4:4:4 with the IJG tables of a quality.

    Args:
      rgb: uint8 `[h, w, 3]`.
      quality: 1..100.
      entropy_coding: one of `ENTROPY_CODINGS`.
      metadata: as for `encode`.

    Raises:
      ValueError, UserError, OSError: as for `encode`.
    """
    _check_coding(entropy_coding)
    rgb = _checked_rgb(rgb)
    check_size(*rgb.shape[:2])
    if quality not in range(1, 101):
        raise ValueError(f"quality must be a whole number in 1..100, not {quality}")
    quality = int(quality)
    if entropy_coding == "trellis":
        data = _trellis(rgb, _ijg_qtables(quality))
    else:
        data = _pillow_jpeg(rgb, quality)
    return _finish(data, entropy_coding, metadata)


def read_coefficients(data: bytes) -> QuantizedImage:
    """Reads the quantized coefficients and tables of a 4:4:4 YCbCr JPEG file.

    Returns:
      `QuantizedImage` with int16 integers, uint16 tables and `edited` None.

    Raises:
      ValueError: not a complete JPEG file, or not three components at full
        resolution that share one chroma table.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    # jpeglib keeps markers in 50 fixed slots without a check, and a long ICC
    # profile needs more; none but the two that name the colour space matter here.
    data = without_segments(data, {*range(APP1, 0xF0), COM} - {APP14})
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
    return _quantized_image(jpeg)


def decode(data: bytes) -> np.ndarray:
    """Decodes a JPEG file with Pillow (libjpeg-turbo) to uint8 RGB `[h, w, 3]`.

    Raises:
      ValueError: not a complete JPEG file.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a readable JPEG file: {error}") from error


def standard_code_lengths(table):
    """Code lengths of the standard's Huffman tables (ITU-T T.81, annex K.3).

    Args:
      table: 0 for luma, 1 for chroma.

    Returns:
      (DC, AC): lists of 16 and 256 numbers, the bits of each symbol's code. Symbols
      that no block of 8-bit samples needs have no code and get 16.
    """
    lengths = [[16] * 16, [16] * 256]
    # The `default` coding writes these tables into every file.
    data = _pillow_jpeg(np.zeros((8, 8, 3), np.uint8), quality=75)
    for marker, start, end in segments(data):
        if marker != DHT or data[start + 4] & 15 != table:
            continue
        counts = data[start + 5 : start + 21]
        symbols = iter(data[start + 21 : end])
        for bits, count in enumerate(counts, start=1):
            for _ in range(count):
                lengths[data[start + 4] >> 4][next(symbols)] = bits
    return tuple(lengths)


# Checks of what is to be written. libjpeg-turbo writes undecodable files without a
# word when it is given more than JPEG can code.


def _check_coding(entropy_coding):
    if entropy_coding not in ENTROPY_CODINGS:
        raise ValueError(
            f"entropy_coding must be one of {ENTROPY_CODINGS}, not {entropy_coding!r}"
        )


def check_size(height, width, name="a picture"):
    """Checks that JPEG holds pictures of a size.

    Args:
      height, width: in px.
      name: of the file, for the error.

    Raises:
      UserError: a side is too long.
      ValueError: a side is 0.
    """
    if min(height, width) < 1:
        raise ValueError(f"{name} of {width}x{height} px holds nothing")
    if max(height, width) > MAX_SIDE:
        raise UserError(
            f"{name}: {width}x{height} px are too large for JPEG, which holds at most "
            f"{MAX_SIDE} px a side; scale it down or cut it"
        )


def _checked_rgb(rgb):
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(
            f"RGB pixels must be uint8 [h, w, 3], not {rgb.dtype} {list(rgb.shape)}"
        )
    return np.ascontiguousarray(rgb)


def _checked_edited(quantized):
    if quantized.edited is None:
        raise ValueError("the trellis coding needs the edited picture, `edited`")
    edited = _checked_rgb(quantized.edited)
    if edited.shape[:2] != (quantized.height, quantized.width):
        raise ValueError(
            f"edited is {edited.shape[:2]} px, the picture is "
            f"{(quantized.height, quantized.width)}"
        )
    return edited


def _checked_qtables(qtables):
    qtables = _whole_numbers(qtables, "qtables")
    if qtables.shape != (2, 8, 8):
        raise ValueError(f"qtables must be [2, 8, 8], not {list(qtables.shape)}")
    if qtables.min() < 1 or qtables.max() > 255:
        raise ValueError(
            f"qtables must lie in 1..255, not in {qtables.min()}..{qtables.max()}"
        )
    # jpeglib refuses strided tables, such as a transposed view.
    return np.ascontiguousarray(qtables, np.uint16)


def _checked_integers(quantized):
    """Returns the coefficients as int16, all of which baseline JPEG can code.

    T.81, tables F.1 and F.2: AC has at most 10 bits, a difference of two DC 11.
    """
    integers = _whole_numbers(quantized.integers, "integers")
    rows, cols = -(-quantized.height // 8), -(-quantized.width // 8)
    if integers.shape != (rows, cols, 8, 8, 3):
        raise ValueError(
            f"integers must be {[rows, cols, 8, 8, 3]} for "
            f"{quantized.width}x{quantized.height} px, not {list(integers.shape)}"
        )
    if integers.min() < -1024 or integers.max() > 1023:
        raise ValueError("integers must lie in [-1024, 1023]")
    if np.count_nonzero(integers == -1024) != np.count_nonzero(
        integers[:, :, 0, 0] == -1024
    ):
        raise ValueError("AC integers must lie in [-1023, 1023]")
    return integers.astype(np.int16)


def _whole_numbers(values, name):
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must be an integer array, not {values.dtype}")
    return values


# libjpeg, by way of jpeglib


@contextlib.contextmanager
def _library(version):
    """Yields a temporary folder for jpeglib, which runs `version` of libjpeg inside.

    The version is global in jpeglib, hence the lock. jpeglib leaves its own
    temporary files behind when it fails; here they go into the same folder.
    """
    with _LIBRARY_LOCK, tempfile.TemporaryDirectory(prefix="jpeg_file_") as folder:
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


def _write_coefficients(integers, qtables, height, width):
    """Bytes of a baseline JPEG with exactly these integers, as checked."""
    y, cb, cr = np.ascontiguousarray(np.moveaxis(integers, -1, 0))
    jpeg = jpeglib.from_dct(y, cb, cr, qt=qtables)
    jpeg.height, jpeg.width = height, width
    return _written(_COEFFICIENT_LIBRARY, jpeg.write_dct)


def _trellis(rgb, qtables):
    """Bytes of a progressive JPEG, mozjpeg's trellis quantization of `rgb`."""
    jpeg = jpeglib.from_spatial(rgb)
    jpeg.samp_factor = ((1, 1), (1, 1), (1, 1))
    return _written(_TRELLIS_LIBRARY, lambda path: jpeg.write_spatial(path, qt=qtables))


def _written(version, write):
    """The bytes that `write(path)` of jpeglib leaves in a temporary file."""
    try:
        with _library(version) as folder:
            path = os.path.join(folder, "coded.jpg")
            write(path)
            with open(path, "rb") as file:
                data = file.read()
        return _with_jfif_component_ids(data)
    except (OSError, IncompleteError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        # jpeglib does not pass the system's reason on
        raise OSError(
            f"cannot write a temporary JPEG file in {tempfile.gettempdir()}: is the "
            "disk full? Set TMPDIR to a folder with space"
        ) from error


def _quantized_image(jpeg):
    """`QuantizedImage` of a jpeglib `DCTJPEG`, or ValueError if it does not fit."""
    full_resolution = np.all(np.asarray(jpeg.samp_factor) == jpeg.samp_factor[0])
    if jpeg.num_components != 3 or not full_resolution:
        raise ValueError("not a 4:4:4 colour JPEG file")
    if jpeg.jpeg_color_space.name != "JCS_YCbCr":
        raise ValueError(f"not a YCbCr JPEG file: {jpeg.jpeg_color_space.name}")
    luma, cb, cr = (jpeg.get_component_qt(component) for component in range(3))
    if not np.array_equal(cb, cr):
        raise ValueError("the chroma channels of the JPEG file have different tables")
    return QuantizedImage(
        integers=np.stack([jpeg.Y, jpeg.Cb, jpeg.Cr], axis=-1),
        qtables=np.stack([luma, cb]),
        height=jpeg.height,
        width=jpeg.width,
    )


# Pillow


def _pillow_jpeg(rgb, quality):
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _ijg_qtables(quality):
    """uint16 `[2, 8 (v), 8 (u)]`, the tables that libjpeg takes for a quality."""
    data = _pillow_jpeg(np.zeros((8, 8, 3), np.uint8), quality)
    with Image.open(io.BytesIO(data)) as image:
        tables = image.quantization  # natural order
    return np.array([tables[0], tables[1]], np.uint16).reshape(2, 8, 8)


# Segments of the file


def _finish(data, entropy_coding, metadata):
    """Last steps of every coding: the lossless pass and the metadata."""
    if entropy_coding == "optimized":
        data = mozjpeg_lossless_optimization.optimize(data)
    return with_metadata(data, metadata)


def _with_jfif_component_ids(data):
    """Numbers the components 1, 2, 3 as JFIF asks; jpeglib writes 0, 1, 2.

    Decoders other than libjpeg may tell the colour space by these numbers.
    """
    data = bytearray(data)
    for marker, start, _ in list(segments(data)):
        if marker in FRAME_HEADERS:  # length 2, precision 1, size 4, count 1
            count_at, stride = start + 9, 3
        elif marker == SOS:  # length 2, count 1
            count_at, stride = start + 4, 2
        else:
            continue
        for component in range(data[count_at]):
            data[count_at + 1 + component * stride] += 1
    return bytes(data)
