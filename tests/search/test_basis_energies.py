"""Tests of basis_energies: against brute force in two dimensions, float64."""

import numpy as np
import pytest
from scipy import ndimage

from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.metrics import ms_ssim
from learned_jpeg.metrics.ssimulacra2 import window as ssimulacra2_window
from learned_jpeg.search import planes
from learned_jpeg.search.basis_energies import SCALES, grams

COEFFICIENTS = (0, 1, 2, 9, 40, 63)


def decoded_functions(sampling, offset):
    """Some basis functions as a decoder filters them, float64 `[n, 256, 256]`."""
    v, h = factors(sampling)
    y, x = (128 + offset[0]) // v, (128 + offset[1]) // h
    found = []
    for k in COEFFICIENTS:
        canvas = np.zeros((256 // v, 256 // h), np.float32)
        coefficients = np.zeros((1, 64), np.float32)
        coefficients[0, k] = 1
        canvas[y : y + 8, x : x + 8] = planes.to_samples(coefficients, 8, 8)
        found.append(planes.upsample(canvas, sampling, 256, 256))
    return np.array(found, float)


def brute_force(sampling, window, offset):
    """Products of the functions, of their blurs, and of the rest, at every scale."""
    decoded, sums = decoded_functions(sampling, offset), []
    for scale in range(SCALES):
        if scale:
            side = decoded.shape[1] // 2
            decoded = decoded.reshape(-1, side, 2, side, 2).mean((2, 4))
        blurred = np.pad(decoded, [(0, 0), (8, 8), (8, 8)])
        plain = blurred
        for axis in (1, 2):
            blurred = ndimage.convolve1d(blurred, window, axis, mode="constant")
        triple = plain, blurred, plain - blurred
        sums.append([np.einsum("ayx,byx->ab", part, part) for part in triple])
    return np.moveaxis(np.array(sums), 1, 0)


@pytest.mark.parametrize("window", [ms_ssim.window(), ssimulacra2_window.window()])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_grams_are_sums_of_products_of_decoded_basis_functions(sampling, window):
    shifts = [range(0, 16, 8 * f) for f in factors(sampling)]
    offsets = [(y, x) for y in shifts[0] for x in shifts[1]]
    wanted = np.mean([brute_force(sampling, window, o) for o in offsets], 0)
    found = np.array(grams(factors(sampling), tuple(window)))
    chosen = found[:, :, COEFFICIENTS][..., COEFFICIENTS]
    np.testing.assert_allclose(chosen, wanted, rtol=1e-4, atol=1e-6)
