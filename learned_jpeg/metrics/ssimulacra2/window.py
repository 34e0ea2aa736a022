"""SSIMULACRA2's maps of errors by an exact window, for gradients.

The score's own blur has rounding errors that no gradient knows of, see
recursive_blur.py. Here the same Gaussian is a sum over nine pixels along each
axis, and small errors are not differences of large numbers.
"""

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.metrics.ssimulacra2.score import (
    C2,
    accumulate,
    edge_errors,
    scales_by,
    store_statistics,
)

# Gaussian of 1.5 px as a sum of truncated cosines: D. Charalampidis, "Recursive
# implementation of the Gaussian filter using truncated cosine functions", 2016. From
# the middle to the end; zeros outside of the image.
_TAPS = np.array(
    [0.26462111, 0.21292859, 0.10933537, 0.03601111, 0.00941437], np.float32
)
REACH = len(_TAPS) - 1

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _ONE = map(np.float32, (0, 1))


def window():
    """Returns the blur's taps along one axis, float32 `[9]`."""
    return np.concatenate([_TAPS[:0:-1], _TAPS])


def reference_scales(original, weights):
    """Computes what `score.reference_scales` does, by this window.

    Args:
      original: uint8 [h, w, 3], sRGB.
      weights: for each scale `[n, 6]`, see `score.WEIGHTS`.
    """
    return scales_by(_local_statistics, original, weights)


@njit
def _local_statistics(plane, mean, variance):
    """Writes the local mean and variance of a plane of the original."""
    height, width = plane.shape
    black = np.zeros_like(plane)
    blur = new_blur(width, 3)
    for y in range(-REACH, height):
        means, squares, _ = next_moments(black, plane, y, blur)
        if y >= 0:
            store_statistics(means, squares, mean[y], variance[y])


@njit
def error_sums(original, mean, variance, decoded, first, last):
    """Sums the maps of errors down each column: the values, and their fourth powers.

    Args:
      original, mean, variance: float32 `[h, w]`, one plane of a `Scale`.
      decoded: float32 `[h, w]`, the same plane of the decoded image.
      first, last: the rows that count, without the last.

    Returns:
      float64 `[2, 3 (SSIM, ringing, blur), w]`.
    """
    height, width = original.shape
    blur = new_blur(width, 3)
    edges = np.empty((2, width), np.float32)
    maps = np.empty((3, width), np.float32)
    sums = np.zeros((2, 3, width))
    for y in range(-REACH, height):
        moments = next_moments(original, decoded, y, blur)
        if first <= y < last:
            _ssim_errors(mean[y], variance[y], moments, maps[0])
            _edges(original[y], mean[y], decoded[y], moments[0], edges)
            edge_errors(edges, maps[1:])
            accumulate(maps, sums)
    return sums


@njit
def new_blur(width, count):
    """Allocates (rows, blurred along them; their blur; a wider row) for `count` maps.

    Zeros stand for what is above the image, and at its sides.
    """
    rows = np.zeros((2 * REACH + 1, count, width), np.float32)
    columns = np.empty((count, width), np.float32)
    return rows, columns, np.zeros(width + 2 * REACH, np.float32)


@njit
def next_moments(original, decoded, y, blur):
    """Blurs the difference of two planes, its square, and the decoded's square.

    It is called for one row after the other, from -`REACH` on, so that the rows that
    the next ones need stay in the cache.

    Returns:
      float32 `[3, w]`, the moments at row y; overwritten by the next call.
    """
    rows, moments, wide = blur
    newest = rows[(y + REACH) % len(rows)]
    if y + REACH < len(decoded):
        ours, others = decoded[y + REACH], original[y + REACH]
        inside = wide[REACH:-REACH]
        for x in range(ours.size):
            inside[x] = ours[x] - others[x]
        blur_row(wide, newest[0])
        for x in range(ours.size):
            inside[x] *= inside[x]
        blur_row(wide, newest[1])
        for x in range(ours.size):
            inside[x] = ours[x] * ours[x]
        blur_row(wide, newest[2])
    else:
        newest[:] = _ZERO
    if y >= 0:
        blur_columns(rows, y, moments)
    return moments


@njit
def blur_row(wide, blurred):
    """Writes the blur of a row that has `REACH` pixels more at both ends."""
    for x in range(blurred.size):
        blurred[x] = (
            _TAPS[0] * wide[x + 4]
            + _TAPS[1] * (wide[x + 3] + wide[x + 5])
            + _TAPS[2] * (wide[x + 2] + wide[x + 6])
            + _TAPS[3] * (wide[x + 1] + wide[x + 7])
            + _TAPS[4] * (wide[x] + wide[x + 8])
        )


@njit
def blur_columns(rows, y, blurred):
    """Writes the blur at row y, whose neighbours are at their number modulo 9."""
    for moment in range(len(blurred)):
        row, middle = blurred[moment], rows[y % len(rows), moment]
        for x in range(row.size):
            row[x] = _TAPS[0] * middle[x]
        for distance in range(1, REACH + 1):
            above = rows[(y - distance) % len(rows), moment]
            below = rows[(y + distance) % len(rows), moment]
            for x in range(row.size):
                row[x] += _TAPS[distance] * (above[x] + below[x])


@njit
def _ssim_errors(mean, variance, moments, errors):
    """Writes one row of 1 - SSIM, with the luminance term 1 - (difference of means)^2.

    With e the difference of the images, E its local mean, V the variances and C the
    covariance, 1 - (1 - E^2) (2 C + c2) / (V1 + V2 + c2) is the same as the below,
    since V1 + V2 - 2 C = V(e): there small errors are not differences of large numbers.
    """
    difference, square, decoded_square = moments[0], moments[1], moments[2]
    for x in range(errors.size):
        luminance = difference[x] * difference[x]
        decoded_mean = mean[x] + difference[x]
        variances = variance[x] + (decoded_square[x] - decoded_mean * decoded_mean)
        structure = (square[x] - luminance) / (variances + C2)
        errors[x] = luminance + (_ONE - luminance) * structure


@njit
def _edges(original, mean, decoded, difference, edges):
    """Writes one row of the pixels minus the local mean, of both images."""
    for x in range(mean.size):
        edge = original[x] - mean[x]
        edges[0, x] = edge
        edges[1, x] = edge + ((decoded[x] - original[x]) - difference[x])
