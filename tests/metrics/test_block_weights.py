"""Tests of block_weights against sums over pixels in float64."""

import numpy as np
import pytest
from scipy import ndimage

from learned_jpeg.jpeg.standard import YCBCR_TO_RGB
from learned_jpeg.metrics.slopes.tiling import Direction
from learned_jpeg.metrics.ssimulacra2 import block_weights
from learned_jpeg.metrics.ssimulacra2.block_weights import BlockWeights
from learned_jpeg.metrics.ssimulacra2.score import CONES
from learned_jpeg.metrics.ssimulacra2.window import window

RNG = np.random.default_rng(7)


def spread(cells, side, size):
    """Returns the values of cells at pixels, of an image of some size."""
    pixels = cells.repeat(side, 0).repeat(side, 1)
    return pixels[: size[0], : size[1]]


def block_means(pixels, height, width):
    """Returns means over blocks, of which the last ones may be smaller."""
    rows = -(-pixels.shape[0] // height)
    cols = -(-pixels.shape[1] // width)
    return np.array(
        [
            [
                pixels[
                    height * i : height * (i + 1), width * j : width * (j + 1)
                ].mean()
                for j in range(cols)
            ]
            for i in range(rows)
        ]
    )


@pytest.mark.parametrize("number, cell", [(0, 8), (1, 4)])
def test_weights_of_local_means_are_blurred_as_those_of_pixels_would_be(number, cell):
    size = 6 * cell, 5 * cell
    weights = BlockWeights(number, 1, size, is_blurred=False)
    assert weights.cell == cell
    even = RNG.random((6, 5, 3))
    weights.sums[0] = cell**2 * even
    means = weights._means()[0]
    taps = window().astype(float)
    for kind in range(3):
        pixels = spread(even[..., kind], cell, size)
        if kind < 2:  # the third energy is not of local means
            for axis in (0, 1):
                pixels = ndimage.correlate1d(pixels, taps, axis, mode="constant")
        wanted = block_means(pixels, cell, cell)
        np.testing.assert_allclose(means[..., kind], wanted, rtol=1e-5)


@pytest.mark.parametrize("number", [0, 2, 4])
def test_products_are_sums_over_planes_of_means_over_blocks(number):
    size = 61, 45
    unit = 1 << number
    own_size = tuple(-(-side // unit) for side in size)
    weights = BlockWeights(number, 2, own_size, is_blurred=True)
    rows, cols = (-(-side // weights.cell) for side in own_size)
    even = RNG.random((2, rows, cols, 3))
    areas = np.outer(
        *(np.diff([*range(0, side, weights.cell), side]) for side in own_size)
    )
    weights.sums[:] = even * areas[..., np.newaxis]
    squares = RNG.random((3, 3, 8, 6)).astype(np.float32)
    directions = [Direction(np.ones(3), 8, 8)]
    directions += [Direction(np.ones(3), 8, 16), Direction(np.ones(3), 16, 16)]
    found = [np.ones((*d.blocks(size), 3), np.float32) for d in directions]
    weights.add_products(squares, directions, size, found)
    side = max(8, unit)  # px of the image that have one weight
    for direction, own, out in zip(directions, squares, found, strict=True):
        for kind in range(3):
            pixels = sum(
                spread(even[i, ..., kind], side, size) * spread(own[i], 8, size)
                for i in range(2)
            )
            wanted = 1 + block_means(pixels, direction.height, direction.width)
            np.testing.assert_allclose(out[..., kind], wanted, rtol=1e-5)


def test_squares_are_those_of_an_error_in_each_plane():
    slope, cones = RNG.random((2, 3, 5, 7)).astype(np.float32)
    directions = [Direction(rgb, 8, 8) for rgb in YCBCR_TO_RGB.T]
    found = block_weights.squares_of(directions, slope, cones)
    assert found.shape == (3, 3, 3, 4)
    planes = np.array([[0.5, 0.5, 0], [7, -7, 0], [-0.5, -0.5, 1]])
    for own, direction in zip(found, directions, strict=True):
        light = slope.astype(float) * direction.rgb[:, np.newaxis, np.newaxis]
        responses = np.tensordot(CONES.astype(float), light, 1) * cones
        squares = np.square(np.tensordot(planes, responses, 1))
        squares = np.pad(squares, [(0, 0), (0, 1), (0, 1)], mode="edge")
        wanted = squares.reshape(3, 3, 2, 4, 2).mean((2, 4))
        np.testing.assert_allclose(own, wanted, rtol=1e-4)
