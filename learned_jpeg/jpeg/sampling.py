"""Chroma subsampling: how large the planes of a JPEG file are, and their samples.

A component of a file covers the picture with fewer samples and whole blocks of its own
(ITU-T T.81, A.1.1 and A.2.4). Where a scan interleaves components, the encoder repeats
the DC coefficient of the last block up to a whole MCU, and a decoder leaves such blocks
out: no plane holds them.
"""

import numpy as np

from learned_jpeg.jpeg.standard import BLOCK

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# (rows, columns) of luma samples for one chroma sample.
_FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}
# libjpeg leaves the decoder's filter out for components of at most this width.
UNFILTERED_WIDTH = 2
NEAREST_WEIGHT = 0.75  # of the filter


def nearest_weight(width):
    """Weight of the nearest sample in the decoder's filter, of a component's width."""
    return np.float32(1.0 if width <= UNFILTERED_WIDTH else NEAREST_WEIGHT)


def factors(sampling):
    """(v, h): how many luma samples a chroma sample stands for, down and across.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: another one.
    """
    if sampling not in _FACTORS:
        raise ValueError(f"sampling must be one of {[*_FACTORS]}, not {sampling!r}")
    return _FACTORS[sampling]


def with_factors(v, h):
    """The sampling of these factors, or None where it is none of ours."""
    return next((name for name in _FACTORS if _FACTORS[name] == (v, h)), None)


def plane_sizes(height, width, sampling):
    """Sizes in samples of Y, Cb and Cr: three pairs (height, width).

    Args:
      height, width: of the picture, in px.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: another sampling.
    """
    v, h = factors(sampling)
    chroma = -(-height // v), -(-width // h)
    return (height, width), chroma, chroma


def blocks_of(height, width):
    """(rows, cols) of the blocks that cover a plane of so many samples."""
    return -(-height // BLOCK), -(-width // BLOCK)


def plane_blocks(height, width, sampling):
    """Sizes in blocks of Y, Cb and Cr, (rows, cols); arguments as `plane_sizes`."""
    return tuple(blocks_of(*size) for size in plane_sizes(height, width, sampling))


def groups(sampling):
    """Components whose planes are of one size, together.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      A list of (components, factors): of 0 (Y), 1 (Cb), 2 (Cr), and as `factors`.

    Raises:
      ValueError: another sampling.
    """
    if sampling == "4:4:4":
        return [([0, 1, 2], (1, 1))]
    return [([0], (1, 1)), ([1, 2], factors(sampling))]


def planes_of(arrays):
    """Planes of Y, Cb and Cr.

    Args:
      arrays: for each of `groups` an array `[..., components]`.

    Returns:
      Three arrays `[...]`.
    """
    return [plane for array in arrays for plane in np.moveaxis(array, -1, 0)]


def cell_means(picture, own_factors):
    """Means over the pixels of each sample, of whole blocks of samples.

    With libjpeg's continuation beyond the edges: columns of pixels are repeated up to
    whole blocks, rows of pixels up to whole samples, then rows of samples. libjpeg
    rounds the means of whole YCbCr, by turns up and down; these are not rounded.

    Args:
      picture: uint8 `[h, w, c]`.
      own_factors: (v, h) as from `factors`.

    Returns:
      `[8 rows, 8 cols, c]`: the pixels, or float64.
    """
    v, h = own_factors
    samples = _continued(picture, v, BLOCK * h)
    if own_factors != (1, 1):
        height, width, channels = samples.shape
        cells = samples.reshape(height // v, v, width // h, h, channels)
        samples = cells.mean((1, 3))
    return _continued(samples, BLOCK, 1)


def _continued(picture, rows, cols):
    """Repeats the bottom and right edge up to multiples of `rows` and `cols`."""
    height, width = picture.shape[:2]
    padding = [(0, -height % rows), (0, -width % cols), (0, 0)]
    return np.pad(picture, padding, mode="edge")
