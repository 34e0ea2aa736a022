"""Planes of samples and of DCT coefficients, and the decoder's chroma filter.

Chroma may be subsampled. The decoder (libjpeg, like all that matter) brings it back to
full size by a triangle filter: 3/4 of the nearest sample and 1/4 of the next one, on
each subsampled axis, with the last sample repeated at the edges. This module has that
filter, its adjoint, and the chroma samples whose filtered image is closest to the
original.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.sampling import blocks_of, factors, nearest_weight
from learned_jpeg.jpeg.standard import (
    BLOCK,
    RGB_TO_YCBCR,
    YCBCR_TO_RGB,
    ZIGZAG,
    dct_matrix,
)
from learned_jpeg.search.chunks import chunks

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py; also of coded_image.py

# Coefficients of a block in zigzag order are this matrix times its 64 samples.
_DCT = np.kron(dct_matrix(), dct_matrix())[ZIGZAG].astype(np.float32)

_CHUNK = 1024  # blocks

# Least squares of chroma: Landweber steps, scaled by the row sums of the normal matrix.
_STEPS = 10
_STEP = 1.12


@functools.cache
def filter_energies(sampling: str, width: int) -> np.ndarray:
    """Returns the energies of chroma's basis functions after the decoder's filter.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.
      width: of the component, in samples.

    Returns:
      float64 `[64]`, zigzag: sum of squares, over the full-size samples, of the
      filtered basis function, as if its wave went on beyond the block: `f(v) f(u)`,
      with `f(n) = 1.25 + 0.75 cos(pi n / 8)` on a subsampled axis, else 1. Where the
      decoder only repeats samples, `f(n) = 2`.
    """
    frequency = np.arange(BLOCK)
    subsampled = 1.25 + 0.75 * np.cos(np.pi * frequency / BLOCK)
    if nearest_weight(width) == 1:
        subsampled = np.full(BLOCK, 2.0)
    v, h = (subsampled if f == 2 else np.ones(BLOCK) for f in factors(sampling))
    return np.outer(v, h).ravel()[ZIGZAG]


def upsample(samples: np.ndarray, sampling: str, height: int, width: int) -> np.ndarray:
    """Returns a chroma component at full size, by the decoder's filter.

    Args:
      samples: float32 `[h, w]`, of the component's true size.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      height, width: of the image, in px.

    Returns:
      float32 `[height, width]`.
    """
    return upsample_region(samples, sampling, slice(0, height), slice(0, width))


def upsample_region(
    samples: np.ndarray, sampling: str, rows: slice, cols: slice
) -> np.ndarray:
    """Returns the region of `upsample` in slices of the image, `start` and `stop`."""
    v, h = factors(sampling)
    region = kept_memory.empty((rows.stop - rows.start, cols.stop - cols.start))
    weight = nearest_weight(samples.shape[1])
    _upsample(samples, v, h, weight, rows.start, cols.start, region)
    return region


def upsample_adjoint(
    full: np.ndarray, sampling: str, shape: tuple[int, int]
) -> np.ndarray:
    """Returns the adjoint of `upsample`: `[height, width]` to the samples' shape."""
    samples = np.zeros(shape, np.float32)
    add_adjoint(full, factors(sampling), nearest_weight(shape[1]), samples)
    return samples


def add_adjoint(
    full: np.ndarray,
    own_factors: tuple[int, int],
    weight: np.float32,
    samples: np.ndarray,
) -> None:
    """Adds the adjoint of the filter to samples.

    Args:
      full: float32 `[h, w]` at full size.
      own_factors: (v, h), px for a sample.
      weight: of the nearest sample, see `sampling.nearest_weight`.
      samples: float32, to which it is added; they cover `full`.
    """
    v, h = own_factors
    _add_adjoint(full, v, h, weight, samples)


@njit
def _upsample(samples, v, h, weight, top, left, region):
    width = region.shape[1]
    first = max(left // h - 1, 0)
    last = min((left + width - 1) // h + 2, samples.shape[1])
    start = left - h * first
    line, wide = _work_rows(last - first)
    for y in range(top, top + region.shape[0]):
        near, far = _rows_of(y, v, samples.shape[0])
        row = _filtered_row(
            *(samples[near, first:last], samples[far, first:last]),
            *(h, weight, line, wide),
        )
        region[y - top] = row[start : start + width]


@njit
def _work_rows(cols):
    """Returns rows of samples and of px, with room for one more sample on each side."""
    return np.zeros(cols + 2, np.float32), np.zeros(2 * cols + 2, np.float32)


@njit
def _filtered_row(near, far, h, weight, line, wide):
    """Returns a row of px from the nearest row of samples and the second one.

    Args:
      near, far: float32 `[cols]`.
      h: px for a sample, across.
      weight: of the nearest sample.
      line, wide: as from `_work_rows`; the result is a part of one of them.
    """
    inner = line[1:-1]
    _mix(near, far, weight, inner)
    if h == 1:
        return inner
    line[0], line[-1] = inner[0], inner[-1]  # as the edges repeat
    _widen(line, weight, wide[:-2])
    return wide[:-2]


@njit
def _rows_of(y, v, rows):
    """Returns the nearest row of samples, and the second one that counts."""
    near = y // v
    if v == 1:
        return near, near
    return near, min(near + 1, rows - 1) if y % 2 else max(near - 1, 0)


@njit
def _mix(near, far, weight, out):
    other = np.float32(1) - weight
    for x in range(out.size):
        out[x] = near[x] + other * (far[x] - near[x])


@njit
def _widen(line, weight, out):
    """Filters `line` `[n + 2]` to `out` `[2 n]`."""
    other = np.float32(1) - weight
    for x in range(out.size // 2):
        own = line[x + 1]
        out[2 * x] = own + other * (line[x] - own)
        out[2 * x + 1] = own + other * (line[x + 2] - own)


@njit
def _add_adjoint(full, v, h, weight, samples):
    line, wide = _work_rows(samples.shape[1])
    for y in range(full.shape[0]):
        _add_adjoint_row(full[y], y, v, h, weight, line, wide, samples)


@njit
def _add_adjoint_row(row, y, v, h, weight, line, wide, samples):
    """Adds the adjoint of the filter of row y of px; see `_work_rows`."""
    rows, cols = samples.shape
    other = np.float32(1) - weight
    inner = line[1:-1]
    if h == 1:
        inner[:] = row
    else:
        wide[1 : row.size + 1] = row
        wide[row.size + 1 :] = 0
        wide[0] = 0
        _narrow(wide, weight, inner)
        # What the filter takes from the samples that the edges repeat.
        inner[0] += other * wide[1]
        inner[-1] += other * wide[2 * cols]
    near, far = _rows_of(y, v, rows)
    if near == far:
        _add_row(inner, np.float32(1), samples[near])
    else:
        _add_row(inner, weight, samples[near])
        _add_row(inner, other, samples[far])


@njit
def _error_adjoint(plane, samples, v, h, weight):
    """Returns the adjoint of `plane` less the filtered samples, row by row."""
    rows, cols = samples.shape
    height, width = plane.shape
    line, wide = _work_rows(cols)
    error = np.empty(width, np.float32)
    found = np.zeros((rows, cols), np.float32)
    for y in range(height):
        near, far = _rows_of(y, v, rows)
        row = _filtered_row(samples[near], samples[far], h, weight, line, wide)
        _subtract(plane[y], row, error)
        _add_adjoint_row(error, y, v, h, weight, line, wide, found)
    return found


@njit
def _subtract(one, other, out):
    for x in range(out.size):
        out[x] = one[x] - other[x]


@njit
def _narrow(wide, weight, line):
    """Applies the adjoint of `_widen` to `wide` `[2 n + 2]`, whose ends are 0."""
    other = np.float32(1) - weight
    for x in range(line.size):
        own = weight * (wide[2 * x + 1] + wide[2 * x + 2])
        line[x] = own + other * (wide[2 * x] + wide[2 * x + 3])


@njit
def _add_row(line, factor, out):
    for x in range(out.size):
        out[x] += factor * line[x]


def to_coefficients(samples: np.ndarray) -> np.ndarray:
    """Returns the DCT coefficients of a component, its edge repeated to whole blocks.

    Args:
      samples: float32 `[h, w]`.

    Returns:
      float32 `[blocks, 64]`, row by row, zigzag.
    """
    return _coefficients(samples, repeats_edge=True)


def gradient_to_coefficients(gradient: np.ndarray) -> np.ndarray:
    """Returns a gradient in samples as one in coefficients, like `to_coefficients`.

    Samples beyond the edge have no gradient.
    """
    return _coefficients(gradient, repeats_edge=False)


def to_samples(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the samples `[height, width]`: the inverse of `to_coefficients`."""
    return samples_of(lambda blocks: coefficients[blocks], height, width)


def samples_of(
    coefficients_of: Callable[[slice], np.ndarray], height: int, width: int
) -> np.ndarray:
    """Returns the samples of coefficients that are made chunk by chunk.

    Args:
      coefficients_of: function from a slice of the blocks to float32 `[n, 64]`.
      height, width: of the component, in samples.
    """
    samples = np.empty((height, width), np.float32)

    def decode(blocks: slice) -> None:
        _join_blocks(coefficients_of(blocks) @ _DCT, blocks.start, samples)

    threads.run(decode, chunks(math.prod(blocks_of(height, width)), _CHUNK))
    return samples


def _coefficients(samples: np.ndarray, repeats_edge: bool) -> np.ndarray:
    """Returns `to_coefficients`; beyond the samples is their edge again, or zeros."""
    count = math.prod(blocks_of(*samples.shape))
    coefficients = np.empty((count, BLOCK * BLOCK), np.float32)

    def transform(chunk: slice) -> None:
        blocks = np.zeros((chunk.stop - chunk.start, BLOCK * BLOCK), np.float32)
        _cut_blocks(samples, repeats_edge, chunk.start, blocks)
        np.matmul(blocks, _DCT.T, out=coefficients[chunk])

    threads.run(transform, chunks(count, _CHUNK))
    return coefficients


@njit
def _cut_blocks(samples, repeats_edge, first, blocks):
    height, width = samples.shape
    cols = -(-width // BLOCK)
    for block in range(blocks.shape[0]):
        number = first + block
        top, left = number // cols * BLOCK, number % cols * BLOCK
        for v in range(BLOCK):
            for u in range(BLOCK):
                y, x = min(top + v, height - 1), min(left + u, width - 1)
                if repeats_edge or (y == top + v and x == left + u):
                    blocks[block, BLOCK * v + u] = samples[y, x]


@njit
def _join_blocks(blocks, first, samples):
    height, width = samples.shape
    cols = -(-width // BLOCK)
    for block in range(blocks.shape[0]):
        number = first + block
        top, left = number // cols * BLOCK, number % cols * BLOCK
        for v in range(min(BLOCK, height - top)):
            for u in range(min(BLOCK, width - left)):
                samples[top + v, left + u] = blocks[block, BLOCK * v + u]


def ycbcr_plane(image: np.ndarray, component: int) -> np.ndarray:
    """Returns Y minus 128, Cb or Cr of uint8 RGB `[h, w, 3]`, float32 `[h, w]`."""
    plane = _weighted_sum(image, RGB_TO_YCBCR[component].astype(np.float32))
    if component == 0:
        plane -= np.float32(128)
    return plane


@njit
def _weighted_sum(image, weights):
    height, width, _ = image.shape
    out = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            pixel = image[y, x]
            total = weights[0] * pixel[0] + weights[1] * pixel[1]
            out[y, x] = total + weights[2] * pixel[2]
    return out


def to_rgb(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """Converts decoded components, float32 `[h, w]`, Y minus 128, Cb and Cr.

    Returns:
      RGB minus 128, clipped to -128..127, float32 `[3, h, w]`.
    """
    rgb = kept_memory.empty((3, *luma.shape))
    _to_rgb(luma, cb, cr, YCBCR_TO_RGB.astype(np.float32), rgb)
    return rgb


@njit
def _to_rgb(luma, cb, cr, matrix, out):
    for y in range(len(luma)):
        for channel in range(3):
            a, b, c = matrix[channel]
            _channel_row(luma[y], cb[y], cr[y], a, b, c, out[channel, y])


@njit
def _channel_row(luma, cb, cr, a, b, c, out):
    for x in range(out.size):
        value = a * luma[x] + b * cb[x] + c * cr[x]
        out[x] = min(max(value, np.float32(-128)), np.float32(127))


def subsample(plane: np.ndarray, sampling: str, steps: int = _STEPS) -> np.ndarray:
    """Returns the chroma samples that the decoder's filter brings closest to a plane.

    They are the least squares by Landweber iteration, from the mean of each cell.

    Args:
      plane: float32 `[height, width]`.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      steps: of the iteration.

    Returns:
      float32, the component's samples.
    """
    if sampling == "4:4:4":
        return plane
    height, width = plane.shape
    v, h = factors(sampling)
    padded = np.pad(plane, [(0, -height % v), (0, -width % h)], mode="edge")
    shape = padded.shape[0] // v, padded.shape[1] // h
    samples = padded.reshape(shape[0], v, shape[1], h).mean((1, 3), dtype=np.float32)
    ones = np.ones((height, width), np.float32)  # the filter keeps what is even
    scale = np.float32(_STEP) / upsample_adjoint(ones, sampling, shape)
    del ones, padded
    weight = nearest_weight(shape[1])
    for _ in range(steps):
        samples = samples + scale * _error_adjoint(plane, samples, v, h, weight)
    return samples


def to_natural(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns `[blocks, 64]`, zigzag, as `[rows, cols, 8 (v), 8 (u)]`.

    Args:
      coefficients: of a component, row by row.
      height, width: of the component, in samples.
    """
    natural = np.empty_like(coefficients)
    natural[:, ZIGZAG] = coefficients
    return natural.reshape(*blocks_of(height, width), BLOCK, BLOCK)
