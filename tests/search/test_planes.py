"""Tests of planes: the filter's adjoint, least squares, transforms."""

import numpy as np
import pytest
import scipy.fft

from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg.sampling import factors, plane_sizes
from learned_jpeg.jpeg.standard import ZIGZAG
from learned_jpeg.search import planes

SIZES = [(1, 1), (2, 2), (9, 3), (1000, 3), (3, 50), (5, 4), (16, 32), (33, 47)]


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_adjoint_is_that_of_the_filter(size, sampling):
    rng = np.random.default_rng(0)
    shape = plane_sizes(*size, sampling)[1]
    x = rng.normal(size=shape).astype(np.float32)
    y = rng.normal(size=size).astype(np.float32)
    forward = (planes.upsample(x, sampling, *size).astype(float) * y).sum()
    back = planes.upsample_adjoint(y, sampling, shape)
    assert back.shape == shape
    assert forward == pytest.approx((x.astype(float) * back).sum(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(12, 14), (9, 13)])
def test_chroma_comes_close_to_the_least_squares(size, sampling):
    rng = np.random.default_rng(1)
    plane = rng.normal(size=size).astype(np.float32)
    shape = plane_sizes(*size, sampling)[1]
    units = np.eye(np.prod(shape), dtype=np.float32).reshape(-1, *shape)
    columns = [planes.upsample(unit, sampling, *size).ravel() for unit in units]
    matrix = np.stack(columns, 1).astype(float)

    def error(samples):
        return np.square(matrix @ samples.ravel() - plane.ravel()).sum()

    best = error(np.linalg.lstsq(matrix, plane.ravel(), rcond=None)[0])
    found = error(planes.subsample(plane, sampling))
    start = error(np.stack([matrix.T @ plane.ravel() / matrix.sum(0)]))
    assert best <= found < best + 0.06 * (start - best)


def test_coefficients_are_those_of_scipy_in_zigzag_order():
    samples = np.random.default_rng(0).normal(size=(11, 21)).astype(np.float32)
    padded = np.pad(samples, [(0, 5), (0, 3)], mode="edge").astype(float)
    blocks = padded.reshape(2, 8, 3, 8).swapaxes(1, 2)
    expected = scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho").reshape(6, 64)
    found = planes.to_coefficients(samples)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=1e-5)
    # The zigzag of figure A.6: right, then down-left, along the diagonals.
    for k, (v, u) in {1: (0, 1), 2: (1, 0), 3: (2, 0), 5: (0, 2), 63: (7, 7)}.items():
        np.testing.assert_allclose(found[:, k], expected[:, 8 * v + u], atol=1e-5)
    assert sorted(ZIGZAG) == list(range(64))
    np.testing.assert_allclose(planes.to_samples(found, 11, 21), samples, atol=1e-5)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_filter_energies_are_those_of_the_basis_functions(sampling):
    energies = planes.filter_energies(sampling, 24)
    v, h = factors(sampling)
    for k in (0, 1, 2, 7, 30, 63):
        coefficients = np.zeros((9, 64), np.float32)
        coefficients[4, k] = 1  # the block in the middle
        samples = planes.to_samples(coefficients, 24, 24)
        full = planes.upsample(samples, sampling, 24 * v, 24 * h)
        # The formula is that of a wave that goes on beyond its block.
        rel = 1e-5 if sampling == "4:4:4" else 0.2
        assert np.square(full).sum() == pytest.approx(energies[k], rel=rel)
