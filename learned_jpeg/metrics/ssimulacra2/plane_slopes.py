"""Slopes of SSIMULACRA2's maps of errors in one plane of one scale, row by row.

What is computed of a plane, and why, is said in slopes.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from learned_jpeg.common import kept_memory
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.slopes.tiling import add_block_sums
from learned_jpeg.metrics.ssimulacra2.window import (
    REACH,
    ROWS,
    blur_columns,
    blur_rows,
    edge_error,
    load_moments,
    new_blur,
    njit_of_sums,
    ssim_error,
)

MAPS = 3  # kinds of energy of an error, see slopes.py
_GRADIENTS = 3  # maps of gradients in local means, before those of weights
_BLURRED = 5  # maps that are blurred: these, and the weights of the first two energies

_FLOOR = 0.5  # of a map, in 4-norms
_LEAST_NORM = 1e-4
_LEAST_EDGE = np.float32(0.01)  # error of an edge, of which a mean has the full slope
_FIRST_EDGE = 0.05  # the same where nothing is coded yet

_ZERO, _ONE, _TWO, _HALF = map(np.float32, (0, 1, 2, 0.5))


class Reference(NamedTuple):
    """The original at one scale, float32 `[n, h, w]`: planes, local mean, variance."""

    planes: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def plane_slopes(
    reference: Reference,
    decoded: np.ndarray,
    i: int,
    factors: np.ndarray,
    *,
    rows: slice,
    has_edges: bool,
    cell: int,
    blurs_weights: bool,
    weights: np.ndarray | None,
    gradient: np.ndarray | None,
    sums: np.ndarray,
    space: tuple[np.ndarray, ...],
) -> None:
    """Adds the sums of a plane's maps of errors over rows, and finds their slopes.

    Args:
      reference: the original, of some rows.
      decoded: float32 `[n, h, w]`, planes of the decoded image, of the same rows.
      i: number of the plane.
      factors: as from `factors_of`.
      rows: a slice of the rows that count; it starts at a multiple of `ROWS`.
      has_edges: whether ringing and blur count.
      cell: side in px of the cells that weights are summed over.
      blurs_weights: whether the weights of the first two energies, which are of local
        means, are blurred to those of pixels.
      weights: float32 `[rows, cols, MAPS]`, sums over cells of the weights of energies,
        to which these are added; None if they are not wanted.
      gradient: float32 `[n, h, w]`, whose rows are written; None if it is not wanted.
      sums: float64 `[2, 3 (SSIM, ringing, blur)]`, of the maps' values and of their
        fourth powers, to which these are added.
      space: as from `new_space`.
    """
    own = reference.planes[i], reference.mean[i], reference.variance[i], decoded[i]
    lowest = _GRADIENTS if gradient is None else 0
    highest = _BLURRED if blurs_weights and weights is not None else _GRADIENTS
    _add_plane(
        *own,
        factors,
        rows.start,
        rows.stop,
        has_edges,
        (lowest, highest),
        cell,
        _NO_WEIGHTS if weights is None else weights,
        own[0] if gradient is None else gradient[i],  # else not written to
        sums,
        space,
    )


_NO_WEIGHTS = np.empty((0, 0, MAPS), np.float32)


def factors_of(weights: np.ndarray, norms: np.ndarray, is_original: bool) -> np.ndarray:
    """Returns factors of the slope and the curvature of one plane's maps.

    Args:
      weights: `[6]`, a pixel's part of those of the plane.
      norms: `[3]`, 4-norms of its maps.
      is_original: see `slopes.Term`.

    Returns:
      float32 `[2, 3 (SSIM, ringing, blur), 3]`. The slope of the sum in a map's value d
      is `a + b d^3` with (a, b, _) of the first part; by (a, b, c) of the second the
      curvature of SSIM is `a + b (d^2 + c)^1.5`, of edges `a / (d + least) + b (d^2 +
      c)`.
    """
    factors = np.zeros((2, 3, 3), np.float32)
    means, fourths = weights[:3], weights[3:]
    if is_original:
        factors[1, 0, 0] = means[0] + fourths[0]
        factors[1, 1:, 1] = 1
        factors[1, 1:, 2] = weights[[1, 2, 4, 5]].sum() / _FIRST_EDGE
        return factors
    cubes = np.maximum(norms, _LEAST_NORM) ** 3
    factors[:, :, 0] = means
    factors[:, :, 1] = fourths / cubes
    factors[1, :, 2] = np.square(_FLOOR * norms)
    return factors


def new_space(width: int) -> tuple[np.ndarray, ...]:
    """Allocates what `plane_slopes` needs in a thread, for a width."""
    return (
        *new_blur(3, width),
        kept_memory.empty((ROWS, 3, width)),
        # Of gradients in the local means: of the error, its square, the decoded's
        # square; of the weights of the first two energies.
        *new_blur(_BLURRED, width),
        kept_memory.empty((ROWS, _BLURRED, width)),
        # Of edges, which are not blurred: the gradient, and the weights, of two blocks.
        kept_memory.empty((2, ROWS, 2, width)),
        np.zeros((MAPS, width), np.float32),
        np.zeros((2, 2, 3)),
    )


@njit
def _add_plane(
    original,
    mean,
    variance,
    decoded,
    factors,
    first,
    last,
    has_edges,
    maps,
    cell,
    weights,
    gradient,
    sums,
    space,
):
    """Does what `plane_slopes` does, in the rows from `first` to before `last`.

    Of the blurred maps those from the first to before the second of `maps` are wanted.
    """
    original, mean, variance = borrowed(original), borrowed(mean), borrowed(variance)
    decoded, gradient = borrowed(decoded), borrowed(gradient)
    weights, sums = borrowed(weights), borrowed(sums)
    ring, wide, moments = borrowed(space[0]), borrowed(space[1]), borrowed(space[2])
    back_ring, back_wide = borrowed(space[3]), borrowed(space[4])
    backs, edges = borrowed(space[5]), borrowed(space[6])
    energies, totals = borrowed(space[7]), borrowed(space[8])
    totals[:] = 0
    if not has_edges:
        edges[:] = 0
    height = len(original)
    lowest, highest = maps
    for block in range(first // ROWS - 2, (last - 1) // ROWS + 3):
        load_moments(original, decoded, block, ring, wide)
        middle = block - 1
        if middle < first // ROWS - 1:
            continue
        blur_columns(ring, middle, 0, 3, moments)
        for r in range(ROWS):
            y = ROWS * middle + r
            newest = back_ring[middle % 3, r]
            if not 0 <= y < height:
                newest[:] = _ZERO
                continue
            is_own = first <= y < last
            counted = totals[0 if is_own else 1]
            own = edges[middle % 2, r]
            _ssim_slopes(mean[y], variance[y], moments[r], factors, back_wide, counted)
            if has_edges:
                difference = moments[r, 0]
                _edge_slopes(
                    *(original[y], mean[y], decoded[y], difference, factors, own),
                    counted,
                )
                _subtract_row(own[0], back_wide)
            if is_own and weights.size and highest == _GRADIENTS:
                varying, local = back_wide[3, REACH:-REACH], back_wide[4, REACH:-REACH]
                _add_rows(varying, local, own[1], energies)
                _end_row(energies, y - first, y == last - 1, cell, weights)
            blur_rows(back_wide, lowest, highest, newest)
        done = middle - 1
        if done < first // ROWS or lowest == highest:
            continue
        blur_columns(back_ring, done, lowest, highest, backs)
        for y in range(ROWS * done, min(ROWS * middle, last)):
            r = y - ROWS * done
            own = edges[done % 2, r]
            if lowest == 0:
                _gradient_row(original[y], decoded[y], own[0], backs[r], gradient[y])
            if highest > _GRADIENTS:
                _add_rows(backs[r, 3], backs[r, 4], own[1], energies)
                _end_row(energies, y - first, y == last - 1, cell, weights)
    sums += totals[0]


@njit_of_sums
def _ssim_slopes(mean, variance, moments, factors, backs, sums):
    """Writes a row of the SSIM map's gradients in moments, and weights of energies.

    It adds the sums of the map's values and fourth powers.
    """
    difference, square, decoded_square = moments[0], moments[1], moments[2]
    by_mean, by_square = backs[0, REACH:-REACH], backs[1, REACH:-REACH]
    by_decoded_square = backs[2, REACH:-REACH]
    varying, local = backs[3, REACH:-REACH], backs[4, REACH:-REACH]
    plain, cubic = factors[0, 0, 0], factors[0, 0, 1]
    flat, steep, floor = factors[1, 0, 0], factors[1, 0, 1], factors[1, 0, 2]
    total = total_fourth = _ZERO
    for x in range(difference.size):
        error, luminance, structure, inverse, decoded_mean = ssim_error(
            mean[x], variance[x], difference[x], square[x], decoded_square[x]
        )
        slope = plain + cubic * (error * error * error)
        by_structure = slope * (_ONE - luminance) * inverse
        by_square[x] = by_structure
        by_decoded_square[x] = -by_structure * structure
        by_mean[x] = _TWO * (
            slope * difference[x] * (_ONE - structure)
            + by_structure * (structure * decoded_mean - difference[x])
        )
        square_error = error * error
        total += error
        total_fourth += square_error * square_error
        smoothed = square_error + floor
        curvature = flat + steep * smoothed * np.sqrt(smoothed)
        varying[x] = curvature * inverse
        local[x] = curvature
    sums[0, 0] += total
    sums[1, 0] += total_fourth


@njit_of_sums
def _edge_slopes(original, mean, decoded, difference, factors, edges, sums):
    """Writes a row of the gradient in edges, and the weights of their energies.

    It adds the sums of the errors of ringing and blur, and of their fourth powers.
    """
    gradient, weights = edges[0], edges[1]
    # As numbers, without which the loop is not vectorised.
    ringing, blur = factors[0, 1], factors[0, 2]
    ringing_plain, ringing_cubic = ringing[0], ringing[1]
    blur_plain, blur_cubic = blur[0], blur[1]
    ringing, blur = factors[1, 1], factors[1, 2]
    ringing_steep, ringing_flat, ringing_floor = ringing[0], ringing[1], ringing[2]
    blur_steep, blur_flat, blur_floor = blur[0], blur[1], blur[2]
    total_ringing = total_blur = ringing_fourth = blur_fourth = _ZERO
    for x in range(gradient.size):
        error, decoded_edge, inverse = edge_error(
            original[x], mean[x], decoded[x], difference[x]
        )
        rings = error > _ZERO
        size = abs(error)
        square = size * size
        plain = ringing_plain if rings else blur_plain
        cubic = ringing_cubic if rings else blur_cubic
        slope = (plain + cubic * (square * size)) * inverse
        # Blur grows towards 0.
        falls = (error < _ZERO) != (decoded_edge < _ZERO)
        gradient[x] = -slope if falls else slope
        steep = ringing_steep if rings else blur_steep
        flat = ringing_flat if rings else blur_flat
        floor = ringing_floor if rings else blur_floor
        weight = steep / (size + _LEAST_EDGE) + flat * (square + floor)
        weights[x] = _HALF * weight * inverse * inverse
        fourth = square * square
        total_ringing += size if rings else _ZERO
        total_blur += _ZERO if rings else size
        ringing_fourth += fourth if rings else _ZERO
        blur_fourth += _ZERO if rings else fourth
    sums[0, 1] += total_ringing
    sums[0, 2] += total_blur
    sums[1, 1] += ringing_fourth
    sums[1, 2] += blur_fourth


@njit
def _subtract_row(by_edge, backs):
    """Subtracts the gradient in edges from that in the local mean."""
    by_mean = backs[0, REACH:-REACH]
    for x in range(by_edge.size):
        by_mean[x] -= by_edge[x]


@njit
def _gradient_row(original, decoded, by_edge, backs, gradient):
    by_mean, by_square, by_decoded_square = backs[0], backs[1], backs[2]
    for x in range(gradient.size):
        by_squares = (decoded[x] - original[x]) * by_square[x]
        by_squares += decoded[x] * by_decoded_square[x]
        gradient[x] = by_edge[x] + by_mean[x] + _TWO * by_squares


@njit
def _add_rows(varying, local, edges, energies):
    first, second, third = energies[0], energies[1], energies[2]
    for x in range(edges.size):
        first[x] += varying[x]
        second[x] += local[x]
        third[x] += edges[x]


@njit
def _end_row(energies, number, is_last, cell, weights):
    """Adds the sums over cells if row `number` is the last one of a row of cells."""
    if number % cell == cell - 1 or is_last:
        add_block_sums(energies, cell, weights[number // cell])
