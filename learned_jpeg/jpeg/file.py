"""Writes and reads JPEG files: baseline or progressive, YCbCr or gray, 8 bits.

The integers and tables of a model are a JPEG file, and this module turns one into the
other. Two entropy codings:

- `standard`: sequential, with the Huffman tables of the standard's Annex K (ITU-T
  T.81). The bytes are those of Pillow's encoder without `optimize`.
- `optimized`: the same coefficients in fewer bytes, a progressive file with scans and
  Huffman tables of its own (progressive.py).

mozjpeg's trellis quantization takes pixels: it chooses its own integers by a
rate-distortion search, and subsamples chroma itself.

All functions may be called from many threads.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS, frame
from learned_jpeg.jpeg.quantized import QuantizedImage
from learned_jpeg.jpeg.sampling import factors, plane_blocks, with_factors
from learned_jpeg.jpeg.segments import SOF2

if TYPE_CHECKING:
    from jpeglib.dct_jpeg import DCTJPEG

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py
MAX_SIDE = 65500  # px, libjpeg's JPEG_MAX_DIMENSION


# Writing


def encode(quantized: QuantizedImage, entropy_coding: str = "standard") -> bytes:
    """Writes quantized coefficients as the bytes of a JPEG file.

    Args:
      quantized: the integers and tables.
      entropy_coding: one of `ENTROPY_CODINGS`.

    Raises:
      ValueError: unknown coding or sampling, wrong shapes, tables outside 1..255, or
        coefficients beyond what 8-bit JPEG can code.
      UserError: a side above 65500 px.
    """
    # Compiled code.
    from learned_jpeg.jpeg.progressive import encode_progressive
    from learned_jpeg.jpeg.sequential import encode_sequential

    _check_coding(entropy_coding)
    check_size(quantized.height, quantized.width)
    quantized = checked(quantized)
    is_optimized = entropy_coding == "optimized"
    return (encode_progressive if is_optimized else encode_sequential)(quantized)


def encode_rgb(
    rgb: np.ndarray,
    quality: int,
    entropy_coding: str = "standard",
    sampling: str = "4:4:4",
) -> bytes:
    """Writes an image as plain JPEG, with the IJG tables of a quality.

    An image whose channels are equal becomes a gray file.

    Args:
      rgb: uint8 `[h, w, 3]`.
      quality: 1..100.
      entropy_coding: one of `ENTROPY_CODINGS`.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError, UserError: as for `encode`.
      OSError: the temporary file of `read_coefficients` could not be written.
    """
    _check_coding(entropy_coding)
    pixels = _gray_or_rgb(rgb)
    data = _pillow_jpeg(pixels, _checked_quality(quality), sampling)
    if entropy_coding == "optimized":
        return encode(read_coefficients(data), entropy_coding)
    return data


def with_chroma(data: bytes) -> bytes:
    """Returns a gray file of ours as one of three components, and others unchanged.

    The decoded image is the same.

    Raises:
      ValueError, OSError: as `read_coefficients`.
    """
    header = frame.read_frame(io.BytesIO(data))
    if header is None or len(header.components) != 1:
        return data
    is_progressive = header.marker == SOF2
    coding = "optimized" if is_progressive else "standard"
    return encode(read_coefficients(data).with_chroma(), coding)


def encode_mozjpeg(
    rgb: np.ndarray, qtables: np.ndarray, sampling: str = "4:4:4"
) -> bytes:
    """Writes an image with mozjpeg's trellis quantization and the given tables.

    An image whose channels are equal becomes a gray file.

    Args:
      rgb: uint8 `[h, w, 3]`.
      qtables: integers `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      The bytes of a progressive file.

    Raises:
      ValueError, UserError: as for `encode`.
      OSError: a temporary file could not be written, e.g. a full disk.
    """
    from learned_jpeg.jpeg import libjpeg  # takes a third of a second

    pixels = _gray_or_rgb(rgb)
    return libjpeg.mozjpeg(pixels, _checked_qtables(qtables), sampling)


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
      ValueError, UserError, OSError: as for `encode_mozjpeg`.
    """
    from learned_jpeg.jpeg import libjpeg  # takes a third of a second

    pixels = _gray_or_rgb(rgb)
    return libjpeg.mozjpeg(pixels, _checked_quality(quality), sampling)


def _pillow_jpeg(pixels: np.ndarray, quality: int, sampling: str) -> bytes:
    factors(sampling)  # Pillow would take other ones, too.
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image.save(buffer, "JPEG", quality=quality, subsampling=sampling)
    return buffer.getvalue()


# Reading


def decode(data: bytes) -> np.ndarray:
    """Decodes a JPEG file with Pillow (libjpeg-turbo) to uint8 RGB `[h, w, 3]`.

    Raises:
      ValueError: not a complete JPEG file.
    """
    try:
        with open_jpeg(data) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise ValueError(f"not a readable JPEG file: {error}") from error


def open_jpeg(data: bytes) -> JpegImageFile:
    """Opens a JPEG file with Pillow, of any size; its pixels are not decoded yet.

    `Image.open` has a limit, which is a setting of the whole process.

    Raises:
      ValueError: not a JPEG file, or one that `frame.read_frame` refuses.
    """
    frame.read_frame(io.BytesIO(data))
    try:
        return JpegImageFile(io.BytesIO(data))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a readable JPEG file: {error}") from error


def read_coefficients(data: bytes) -> QuantizedImage:
    """Reads the quantized coefficients and tables of a YCbCr or gray JPEG file.

    Returns:
      `QuantizedImage` with int16 planes and uint16 tables. A gray file has the same
      table twice, and the sampling 4:4:4.

    Raises:
      ValueError: not a complete JPEG file, or neither gray nor three components of one
        of `SUBSAMPLINGS` that share one chroma table.
      OSError: the temporary file could not be written, e.g. a full disk.
    """
    from learned_jpeg.jpeg import libjpeg  # takes a third of a second

    return quantized_image(libjpeg.read_dct(data), data)


def quantized_image(jpeg: DCTJPEG, data: bytes) -> QuantizedImage:
    """Returns what `libjpeg.read_dct` has read of the bytes of a JPEG file.

    Raises:
      ValueError: as `read_coefficients`.
    """
    tables = [jpeg.get_component_qt(i) for i in range(jpeg.num_components)]
    if jpeg.num_components == 1:
        planes, sampling, tables = (jpeg.Y,), "4:4:4", 2 * tables
    else:
        planes, sampling = (jpeg.Y, jpeg.Cb, jpeg.Cr), _sampling(jpeg, data)
        if not np.array_equal(tables[1], tables[2]):
            raise ValueError("the chroma components have different tables")
    return QuantizedImage(
        planes=planes,
        sampling=sampling,
        qtables=np.stack(tables[:2]),
        height=jpeg.height,
        width=jpeg.width,
    )


def _sampling(jpeg: DCTJPEG, data: bytes) -> str:
    """Returns the sampling of a colour file, or raises ValueError."""
    if not frame.is_ycbcr(data):
        raise ValueError("not a YCbCr JPEG file")
    luma, *chroma = np.asarray(jpeg.samp_factor)
    # Where these divide, the planes are those of the quotients.
    sampling = with_factors(*(luma / chroma[0]))
    if sampling is None or not np.array_equal(*chroma):
        raise ValueError(f"not a JPEG file of {', '.join(SUBSAMPLINGS)}")
    return sampling


# Checks of what is to be written


def _check_coding(entropy_coding: str) -> None:
    if entropy_coding not in ENTROPY_CODINGS:
        raise ValueError(
            f"entropy_coding must be one of {ENTROPY_CODINGS}, not {entropy_coding!r}"
        )


def check_size(height: int, width: int, name: str = "an image") -> None:
    """Checks that JPEG holds images of a size.

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


def _gray_or_rgb(rgb: np.ndarray) -> np.ndarray:
    """Checks pixels; returns them as `[h, w, 1]` if the channels are equal."""
    rgb = _checked_rgb(rgb)
    if np.array_equal(rgb[..., :2], rgb[..., 1:]):
        return np.ascontiguousarray(rgb[..., :1])
    return rgb


def _checked_rgb(rgb: np.ndarray) -> np.ndarray:
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(
            f"RGB pixels must be uint8 [h, w, 3], not {rgb.dtype} {list(rgb.shape)}"
        )
    check_size(rgb.shape[0], rgb.shape[1])
    return np.ascontiguousarray(rgb)


def _checked_quality(quality: int) -> int:
    if quality not in range(1, 101):
        raise ValueError(f"quality must be a whole number in 1..100, not {quality}")
    return int(quality)


def _checked_qtables(qtables: np.ndarray) -> np.ndarray:
    qtables = _whole_numbers(qtables, "qtables")
    if qtables.shape != (2, 8, 8):
        raise ValueError(f"qtables must be [2, 8, 8], not {list(qtables.shape)}")
    if qtables.min() < 1 or qtables.max() > 255:
        raise ValueError(
            f"qtables must lie in 1..255, not in {qtables.min()}..{qtables.max()}"
        )
    # jpeglib refuses strided tables, such as a transposed view.
    return np.ascontiguousarray(qtables, np.uint16)


def checked(quantized: QuantizedImage) -> QuantizedImage:
    """Returns an image with int16 planes and uint16 tables that 8-bit JPEG can code.

    Raises:
      ValueError: as `encode`.
    """
    return dataclasses.replace(
        quantized,
        planes=_checked_planes(quantized),
        qtables=_checked_qtables(quantized.qtables),
    )


def _checked_planes(quantized: QuantizedImage) -> tuple[np.ndarray, ...]:
    height, width = quantized.height, quantized.width
    count = len(quantized.planes)
    sizes = plane_blocks(height, width, quantized.sampling)[:count]
    if count not in (1, 3):
        raise ValueError("planes must be those of Y, Cb and Cr, or of Y alone")
    planes = [_whole_numbers(plane, "planes") for plane in quantized.planes]
    for plane, size in zip(planes, sizes, strict=True):
        if plane.shape != (*size, 8, 8):
            raise ValueError(
                f"a plane must be {[*size, 8, 8]} for {width}x{height} px, "
                f"{quantized.sampling}, not {list(plane.shape)}"
            )
        check_range(plane)
    return tuple(np.asarray(plane, np.int16) for plane in planes)


def check_range(plane: np.ndarray) -> None:
    """Checks that 8-bit JPEG can code the coefficients of a component.

    T.81, tables F.1 and F.2: AC has at most 10 bits, a difference of two DC 11.

    Args:
      plane: integers `[rows, cols, 8 (v), 8 (u)]`.

    Raises:
      ValueError: it cannot.
    """
    if plane.min() < -1024 or plane.max() > 1023:
        raise ValueError("integers must lie in [-1024, 1023]")
    if np.count_nonzero(plane == -1024) != np.count_nonzero(plane[:, :, 0, 0] == -1024):
        raise ValueError("AC integers must lie in [-1023, 1023]")


def _whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must be an integer array, not {values.dtype}")
    return values
