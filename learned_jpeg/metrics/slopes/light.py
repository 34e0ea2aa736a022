"""Linear light of a decoded image, and its slope, row by row.

Metrics of what people see begin with the light that a display sends. The search needs
its slope, too.
"""

import numpy as np

from learned_jpeg.common import kept_memory
from learned_jpeg.common.compiled import borrowed, njit

# sRGB (IEC 61966-2-1) as a quotient of polynomials, within 5e-7; that of libjxl.
_ABOVE = tuple(
    map(np.float32, (0.8210152774, 0.7961564959, 0.1624820318, 0.01043637593))
)
_ABOVE_LAST = np.float32(0.0002200248328)
_BELOW = tuple(
    map(np.float32, (0.006521209011, -0.05512498495, 0.498752835, 1.076976492))
)
_BELOW_LAST = np.float32(0.263184697)
_FIRST_POWER, _OFFSET = np.float32(0.04045), np.float32(0.055)
_PER_LEVEL, _LINEAR = np.float32(1 / 255), np.float32(1 / 12.92)
_LINEAR_SLOPE = np.float32(1 / 12.92 / 255)
_POWER_SLOPE = np.float32(2.4 / 255)
_MIDDLE = np.float32(128)
_HALF, _QUARTER = np.float32(0.5), np.float32(0.25)


def light_of(image: np.ndarray) -> np.ndarray:
    """Returns linear light 0..1 of a uint8 image `[h, w, 3]`, float32 `[3, h, w]`."""
    height, width, _ = image.shape
    light = kept_memory.empty((3, height, width))
    _write_light_of(np.ascontiguousarray(image).reshape(height, -1), light)
    return light


def linear_light(decoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns linear light 0..1 and its slope by level, float32 as `decoded`.

    Args:
      decoded: float32 `[3, h, w]`, sRGB minus 128, within -128..127.
    """
    light, slope = (kept_memory.empty(decoded.shape) for _ in range(2))
    _write_light(decoded, light, slope)
    return light, slope


def halve(planes: np.ndarray) -> np.ndarray:
    """Averages 2x2 pixels, float32 `[n, h, w]`; an odd side repeats its last pixel."""
    count, height, width = planes.shape
    halved = kept_memory.empty((count, (height + 1) // 2, (width + 1) // 2))
    _halve(planes, halved)
    return halved


def add_halve_adjoint(halved: np.ndarray, planes: np.ndarray) -> None:
    """Adds the adjoint of `halve`, of `[n, rows, cols]`, to planes `[n, h, w]`."""
    _add_halve_adjoint(halved, planes)


@njit
def _write_light_of(image, light):
    image, light = borrowed(image), borrowed(light)
    width = light.shape[2]
    levels, slope = np.empty((3, width), np.float32), np.empty(width, np.float32)
    for y in range(len(image)):
        levels_row(image[y], levels)
        for c in range(3):
            _light_row(levels[c], light[c, y], slope)


@njit
def levels_row(pixels, levels):
    """Writes a row of pixels, uint8 `[3 w]`, as levels minus 128, float32 `[3, w]`."""
    red, green, blue = levels[0], levels[1], levels[2]
    for x in range(red.size):
        red[x] = np.float32(pixels[3 * x]) - _MIDDLE
        green[x] = np.float32(pixels[3 * x + 1]) - _MIDDLE
        blue[x] = np.float32(pixels[3 * x + 2]) - _MIDDLE


@njit
def _write_light(decoded, light, slope):
    decoded, light, slope = borrowed(decoded), borrowed(light), borrowed(slope)
    for c in range(len(decoded)):
        for y in range(decoded.shape[1]):
            _light_row(decoded[c, y], light[c, y], slope[c, y])


@njit
def _light_row(decoded, light, slope):
    for x in range(light.size):
        value = (decoded[x] + _MIDDLE) * _PER_LEVEL
        above = (_ABOVE[0] * value + _ABOVE[1]) * value + _ABOVE[2]
        above = (above * value + _ABOVE[3]) * value + _ABOVE_LAST
        below = (_BELOW[0] * value + _BELOW[1]) * value + _BELOW[2]
        below = (below * value + _BELOW[3]) * value + _BELOW_LAST
        base = value + _OFFSET
        ratio = above / (below * base)
        is_linear = value <= _FIRST_POWER
        light[x] = value * _LINEAR if is_linear else ratio * base
        slope[x] = _LINEAR_SLOPE if is_linear else _POWER_SLOPE * ratio


@njit
def _halve(planes, halved):
    planes, halved = borrowed(planes), borrowed(halved)
    last = planes.shape[1] - 1
    for c in range(len(planes)):
        for y in range(halved.shape[1]):
            upper, lower = planes[c, 2 * y], planes[c, min(2 * y + 1, last)]
            _halve_row(upper, lower, halved[c, y])


@njit
def _halve_row(upper, lower, halved):
    for x in range(upper.size // 2):
        above = upper[2 * x] + upper[2 * x + 1]
        halved[x] = _QUARTER * (above + (lower[2 * x] + lower[2 * x + 1]))
    if upper.size % 2:
        halved[-1] = _HALF * (upper[-1] + lower[-1])


@njit
def _add_halve_adjoint(halved, planes):
    halved, planes = borrowed(halved), borrowed(planes)
    height = planes.shape[1]
    for c in range(len(planes)):
        for y in range(height):
            # The last pixel of an odd side was counted twice.
            share = _HALF if height % 2 and y == height - 1 else _QUARTER
            _add_twice(halved[c, y // 2], share, planes[c, y])


@njit
def _add_twice(halved, share, row):
    for x in range(row.size // 2):
        own = share * halved[x]
        row[2 * x] += own
        row[2 * x + 1] += own
    if row.size % 2:
        row[-1] += (share + share) * halved[-1]
