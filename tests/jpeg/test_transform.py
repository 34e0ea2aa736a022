"""Tests of transform.py: coefficients against scipy in float64."""

import numpy as np
import pytest
import scipy.fft

from learned_jpeg.jpeg import SUBSAMPLINGS, transform
from learned_jpeg.jpeg.sampling import factors


def reference(picture):
    """Returns coefficients `[rows, cols, 8, 8, 3]` by the formulas of JFIF and T.81."""
    height, width = picture.shape[:2]
    rows, cols = -(-height // 8), -(-width // 8)
    v = np.minimum(np.arange(8 * rows), height - 1)
    u = np.minimum(np.arange(8 * cols), width - 1)
    red, green, blue = np.moveaxis(picture[v][:, u].astype(np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [luma - 128, (blue - luma) / 1.772, (red - luma) / 1.402]
    blocks = np.stack(planes, -1).reshape(rows, 8, cols, 8, 3).swapaxes(1, 2)
    return scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho")


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (9, 23), (1000, 3), (40, 64)])
def test_coefficients_equal_scipys(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    [found] = transform.image_to_dct(picture)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(picture), atol=2e-4)


def test_gray_has_exactly_no_chroma():
    gray = np.random.default_rng(1).integers(0, 256, (16, 24, 1), np.uint8)
    for sampling in SUBSAMPLINGS:
        *_, found = transform.image_to_dct(np.repeat(gray, 3, -1), sampling)
        assert np.abs(found[..., -2:]).max() < 1e-9


@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
def test_chroma_is_that_of_averaged_pixels(sampling):
    """Compares whole blocks; test_differentiable.py tests blocks beyond the edges."""
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    luma, chroma = transform.image_to_dct(picture, sampling)
    v, h = factors(sampling)
    means = np.mean(
        [picture[i::v, j::h].astype(float) for i in range(v) for j in range(h)], 0
    )
    np.testing.assert_allclose(luma, reference(picture)[..., :1], atol=2e-4)
    np.testing.assert_allclose(chroma, reference(means)[..., 1:], atol=2e-4)


def test_rounding_goes_to_the_nearest_integer_that_a_file_holds():
    z = np.array([0.5, 1.5, -0.5, 2.49, -2.51, 1023.7, -5000], np.float32)
    integers = transform.round_to_integers(z)
    assert integers.dtype == np.int16
    np.testing.assert_array_equal(integers, [0, 2, 0, 2, -3, 1023, -1023])


def test_chroma_components_share_their_table():
    tables = np.arange(128).reshape(2, 8, 8)
    repeated = transform.of_components(tables, [0, 1, 2])
    np.testing.assert_array_equal(repeated[..., 1], repeated[..., 2])
    np.testing.assert_array_equal(repeated[..., 0], tables[0])
    np.testing.assert_array_equal(repeated[..., 1], tables[1])
    chroma = transform.of_components(tables, [1, 2])
    np.testing.assert_array_equal(chroma, repeated[..., 1:])
