"""Tests of the chroma resolution that is chosen by the image."""

import numpy as np
import pytest

from learned_jpeg.metrics.ssimulacra2 import score
from learned_jpeg.pictures import tiles
from learned_jpeg.search.subsampling import choose_subsampling, subsampled
from tests.search.graphics import (
    checker,
    line_art,
    photograph_with_banner,
    pixel_art,
    soft_photograph,
    with_type,
)


def test_photographs_and_gray_images_need_no_full_chroma():
    images = [soft_photograph(96, 112, seed) for seed in range(3)]
    for image in (*images, checker(), line_art(), np.full((9, 300, 3), 7, np.uint8)):
        assert choose_subsampling(image) == "4:2:0"


def test_coloured_type_and_pixel_art_need_full_chroma():
    slide = with_type(np.full((128, 192, 3), 255, np.uint8), (220, 20, 20))
    for image in (photograph_with_banner(), pixel_art(), slide):
        assert choose_subsampling(image) == "4:4:4"


def test_columns_of_colour_may_be_halved_down_but_not_across():
    """Stripes of two px rows hold at 4:2:2, where only columns are joined."""
    rows = np.zeros((128, 128, 3), np.uint8)
    rows[::2] = (200, 40, 40)
    rows[1::2] = (60, 90, 60)
    assert choose_subsampling(rows) == "4:2:2"
    assert choose_subsampling(np.ascontiguousarray(rows.transpose(1, 0, 2))) == "4:4:4"


def test_a_score_near_the_limit_of_subsampling_needs_full_chroma():
    image = soft_photograph(96, 112)
    limit = score.score(score.reference_scales(image), subsampled(image, "4:2:0"))
    assert choose_subsampling(image, limit - 3) == "4:2:0"
    assert choose_subsampling(image, limit - 1) != "4:2:0"


@pytest.mark.parametrize("rows", [slice(0, 16), slice(384, 400)])
def test_a_corner_of_a_large_image_counts(monkeypatch, rows):
    """Also below the last whole tile of 192 px, where a watermark often is."""
    monkeypatch.setattr(tiles, "SAMPLE_SIDE", 32)
    image = soft_photograph(400, 416)
    assert tiles.sample_of(image) is not image
    assert choose_subsampling(image) == "4:2:0"
    written = with_type(image, (230, 30, 30), (30, 30, 160), rows)
    image[rows, 266:] = written[rows, :150]
    assert choose_subsampling(image) == "4:4:4"


@pytest.mark.parametrize("sampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_subsampled_keeps_luma_and_what_is_even(sampling):
    rng = np.random.default_rng(0)
    even = np.full((17, 23, 3), (120, 60, 200), np.uint8)
    np.testing.assert_allclose(subsampled(even, sampling), even, atol=1)
    noise = rng.integers(90, 160, (17, 23, 3), np.uint8)
    luma = [0.299, 0.587, 0.114]
    found = subsampled(noise, sampling)
    np.testing.assert_allclose(found @ luma, noise @ luma, atol=1)
    difference = np.abs(found.astype(int) - noise).max()
    assert difference <= 1 if sampling == "4:4:4" else difference > 5
