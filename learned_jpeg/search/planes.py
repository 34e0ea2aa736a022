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
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.jpeg.sampling import blocks_of, factors, nearest_weight
from learned_jpeg.jpeg.standard import (
    BLOCK,
    RGB_TO_YCBCR,
    YCBCR_TO_RGB,
    ZIGZAG,
    dct_matrix,
)
from learned_jpeg.search.chunks import chunks, chunks_of_rows

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
    full = np.empty((height, width), np.float32)
    upsample_rows(samples, factors(sampling), 0, full)
    return full


def upsample_rows(
    samples: np.ndarray, own_factors: tuple[int, int], top: int, full: np.ndarray
) -> None:
    """Writes the rows of `upsample` from row `top` of the image into `full`."""
    v, h = own_factors
    lines = work_lines(samples.shape[1])
    _upsample(samples, v, h, nearest_weight(samples.shape[1]), top, lines, full)


def upsample_adjoint(
    full: np.ndarray, sampling: str, shape: tuple[int, int]
) -> np.ndarray:
    """Returns the adjoint of `upsample`: `[height, width]` to the samples' shape."""
    samples = np.zeros(shape, np.float32)
    add_adjoint(full, factors(sampling), 0, samples, slice(0, shape[0]))
    return samples


def add_adjoint(
    full: np.ndarray,
    own_factors: tuple[int, int],
    top: int,
    samples: np.ndarray,
    rows: slice,
) -> None:
    """Adds the adjoint of the filter of some rows to the samples of a component.

    Args:
      full: float32 `[n, width]`, rows at full size.
      own_factors: (v, h), px for a sample.
      top: number of the first row.
      samples: float32, of the whole component; to which it is added.
      rows: slice of the samples' rows, `start` and `stop`, that count.
    """
    weight = nearest_weight(samples.shape[1])
    lines = work_lines(samples.shape[1])
    _add_adjoint(full, top, *own_factors, weight, lines, samples, rows.start, rows.stop)


def work_lines(cols: int) -> np.ndarray:
    """Returns work space for `full_row` and `add_adjoint_row`, two lines.

    Args:
      cols: samples of a row of the component.
    """
    return np.zeros((2, 2 * cols + 2), np.float32)


@njit
def _upsample(samples, v, h, weight, top, lines, full):
    samples, lines, full = borrowed(samples), borrowed(lines), borrowed(full)
    for y in range(len(full)):
        row = full_row(samples, top + y, v, h, weight, lines, full.shape[1])
        _copy_row(row, full[y])


@njit
def full_row(samples, y, v, h, weight, lines, width):
    """Returns a row of a component at full size.

    Args:
      samples: float32 `[rows, cols]`, the component.
      y: number of the row, in px.
      v, h: px for a sample.
      weight: of the nearest sample, see `sampling.nearest_weight`.
      lines: as from `work_lines`; the row may be a part of it.
      width: of the image.
    """
    if v * h == 1:
        return samples[y]
    near, far = _rows_of(y, v, samples.shape[0])
    return _filtered_row(samples[near], samples[far], h, weight, lines)[:width]


@njit
def _copy_row(row, out):
    for x in range(out.size):
        out[x] = row[x]


@njit
def _filtered_row(near, far, h, weight, lines):
    """Returns a row of px from the nearest row of samples and the second one."""
    line, wide = lines[0, : near.size + 2], lines[1]
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
def _add_adjoint(full, top, v, h, weight, lines, samples, first, stop):
    full, lines, samples = borrowed(full), borrowed(lines), borrowed(samples)
    for y in range(len(full)):
        add_adjoint_row(full[y], top + y, v, h, weight, lines, samples, first, stop)


@njit
def add_adjoint_row(row, y, v, h, weight, lines, samples, first, stop):
    """Adds the adjoint of the filter of a row of px to samples.

    Args:
      row: float32 `[width]`, row y of the image.
      y, v, h, weight, lines: as in `full_row`.
      samples: float32 `[rows, cols]`.
      first, stop: rows of samples that count.
    """
    rows, cols = samples.shape
    if v * h == 1:
        _add_row(row, np.float32(1), samples[y])
        return
    inner, wide = lines[0, 1 : cols + 1], lines[1]
    if h == 1:
        inner = row
    else:
        _copy_row(row, wide[1 : row.size + 1])
        wide[row.size + 1 :] = 0
        wide[0] = 0
        _narrow(wide, weight, inner)
        # What the filter takes from the samples that the edges repeat.
        other = np.float32(1) - weight
        inner[0] += other * wide[1]
        inner[-1] += other * wide[2 * cols]
    near, far = _rows_of(y, v, rows)
    if near == far:
        weight = np.float32(1)
    if first <= near < stop:
        _add_row(inner, weight, samples[near])
    if near != far and first <= far < stop:
        _add_row(inner, np.float32(1) - weight, samples[far])


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
    coefficients = _new_coefficients(samples)
    _write_coefficients(samples, True, coefficients)
    return coefficients


def gradient_to_coefficients(gradient: np.ndarray) -> np.ndarray:
    """Returns a gradient in samples as one in coefficients, like `to_coefficients`.

    Samples beyond the edge have no gradient. The gradient is not to be used afterwards:
    where all blocks are whole, its memory becomes that of the coefficients.
    """
    height, width = gradient.shape
    if height % BLOCK or width % BLOCK:
        coefficients = _new_coefficients(gradient)
    else:
        coefficients = gradient.reshape(-1, BLOCK * BLOCK)
    _write_coefficients(gradient, False, coefficients)
    return coefficients


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
    samples = kept_memory.empty((height, width))

    def decode(blocks: slice) -> None:
        _join_blocks(coefficients_of(blocks) @ _DCT, blocks.start, samples)

    threads.run(decode, chunks(math.prod(blocks_of(height, width)), _CHUNK))
    return samples


def _new_coefficients(samples: np.ndarray) -> np.ndarray:
    return kept_memory.empty((math.prod(blocks_of(*samples.shape)), BLOCK * BLOCK))


def _write_coefficients(
    samples: np.ndarray, repeats_edge: bool, coefficients: np.ndarray
) -> None:
    """Writes `to_coefficients`; beyond the samples is their edge again, or zeros."""

    def transform(chunk: tuple[slice, slice]) -> None:
        _, own = chunk
        blocks = np.empty((own.stop - own.start, BLOCK * BLOCK), np.float32)
        _cut_blocks(samples, repeats_edge, own.start, blocks)
        np.matmul(blocks, _DCT.T, out=coefficients[own])

    # Whole rows of blocks, whose samples may lie where their coefficients will be.
    threads.run(transform, chunks_of_rows(*blocks_of(*samples.shape), _CHUNK))


@njit
def _cut_blocks(samples, repeats_edge, first, blocks):
    samples, blocks = borrowed(samples), borrowed(blocks)
    height, width = samples.shape
    cols = -(-width // BLOCK)
    for block in range(len(blocks)):
        number = first + block
        top, left = number // cols * BLOCK, number % cols * BLOCK
        out = blocks[block]
        if top + BLOCK <= height and left + BLOCK <= width:
            for v in range(BLOCK):
                _copy(samples[top + v, left : left + BLOCK], out[BLOCK * v :])
        else:
            _cut_block_at_edge(samples, repeats_edge, top, left, out)


@njit
def _copy(samples, out):
    for u in range(BLOCK):
        out[u] = samples[u]


@njit
def _cut_block_at_edge(samples, repeats_edge, top, left, block):
    height, width = samples.shape
    for v in range(BLOCK):
        for u in range(BLOCK):
            y, x = min(top + v, height - 1), min(left + u, width - 1)
            is_kept = repeats_edge or (y == top + v and x == left + u)
            block[BLOCK * v + u] = samples[y, x] if is_kept else np.float32(0)


@njit
def _join_blocks(blocks, first, samples):
    samples, blocks = borrowed(samples), borrowed(blocks)
    height, width = samples.shape
    cols = -(-width // BLOCK)
    for block in range(len(blocks)):
        number = first + block
        top, left = number // cols * BLOCK, number % cols * BLOCK
        own = blocks[block]
        if top + BLOCK <= height and left + BLOCK <= width:
            for v in range(BLOCK):
                _copy(own[BLOCK * v :], samples[top + v, left : left + BLOCK])
        else:
            for v in range(min(BLOCK, height - top)):
                for u in range(min(BLOCK, width - left)):
                    samples[top + v, left + u] = own[BLOCK * v + u]


def ycbcr_plane(image: np.ndarray, component: int) -> np.ndarray:
    """Returns Y minus 128, Cb or Cr of uint8 RGB `[h, w, 3]`, float32 `[h, w]`."""
    plane = kept_memory.empty(image.shape[:2])
    _write_weighted_sum(image, RGB_TO_YCBCR[component].astype(np.float32), plane)
    if component == 0:
        plane -= np.float32(128)
    return plane


@njit
def _write_weighted_sum(image, weights, out):
    image, out = borrowed(image), borrowed(out)
    for y in range(len(out)):
        _weighted_row(image[y].ravel(), weights[0], weights[1], weights[2], out[y])


@njit
def _weighted_row(levels, of_red, of_green, of_blue, out):
    for x in range(out.size):
        total = of_red * levels[3 * x] + of_green * levels[3 * x + 1]
        out[x] = total + of_blue * levels[3 * x + 2]


def decoded_rgb(
    samples: Sequence[np.ndarray], own_factors: tuple[int, int], rows: slice, width: int
) -> np.ndarray:
    """Returns some rows of a decoded image.

    Args:
      samples: float32 `[h, w]` of the three components: Y minus 128, Cb and Cr.
      own_factors: (v, h) of chroma, px for a sample.
      rows: slice of the image, `start` and `stop`.
      width: of the image, in px.

    Returns:
      RGB minus 128, clipped to -128..127, float32 `[3, n, width]`.
    """
    rgb = kept_memory.empty((3, rows.stop - rows.start, width))
    cols = samples[1].shape[1]
    _write_rgb(
        *samples,
        *own_factors,
        nearest_weight(cols),
        rows.start,
        work_lines(cols),
        work_lines(cols),
        YCBCR_TO_RGB.astype(np.float32),
        rgb,
    )
    return rgb


@njit
def _write_rgb(luma, cb, cr, v, h, weight, top, lines, other_lines, matrix, rgb):
    luma, cb, cr = borrowed(luma), borrowed(cb), borrowed(cr)
    lines, other_lines, rgb = borrowed(lines), borrowed(other_lines), borrowed(rgb)
    width = rgb.shape[2]
    for y in range(rgb.shape[1]):
        own = luma[top + y]
        blue = full_row(cb, top + y, v, h, weight, lines, width)
        red = full_row(cr, top + y, v, h, weight, other_lines, width)
        _write_rgb_row(own, blue, red, matrix, rgb[0, y], rgb[1, y], rgb[2, y])


@njit
def _write_rgb_row(luma, cb, cr, matrix, reds, greens, blues):
    # Red has no part of Cb, blue none of Cr; luma counts in full.
    red_cr, green_cb, green_cr = matrix[0, 2], matrix[1, 1], matrix[1, 2]
    blue_cb = matrix[2, 1]
    for x in range(luma.size):
        reds[x] = _clipped(luma[x] + red_cr * cr[x])
        greens[x] = _clipped(luma[x] + green_cb * cb[x] + green_cr * cr[x])
        blues[x] = _clipped(luma[x] + blue_cb * cb[x])


@njit
def _clipped(value):
    return min(max(value, np.float32(-128)), np.float32(127))


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
    sums = functools.reduce(np.add, [padded[:, i::h] for i in range(h)])
    samples = functools.reduce(np.add, [sums[i::v] for i in range(v)])
    samples = samples / np.float32(v * h)
    del padded, sums
    weight = nearest_weight(samples.shape[1])
    down, across = _normal_matrix(height, v, weight), _normal_matrix(width, h, weight)
    # The filter keeps what is even, so that rows of the normal matrix have these sums.
    scale = np.float32(_STEP) / np.outer(_row_sums(down), _row_sums(across))
    wanted = upsample_adjoint(plane, sampling, (len(down.own), len(across.own)))
    way = np.empty_like(samples)
    for _ in range(steps):
        _write_way(samples, wanted, scale, *down, *across, way)
        samples += way
    return samples


class _Tridiagonal(NamedTuple):
    """A symmetric matrix, float32 `[n]`: its diagonal, and what is below of it.

    Attributes:
      own: the diagonal.
      other: products with the neighbour before; 0 for the first one.
    """

    own: np.ndarray
    other: np.ndarray


def _normal_matrix(size: int, factor: int, weight: np.float32) -> _Tridiagonal:
    """Returns the normal matrix of the decoder's filter along an axis of `size` px."""
    count = -(-size // factor)
    px = np.arange(size)
    near = px // factor
    far = np.clip(near + np.where(px % 2, 1, -1), 0, count - 1) if factor > 1 else near
    is_one = near == far
    of_near = np.where(is_one, 1.0, float(weight))
    of_far = np.where(is_one, 0.0, 1.0 - float(weight))
    own = np.bincount(near, of_near**2, count) + np.bincount(far, of_far**2, count)
    other = np.bincount(np.maximum(near, far), of_near * of_far, count)
    return _Tridiagonal(own.astype(np.float32), other.astype(np.float32))


def _row_sums(matrix: _Tridiagonal) -> np.ndarray:
    return matrix.own + matrix.other + np.append(matrix.other[1:], np.float32(0))


@njit
def _write_way(samples, wanted, scale, own_v, other_v, own_h, other_h, way):
    """Writes a step of the Landweber iteration, `scale * (wanted - matrix @ samples)`.

    Args:
      samples, wanted, scale, way: float32 `[rows, cols]`.
      own_v, other_v: `_Tridiagonal` along the columns.
      own_h, other_h: the same along the rows.
    """
    samples, wanted, scale = borrowed(samples), borrowed(wanted), borrowed(scale)
    way = borrowed(way)
    rows, cols = samples.shape
    # One more sample on each side, which counts 0 times.
    line, after = np.zeros(cols + 2, np.float32), np.append(other_h[1:], np.float32(0))
    for y in range(rows):
        above, below = max(y - 1, 0), min(y + 1, rows - 1)
        of_below = other_v[y + 1] if y + 1 < rows else np.float32(0)
        _mix_rows(
            *(samples[y], samples[above], samples[below]),
            *(own_v[y], other_v[y], of_below, line[1:-1]),
        )
        _write_way_row(line, own_h, other_h, after, wanted[y], scale[y], way[y])


@njit
def _mix_rows(own, above, below, of_own, of_above, of_below, out):
    for x in range(out.size):
        out[x] = of_own * own[x] + of_above * above[x] + of_below * below[x]


@njit
def _write_way_row(line, own, before, after, wanted, scale, way):
    for x in range(way.size):
        product = own[x] * line[x + 1] + before[x] * line[x] + after[x] * line[x + 2]
        way[x] = scale[x] * (wanted[x] - product)


def to_natural(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns `[blocks, 64]`, zigzag, as `[rows, cols, 8 (v), 8 (u)]`.

    Args:
      coefficients: of a component, row by row.
      height, width: of the component, in samples.
    """
    # An index in brackets would lay the array out by positions, which is slower.
    natural = np.take(coefficients, np.argsort(ZIGZAG), axis=1)
    return natural.reshape(*blocks_of(height, width), BLOCK, BLOCK)
