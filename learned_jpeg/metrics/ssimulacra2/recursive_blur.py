"""A Gaussian blur of 1.5 px, rounded as that of libjxl, which SSIMULACRA2 blurs by.

The Gaussian is a sum of three cosines that are cut off at 5 px: D. Charalampidis,
"Recursive implementation of the Gaussian filter using truncated cosine functions",
2016. Each is an oscillator, whose output follows from the last two and from the pixels
that enter and leave its window. Nothing damps the rounding errors of single precision,
so these grow along a row like a random walk, up to some 1e-5, and a metric of small
errors shows them. Hence each operation here is rounded as in libjxl's FastGaussian
(BSD licence), bit for bit: multiplications and additions fused, rows in steps of four
pixels, columns in steps of one. Outside of the image there are zeros.

Rows are blurred along them `ROWS` at a time, side by side, for vector instructions.
For that, squares of pixels are transposed in registers. A ring holds the rows that the
blur of columns still needs. So memory grows with the width only.
"""

import numpy as np

from learned_jpeg.common.compiled import borrowed, fma, njit
from learned_jpeg.metrics.ssimulacra2.transpose import SIDE, transpose_square

SIGMA = 1.5  # px
_RADIUS = round(3.2795 * SIGMA + 0.2546)  # px, where the cosines are cut off
REACH = _RADIUS - 1  # px, the farthest that has a weight
ROWS = SIDE  # of a block
STEP = 2  # rows at a time down the columns
LEFT = 2 * _RADIUS  # zeros on the left of a block's rows; on the right there are REACH
_STEPS = 4  # px at a time along a row


def _oscillators():
    """Returns factors of the steps of each cosine, float32 `[3, 3, _STEPS]`.

    With `y[n] = gain s[n] + 2 cos(omega) y[n - 1] - y[n - 2]`, a step ahead of j pixels
    has Chebyshev's `U[j] = sin((j + 1) omega) / sin(omega)` as its factors.

    For each cosine: the factors of the input j pixels before, of the last output, and
    of the one before that.
    """
    omega = np.array([1, 3, 5]) * np.pi / (2 * _RADIUS)
    signs = np.array([1, -1, 1])
    p = signs / np.tan(omega / 2)
    r = signs * p**2 / np.sin(omega)
    rho = np.exp(-(SIGMA**2) * omega**2 / 2) / _RADIUS
    normal = np.cross(p, r)
    normal /= normal[2]
    moments = [1, _RADIUS**2 - SIGMA**2, normal @ rho]
    weights = np.linalg.solve([p, r, normal], moments)
    gains = -weights * np.cos(omega * (_RADIUS + 1))
    order = np.arange(1, _STEPS + 2)
    chebyshev = np.sin(np.outer(omega, order)) / np.sin(omega)[:, np.newaxis]
    steps = chebyshev[:, :_STEPS]
    factors = gains[:, np.newaxis] * steps, chebyshev[:, 1:], -steps
    return np.stack(factors, axis=1).astype(np.float32)


_FACTORS = _oscillators()
_GAIN0, _GAIN1, _GAIN2 = _FACTORS[:, 0, 0]
_LAST0, _LAST1, _LAST2 = _FACTORS[:, 1, 0]
# As tuples: the size of an array is checked where it is unpacked.
_FACTORS0, _FACTORS1, _FACTORS2 = (tuple(map(tuple, own)) for own in _FACTORS)
_ZERO = np.float32(0)


def new_blur(width, count):
    """Allocates the memory to blur `count` maps of a width, from row -`REACH` on.

    Returns:
      `(blocks, along, rows, last, blurred)`, float32: the maps' next rows, column after
      column, `[count, (LEFT + width + REACH) * ROWS]`, with zeros on both sides; the
      blur along such rows; a ring of rows blurred along them; the last two outputs of
      the oscillators down the columns; the blur.
    """
    blocks = np.zeros((count, (LEFT + width + REACH) * ROWS), np.float32)
    along = np.empty((REACH + width) * ROWS, np.float32)
    rows = np.zeros((2 * ROWS, count, width), np.float32)
    last = np.zeros((count, 3, 2, width), np.float32)
    return blocks, along, rows, last, np.empty((STEP, count, width), np.float32)


@njit
def load_block(plane, first, block):
    """Writes rows `first` and on of a plane into one of the `blocks`."""
    height, width = plane.shape
    inside = 0
    if first + ROWS <= height:
        inside = width - width % SIDE
        for x in range(0, inside, SIDE):
            start = (LEFT + x) * ROWS
            transpose_square(plane, first * width + x, width, block, start, ROWS)
    for r in range(ROWS):
        start = (LEFT + inside) * ROWS + r
        if first + r >= height:  # below the image there are zeros
            block[start::ROWS] = _ZERO
            continue
        row = plane[first + r]
        for x in range(inside, width):
            block[start + (x - inside) * ROWS] = row[x]


@njit
def blur_block(first, blur):
    """Blurs the rows of `blocks` along them: rows `first` and on, into the ring."""
    blocks, along, rows = borrowed(blur[0]), borrowed(blur[1]), borrowed(blur[2])
    _, count, width = rows.shape
    inside = width - width % SIDE
    ring = first % len(rows)
    for i in range(count):
        _blur_along(blocks[i], along)
        for x in range(0, inside, SIDE):
            start, place = (REACH + x) * ROWS, (ring * count + i) * width + x
            transpose_square(along, start, ROWS, rows, place, count * width)
        for r in range(ROWS):
            row = rows[ring + r, i]
            for x in range(inside, width):
                row[x] = along[(REACH + x) * ROWS + r]


@njit
def _blur_along(block, along):
    """Writes the blur of a block along its rows, column after column from -`REACH`."""
    columns = along.size // ROWS
    block, along = borrowed(block), borrowed(along)
    # Of a constant size, for which loops over the rows are vectorised.
    own_last = np.zeros((3, 2, ROWS), np.float32)
    last = borrowed(own_last)
    column = 0
    while column < columns:
        ends = block[column * ROWS :]
        found = along[column * ROWS :]
        if 2 * _STEPS <= column - REACH < columns - 2 * REACH - _STEPS + 1:
            _four_steps(ends, found, last[0], last[1], last[2])
            column += _STEPS
        else:
            _step(ends, found, last[0], last[1], last[2])
            column += 1


@njit
def _step(ends, found, state0, state1, state2):
    """Writes the next column of the blur, in all rows.

    Args:
      ends: the block, from the pixels on that leave the window.
      found: the blur, from this column on.
      state0, state1, state2: of each oscillator the last two outputs, `[2, ROWS]`.
    """
    for r in range(ROWS):
        s = ends[r] + ends[LEFT * ROWS + r]
        y0 = fma(_LAST0, state0[0, r], s * _GAIN0 - state0[1, r])
        y1 = fma(_LAST1, state1[0, r], s * _GAIN1 - state1[1, r])
        y2 = fma(_LAST2, state2[0, r], s * _GAIN2 - state2[1, r])
        state0[1, r], state0[0, r] = state0[0, r], y0
        state1[1, r], state1[0, r] = state1[0, r], y1
        state2[1, r], state2[0, r] = state2[0, r], y2
        found[r] = y2 + y1 + y0


@njit
def _four_steps(ends, found, state0, state1, state2):
    """Writes the next four columns of the blur, see `_step`."""
    for r in range(ROWS):
        s0 = ends[r] + ends[LEFT * ROWS + r]
        s1 = ends[ROWS + r] + ends[(LEFT + 1) * ROWS + r]
        s2 = ends[2 * ROWS + r] + ends[(LEFT + 2) * ROWS + r]
        s3 = ends[3 * ROWS + r] + ends[(LEFT + 3) * ROWS + r]
        s = s0, s1, s2, s3
        a0, a1, a2, a3 = _oscillate(_FACTORS2, s, state2[0, r], state2[1, r])
        state2[0, r], state2[1, r] = a3, a2
        b0, b1, b2, b3 = _oscillate(_FACTORS1, s, state1[0, r], state1[1, r])
        state1[0, r], state1[1, r] = b3, b2
        c0, c1, c2, c3 = _oscillate(_FACTORS0, s, state0[0, r], state0[1, r])
        state0[0, r], state0[1, r] = c3, c2
        found[r] = a0 + b0 + c0
        found[ROWS + r] = a1 + b1 + c1
        found[2 * ROWS + r] = a2 + b2 + c2
        found[3 * ROWS + r] = a3 + b3 + c3


@njit
def _oscillate(factors, s, last, before):
    """Returns four outputs of an oscillator, each from the last two."""
    s0, s1, s2, s3 = s
    g0, g1, g2, g3 = factors[0]
    last0, last1, last2, last3 = factors[1]
    before0, before1, before2, before3 = factors[2]
    y0 = s0 * g0
    y1 = fma(g0, s1, s0 * g1)
    y2 = fma(g0, s2, fma(g1, s1, s0 * g2))
    y3 = fma(g0, s3, fma(g1, s2, fma(g2, s1, s0 * g3)))
    y0 = fma(last0, last, fma(before0, before, y0))
    y1 = fma(last1, last, fma(before1, before, y1))
    y2 = fma(last2, last, fma(before2, before, y2))
    y3 = fma(last3, last, fma(before3, before, y3))
    return y0, y1, y2, y3


@njit
def blur_down(y, blur):
    """Returns the blur of `STEP` rows from y on, `[STEP, count, w]`.

    Called for every `STEP`th y from -`REACH` on. The ring has to hold the rows up to y
    + `REACH` + 1; the next call overwrites the blur.
    """
    rows, last, blurred = borrowed(blur[2]), borrowed(blur[3]), borrowed(blur[4])
    leaving, entering = (y - _RADIUS - 1) % len(rows), (y + REACH) % len(rows)
    for i in range(rows.shape[1]):
        outputs = last[i]
        _two_rows_down(
            rows[leaving, i],
            rows[entering, i],
            rows[(leaving + 1) % len(rows), i],
            rows[entering + 1, i],
            outputs[0],
            outputs[1],
            outputs[2],
            blurred[0, i],
            blurred[1, i],
        )
    return blur[4]


@njit
def _two_rows_down(
    leaving,
    entering,
    next_leaving,
    next_entering,
    outputs0,
    outputs1,
    outputs2,
    blurred,
    next_blurred,
):
    last0, before0 = outputs0[0], outputs0[1]
    last1, before1 = outputs1[0], outputs1[1]
    last2, before2 = outputs2[0], outputs2[1]
    for x in range(blurred.size):
        s = leaving[x] + entering[x]
        t = next_leaving[x] + next_entering[x]
        a0 = fma(_GAIN0, s, fma(_LAST0, last0[x], -before0[x]))
        b0 = fma(_GAIN0, t, fma(_LAST0, a0, -last0[x]))
        a1 = fma(_GAIN1, s, fma(_LAST1, last1[x], -before1[x]))
        b1 = fma(_GAIN1, t, fma(_LAST1, a1, -last1[x]))
        a2 = fma(_GAIN2, s, fma(_LAST2, last2[x], -before2[x]))
        b2 = fma(_GAIN2, t, fma(_LAST2, a2, -last2[x]))
        blurred[x] = a0 + (a1 + a2)
        next_blurred[x] = b0 + (b1 + b2)
        before0[x], last0[x] = a0, b0
        before1[x], last1[x] = a1, b1
        before2[x], last2[x] = a2, b2
