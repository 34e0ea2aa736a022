"""Tests of block_weights: against logarithms in float64."""

import numpy as np
import pytest

from learned_jpeg.search.block_weights import average_weights


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_weights_are_averaged_by_their_logarithms(scale):
    rng = np.random.default_rng(0)
    blocks = 5
    passes = np.exp(rng.uniform(-9, 9, (3, blocks, 64))) * scale
    added = np.float32(rng.uniform(0.1, 1, 64) * scale)
    before = np.zeros((blocks, 64), np.uint16)
    products, exponents = np.empty(blocks, np.float32), np.empty(blocks, np.int32)
    means = None
    for number, weights in enumerate(passes):
        logs = np.log(weights + added)
        means = logs if means is None else (logs + means) / 2
        found = weights.astype(np.float32)
        average_weights(found, added, before, number == 0, products, exponents)
        # What is kept of the passes before is within 0.2 %.
        np.testing.assert_allclose(np.log(found), means, atol=3e-3, rtol=1e-5)
        whole = np.log(found.astype(float)).sum(1)
        parts = np.log(products) + exponents * np.log(2)
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-3)
