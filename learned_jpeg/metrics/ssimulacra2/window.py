"""SSIMULACRA2's maps of errors by an exact window, for gradients.

The score's own blur has rounding errors that no gradient knows of, see
recursive_blur.py. Here the same Gaussian is a sum over nine pixels along each
axis, and small errors are not differences of large numbers.

Planes are blurred in blocks of four rows. A ring holds the last three blocks, blurred
along the rows, from which the blur of the middle one follows: so everything stays in
the cache, and each row is read three times in place of nine.
"""

import functools

import numpy as np

from learned_jpeg.common import kept_memory
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.ssimulacra2.score import C2

# Gaussian of 1.5 px as a sum of truncated cosines: D. Charalampidis, "Recursive
# implementation of the Gaussian filter using truncated cosine functions", 2016. From
# the middle to the end; zeros outside of the image.
_TAPS = np.array(
    [0.26462111, 0.21292859, 0.10933537, 0.03601111, 0.00941437], np.float32
)
_T0, _T1, _T2, _T3, _T4 = _TAPS
REACH = len(_TAPS) - 1
ROWS = 4  # of a block; at least `REACH`

# Compiles functions with sums in any order, which the compiler vectorises.
njit_of_sums = functools.partial(njit, fastmath={"reassoc", "nsz"})

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _ONE = map(np.float32, (0, 1))


def window():
    """Returns the blur's taps along one axis, float32 `[9]`."""
    return np.concatenate([_TAPS[:0:-1], _TAPS])


def new_blur(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Allocates what the blur of `count` maps needs.

    Returns:
      The ring of three blocks `[3, ROWS, count, width]`; rows with `REACH` zeros more
      at both ends, whose middle `[:, REACH:-REACH]` is blurred, `[count, width + 8]`.
    """
    ring = kept_memory.empty((3, ROWS, count, width))
    return ring, np.zeros((count, width + 2 * REACH), np.float32)


@njit
def blur_rows(wide, lowest, highest, blurred):
    """Writes the blur of rows `[n, w + 8]` along them, `[n, w]`, of some maps."""
    for i in range(lowest, highest):
        _blur_row(wide[i], blurred[i])


@njit
def blur_columns(ring, block, lowest, highest, blurred):
    """Writes the blur of a block, `[ROWS, n, w]`, of the maps from `lowest` on.

    The ring ends with the next block.
    """
    first, last = (block + 2) % 3, (block + 1) % 3
    for i in range(lowest, highest):
        _blur_four_rows(ring[first], ring[block % 3], ring[last], i, blurred)


@njit
def _blur_row(wide, blurred):
    for x in range(blurred.size):
        blurred[x] = (
            _T0 * wide[x + 4]
            + _T1 * (wide[x + 3] + wide[x + 5])
            + _T2 * (wide[x + 2] + wide[x + 6])
            + _T3 * (wide[x + 1] + wide[x + 7])
            + _T4 * (wide[x] + wide[x + 8])
        )


@njit
def _blur_four_rows(above, own, below, i, blurred):
    """Writes four rows of the blur of map i, of twelve rows."""
    a, b, c, d = above[0, i], above[1, i], above[2, i], above[3, i]
    e, f, g, h = own[0, i], own[1, i], own[2, i], own[3, i]
    j, k, m, n = below[0, i], below[1, i], below[2, i], below[3, i]
    one, two, three, four = blurred[0, i], blurred[1, i], blurred[2, i], blurred[3, i]
    for x in range(one.size):
        one[x] = _weighted(a[x], b[x], c[x], d[x], e[x], f[x], g[x], h[x], j[x])
        two[x] = _weighted(b[x], c[x], d[x], e[x], f[x], g[x], h[x], j[x], k[x])
        three[x] = _weighted(c[x], d[x], e[x], f[x], g[x], h[x], j[x], k[x], m[x])
        four[x] = _weighted(d[x], e[x], f[x], g[x], h[x], j[x], k[x], m[x], n[x])


@njit
def _weighted(a, b, c, d, middle, e, f, g, h):
    return _T0 * middle + _T1 * (d + e) + _T2 * (c + f) + _T3 * (b + g) + _T4 * (a + h)


def statistics(planes: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Computes the local mean and variance of rows of planes, float32 `[n, h, w]`.

    Args:
      planes: float32 `[n, h, w]`.
      rows: a slice; other rows of the results have no values.
    """
    mean, variance = (kept_memory.empty(planes.shape) for _ in range(2))
    width = planes.shape[2]
    space = *new_blur(2, width), kept_memory.empty((ROWS, 2, width))
    for own in zip(planes, mean, variance, strict=True):
        _statistics(*own, rows.start, rows.stop, space)
    return mean, variance


@njit
def _statistics(plane, mean, variance, first, last, space):
    plane, mean, variance = borrowed(plane), borrowed(mean), borrowed(variance)
    ring, wide, moments = borrowed(space[0]), borrowed(space[1]), borrowed(space[2])
    height = len(plane)
    for block in range(first // ROWS - 1, (last - 1) // ROWS + 2):
        newest = ring[block % 3]
        for r in range(ROWS):
            y = ROWS * block + r
            if 0 <= y < height:
                _squares_row(plane[y], wide)
                blur_rows(wide, 0, 2, newest[r])
            else:
                newest[r] = _ZERO
        done = block - 1
        if done < first // ROWS:
            continue
        blur_columns(ring, done, 0, 2, moments)
        for y in range(max(ROWS * done, first), min(ROWS * block, last)):
            own = moments[y - ROWS * done]
            _statistics_row(own[0], own[1], mean[y], variance[y])


@njit
def _squares_row(plane, wide):
    values, squares = wide[0, REACH:-REACH], wide[1, REACH:-REACH]
    for x in range(plane.size):
        values[x] = plane[x]
        squares[x] = plane[x] * plane[x]


@njit
def _statistics_row(values, squares, mean, variance):
    for x in range(mean.size):
        mean[x] = values[x]
        variance[x] = squares[x] - values[x] * values[x]


@njit
def load_moments(original, decoded, block, ring, wide):
    """Blurs the next block of rows along them, into the ring.

    The maps are the difference of two planes, its square, and the decoded's square.
    """
    newest = ring[block % 3]
    for r in range(ROWS):
        y = ROWS * block + r
        if 0 <= y < len(decoded):
            _moments_row(original[y], decoded[y], wide)
            blur_rows(wide, 0, 3, newest[r])
        else:
            newest[r] = _ZERO


@njit
def _moments_row(original, decoded, wide):
    difference, square = wide[0, REACH:-REACH], wide[1, REACH:-REACH]
    decoded_square = wide[2, REACH:-REACH]
    for x in range(original.size):
        difference[x] = decoded[x] - original[x]
        square[x] = difference[x] * difference[x]
        decoded_square[x] = decoded[x] * decoded[x]


@njit
def ssim_error(mean, variance, difference, square, decoded_square):
    """Returns what SSIM's map and its slope consist of, at one pixel.

    With e the difference of the images, E its local mean, V the variances and C the
    covariance, 1 - (1 - E^2) (2 C + c2) / (V1 + V2 + c2) is the same as `E^2 + (1 -
    E^2) (V(e) / (V1 + V2 + c2))`, since V1 + V2 - 2 C = V(e): there small errors are
    not differences of large numbers.

    Args:
      mean, variance: of the original.
      difference, square, decoded_square: moments, see `load_moments`.

    Returns:
      The error; E^2; V(e) / (V1 + V2 + c2); 1 / (V1 + V2 + c2); the decoded's mean.
    """
    luminance = difference * difference
    decoded_mean = mean + difference
    variances = variance + (decoded_square - decoded_mean * decoded_mean)
    inverse = _ONE / (variances + C2)
    structure = (square - luminance) * inverse
    error = max(luminance + (_ONE - luminance) * structure, _ZERO)
    return error, luminance, structure, inverse, decoded_mean


@njit
def edge_error(original, mean, decoded, difference):
    """Returns the error of an edge: above 0 for ringing, below 0 for blur.

    It is (1 + |decoded edge|) / (1 + |original edge|) - 1, where an edge is what a
    pixel differs from the local mean.

    Returns:
      The error; the decoded edge; 1 / (1 + |original edge|).
    """
    edge = original - mean
    decoded_edge = edge + ((decoded - original) - difference)
    inverse = _ONE / (_ONE + abs(edge))
    return (abs(decoded_edge) - abs(edge)) * inverse, decoded_edge, inverse
