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
from learned_jpeg.search.scores import Scores
from tests.plain_jpeg import pillow_jpeg, score_of
from tests.search.graphics import soft_photograph


def test_plain_jpeg_is_pillows_of_the_same_number():
    image = soft_photograph(50, 70)
    for quality, sampling in ((30, "4:2:0"), (90, "4:4:4")):
        assert reference_sampling(quality) == sampling
        plain = PlainJpeg(image, quality, sampling)
        pillows = pillow_jpeg(image, quality, sampling)
        assert plain.data == pillows
        decoded = jpeg_file.decode(plain.smallest)
        np.testing.assert_array_equal(decoded, jpeg_file.decode(pillows))
        optimized = mozjpeg_lossless_optimization.optimize(pillows)
        size = len(plain.smallest)
        assert size <= len(optimized)
        assert plain.is_smaller_than(bytes(size + 1))
        assert not plain.is_smaller_than(bytes(size))


@pytest.fixture(scope="module")
def two_kinds():
    """An image with a plain tile and two others, and JPEG of it at 75 and at 40."""
    image = soft_photograph(192, 480)
    image[:, :192] = 128
    return image, pillow_jpeg(image, 75), pillow_jpeg(image, 40)


def promise_of(image, quality, **options):
    plain = PlainJpeg(image, quality, "4:2:0")
    return Promise(Scores(image, **options), quality, plain)


@pytest.mark.parametrize("keeps_prepared", [True, False])
def test_the_whole_and_every_tile_that_is_not_plain_are_measured(
    two_kinds, keeps_prepared
):
    """Tiles that are far behind are measured as images of their own."""
    image, plain, worse = two_kinds
    promise = promise_of(image, 75, keeps_prepared=keeps_prepared)
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
    assert max(wanted) < -4
    np.testing.assert_allclose(found.tiles, wanted, atol=1e-6)
    assert found.worst_tile == min(found.tiles)


def test_tiles_that_are_not_behind_are_not_measured_again(two_kinds, monkeypatch):
    image, plain, worse = two_kinds
    promise = promise_of(image, 40)
    monkeypatch.setattr(Scores, "tile_alone", None)
    found = promise.measured(plain)  # which is better than that of quality 40
    assert promise.is_kept(found) and found.worst_tile > 2
    same = promise.measured(worse)
    np.testing.assert_allclose([same.whole, *same.tiles], 0, atol=1e-9)


def test_an_original_is_prepared_once_for_all_files(two_kinds, monkeypatch):
    """For two files of a large image only if they are measured together."""
    image, plain, worse = two_kinds
    calls = []
    prepare = score.reference_scales
    monkeypatch.setattr(
        score, "reference_scales", lambda i: calls.append(i) or prepare(i)
    )
    scores = Scores(image)
    for data in (plain, worse, plain):
        assert scores.of_file(data) == pytest.approx(score_of(image, data), abs=1e-6)
    own = [call for call in calls if call is scores.image]
    assert len(own) - 3 == 1  # `score_of` prepares it as well
    calls.clear()
    Scores(image, keeps_prepared=False).of_files(plain, worse)
    assert len(calls) == 1


@pytest.mark.parametrize("quality, limit", [(49, 8), (50, 6), (90, 6)])
def test_a_file_may_fall_behind_by_so_much(quality, limit):
    image = soft_photograph(64, 64)
    promise = promise_of(image, quality)
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
    promise = promise_of(image, 75)
    tiles = np.zeros(9)  # from 0, 32 and 33 px down, from 0, 32 and 40 px across
    assert promise.gains(Measured(0, tiles - 5), slope=6) is None
    tiles[[1, 8]] = -7, -9
    gains = promise.gains(Measured(0, tiles), slope=6)
    assert gains.shape == (9, 9)
    expected = np.ones((9, 9))
    expected[:4, 4:8] = math.exp(2.5 / (6 * 0.3))
    expected[4:, 5:] = math.exp(4.5 / (6 * 0.3))
    np.testing.assert_allclose(gains, expected, rtol=1e-6)
