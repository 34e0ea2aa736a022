"""Tests of what `quality` promises: one small image for each kind that went wrong."""

import functools
import io

import mozjpeg_lossless_optimization
import numpy as np
import pytest
from PIL import Image

import learned_jpeg as lj
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score
from tests.search import graphics

WHOLE, TILE = -1.01, -6.01


@functools.cache
def pillow_jpeg(name, quality):
    """Pillow's JPEG of a quality after a lossless pass."""
    buffer = io.BytesIO()
    sampling = "4:2:0" if quality < 90 else "4:4:4"
    Image.fromarray(KINDS[name]()).save(
        buffer, "JPEG", quality=quality, subsampling=sampling
    )
    return mozjpeg_lossless_optimization.optimize(buffer.getvalue())


def score_of(image, data, tile=...):
    part, decoded = (
        np.ascontiguousarray(i[tile]) for i in (image, jpeg_file.decode(data))
    )
    return score.score(score.reference_scales(part), decoded)


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
    image, plain = KINDS[name](), pillow_jpeg(name, quality)
    data = lj.encode(image, quality=quality)
    assert len(data) <= len(plain)
    if min(image.shape[:2]) >= 8:
        assert score_of(image, data) - score_of(image, plain) >= WHOLE
