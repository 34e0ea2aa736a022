"""Gaussian pyramid of Burt and Adelson: reduction, and its interpolation back.

P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", 1983, with
the weights 0.05, 0.25, 0.4, 0.25, 0.05. A reduced plane is blurred, and keeps every
second pixel.
"""

import numpy as np

from learned_jpeg.common.compiled import njit

_MIDDLE, _NEXT, _END = map(np.float32, (0.4, 0.25, 0.05))
_TWO, _HALF, _ZERO = map(np.float32, (2, 0.5, 0))
_MARGIN = 2  # px that the weights reach


def reduce(planes):
    """Halves the sides of planes, rounded up.

    Outside of a plane its pixels are mirrored at the edge. In the last column this is
    what cvvdp 0.5.7 does only where the numbers of rows and of columns are both even or
    both odd: it asks the number of rows whether the number of columns is odd.

    Args:
      planes: float32 `[n, h, w]`, sides of at least 2 px.

    Returns:
      float32 `[n, ceil(h / 2), ceil(w / 2)]`.
    """
    count, height, width = planes.shape
    reduced = np.empty((count, (height + 1) // 2, (width + 1) // 2), np.float32)
    _reduce(planes, reduced)
    return reduced


@njit
def _reduce(planes, reduced):
    """Writes what `reduce` returns."""
    count, height, width = planes.shape
    wide = np.empty(width + 2 * _MARGIN, np.float32)
    for c in range(count):
        plane = planes[c]
        for y in range(reduced.shape[1]):
            _blurred_row(plane, 2 * y, wide[_MARGIN:-_MARGIN])
            mirror_ends(wide, height % 2 == 1)
            row = reduced[c, y]
            for x in range(row.size):
                row[x] = (
                    _MIDDLE * wide[2 * x + 2]
                    + _NEXT * (wide[2 * x + 1] + wide[2 * x + 3])
                    + _END * (wide[2 * x] + wide[2 * x + 4])
                )


@njit
def _blurred_row(plane, y, blurred):
    """Writes the weighted sum of the rows around row y."""
    height = len(plane)
    row = plane[y]
    above, below = plane[mirrored(y - 1, height)], plane[mirrored(y + 1, height)]
    first, last = plane[mirrored(y - 2, height)], plane[mirrored(y + 2, height)]
    for x in range(blurred.size):
        blurred[x] = (
            _MIDDLE * row[x]
            + _NEXT * (above[x] + below[x])
            + _END * (first[x] + last[x])
        )


@njit
def mirrored(place, size):
    """Returns the place inside 0..size-1 that one up to `size` px outside shows."""
    if place < 0:
        return -1 - place
    return min(place, 2 * size - 1 - place)


@njit
def mirror_ends(wide, has_odd_rows):
    """Writes the pixels left and right of a row, in the way of cvvdp 0.5.7."""
    width = wide.size - 2 * _MARGIN
    wide[1], wide[0] = wide[2], wide[3]
    last, before = wide[width + 1], wide[width]
    wide[-2], wide[-1] = last, before
    if has_odd_rows and width % 2 == 0:
        # The end's weight stands for the two weights that an odd width lacks there.
        wide[-2] = (_NEXT / _END) * last + before
    elif not has_odd_rows and width % 2 == 1:
        wide[-2], wide[-1] = _ZERO, last


@njit
def expand_row(planes, y, expanded, columns):
    """Writes row y of planes that are interpolated to about twice their sides.

    At the edges the last pixel is repeated.

    Args:
      planes: float32 `[n, rows, cols]`.
      y: the row, below twice the number of rows.
      expanded: float32 `[n, w]`, of twice the columns or one less.
      columns: float32 `[cols]`, space.
    """
    height, width = planes.shape[1:]
    for c in range(len(planes)):
        middle = planes[c, y // 2]
        below = planes[c, min(y // 2 + 1, height - 1)]
        if y % 2:
            for x in range(width):
                columns[x] = _HALF * (middle[x] + below[x])
        else:
            above = planes[c, max(y // 2 - 1, 0)]
            for x in range(width):
                columns[x] = _TWO * (_MIDDLE * middle[x] + _END * (above[x] + below[x]))
        row = expanded[c]
        for x in range(1, width - 1):
            row[2 * x] = _TWO * (
                _MIDDLE * columns[x] + _END * (columns[x - 1] + columns[x + 1])
            )
            row[2 * x + 1] = _HALF * (columns[x] + columns[x + 1])
        last, before = columns[width - 1], columns[width - 2]
        row[0] = _TWO * (_MIDDLE * columns[0] + _END * (columns[0] + columns[1]))
        row[1] = _HALF * (columns[0] + columns[1])
        row[2 * width - 2] = _TWO * (_MIDDLE * last + _END * (before + last))
        if row.size == 2 * width:
            row[2 * width - 1] = last
