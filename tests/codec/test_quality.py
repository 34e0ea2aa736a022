"""Tests of what `quality` promises: one small image for each kind that went wrong."""

import functools

import mozjpeg_lossless_optimization
import numpy as np
import pytest

import learned_jpeg as lj
from tests.plain_jpeg import pillow_jpeg, score_of
from tests.search import graphics

WHOLE = -1.01


@functools.cache
def plain_jpeg(name, quality):
    """Pillow's JPEG of a quality after a lossless pass."""
    sampling = "4:2:0" if quality < 90 else "4:4:4"
    data = pillow_jpeg(KINDS[name](), quality, sampling)
    return mozjpeg_lossless_optimization.optimize(data)


KINDS = {
    "banner": graphics.photograph_with_banner,
    "pixel art": graphics.pixel_art,
    "checker": graphics.checker,
    "line art": graphics.line_art,
    "photograph": lambda: graphics.soft_photograph(96, 112),
    "flat": lambda: np.full((40, 50, 3), 77, np.uint8),
    "tiny": lambda: graphics.soft_photograph(6, 30),
}


@pytest.mark.parametrize("quality", [40, 75, 95])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_no_larger_and_no_worse_than_plain_jpeg(name, quality):
    image, plain = KINDS[name](), plain_jpeg(name, quality)
    data = lj.encode(image, quality=quality)
    assert len(data) <= len(plain)
    if min(image.shape[:2]) >= 8:
        assert score_of(image, data) - score_of(image, plain) >= WHOLE
