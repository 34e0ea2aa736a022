"""Planes of Y, X, B of linear light with the slopes of the cones, for the search.

The score rounds as libjxl does (score.py). Here speed counts, and both images are
converted by the same functions, so that equal pixels have no error.
"""

import numpy as np

from learned_jpeg.common import kept_memory
from learned_jpeg.common.compiled import borrowed, from_bits, njit, to_bits
from learned_jpeg.metrics.ssimulacra2.score import BIAS, BIAS_ROOT, CONES

# The bits of about the inverse cube root are this minus a third of the number's bits.
_START = np.float32(0x54A24000)
_ONE, _HALF, _SEVEN = map(np.float32, (1, 0.5, 7))
_THIRD, _FOUR_THIRDS, _TWO_NINTHS = map(np.float32, (1 / 3, 4 / 3, 2 / 9))
_Y_OFFSET, _X_OFFSET, _B_OFFSET = map(np.float32, (0.01, 0.42, 0.55))


def to_xyb(light: np.ndarray, count: int, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Converts rows of linear RGB.

    Args:
      light: float32 `[3, h, w]`.
      count: of the planes Y, X, B that are wanted.
      rows: a slice; other rows stay without values.

    Returns:
      The planes, float32 `[count, h, w]`, as those of `score.to_xyb`; the slopes of the
      cones' responses that these need, `[2 or 3, h, w]`.
    """
    planes = kept_memory.empty((count, *light.shape[1:]))
    slopes = kept_memory.empty((3 if count == 3 else 2, *light.shape[1:]))
    _to_xyb(light, rows.start, rows.stop, planes, slopes)
    return planes, slopes


@njit
def _to_xyb(light, first, last, planes, slopes):
    light, planes, slopes = borrowed(light), borrowed(planes), borrowed(slopes)
    count, _, width = planes.shape
    responses = np.empty((2, width), np.float32)
    for y in range(first, last):
        long, medium = responses[0], responses[1]
        red, green, blue = light[0, y], light[1, y], light[2, y]
        _cone_row(red, green, blue, CONES[0], long, slopes[0, y])
        _cone_row(red, green, blue, CONES[1], medium, slopes[1, y])
        _luma_row(long, medium, planes[0, y])
        if count > 1:
            _red_green_row(long, medium, planes[1, y])
        if count > 2:
            short = planes[2, y]
            _cone_row(red, green, blue, CONES[2], short, slopes[2, y])
            _violet_row(long, medium, short)


@njit
def _cone_row(red, green, blue, cone, response, slope):
    """Writes the cube roots of the light that a cone takes, and their slopes in it."""
    by_red, by_green, by_blue = cone[0], cone[1], cone[2]
    for x in range(response.size):
        taken = by_red * red[x] + (by_green * green[x] + (by_blue * blue[x] + BIAS))
        inverse = _inverse_cube_root(taken)
        square = inverse * inverse
        response[x] = square * taken - BIAS_ROOT
        slope[x] = _THIRD * square


@njit
def _inverse_cube_root(value):
    """Returns it within 2e-7, by a step of Newton's method and one of Halley's."""
    root = from_bits(np.int32(_START - _THIRD * np.float32(to_bits(value))))
    square = root * root
    root = _FOUR_THIRDS * root - _THIRD * value * (square * square)
    rest = _ONE - value * root * (root * root)
    return root + root * (rest * (_THIRD + _TWO_NINTHS * rest))


@njit
def _luma_row(long, medium, luma):
    for x in range(luma.size):
        luma[x] = _HALF * (long[x] + medium[x]) + _Y_OFFSET


@njit
def _red_green_row(long, medium, red_green):
    for x in range(red_green.size):
        red_green[x] = _SEVEN * (long[x] - medium[x]) + _X_OFFSET


@njit
def _violet_row(long, medium, short):
    for x in range(short.size):
        short[x] = short[x] - _HALF * (long[x] + medium[x]) + _B_OFFSET


def add_light_gradient(
    by_plane: np.ndarray, slopes: np.ndarray, rows: slice, gradient: np.ndarray
) -> None:
    """Adds a gradient in the planes to that in linear RGB.

    Args:
      by_plane: float32 `[count, h, w]`, in the planes of `to_xyb`.
      slopes: as from `to_xyb`.
      rows: a slice, of the rows that have a gradient.
      gradient: float32 `[3, n, w]`, in these rows.
    """
    _add_light_gradient(by_plane, slopes, rows.start, gradient)


@njit
def _add_light_gradient(by_plane, slopes, first, gradient):
    by_plane, slopes = borrowed(by_plane), borrowed(slopes)
    gradient = borrowed(gradient)
    count, _, width = by_plane.shape
    zeros = np.zeros(width, np.float32)
    for y in range(gradient.shape[1]):
        own = first + y
        red, green, blue = gradient[0, y], gradient[1, y], gradient[2, y]
        long, medium = slopes[0, own], slopes[1, own]
        red_green = by_plane[1, own] if count > 1 else zeros
        luma = by_plane[0, own]
        _add_luma_row(luma, red_green, long, medium, red, green, blue)
        if count > 2:
            short = slopes[2, own]
            _add_violet_row(by_plane[2, own], long, medium, short, red, green, blue)


@njit
def _add_luma_row(luma, red_green, long_slope, medium_slope, red, green, blue):
    for x in range(red.size):
        long = (_HALF * luma[x] + _SEVEN * red_green[x]) * long_slope[x]
        medium = (_HALF * luma[x] - _SEVEN * red_green[x]) * medium_slope[x]
        red[x] += CONES[0, 0] * long + CONES[1, 0] * medium
        green[x] += CONES[0, 1] * long + CONES[1, 1] * medium
        blue[x] += CONES[0, 2] * long + CONES[1, 2] * medium


@njit
def _add_violet_row(violet, long_slope, medium_slope, short_slope, red, green, blue):
    for x in range(red.size):
        long = -_HALF * violet[x] * long_slope[x]
        medium = -_HALF * violet[x] * medium_slope[x]
        short = violet[x] * short_slope[x]
        red[x] += CONES[0, 0] * long + (CONES[1, 0] * medium + CONES[2, 0] * short)
        green[x] += CONES[0, 1] * long + (CONES[1, 1] * medium + CONES[2, 1] * short)
        blue[x] += CONES[0, 2] * long + (CONES[1, 2] * medium + CONES[2, 2] * short)
