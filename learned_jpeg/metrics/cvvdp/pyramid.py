"""Gaussian pyramid of Burt and Adelson: reduction, and its interpolation back.

P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", 1983, with
the weights 0.05, 0.25, 0.4, 0.25, 0.05. A reduced plane is blurred, and keeps every
second pixel.
"""

import numpy as np

from learned_jpeg.common import kept_memory
from learned_jpeg.common.compiled import njit

_MIDDLE, _NEXT, _END = map(np.float32, (0.4, 0.25, 0.05))
_ZERO, _ONE, _TWO, _HALF = map(np.float32, (0, 1, 2, 0.5))
_MARGIN = 2  # px that the weights reach


def reduce(planes):
    """Halves the sides of planes, rounded up; outside, the pixels are mirrored.

    Args:
      planes: float32 `[n, h, w]`, sides of at least 2 px.

    Returns:
      float32 `[n, ceil(h / 2), ceil(w / 2)]`.
    """
    return _reduced(planes, planes.shape[2] % 2 == 1)


def reduce_as_package(planes, height=None):
    """Does what `reduce` does, with the last column of cvvdp 0.5.7.

    The package asks the number of rows whether the number of columns is odd.

    Args:
      planes: as for `reduce`.
      height: number of rows of the image, if the planes are some of its rows.
    """
    return _reduced(planes, (height or planes.shape[1]) % 2 == 1)


def _reduced(planes, is_taken_as_odd):
    count, height, width = planes.shape
    reduced = kept_memory.empty((count, (height + 1) // 2, (width + 1) // 2))
    _reduce(planes, is_taken_as_odd, reduced)
    return reduced


@njit
def _reduce(planes, is_taken_as_odd, reduced):
    """Writes what `reduce` returns."""
    count, _, width = planes.shape
    wide = np.empty(width + 2 * _MARGIN, np.float32)
    for c in range(count):
        plane = planes[c]
        for y in range(reduced.shape[1]):
            _blurred_row(plane, 2 * y, wide[_MARGIN:-_MARGIN])
            _mirror_ends(wide, is_taken_as_odd)
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
    above, below = plane[_mirrored(y - 1, height)], plane[_mirrored(y + 1, height)]
    first, last = plane[_mirrored(y - 2, height)], plane[_mirrored(y + 2, height)]
    for x in range(blurred.size):
        blurred[x] = (
            _MIDDLE * row[x]
            + _NEXT * (above[x] + below[x])
            + _END * (first[x] + last[x])
        )


@njit
def _mirrored(place, size):
    """Returns the place inside 0..size-1 that one up to `size` px outside shows."""
    if place < 0:
        return -1 - place
    return min(place, 2 * size - 1 - place)


@njit
def _mirror_ends(wide, is_taken_as_odd):
    """Writes the pixels left and right of a row whose number may be taken as odd."""
    width = wide.size - 2 * _MARGIN
    wide[1], wide[0] = wide[2], wide[3]
    last, before = wide[width + 1], wide[width]
    wide[-2], wide[-1] = last, before
    if is_taken_as_odd and width % 2 == 0:
        # The end's weight stands for the two weights that an odd width lacks there.
        wide[-2] = (_NEXT / _END) * last + before
    elif not is_taken_as_odd and width % 2 == 1:
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


def subtract_expanded(planes, finer):
    """Subtracts interpolated planes from those of the next finer scale, in place."""
    _subtract_expanded(planes, finer)


@njit
def _subtract_expanded(planes, finer):
    """Does what `subtract_expanded` does."""
    count, height, width = finer.shape
    expanded = np.empty((count, width), np.float32)
    columns = np.empty(planes.shape[2], np.float32)
    for y in range(height):
        expand_row(planes, y, expanded, columns)
        for c in range(count):
            row, own = finer[c, y], expanded[c]
            for x in range(width):
                row[x] -= own[x]


@njit
def add_reduce_adjoint(reduced, planes):
    """Adds the adjoint of `reduce`, of planes `[n, rows, cols]`, to `[n, h, w]`."""
    count, height, width = planes.shape
    cols = reduced.shape[2]
    wide = np.zeros(cols + 2, np.float32)  # with a zero at both ends
    for c in range(count):
        for y in range(height):
            _adjoint_columns(reduced[c], y, height, wide[1:-1])
            row = planes[c, y]
            for x in range(width // 2):
                row[2 * x] += _MIDDLE * wide[x + 1] + _END * (wide[x] + wide[x + 2])
                row[2 * x + 1] += _NEXT * (wide[x + 1] + wide[x + 2])
            first, last = wide[1], wide[cols]
            # What the mirrored pixels add.
            row[0] += _NEXT * first
            row[1] += _END * first
            if width % 2:
                row[-1] += (_MIDDLE + _NEXT) * last + _END * wide[cols - 1]
                row[-2] += _END * last
            else:
                row[-1] += _END * last


@njit
def _adjoint_columns(plane, y, height, columns):
    """Writes the weighted sum of a reduced plane's rows that row y was part of."""
    middle = plane[y // 2]
    below = plane[min(y // 2 + 1, len(plane) - 1)]
    above = plane[max(y // 2 - 1, 0)]
    own, lower, upper = _MIDDLE, _END, _END
    if y % 2:
        own, lower, upper = _NEXT, _NEXT, _ZERO
    if y < 2:
        upper = _ZERO
        own += _END if y else _NEXT
    if y // 2 == len(plane) - 1:
        lower = _ZERO
    if y == height - 1:
        own += _NEXT if height % 2 else _END
    if y == height - 2 and height % 2:
        lower += _END
    for x in range(columns.size):
        columns[x] = own * middle[x] + lower * below[x] + upper * above[x]


@njit
def subtract_expand_adjoint(finer, planes):
    """Subtracts the adjoint of the interpolation, of `[n, h, w]`, from planes."""
    count, _, width = finer.shape
    rows, cols = planes.shape[1:]
    wide = np.zeros(width + 2 * _MARGIN, np.float32)
    for c in range(count):
        for y in range(rows):
            _expanded_rows(finer[c], y, rows, wide[_MARGIN:-_MARGIN])
            row = planes[c, y]
            for x in range(cols):
                row[x] -= _TWO * (
                    _MIDDLE * wide[2 * x + 2]
                    + _NEXT * (wide[2 * x + 1] + wide[2 * x + 3])
                    + _END * (wide[2 * x] + wide[2 * x + 4])
                )
            # What the repeated pixels add.
            row[0] -= _TWO * _END * wide[_MARGIN]
            row[-1] -= _TWO * _END * wide[2 * cols]
            if width % 2 == 0:
                row[-1] -= _HALF * wide[width + 1]


@njit
def _expanded_rows(plane, y, rows, columns):
    """Writes the weighted sum of a plane's rows that were interpolated from row y."""
    last = len(plane) - 1
    middle, below = plane[2 * y], plane[min(2 * y + 1, last)]
    own, lower = _TWO * _MIDDLE, _HALF
    if y == 0:
        own += _TWO * _END
    if y == rows - 1:
        own += _TWO * _END
        lower = _ZERO if last % 2 == 0 else _ONE
    for x in range(columns.size):
        columns[x] = own * middle[x] + lower * below[x]
    if y > 0:
        above, first = plane[2 * y - 1], plane[2 * y - 2]
        for x in range(columns.size):
            columns[x] += _HALF * above[x] + _TWO * _END * first[x]
    if y < rows - 1:
        end = plane[2 * y + 2]
        for x in range(columns.size):
            columns[x] += _TWO * _END * end[x]
