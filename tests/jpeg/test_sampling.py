"""Tests of sampling.py against the planes of libjpeg."""

import jpeglib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learned_jpeg.jpeg import SUBSAMPLINGS, sampling
from tests.jpeg.helpers import FACTORS, pillow_jpeg


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(SUBSAMPLINGS))
def test_planes_have_the_blocks_of_libjpeg(tmp_path_factory, height, width, name):
    path = tmp_path_factory.mktemp("coded") / "a.jpg"
    gray = np.full((height, width, 3), 128, np.uint8)
    path.write_bytes(pillow_jpeg(gray, subsampling=name))
    jpeg = jpeglib.read_dct(str(path))
    expected = tuple(plane.shape[:2] for plane in (jpeg.Y, jpeg.Cb, jpeg.Cr))
    assert sampling.plane_blocks(height, width, name) == expected


def test_planes_of_odd_pictures_round_up():
    sizes = (17, 5), (9, 3), (9, 3)
    assert sampling.plane_sizes(17, 5, "4:2:0") == sizes
    assert sampling.plane_sizes(17, 5, "4:2:2") == ((17, 5), (17, 3), (17, 3))
    assert sampling.plane_sizes(17, 5, "4:4:4") == ((17, 5),) * 3


def test_every_sampling_has_factors_and_factors_name_it():
    assert {name: sampling.factors(name) for name in SUBSAMPLINGS} == FACTORS
    for name, factors in FACTORS.items():
        assert sampling.with_factors(*factors) == name
    assert sampling.with_factors(2, 1) is None


@pytest.mark.parametrize("name", ["4:1:1", "420", None])
def test_unknown_samplings_are_refused(name):
    with pytest.raises(ValueError, match=r"4:4:4.*4:2:2.*4:2:0"):
        sampling.plane_blocks(8, 8, name)
