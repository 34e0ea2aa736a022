"""The squared error of rounding coefficients, with its gradients, in one pass.

What `differentiable` says with tensors of the whole batch, for a few blocks at a time
that stay in the processor's cache: without the passes through memory it takes a
third of the time. Compiled; for a loss that is a squared error and nothing else.

Arrays of blocks are `[..., 64, LANES]`: a sample or coefficient of `LANES` blocks lies
together, so that each instruction works on several of them.
"""

import functools

import numpy as np

from learned_jpeg.common import compiled
from learned_jpeg.jpeg.standard import BLOCK, RGB_TO_YCBCR, YCBCR_TO_RGB, dct_matrix

LANES = 64

# A product and a sum in one instruction, of which the last bit depends on the machine:
# good enough for a loss, not for a file.
njit = functools.partial(compiled.njit, fastmath={"contract"})

_DCT = dct_matrix().astype(np.float32)
_TO_YCBCR = RGB_TO_YCBCR.astype(np.float32)
_TO_RGB = YCBCR_TO_RGB.astype(np.float32)
_TO_RGB_TRANSPOSED = np.ascontiguousarray(_TO_RGB.T)
_ZERO, _MIDDLE, _WHITE = np.float32(0), np.float32(128), np.float32(255)


@njit
def squared_error(image, factors, qtables, weight, of_factors):
    """Squared error that coding at 4:4:4 leaves, of one image.

    Coefficients are multiplied by factors, divided by their steps and rounded. The
    gradients are those of `differentiable.round_with_slopes`, with the slope of
    `image_utils.polynomial_slope` for AC steps.

    Args:
      image: float32 RGB in [0, 1], `[8 rows, 8 cols, 3]`, contiguous.
      factors: float32 `[rows * cols, 64 (v, u), 2 (luma, chroma)]`; None for 1.
      qtables: float32 `[64 (v, u), 2]`.
      weight: float32, that error and gradients are multiplied by.
      of_factors: shaped as `factors`, takes its gradient; None without factors.

    Returns:
      The sum of the squared errors of all samples on the 0..255 scale, times `weight`,
      a float; its gradient with respect to `qtables`, float32 `[64, 2]`.
    """
    count = image.shape[0] * image.shape[1] // BLOCK**2
    buffers = np.zeros((5, 3, 64, LANES), np.float32)
    rgb, dct, z = buffers[0], buffers[1], buffers[2]
    work, other = buffers[3], buffers[4]
    own_factors = np.ones((2, 64, LANES), np.float32)
    of_steps = np.zeros((2, 64, LANES), np.float32)
    total = 0.0
    for first in range(0, count, LANES):
        filled = min(LANES, count - first)
        _load_pixels(image, first, filled, rgb)
        if factors is not None:
            _load_factors(factors, first, filled, own_factors)
        _mix(rgb, _TO_YCBCR, dct)
        _dct(dct)
        dct[0, 0] -= BLOCK * _MIDDLE
        _quantize(dct, own_factors, qtables, z, work)
        _inverse_dct(work)
        _mix(work, _TO_RGB, other)
        total += _replace_by_error(other, rgb, filled)
        _mix(other, 2 * weight * _TO_RGB_TRANSPOSED, work)
        _dct(work)
        _add_gradient_of_steps(work, z, of_steps)
        if factors is not None:
            _store_gradient_of_factors(work, dct, first, filled, of_factors)
    return total * weight, _sums_over_lanes(of_steps)


@njit
def _sums_over_lanes(of_steps):
    sums = np.empty((64, 2), np.float32)
    for table in range(2):
        for k in range(64):
            sums[k, table] = of_steps[table, k].sum()
    return sums


@njit
def _load_pixels(image, first, filled, rgb):
    cols = image.shape[1] // BLOCK
    for lane in range(filled):
        row, col = divmod(first + lane, cols)
        for v in range(BLOCK):
            for u in range(BLOCK):
                for c in range(3):
                    value = image[BLOCK * row + v, BLOCK * col + u, c]
                    rgb[c, BLOCK * v + u, lane] = _WHITE * value
    # Errors of lanes without a block would count.
    rgb[:, :, filled:] = _MIDDLE


@njit
def _load_factors(factors, first, filled, own):
    for lane in range(filled):
        for k in range(64):
            for table in range(2):
                own[table, k, lane] = factors[first + lane, k, table]


@njit
def _mix(planes, matrix, mixed):
    """Multiplies the colours of every sample by `matrix` `[3, 3]`."""
    x, y = planes.reshape(3, -1), mixed.reshape(3, -1)
    for i in range(3):
        for j in range(x.shape[1]):
            value = matrix[i, 0] * x[0, j] + matrix[i, 1] * x[1, j]
            y[i, j] = value + matrix[i, 2] * x[2, j]


@njit
def _dct(planes):
    """DCT of every block, in place."""
    columns_done = np.empty((BLOCK, BLOCK * LANES), np.float32)
    for c in range(3):
        plane = planes[c]
        _dct_of_columns(plane.reshape(BLOCK, -1), columns_done)
        for v in range(BLOCK):
            row = columns_done[v].reshape(BLOCK, LANES)
            _dct_of_columns(row, plane[BLOCK * v : BLOCK * (v + 1)])


@njit
def _inverse_dct(planes):
    """Inverse DCT of every block, in place."""
    columns_done = np.empty((BLOCK, BLOCK * LANES), np.float32)
    for c in range(3):
        plane = planes[c]
        _inverse_dct_of_columns(plane.reshape(BLOCK, -1), columns_done)
        for v in range(BLOCK):
            row = columns_done[v].reshape(BLOCK, LANES)
            _inverse_dct_of_columns(row, plane[BLOCK * v : BLOCK * (v + 1)])


# Cosines of even frequency are symmetric about the middle, the others antisymmetric:
# that halves the products.


@njit
def _dct_of_columns(x, y):
    """`y = DCT @ x`, both `[8, n]`."""
    for i in range(4):
        m0, m1, m2, m3 = _DCT[2 * i, 0], _DCT[2 * i, 1], _DCT[2 * i, 2], _DCT[2 * i, 3]
        n0, n1 = _DCT[2 * i + 1, 0], _DCT[2 * i + 1, 1]
        n2, n3 = _DCT[2 * i + 1, 2], _DCT[2 * i + 1, 3]
        for j in range(x.shape[1]):
            y[2 * i, j] = (
                m0 * (x[0, j] + x[7, j])
                + m1 * (x[1, j] + x[6, j])
                + m2 * (x[2, j] + x[5, j])
                + m3 * (x[3, j] + x[4, j])
            )
            y[2 * i + 1, j] = (
                n0 * (x[0, j] - x[7, j])
                + n1 * (x[1, j] - x[6, j])
                + n2 * (x[2, j] - x[5, j])
                + n3 * (x[3, j] - x[4, j])
            )


@njit
def _inverse_dct_of_columns(x, y):
    """`y = DCT.T @ x`, both `[8, n]`."""
    for i in range(4):
        m0, m2, m4, m6 = _DCT[0, i], _DCT[2, i], _DCT[4, i], _DCT[6, i]
        m1, m3, m5, m7 = _DCT[1, i], _DCT[3, i], _DCT[5, i], _DCT[7, i]
        for j in range(x.shape[1]):
            even = m0 * x[0, j] + m2 * x[2, j] + m4 * x[4, j] + m6 * x[6, j]
            odd = m1 * x[1, j] + m3 * x[3, j] + m5 * x[5, j] + m7 * x[7, j]
            y[i, j] = even + odd
            y[7 - i, j] = even - odd


@njit
def _quantize(dct, factors, qtables, z, decoded):
    for c in range(3):
        table = min(c, 1)
        for k in range(64):
            step = qtables[k, table]
            reciprocal = np.float32(1) / step
            for lane in range(LANES):
                quotient = dct[c, k, lane] * factors[table, k, lane] * reciprocal
                z[c, k, lane] = quotient
                decoded[c, k, lane] = np.rint(quotient) * step


@njit
def _replace_by_error(rgb, original, filled):
    """The error where nothing is clipped, else 0; returns the sum of all squares."""
    squares = np.zeros(LANES, np.float32)
    for c in range(3):
        for k in range(64):
            for lane in range(LANES):
                value = rgb[c, k, lane] + _MIDDLE
                clipped = min(max(value, _ZERO), _WHITE)
                error = clipped - original[c, k, lane]
                squares[lane] += error * error
                rgb[c, k, lane] = error if clipped == value else _ZERO
    return squares[:filled].sum()


@njit
def _add_gradient_of_steps(upstream, z, of_steps):
    """The gradient: of `step * round(z)`, and of the integer through `z`."""
    for c in range(3):
        table = min(c, 1)
        for k in range(64):
            for lane in range(LANES):
                quotient = z[c, k, lane]
                integer = np.rint(quotient)
                rest = quotient - integer
                slope = np.float32(3) * rest * rest if k else np.float32(1)
                slope = integer - slope * quotient
                of_steps[table, k, lane] += upstream[c, k, lane] * slope


@njit
def _store_gradient_of_factors(upstream, dct, first, filled, of_factors):
    products = np.zeros((2, 64, LANES), np.float32)
    for c in range(3):
        table = min(c, 1)
        for k in range(64):
            for lane in range(LANES):
                products[table, k, lane] += upstream[c, k, lane] * dct[c, k, lane]
    for lane in range(filled):
        for k in range(64):
            for table in range(2):
                of_factors[first + lane, k, table] = products[table, k, lane]
