"""Gradients and curvatures of metrics near a decoded image, strip by strip.

A search replaces metrics by these. An image is divided into strips of its full width,
which are tasks for threads. Metrics blur the coarser scales of an image as a whole, so
that a strip needs few rows of its neighbours.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.slopes.light import linear_light

_HALO = 16  # px that a strip reads of its neighbours
_UNIT = 64  # px: strips begin at multiples of it
_ROWS = (128, 256)  # of a strip, at least and at most, but for the last one
_PIXELS = 1 << 19  # of a strip, where its rows allow

_ZERO = np.float32(0)


class Direction(NamedTuple):
    """The direction of a further error: a component of a block.

    Attributes:
      rgb: float32 `[3]`, change of the decoded RGB for a change of 1.
      height, width: of a block, in px of the image; powers of 2 from 8 to 64.
    """

    rgb: np.ndarray
    height: int
    width: int

    def blocks(self, size: Sequence[int]) -> tuple[int, int]:
        """Returns the numbers of rows and columns of blocks in an image."""
        height, width = size
        return -(-height // self.height), -(-width // self.width)


class Slopes(NamedTuple):
    """Metrics near a decoded image.

    Attributes:
      values: of the terms.
      curvatures: for each direction float32 `[rows * cols, n]`: means over each block
        of the weights of n kinds of energy of an error of 1 in that direction, those of
        the first term first.
    """

    values: list[float]
    curvatures: list[np.ndarray]


class Strip(NamedTuple):
    """Rows of an image.

    Attributes:
      number: of the strip, from 0.
      start, stop: the rows that count.
      first, last: the rows that are read, without the last.
    """

    number: int
    start: int
    stop: int
    first: int
    last: int

    def own(self, unit: int = 1) -> slice:
        """Returns a slice of what counts within the image, in units of some px."""
        return slice(self.start // unit, -(-self.stop // unit))

    def seen(self, unit: int = 1) -> slice:
        """Returns a slice of what is read of the image, in units of some px."""
        return slice(self.first // unit, -(-self.last // unit))

    def inside(self, unit: int = 1) -> slice:
        """Returns a slice of what counts within what is read."""
        own, first = self.own(unit), self.first // unit
        return slice(own.start - first, own.stop - first)

    def around(self, margin: int, unit: int = 1) -> slice:
        """Returns `inside` with a margin, in units, as far as there are rows."""
        inside, seen = self.inside(unit), self.seen(unit)
        stop = min(inside.stop + margin, seen.stop - seen.start)
        return slice(max(inside.start - margin, 0), stop)


def strips(height: int, width: int) -> list[Strip]:
    """Divides an image."""
    least, most = _ROWS
    rows = min(max(_PIXELS // width, least), most)
    rows = -(-rows // _UNIT) * _UNIT
    found = []
    for number, start in enumerate(range(0, height, rows)):
        stop = min(start + rows, height)
        reach = max(start - _HALO, 0), min(stop + _HALO, height)
        found.append(Strip(number, start, stop, *reach))
    return found


class Light(NamedTuple):
    """The decoded image in a strip, float32 `[3, h, w]` of the rows that are read.

    Attributes:
      decoded: RGB minus 128, within -128..127.
      linear: linear light 0..1.
      slope: of the linear light in the decoded RGB.
    """

    decoded: np.ndarray
    linear: np.ndarray
    slope: np.ndarray


class Term(Protocol):
    """A metric near one decoded image, whose gradient is taken times a weight.

    It looks at every strip, settles what coarse scales know, adds the slopes of every
    strip, and finishes. Several strips are looked at, or added, at a time.
    """

    @property
    def kinds(self) -> int:
        """The number of kinds of energy that the curvature has weights for."""
        ...

    def look(self, strip: Strip, light: Light) -> None:
        """Keeps what the coarse scales need of a strip."""
        ...

    def settle(self, directions: Sequence[Direction]) -> None:
        """Prepares the slopes, once all strips are looked at.

        Args:
          directions: those of the curvatures.
        """
        ...

    def add_slopes(
        self,
        strip: Strip,
        light: Light,
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
        gradient: np.ndarray | None,
    ) -> None:
        """Adds the gradient of a strip, times the weight.

        Args:
          strip, light: as in `look`.
          directions: as in `settle`.
          curvatures: float32 `[rows, cols, kinds]`, of all blocks of the image, for
            each direction. They are complete after `finish`.
          gradient: in linear light, float32 `[3, n, w]`; None if it is not wanted.
        """
        ...

    def finish(
        self, directions: Sequence[Direction], curvatures: Sequence[np.ndarray]
    ) -> float:
        """Completes the curvatures; returns the value, without the weight."""
        ...


def slopes(
    terms: Sequence[Term],
    size: tuple[int, int],
    decoded: Callable[[slice], np.ndarray],
    directions: Sequence[Direction],
    take: Callable[[int, slice, np.ndarray], None] | None = None,
) -> Slopes:
    """Computes values, gradient and curvatures of a sum of metrics.

    Args:
      terms: of the sum, each for this call.
      size: (height, width) of the image, in px.
      decoded: a function from a slice of rows to the decoded RGB there minus 128,
        float32 `[3, n, w]`, within -128..127; may be called from several threads.
      directions: whose gradients and curvatures are wanted.
      take: None, or a function that is given the gradients strip by strip, one at a
        time but in any order: the number of the direction, a slice of rows that starts
        at a multiple of 16, float32 `[n, w]`.
    """
    parts = strips(*size)
    lock = threading.Lock()

    def look(strip: Strip) -> None:
        light = _light(decoded, strip)
        for term in terms:
            term.look(strip, light)

    threads.run(look, parts)
    kept_memory.trim()
    joined = [
        np.empty((*direction.blocks(size), sum(term.kinds for term in terms)), "f4")
        for direction in directions
    ]
    splits = np.cumsum([term.kinds for term in terms])[:-1]
    own_curvatures = [np.split(curvature, splits, axis=-1) for curvature in joined]
    by_term = list(zip(*own_curvatures, strict=True)) or [()] * len(terms)
    for term in terms:
        term.settle(directions)
    kept_memory.trim()

    def add_slopes(strip: Strip) -> None:
        light = _light(decoded, strip)
        gradient = None
        if take is not None:
            rows = strip.stop - strip.start
            gradient = kept_memory.zeros((3, rows, size[1]))
        for term, curvatures in zip(terms, by_term, strict=True):
            term.add_slopes(strip, light, directions, curvatures, gradient)
        if take is None or gradient is None:
            return
        for number, direction in enumerate(directions):
            projected = kept_memory.empty(gradient.shape[1:])
            rgb = np.asarray(direction.rgb, np.float32)
            _project(gradient, light.slope, strip.inside().start, rgb, projected)
            with lock:
                take(number, strip.own(), projected)

    threads.run(add_slopes, parts)
    kept_memory.trim()
    values = [
        term.finish(directions, curvatures)
        for term, curvatures in zip(terms, by_term, strict=True)
    ]
    return Slopes(values, [c.reshape(-1, c.shape[-1]) for c in joined])


def _light(decoded: Callable[[slice], np.ndarray], strip: Strip) -> Light:
    rgb = decoded(strip.seen())
    return Light(rgb, *linear_light(rgb))


@njit
def _project(gradient, slope, first, rgb, projected):
    """Writes the gradient of linear light in a direction of the decoded RGB."""
    gradient, slope, projected = (
        borrowed(gradient),
        borrowed(slope),
        borrowed(projected),
    )
    for y in range(len(projected)):
        own = first + y
        _project_row(gradient, slope, y, own, rgb, projected[y])


@njit
def _project_row(gradient, slope, y, own, rgb, projected):
    red, green, blue = gradient[0, y], gradient[1, y], gradient[2, y]
    by_red, by_green, by_blue = slope[0, own], slope[1, own], slope[2, own]
    r, g, b = rgb[0], rgb[1], rgb[2]
    for x in range(projected.size):
        projected[x] = (
            r * (red[x] * by_red[x])
            + g * (green[x] * by_green[x])
            + b * (blue[x] * by_blue[x])
        )


@njit
def add_block_sums(sums, cell_width, row):
    """Adds sums over cells of a row of pixels, and clears it.

    Args:
      sums: float32 `[n, w]`.
      cell_width: px that a sum is over; the last one may have fewer.
      row: float32 `[cols, n]`.
    """
    for i in range(len(sums)):
        own = sums[i]
        for col in range(len(row)):
            first, last = col * cell_width, min((col + 1) * cell_width, own.size)
            row[col, i] += _sum(own, first, last)
        own[:] = _ZERO


@functools.partial(njit, fastmath={"reassoc", "nsz"})
def _sum(row, first, last):
    total = _ZERO
    for x in range(first, last):
        total += row[x]
    return total
