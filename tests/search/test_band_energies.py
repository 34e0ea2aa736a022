"""Tests of band_energies: against the pyramid of decoded basis functions."""

import numpy as np
import pytest

from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.metrics.cvvdp.pyramid import reduce, subtract_expanded
from learned_jpeg.search import planes
from learned_jpeg.search.band_energies import band_grams

COEFFICIENTS = (0, 1, 2, 9, 40, 63)


def decoded_functions(sampling, place):
    """Returns some basis functions as decoded, float32 `[n, 128, 128]`."""
    v, h = factors(sampling)
    y, x = (64 + 8 * place) // v // 8 * 8, 64 // h
    found = []
    for k in COEFFICIENTS:
        canvas = np.zeros((128 // v, 128 // h), np.float32)
        coefficients = np.zeros((1, 64), np.float32)
        coefficients[0, k] = 1
        canvas[y : y + 8, x : x + 8] = planes.to_samples(coefficients, 8, 8)
        found.append(planes.upsample(canvas, sampling, 128, 128))
    return np.array(found, np.float32)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_grams_are_sums_of_products_in_the_bands(sampling, place):
    finer, wanted = decoded_functions(sampling, place), []
    for _ in range(3):
        coarser = reduce(finer)
        subtract_expanded(coarser, finer)
        wanted.append(np.einsum("ayx,byx->ab", finer, finer))
        finer = coarser
    found = band_grams(factors(sampling), (0, 1, 2))
    chosen = found[:, COEFFICIENTS][..., COEFFICIENTS]
    np.testing.assert_allclose(chosen, wanted, rtol=1e-3, atol=1e-5)
    assert np.array_equal(found[1:], band_grams(factors(sampling), (1, 2)))
