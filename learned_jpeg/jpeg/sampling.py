"""Chroma subsampling: the sizes of the planes of a JPEG file, and their samples.

Each component of a file covers the image with its own number of samples, in whole
blocks (ITU-T T.81, A.1.1 and A.2.4). Where a scan interleaves components, the encoder
repeats the DC coefficient of the last block up to a whole MCU. Decoders drop these
blocks, and no plane here holds them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from learned_jpeg.jpeg.standard import BLOCK

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# Luma samples for one chroma sample: (down, across).
_FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}
# libjpeg's decoder does not filter components of at most this width.
UNFILTERED_WIDTH = 2
NEAREST_WEIGHT = 0.75  # of the nearest sample in the filter


def nearest_weight(width: int) -> np.float32:
    """Returns the weight of the nearest sample when a decoder enlarges a component.

    Args:
      width: width of the component in samples.
    """
    return np.float32(1.0 if width <= UNFILTERED_WIDTH else NEAREST_WEIGHT)


def factors(sampling: str) -> tuple[int, int]:
    """Returns (v, h): the luma samples of one chroma sample, down and across.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: an unknown sampling.
    """
    if sampling not in _FACTORS:
        raise ValueError(f"sampling must be one of {[*_FACTORS]}, not {sampling!r}")
    return _FACTORS[sampling]


def with_factors(v: float, h: float) -> str | None:
    """Returns the sampling that has these factors, None where there is none."""
    return next((name for name in _FACTORS if _FACTORS[name] == (v, h)), None)


def plane_sizes(height: int, width: int, sampling: str) -> tuple[tuple[int, int], ...]:
    """Returns the sizes of Y, Cb and Cr in samples: three pairs (height, width).

    Args:
      height, width: size of the image in px.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: an unknown sampling.
    """
    v, h = factors(sampling)
    chroma = -(-height // v), -(-width // h)
    return (height, width), chroma, chroma


def blocks_of(height: int, width: int) -> tuple[int, int]:
    """Returns (rows, cols) of the blocks that cover a plane of a size in samples."""
    return -(-height // BLOCK), -(-width // BLOCK)


def plane_blocks(height: int, width: int, sampling: str) -> tuple[tuple[int, int], ...]:
    """Returns the sizes of Y, Cb and Cr in blocks: three pairs (rows, cols).

    The arguments are those of `plane_sizes`.
    """
    return tuple(blocks_of(*size) for size in plane_sizes(height, width, sampling))


def groups(sampling: str) -> list[tuple[list[int], tuple[int, int]]]:
    """Returns the groups of components whose planes have one size.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      A list of (components, factors): components are 0 (Y), 1 (Cb) and 2 (Cr), factors
      are those that `factors` returns.

    Raises:
      ValueError: an unknown sampling.
    """
    if sampling == "4:4:4":
        return [([0, 1, 2], (1, 1))]
    return [([0], (1, 1)), ([1, 2], factors(sampling))]


def planes_of(arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Returns the planes of Y, Cb and Cr: three arrays `[...]`.

    Args:
      arrays: for each of the `groups` an array `[..., components]`.
    """
    return [plane for array in arrays for plane in np.moveaxis(array, -1, 0)]


def cell_means(image: np.ndarray, own_factors: tuple[int, int]) -> np.ndarray:
    """Returns the mean of the pixels of each sample, up to whole blocks of samples.

    The image is continued beyond its edges as in libjpeg: columns of pixels are
    repeated up to whole blocks, rows of pixels up to whole samples, then rows of
    samples. libjpeg rounds means of YCbCr alternately up and down; these means are not
    rounded.

    Args:
      image: uint8 `[h, w, c]`.
      own_factors: (v, h), as `factors` returns them.

    Returns:
      `[8 rows, 8 cols, c]`, uint8 for factors of 1, else float64.
    """
    v, h = own_factors
    samples = _continued(image, v, BLOCK * h)
    if own_factors != (1, 1):
        height, width, channels = samples.shape
        cells = samples.reshape(height // v, v, width // h, h, channels)
        samples = cells.mean((1, 3))
    return _continued(samples, BLOCK, 1)


def _continued(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Repeats the bottom and right edge up to multiples of `rows` and `cols`."""
    height, width = image.shape[:2]
    padding = [(0, -height % rows), (0, -width % cols), (0, 0)]
    return np.pad(image, padding, mode="edge")
