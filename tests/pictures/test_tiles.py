"""Tests of tiles and of the sample of a large image."""

import itertools

import numpy as np
import pytest

from learned_jpeg.pictures import tiles
from learned_jpeg.pictures.tiles import covering_tiles, joined, sample_of, tile_starts


@pytest.mark.parametrize("size", [(1, 1), (40, 7), (96, 64), (95, 79), (48, 47)])
def test_tiles_that_begin_at_starts_cover_an_image_once(size):
    counts = np.zeros(size, int)
    rows, cols = (
        [slice(a, b) for a, b in itertools.pairwise([*tile_starts(n, 32), n])]
        for n in size
    )
    for tile in itertools.product(rows, cols):
        counts[tile] += 1
        sides = counts[tile].shape
        for side, whole in zip(sides, size, strict=True):
            assert min(16, whole) <= side <= 48
    assert counts.min() == counts.max() == 1


def test_covering_tiles_have_one_size_and_end_with_the_image():
    found = covering_tiles(40, 100, 48)
    cols = [slice(0, 48), slice(48, 96), slice(52, 100)]
    assert found == [(slice(0, 40), col) for col in cols]
    assert covering_tiles(32, 16, 16)[-1] == (slice(16, 32), slice(0, 16))


def test_tiles_are_joined_row_by_row():
    parts = [np.full((2, 3, 3), number) for number in range(6)]
    image = joined(parts, 3)
    assert image.shape == (4, 9, 3)
    np.testing.assert_array_equal(image[::2, ::3, 0], [[0, 1, 2], [3, 4, 5]])


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "SAMPLE_SIDE", 16)


def noise_of(height, width, strength):
    """Gray noise of a strength for each of the tiles of 16 px, `[rows, cols]`."""
    rng = np.random.default_rng(3)
    levels = rng.normal(size=(height, width)) * np.kron(strength, np.ones((16, 16)))
    gray = (128 + levels).round().clip(0, 255).astype(np.uint8)
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def tile_set(image):
    return {image[tile].tobytes() for tile in covering_tiles(*image.shape[:2], 16)}


def test_a_sample_leaves_out_what_is_plain(small_tiles):
    strength = np.zeros((10, 16))
    strength[3, 5:9] = 30
    image = noise_of(160, 256, strength)
    sample = sample_of(image)
    assert sample.shape[0] % 16 == sample.shape[1] % 16 == 0
    assert tile_set(sample) <= tile_set(image[48:64, 80:144])


def test_a_sample_holds_every_level_of_detail(small_tiles):
    strength = np.geomspace(2, 60, 160).reshape(10, 16)
    image = noise_of(160, 256, strength)
    sample = sample_of(image)
    found, own = (
        sorted(tiles.detail(i[tile]) for tile in covering_tiles(*i.shape[:2], 16))
        for i in (sample, image)
    )
    assert tile_set(sample) <= tile_set(image)
    for part in (0.1, 0.5, 0.9):
        assert np.quantile(found, part) == pytest.approx(
            np.quantile(own, part), rel=0.3
        )


def test_a_sample_has_more_tiles_where_they_differ_more(small_tiles):
    even = sample_of(noise_of(160, 256, np.full((10, 16), 20.0)))
    mixed = sample_of(noise_of(160, 256, np.geomspace(1, 60, 160).reshape(10, 16)))
    assert even.size < mixed.size


def test_a_plain_image_has_a_sample(small_tiles):
    image = np.full((160, 256, 3), 90, np.uint8)
    assert set(sample_of(image).ravel()) == {90}


@pytest.mark.parametrize("size", [(1250, 1250), (100, 60_000), (511, 9000)])
def test_other_images_stand_for_themselves(size):
    image = np.zeros((*size, 3), np.uint8)
    assert sample_of(image) is image
