"""Gradients and curvatures of a metric near a decoded image, tile by tile.

A search replaces a metric by these. A large image is processed in tiles, each with a
margin that the metric's filters reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Direction(NamedTuple):
    """The direction of a further error: a component of a block.

    Attributes:
      rgb: float32 `[3]`, change of the decoded RGB for a change of 1.
      height, width: of a block, in px of the image; powers of 2.
    """

    rgb: np.ndarray
    height: int
    width: int


class Slopes(NamedTuple):
    """A metric near a decoded image.

    Attributes:
      value: of the metric, or of what it is a function of.
      curvatures: for each direction float32 `[rows * cols, n]`: means over each block
        of the weights of n kinds of energy of an error of 1 in that direction.
    """

    value: float
    curvatures: list[np.ndarray]


class Part(NamedTuple):
    """A part of an axis, as slices: read, counted, and counted within what is read."""

    seen: slice
    own: slice
    inside: slice


class Tile(NamedTuple):
    """A part of an image."""

    rows: Part
    cols: Part

    def inside(self, *units: int) -> tuple[slice, slice]:
        """Returns slices of what counts within what is read, in units of some px."""
        return _in_units((self.rows.inside, self.cols.inside), units)

    def own(self, *units: int) -> tuple[slice, slice]:
        """Returns slices of what counts within the image, in units of some px."""
        return _in_units((self.rows.own, self.cols.own), units)

    def seen(self, *units: int) -> tuple[slice, slice]:
        """Returns slices of what is read of the image, in units of some px."""
        return _in_units((self.rows.seen, self.cols.seen), units)


def tiles(shape: tuple[int, ...], side: int, halo: int) -> list[Tile]:
    """Divides an image.

    Args:
      shape: of the image, `[h, w, ...]`.
      side: the largest of a tile, in px.
      halo: margin of a tile in px; tiles begin at multiples of it.
    """
    rows, cols = (_parts(length, side, halo) for length in shape[:2])
    return [Tile(r, c) for r in rows for c in cols]


def _in_units(slices: Iterable[slice], units: Iterable[int]) -> tuple[slice, slice]:
    first, second = (
        slice(s.start // unit, -(-s.stop // unit))
        for s, unit in zip(slices, units, strict=True)
    )
    return first, second


def _parts(length: int, side: int, halo: int) -> list[Part]:
    """Returns the `Part`s of an axis."""
    count = -(-length // side)
    step = -(-length // count // halo) * halo
    parts = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        first, last = max(start - halo, 0), min(stop + halo, length)
        inside = slice(start - first, stop - first)
        parts.append(Part(slice(first, last), slice(start, stop), inside))
    return parts
