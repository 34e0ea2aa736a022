"""Weights of the energies of errors in blocks, from those of SSIMULACRA2's planes.

The planes' weights are summed over the image's blocks of 8x8 px. An error of 1 in a
component of JPEG is one of another size in each plane of XYB; its square is taken of
the image at a quarter of the size, since colours change less from pixel to pixel than
errors do. That takes a third of the time of products at every pixel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.metrics.slopes.light import halve
from learned_jpeg.metrics.slopes.tiling import Direction
from learned_jpeg.metrics.ssimulacra2.plane_slopes import MAPS
from learned_jpeg.metrics.ssimulacra2.score import CONES
from learned_jpeg.metrics.ssimulacra2.window import REACH, window

# At this scale a pixel is a block; pixels of coarser ones are several.
_BLOCK_SCALE = int(math.log2(BLOCK))
_LOCAL_ENERGIES = 2  # kinds of energy, the first ones, that are of local means

# What the cones' responses add to Y, X, B.
_CONES_OF_PLANES = np.array(
    [[0.5, 0.5, 0.0], [7.0, -7.0, 0.0], [-0.5, -0.5, 1.0]], np.float32
)


class BlockWeights:
    """The weights of one scale.

    Attributes:
      cell: side of a block in px of the scale, at least 1.
      sums: float32 `[n, rows, cols, MAPS]`, of the weights of each plane over the
        blocks, to be added to.
    """

    def __init__(self, number: int, planes: int, size: Sequence[int], is_blurred: bool):
        """Starts with zeros.

        Args:
          number: of the scale.
          planes: number n of planes, of Y, X, B.
          size: (height, width) of the scale, in px.
          is_blurred: whether the weights that are summed are those of pixels; if not,
            the weights of local means are blurred from block to block.
        """
        self.cell = max(BLOCK >> number, 1)
        self._shift = max(number - _BLOCK_SCALE, 0)
        self._size = size
        self._is_blurred = is_blurred
        counts = (-(-side // self.cell) for side in size)
        self.sums = kept_memory.zeros((planes, *counts, MAPS))

    def add_products(
        self,
        squares: np.ndarray,
        directions: Sequence[Direction],
        size: Sequence[int],
        found: Sequence[np.ndarray],
    ) -> None:
        """Adds the mean weights of an error's energies in each block of directions.

        Args:
          squares: as from `squares_of`.
          directions: of the error.
          size: (height, width) of the image, in px.
          found: float32 `[rows, cols, MAPS]` of each direction.
        """
        means = self._means()
        pairs = zip(squares, directions, found, strict=True)
        for own, (_, height, width), out in pairs:
            rows, cols = _shares(size[0], height), _shares(size[1], width)
            _add_products(means, own, self._shift, *rows, *cols, out)

    def _means(self) -> np.ndarray:
        """Returns means over blocks, float32 `[n, rows, cols, MAPS]`."""
        shares = (_sizes(side, self.cell) for side in self._size)
        areas = np.outer(*shares).astype(np.float32)
        means = np.empty_like(self.sums)
        leaves = 0.0 if self._is_blurred else _LEAVES / self.cell
        _write_means(self.sums, areas, np.float32(leaves), means)
        return means


def _sizes(side: int, unit: int) -> np.ndarray:
    """Returns the px of each of the units that a side is divided into."""
    starts = np.arange(0, side, unit)
    return np.minimum(unit, side - starts)


# What a blur takes across the end of a row of pixels, in px.
_LEAVES = float((np.arange(1, REACH + 1) * window()[REACH + 1 :]).sum())


@njit
def _write_means(sums, areas, leaves, means):
    """Writes means over blocks.

    Those of local means are blurred as pixels would be that are alike in a block, of
    which the part `leaves` goes to the next block on each side.
    """
    sums, areas, means = borrowed(sums), borrowed(areas), borrowed(means)
    count, rows, cols, _ = sums.shape
    stays = np.float32(1) - np.float32(2) * leaves
    columns = np.empty((cols + 2, MAPS), np.float32)
    for plane in range(count):
        for row in range(rows):
            columns[:] = 0
            for col in range(cols):
                own = columns[col + 1]
                for kind in range(_LOCAL_ENERGIES):
                    own[kind] = stays * sums[plane, row, col, kind] / areas[row, col]
                    if row:
                        area = areas[row - 1, col]
                        own[kind] += leaves * sums[plane, row - 1, col, kind] / area
                    if row < rows - 1:
                        area = areas[row + 1, col]
                        own[kind] += leaves * sums[plane, row + 1, col, kind] / area
            for col in range(cols):
                found = means[plane, row, col]
                for kind in range(_LOCAL_ENERGIES):
                    beside = columns[col, kind] + columns[col + 2, kind]
                    found[kind] = stays * columns[col + 1, kind] + leaves * beside
                for kind in range(_LOCAL_ENERGIES, MAPS):
                    found[kind] = sums[plane, row, col, kind] / areas[row, col]


def squares_of(
    directions: Sequence[Direction], slope: np.ndarray, cones: np.ndarray
) -> np.ndarray:
    """Returns squares of an error of 1 in planes of XYB, means over blocks.

    Args:
      directions: of the error in the decoded RGB.
      slope: float32 `[3, h, w]`, of linear light in the decoded RGB, of the image at a
        quarter of the size.
      cones: float32 `[3, h, w]`, slopes of the cones' responses in linear light there.

    Returns:
      float32 `[directions, 3, rows, cols]`.
    """
    _, height, width = slope.shape
    mixed = np.stack([CONES * np.float32(d.rgb) for d in directions]).astype(np.float32)
    squares = np.empty((len(directions), 3, height, width), np.float32)

    def write(i: int) -> None:
        _write_squares(mixed[i], slope, cones, squares[i])

    threads.run(write, range(len(directions)))
    return halve(squares.reshape(-1, height, width)).reshape(
        len(directions), 3, (height + 1) // 2, (width + 1) // 2
    )


@njit
def _write_squares(mixed, slope, cones, squares):
    mixed, slope = borrowed(mixed), borrowed(slope)
    cones, squares = borrowed(cones), borrowed(squares)
    by_cone = np.empty((3, slope.shape[2]), np.float32)
    for y in range(slope.shape[1]):
        for j in range(3):
            _cone_row(mixed[j], slope, cones[j, y], y, by_cone[j])
        for plane in range(3):
            factors = _CONES_OF_PLANES[plane]
            a, b, c = factors[0], factors[1], factors[2]
            _square_row(by_cone, a, b, c, squares[plane, y])


@njit
def _cone_row(mixed, slope, cone, y, found):
    red, green, blue = slope[0, y], slope[1, y], slope[2, y]
    by_red, by_green, by_blue = mixed[0], mixed[1], mixed[2]
    for x in range(found.size):
        light = by_red * red[x] + by_green * green[x] + by_blue * blue[x]
        found[x] = light * cone[x]


@njit
def _square_row(by_cone, a, b, c, found):
    long, medium, short = by_cone[0], by_cone[1], by_cone[2]
    for x in range(found.size):
        value = a * long[x] + b * medium[x] + c * short[x]
        found[x] = value * value


@functools.lru_cache(64)
def _shares(side: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of the block that each 8 px are of, and their part of it."""
    sizes = _sizes(side, BLOCK)
    numbers = np.arange(len(sizes)) * BLOCK // block
    return numbers, (sizes / np.bincount(numbers, sizes)[numbers]).astype(np.float32)


@njit
def _add_products(
    means, squares, shift, row_numbers, row_shares, col_numbers, col_shares, found
):
    """Adds the sums over planes of products of weights and squares."""
    means, squares = borrowed(means), borrowed(squares)
    for row in range(len(row_numbers)):
        for col in range(len(col_numbers)):
            share = row_shares[row] * col_shares[col]
            own = found[row_numbers[row], col_numbers[col]]
            for plane in range(len(means)):
                factor = share * squares[plane, row, col]
                weights = means[plane, row >> shift, col >> shift]
                for kind in range(MAPS):
                    own[kind] += factor * weights[kind]
