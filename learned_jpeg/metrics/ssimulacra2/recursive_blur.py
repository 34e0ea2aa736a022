"""A Gaussian blur of 1.5 px, rounded as that of libjxl, which SSIMULACRA2 blurs by.

The Gaussian is a sum of three cosines that are cut off at 5 px: D. Charalampidis,
"Recursive implementation of the Gaussian filter using truncated cosine functions",
2016. Each is an oscillator, whose output follows from the last two and from the pixels
that enter and leave its window. Nothing damps the rounding errors of single precision,
so these grow along a row like a random walk, up to some 1e-5, and a metric of small
errors shows them. Hence each operation here is rounded as in libjxl's FastGaussian
(BSD licence), bit for bit: multiplications and additions fused, rows in steps of four
pixels, columns in steps of one. Outside of the image there are zeros.

Rows are blurred `ROWS` at a time, side by side, for vector instructions; a ring holds
those that the blur of columns still needs. So memory grows with the width only.
"""

import numpy as np

from learned_jpeg.common.compiled import fma, njit

SIGMA = 1.5  # px
_RADIUS = round(3.2795 * SIGMA + 0.2546)  # px, where the cosines are cut off
REACH = _RADIUS - 1  # px, the farthest that has a weight
ROWS = 16  # of a block
LEFT = 2 * _RADIUS  # zeros on the left of a block's rows; on the right there are REACH
_STEPS = 4  # px at a time along a row


def _oscillators():
    """Returns factors of the steps of each cosine, float32 `[3, _STEPS]`.

    With `y[n] = gain s[n] + 2 cos(omega) y[n - 1] - y[n - 2]`, a step ahead of j pixels
    has Chebyshev's `U[j] = sin((j + 1) omega) / sin(omega)` as its factors.

    Returns:
      (of the input j pixels before, of the last output, of the one before that).
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
    return tuple(f.astype(np.float32) for f in factors)


_INPUT, _LAST, _BEFORE = _oscillators()
_ZERO = np.float32(0)


@njit
def new_blur(width, count):
    """Allocates the memory to blur `count` maps of a width, from row -`REACH` on.

    Returns:
      `(blocks, along, rows, states, blurred)`, float32: the maps' next rows, column
      after column, `[count, (LEFT + width + REACH) * ROWS]`, with zeros on both sides;
      the blur along such rows; a ring of rows blurred along them; the last two outputs
      of the oscillators down the columns; the blur.
    """
    blocks = np.zeros((count, (LEFT + width + REACH) * ROWS), np.float32)
    along = np.empty((REACH + width) * ROWS, np.float32)
    rows = np.zeros((2 * ROWS, count, width), np.float32)
    states = np.zeros((count, 3, 2, width), np.float32)
    return blocks, along, rows, states, np.empty((count, width), np.float32)


@njit
def blur_block(first, blur):
    """Blurs the rows of `blocks` along them: rows `first` and on, into the ring."""
    blocks, along, rows, _, _ = blur
    for i in range(len(blocks)):
        _blur_along(blocks[i], along)
        for r in range(ROWS):
            row = rows[(first + r) % len(rows), i]
            for x in range(row.size):
                row[x] = along[(REACH + x) * ROWS + r]


@njit
def _blur_along(block, along):
    """Writes the blur of a block along its rows, column after column from -`REACH`."""
    width = along.size // ROWS - REACH
    state = np.empty(2 * ROWS, np.float32)
    along[:] = _ZERO
    for k in (2, 1, 0):  # the order in which they are summed
        state[:] = _ZERO
        column = 0
        while column < width + REACH:
            x = column - REACH
            if 2 * _STEPS <= x < width - REACH - _STEPS + 1:
                _four_steps(k, column * ROWS, block, state, along)
                column += _STEPS
            else:
                _step(k, column * ROWS, block, state, along)
                column += 1


@njit
def _step(k, start, block, state, along):
    """Adds the next column of an oscillator, in all rows."""
    ends = block[start : start + (LEFT + 1) * ROWS]
    found = along[start : start + ROWS]
    gain, last = _INPUT[k, 0], _LAST[k, 0]
    for r in range(ROWS):
        entered = ends[r] + ends[LEFT * ROWS + r]
        y = fma(last, state[r], entered * gain - state[ROWS + r])
        state[ROWS + r] = state[r]
        state[r] = y
        found[r] += y


@njit
def _four_steps(k, start, block, state, along):
    """Adds the next four columns of an oscillator, each from the last two outputs."""
    ends = block[start : start + (LEFT + _STEPS) * ROWS]
    found = along[start : start + _STEPS * ROWS]
    g0, g1, g2, g3 = _INPUT[k]
    last0, last1, last2, last3 = _LAST[k]
    before0, before1, before2, before3 = _BEFORE[k]
    for r in range(ROWS):
        last, before = state[r], state[ROWS + r]
        s0 = ends[r] + ends[LEFT * ROWS + r]
        s1 = ends[ROWS + r] + ends[(LEFT + 1) * ROWS + r]
        s2 = ends[2 * ROWS + r] + ends[(LEFT + 2) * ROWS + r]
        s3 = ends[3 * ROWS + r] + ends[(LEFT + 3) * ROWS + r]
        y0 = s0 * g0
        y1 = fma(g0, s1, s0 * g1)
        y2 = fma(g0, s2, fma(g1, s1, s0 * g2))
        y3 = fma(g0, s3, fma(g1, s2, fma(g2, s1, s0 * g3)))
        y0 = fma(last0, last, fma(before0, before, y0))
        y1 = fma(last1, last, fma(before1, before, y1))
        y2 = fma(last2, last, fma(before2, before, y2))
        y3 = fma(last3, last, fma(before3, before, y3))
        state[r] = y3
        state[ROWS + r] = y2
        found[r] += y0
        found[ROWS + r] += y1
        found[2 * ROWS + r] += y2
        found[3 * ROWS + r] += y3


@njit
def blur_down(y, blur):
    """Returns the blur at row y, `[count, w]`; called for each y from -`REACH` on.

    The ring has to hold the rows up to y + `REACH`; the next call overwrites the blur.
    """
    _, _, rows, states, blurred = blur
    above, below = rows[(y - _RADIUS - 1) % len(rows)], rows[(y + REACH) % len(rows)]
    for i in range(len(blurred)):
        row, leaving, entering = blurred[i], above[i], below[i]
        for x in range(row.size):
            row[x] = leaving[x] + entering[x]
        for k in range(3):
            # The newest output takes the place of the one before the last.
            newest, last = states[i, k, y % 2], states[i, k, 1 - y % 2]
            for x in range(row.size):
                rest = fma(_LAST[k, 0], last[x], -newest[x])
                newest[x] = fma(_INPUT[k, 0], row[x], rest)
        first, second, third = (
            states[i, 0, y % 2],
            states[i, 1, y % 2],
            states[i, 2, y % 2],
        )
        for x in range(row.size):
            row[x] = first[x] + (second[x] + third[x])
    return blurred
