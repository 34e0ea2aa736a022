"""Tests of transform: coefficients of pictures against scipy in float64."""

import numpy as np
import pytest
import scipy.fft

from jpeg import transform


def reference(picture):
    """Coefficients `[rows, cols, 8, 8, 3]`, from the formulas of JFIF and T.81."""
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
    found = transform.picture_to_dct(picture)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(picture), atol=2e-4)


def test_gray_has_exactly_no_chroma():
    gray = np.random.default_rng(1).integers(0, 256, (16, 24, 1), np.uint8)
    found = transform.picture_to_dct(np.repeat(gray, 3, -1))
    assert np.abs(found[..., 1:]).max() < 1e-9


def test_rounding_goes_to_the_nearest_integer_that_a_file_holds():
    z = np.array([0.5, 1.5, -0.5, 2.49, -2.51, 1023.7, -5000], np.float32)
    integers = transform.round_to_integers(z)
    assert integers.dtype == np.int16
    np.testing.assert_array_equal(integers, [0, 2, 0, 2, -3, 1023, -1023])


def test_chroma_components_share_their_table():
    tables = np.arange(128).reshape(8, 8, 2)
    repeated = transform.per_component(tables)
    np.testing.assert_array_equal(repeated[..., 1], repeated[..., 2])
    np.testing.assert_array_equal(repeated[..., :2], tables)
