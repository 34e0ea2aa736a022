"""Tests of the promise of a quality: plain JPEG, what is measured, and the gains."""

import math

import mozjpeg_lossless_optimization
import numpy as np
import pytest

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score
from learned_jpeg.search import promise as promise_module
from learned_jpeg.search.promise import (
    Measured,
    PlainJpeg,
    Promise,
    reference_sampling,
)
from tests.plain_jpeg import pillow_jpeg, score_of
from tests.search.graphics import soft_photograph


def test_plain_jpeg_is_pillows_of_the_same_number():
    image = soft_photograph(50, 70)
    for quality, sampling in ((30, "4:2:0"), (90, "4:4:4")):
        assert reference_sampling(quality) == sampling
        plain = PlainJpeg(image, quality, sampling)
        pillows = pillow_jpeg(image, quality, sampling)
        np.testing.assert_array_equal(plain.decoded, jpeg_file.decode(pillows))
        np.testing.assert_array_equal(plain.decoded, jpeg_file.decode(plain.smallest()))
        optimized = mozjpeg_lossless_optimization.optimize(pillows)
        assert len(plain.smallest()) <= len(optimized)
        size = len(plain.smallest())
        assert plain.is_smaller_than(bytes(size + 1))
        assert not plain.is_smaller_than(bytes(size))


def test_the_whole_and_every_tile_that_is_not_plain_are_measured():
    image = soft_photograph(192, 480)
    image[:, :192] = 128  # one of the three tiles
    plain = pillow_jpeg(image, 75)
    promise = Promise(image, 75, PlainJpeg(image, 75, "4:2:0"))
    worse = pillow_jpeg(image, 40)
    found = promise.measured(worse)
    wanted = score_of(image, worse) - score_of(image, plain)
    assert found.whole == pytest.approx(wanted, abs=1e-6)
    wanted = []
    for cols in (slice(192, 384), slice(288, 480)):
        tile = np.ascontiguousarray(image[:, cols])
        scales = score.reference_scales(tile)
        values = [
            score.score(scales, np.ascontiguousarray(jpeg_file.decode(data)[:, cols]))
            for data in (worse, plain)
        ]
        wanted.append(values[0] - values[1])
    np.testing.assert_allclose(found.tiles, wanted, atol=1e-6)
    assert found.worst_tile == min(found.tiles)


@pytest.mark.parametrize("quality, limit", [(49, 8), (50, 6), (90, 6)])
def test_a_file_may_fall_behind_by_so_much(quality, limit):
    image = soft_photograph(64, 64)
    promise = Promise(image, quality, PlainJpeg(image, quality, "4:2:0"))
    for whole, tile, is_kept in (
        (-1.0, -limit, True),
        (-1.01, 5, False),
        (9, -limit - 0.01, False),
        (0.3, math.inf, True),
    ):
        assert promise.is_kept(Measured(whole, np.array([tile, 3.0]))) == is_kept
    assert promise.is_kept(Measured(0.0, np.array([])))


def test_gains_raise_the_blocks_of_tiles_that_fall_behind(monkeypatch):
    monkeypatch.setattr(promise_module, "TILE_SIDE", 32)
    image = soft_photograph(65, 72)  # and 9 rows of blocks
    promise = Promise(image, 75, PlainJpeg(image, 75, "4:2:0"))
    tiles = np.zeros(9)  # from 0, 32 and 33 px down, from 0, 32 and 40 px across
    assert promise.gains(Measured(0, tiles - 5), slope=6) is None
    tiles[[1, 8]] = -7, -9
    gains = promise.gains(Measured(0, tiles), slope=6)
    assert gains.shape == (9, 9)
    expected = np.ones((9, 9))
    expected[:4, 4:8] = math.exp(2.5 / (6 * 0.3))
    expected[4:, 5:] = math.exp(4.5 / (6 * 0.3))
    np.testing.assert_allclose(gains, expected, rtol=1e-6)
