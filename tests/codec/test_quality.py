"""Tests of what `quality` promises: one small image for each kind that went wrong."""

import functools
from types import SimpleNamespace

import mozjpeg_lossless_optimization
import numpy as np
import pytest

import learned_jpeg as lj
from learned_jpeg.codec import quality
from learned_jpeg.search.promise import Measured, PlainJpeg, Promise
from learned_jpeg.search.scores import Scores
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


def test_a_correction_that_fails_leaves_the_file_before_it(monkeypatch):
    """The score of a checkerboard jumps by 30 points between two lambdas."""
    files = [bytes(50), bytes(40), bytes(30)]
    measured = {50: (5.0, 3.0), 40: (-9.0, -9.0), 30: (-20.0, -9.0)}

    class Promised:
        plain = SimpleNamespace(smallest=bytes(80), is_smaller_than=lambda data: False)

        def measured(self, data):
            whole, tile = measured[len(data)]
            return Measured(whole, np.array([tile]))

        def is_kept(self, found):
            return found.whole >= -1

        def gains(self, found, slope):
            return None

        def shortfall(self, found):
            return 0.0

    made = iter(files[1:])
    aim = quality._Aim(0.1, "4:2:0", 8.0, files[0], is_matched=True)
    monkeypatch.setattr(quality, "_CORRECTIONS", 2)
    found = quality._kept(lambda setting: next(made), aim, files[0], Promised())
    assert found == files[0]


def test_where_gains_do_not_help_a_tile_the_whole_image_gets_more_bits():
    image = graphics.soft_photograph(208, 200)
    own = Promise(Scores(image), 75, PlainJpeg(image, 75, "4:2:0"))
    tiles = {50: -9.0, 60: -8.9, 70: -5.0}  # points by the bytes of a file
    settings = []

    class Promised:
        plain = SimpleNamespace(smallest=bytes(90), is_smaller_than=lambda data: False)
        is_kept, gains, shortfall = own.is_kept, own.gains, own.shortfall

        def measured(self, data):
            return Measured(0.0, np.full(len(own._tiles), tiles[len(data)]))

    def encode(setting):
        settings.append(setting)
        return bytes(50 + 10 * len(settings))

    aim = quality._Aim(0.1, "4:2:0", 8.0, bytes(50), is_matched=True)
    assert quality._kept(encode, aim, bytes(50), Promised()) == bytes(70)
    assert [setting.lmbda for setting in settings] == pytest.approx(
        [0.1, 0.1 * np.exp((8.9 - 6 + 1.5) / 8)]
    )
