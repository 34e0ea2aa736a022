"""The windows of MS-SSIM in compiled loops: comparison, gradient, and means by block.

A strip of one channel is compared row by row: the rows that a window covers are blurred
along the columns and then along the row. The gradient goes the same way back.
"""

from __future__ import annotations

import functools

import numpy as np

from learned_jpeg.common.compiled import borrowed, njit

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_GREY = np.float32(128)


@njit
def compare_windows(x, y, taps, constants, is_coarsest, maps, gradient):
    """Compares the windows of a strip of one channel.

    Args:
      x, y: float32 `[n + 10, w + 10]`, original and decoded minus 128.
      taps: float32 `[11]`, of the window along an axis.
      constants: float32 `[2]`, those of luminance and of contrast and structure.
      is_coarsest: whether luminance counts.
      maps: float32 `[1 or 2, n, w]`, get 1 / D of contrast and structure, and at the
        coarsest scale of luminance.
      gradient: float32 `[n + 10, w + 10]`, zeros, to which the gradient of the sum in y
        is added; or `[0, 0]` if it is not wanted.

    Returns:
      The sum over the windows, of the contrast-structure part or of SSIM.
    """
    x, y, taps, maps = borrowed(x), borrowed(y), borrowed(taps), borrowed(maps)
    gradient = borrowed(gradient)
    rows, cols = maps.shape[1:]
    tall = np.empty((4, x.shape[1]), np.float32)
    blurred = np.empty((4, cols), np.float32)
    slopes, backs = (
        np.empty((3, cols), np.float32),
        np.empty((3, x.shape[1]), np.float32),
    )
    values = np.empty(cols, np.float32)
    wants_gradient = len(gradient) > 0
    spread = np.zeros((3, len(gradient), gradient.shape[1]), np.float32)
    total = 0.0
    for row in range(rows):
        _clear(tall)
        for tap in range(taps.size):
            _add_moments(
                *(x[row + tap], y[row + tap], taps[tap]),
                *(tall[0], tall[1], tall[2], tall[3]),
            )
        for number in range(4):
            _blur_row(tall[number], taps, blurred[number])
        brightness = maps[1, row] if is_coarsest else maps[0, row]
        _compare_row(
            *(blurred[0], blurred[1], blurred[2], blurred[3]),
            *(constants[0], constants[1], is_coarsest),
            *(maps[0, row], brightness, values, slopes[0], slopes[1], slopes[2]),
        )
        total += _sum(values)
        if wants_gradient:
            for number in range(3):
                _spread_row(slopes[number], taps, backs[number])
                for tap in range(taps.size):
                    _add_row(taps[tap], backs[number], spread[number, row + tap])
    for row in range(len(gradient)):
        own = spread[0, row], spread[1, row], spread[2, row]
        _write_gradient(x[row], y[row], own[0], own[1], own[2], gradient[row])
    return total


@njit
def _clear(rows):
    rows[:] = _ZERO


@njit
def _add_moments(x, y, tap, mean_x, mean_y, squares, product):
    for i in range(x.size):
        own, other = tap * x[i], tap * y[i]
        mean_x[i] += own
        mean_y[i] += other
        squares[i] += own * x[i] + other * y[i]
        product[i] += own * y[i]


@njit
def _blur_row(row, taps, out):
    a, b, c, d, e, f = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for i in range(out.size):
        total = a * (row[i] + row[i + 10]) + b * (row[i + 1] + row[i + 9])
        total += c * (row[i + 2] + row[i + 8]) + d * (row[i + 3] + row[i + 7])
        out[i] = total + e * (row[i + 4] + row[i + 6]) + f * row[i + 5]


@njit
def _spread_row(row, taps, out):
    """Applies the adjoint of `_blur_row`, `[w]` to `[w + 10]`."""
    padded = np.zeros(row.size + 20, np.float32)
    padded[10 : row.size + 10] = row
    _blur_row(padded, taps, out)


@njit
def _compare_row(
    mean_x,
    mean_y,
    squares,
    product,
    luminance_constant,
    constant,
    is_coarsest,
    inverses,
    brightness,
    values,
    by_product,
    by_square,
    by_mean,
):
    """Writes 1 / D, the values of a row of windows, and their slopes."""
    for i in range(values.size):
        both = mean_x[i] * mean_x[i] + mean_y[i] * mean_y[i]
        inverse = _ONE / (squares[i] - both + constant)
        covariance = product[i] - mean_x[i] * mean_y[i]
        structure = (_TWO * covariance + constant) * inverse
        inverses[i], values[i] = inverse, structure
        by_product[i] = _TWO * inverse
        by_square[i] = -_TWO * structure * inverse
        by_mean[i] = -by_product[i] * mean_x[i] - by_square[i] * mean_y[i]
    if not is_coarsest:
        return
    for i in range(values.size):
        bright_x, bright_y = mean_x[i] + _GREY, mean_y[i] + _GREY
        squared = bright_x * bright_x + bright_y * bright_y
        inverse = _ONE / (squared + luminance_constant)
        value = (_TWO * bright_x * bright_y + luminance_constant) * inverse
        slope = _TWO * (bright_x - value * bright_y) * inverse
        by_product[i] *= value
        by_square[i] *= value
        by_mean[i] = by_mean[i] * value + values[i] * slope
        values[i] *= value
        brightness[i] = inverse


@functools.partial(njit, fastmath={"reassoc"})
def _sum(row):
    total = _ZERO
    for i in range(row.size):
        total += row[i]
    return total


@njit
def _add_row(factor, row, out):
    for i in range(out.size):
        out[i] += factor * row[i]


@njit
def _write_gradient(x, y, by_product, by_square, by_mean, out):
    for i in range(out.size):
        out[i] = x[i] * by_product[i] + y[i] * by_square[i] + by_mean[i]


@njit
def write_means(rows, border, side, out):
    """Writes means over each `side` columns of rows, which begin `border` before them.

    Args:
      rows: float32 `[n, w]`, continued by its first and last column.
      border: columns before the first one.
      side: columns of a mean.
      out: float32 `[n, cols]`.
    """
    rows, out = borrowed(rows), borrowed(out)
    last = rows.shape[1] - 1
    for row in range(len(out)):
        own = rows[row]
        for col in range(out.shape[1]):
            total = _ZERO
            for i in range(col * side - border, (col + 1) * side - border):
                total += own[min(max(i, 0), last)]
            out[row, col] = total / np.float32(side)


@njit
def halve(plane, out):
    """Averages 2x2 pixels of `[h, w]`; odd sides are continued by their last pixel."""
    plane, out = borrowed(plane), borrowed(out)
    last = len(plane) - 1
    for row in range(len(out)):
        upper, lower = plane[2 * row], plane[min(2 * row + 1, last)]
        _halve_row(upper, lower, out[row])


@njit
def _halve_row(upper, lower, out):
    whole = upper.size // 2
    for i in range(whole):
        left, right = upper[2 * i] + lower[2 * i], upper[2 * i + 1] + lower[2 * i + 1]
        out[i] = (left + right) * np.float32(0.25)
    if whole < out.size:
        last = upper[2 * whole] + lower[2 * whole]
        out[whole] = (last + last) * np.float32(0.25)
