"""Writes and reads JPEG files: baseline or progressive, YCbCr, 8 bits.

The integers and tables of a model ARE a JPEG file, and this module is the only one
that turns the one into the other. Two entropy codings:

- `standard`: sequential, the Huffman tables of the standard's Annex K (ITU-T T.81).
  The bytes are those of Pillow's encoder without `optimize`.
- `optimized`: the same coefficients in the fewer bytes of two progressive files, each
  with Huffman tables of the picture: that of mozjpeg's lossless pass, which searches
  scans, and ours (progressive.py).

mozjpeg's trellis quantization takes pixels: it chooses other integers than ours, by a
rate-distortion search, and subsamples chroma itself.

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

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS, progressive
from learned_jpeg.jpeg.sampling import factors, plane_blocks, with_factors
from learned_jpeg.jpeg.segments import (
    APP1,
    APP14,
    APP15,
    COM,
    DHT,
    SOF0,
    SOF1,
    SOF2,
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
      planes: int16 `[rows, cols, 8 (v), 8 (u)]` of Y, Cb and Cr, quantized DCT
        coefficients; rows and cols are those of `sampling.plane_blocks`. DC in
        [-1024, 1023], AC in [-1023, 1023].
      sampling: one of `jpeg.SUBSAMPLINGS`.
      qtables: uint8 or uint16 `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255.
      height: true height in px.
      width: true width in px.
    """

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    sampling: str
    qtables: np.ndarray
    height: int
    width: int

    @classmethod
    def of_integers(cls, integers, qtables, height, width):
        """A picture without subsampling.

        Args:
          integers: `[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`.
          qtables, height, width: the attributes.
        """
        planes = tuple(np.moveaxis(integers, -1, 0))
        return cls(planes, "4:4:4", qtables, height, width)

    @property
    def integers(self):
        """`[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`, of 4:4:4 alone.

        Raises:
          ValueError: chroma is subsampled.
        """
        if self.sampling != "4:4:4":
            raise ValueError(f"the planes of {self.sampling} are of different sizes")
        return np.stack(self.planes, axis=-1)


def encode(quantized: QuantizedImage, entropy_coding: str = "standard") -> bytes:
    """Writes quantized coefficients as the bytes of a JPEG file.

    Args:
      quantized: `QuantizedImage`.
      entropy_coding: one of `ENTROPY_CODINGS`.

    Raises:
      ValueError: unknown coding or sampling, wrong shapes, tables outside 1..255, or
        coefficients beyond what 8-bit JPEG can code.
      UserError: a side above 65500 px.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    _check_coding(entropy_coding)
    check_size(quantized.height, quantized.width)
    quantized = dataclasses.replace(
        quantized,
        planes=_checked_planes(quantized),
        qtables=_checked_qtables(quantized.qtables),
    )
    data = _write_coefficients(quantized)
    return _optimized(data, quantized) if entropy_coding == "optimized" else data


def encode_rgb(
    rgb: np.ndarray,
    quality: int,
    entropy_coding: str = "standard",
    sampling: str = "4:4:4",
) -> bytes:
    """Writes an image as plain JPEG, with the IJG tables of a quality.

    Args:
      rgb: uint8 `[h, w, 3]`.
      quality: 1..100.
      entropy_coding: one of `ENTROPY_CODINGS`.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError, UserError, OSError: as for `encode`.
    """
    _check_coding(entropy_coding)
    rgb = _checked_rgb(rgb)
    check_size(*rgb.shape[:2])
    data = _pillow_jpeg(rgb, _checked_quality(quality), sampling)
    if entropy_coding == "optimized":
        return _optimized(data, read_coefficients(data))
    return data


def encode_mozjpeg(
    rgb: np.ndarray, qtables: np.ndarray, sampling: str = "4:4:4"
) -> bytes:
    """Writes an image with mozjpeg's trellis quantization and the given tables.

    Args:
      rgb: uint8 `[h, w, 3]`.
      qtables: integers `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      The bytes of a progressive file.

    Raises:
      ValueError, UserError, OSError: as for `encode`.
    """
    rgb = _checked_rgb(rgb)
    check_size(*rgb.shape[:2])
    return _trellis(rgb, _checked_qtables(qtables), sampling)


def encode_mozjpeg_quality(
    rgb: np.ndarray, quality: int, sampling: str = "4:2:0"
) -> bytes:
    """Writes an image as mozjpeg's `cjpeg -quality` does: its tables, its trellis.

    Args:
      rgb: uint8 `[h, w, 3]`.
      quality: 1..100, of mozjpeg's tables.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      The bytes of a progressive file.

    Raises:
      ValueError, UserError, OSError: as for `encode`.
    """
    rgb = _checked_rgb(rgb)
    check_size(*rgb.shape[:2])
    return _trellis(rgb, _checked_quality(quality), sampling)


def read_coefficients(data: bytes) -> QuantizedImage:
    """Reads the quantized coefficients and tables of a YCbCr JPEG file.

    Returns:
      `QuantizedImage` with int16 planes and uint16 tables.

    Raises:
      ValueError: not a complete JPEG file, or not three components of one of
        `SUBSAMPLINGS` that share one chroma table.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    # jpeglib keeps markers in 50 fixed slots without a check, and a long ICC
    # profile needs more; none but the two that name the colour space matter here.
    data = without_segments(data, {*range(APP1, APP15 + 1), COM} - {APP14})
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
    # The `standard` coding writes these tables into every file.
    data = _pillow_jpeg(np.zeros((8, 8, 3), np.uint8), 75, "4:4:4")
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


def _checked_quality(quality):
    if quality not in range(1, 101):
        raise ValueError(f"quality must be a whole number in 1..100, not {quality}")
    return int(quality)


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


def _checked_planes(quantized):
    """Returns the coefficients as int16, all of which baseline JPEG can code.

    T.81, tables F.1 and F.2: AC has at most 10 bits, a difference of two DC 11.
    """
    height, width = quantized.height, quantized.width
    sizes = plane_blocks(height, width, quantized.sampling)
    if len(quantized.planes) != len(sizes):
        raise ValueError(f"planes must be those of Y, Cb, Cr: {len(sizes)} arrays")
    checked = []
    for plane, size in zip(quantized.planes, sizes, strict=True):
        plane = _whole_numbers(plane, "planes")
        if plane.shape != (*size, 8, 8):
            raise ValueError(
                f"a plane must be {[*size, 8, 8]} for {width}x{height} px, "
                f"{quantized.sampling}, not {list(plane.shape)}"
            )
        _check_range(plane)
        # jpeglib refuses strided planes, such as those of one array [..., 3].
        checked.append(np.ascontiguousarray(plane, np.int16))
    return tuple(checked)


def _check_range(plane):
    if plane.min() < -1024 or plane.max() > 1023:
        raise ValueError("integers must lie in [-1024, 1023]")
    if np.count_nonzero(plane == -1024) != np.count_nonzero(plane[:, :, 0, 0] == -1024):
        raise ValueError("AC integers must lie in [-1023, 1023]")


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


def _write_coefficients(quantized):
    """Bytes of a baseline JPEG with exactly these integers, as checked."""
    jpeg = jpeglib.from_dct(*quantized.planes, qt=quantized.qtables)
    jpeg.height, jpeg.width = quantized.height, quantized.width
    # jpeglib would guess it from the blocks, of which a small plane has too few.
    jpeg.samp_factor = _samp_factor(quantized.sampling)
    return _written(_COEFFICIENT_LIBRARY, jpeg.write_dct)


def _trellis(rgb, qtables, sampling):
    """Bytes of a progressive JPEG, mozjpeg's trellis quantization of `rgb`.

    Args:
      rgb: uint8 `[h, w, 3]`.
      qtables: uint16 `[2, 8, 8]`, or a quality of mozjpeg's own tables.
      sampling: one of `jpeg.SUBSAMPLINGS`.
    """
    jpeg = jpeglib.from_spatial(rgb)
    jpeg.samp_factor = _samp_factor(sampling)
    return _written(_TRELLIS_LIBRARY, lambda path: jpeg.write_spatial(path, qt=qtables))


def _samp_factor(sampling):
    """A sampling in the form of jpeglib: (v, h) of each component."""
    return factors(sampling), (1, 1), (1, 1)


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
    if jpeg.num_components != 3:
        raise ValueError("not a colour JPEG file")
    luma, *chroma = np.asarray(jpeg.samp_factor)
    # Where these divide, the planes are those of the quotients.
    sampling = with_factors(*(luma / chroma[0]))
    if sampling is None or not np.array_equal(*chroma):
        raise ValueError(f"not a JPEG file of {', '.join(SUBSAMPLINGS)}")
    if jpeg.jpeg_color_space.name != "JCS_YCbCr":
        raise ValueError(f"not a YCbCr JPEG file: {jpeg.jpeg_color_space.name}")
    luma, cb, cr = (jpeg.get_component_qt(component) for component in range(3))
    if not np.array_equal(cb, cr):
        raise ValueError("the chroma channels of the JPEG file have different tables")
    return QuantizedImage(
        planes=(jpeg.Y, jpeg.Cb, jpeg.Cr),
        sampling=sampling,
        qtables=np.stack([luma, cb]),
        height=jpeg.height,
        width=jpeg.width,
    )


# Pillow


def _pillow_jpeg(rgb, quality, sampling):
    factors(sampling)  # Pillow would take other ones, too.
    buffer = io.BytesIO()
    image = Image.fromarray(rgb)
    image.save(buffer, "JPEG", quality=quality, subsampling=sampling)
    return buffer.getvalue()


# Steps on the bytes of a file


def _optimized(data, quantized):
    """The smaller one of two progressive files.

    Args:
      data: baseline JPEG.
      quantized: what it holds.
    """
    mozjpeg = mozjpeg_lossless_optimization.optimize(data)
    return min(mozjpeg, progressive.encode_progressive(quantized), key=len)


def _with_jfif_component_ids(data):
    """Numbers the components 1, 2, 3 as JFIF asks; jpeglib writes 0, 1, 2.

    Decoders other than libjpeg may tell the colour space by these numbers.
    """
    data = bytearray(data)
    for marker, start, _ in list(segments(data)):
        if marker in (SOF0, SOF1, SOF2):  # length 2, precision 1, size 4, count 1
            count_at, stride = start + 9, 3
        elif marker == SOS:  # length 2, count 1
            count_at, stride = start + 4, 2
        else:
            continue
        for component in range(data[count_at]):
            data[count_at + 1 + component * stride] += 1
    return bytes(data)
