"""Tests of searched_rate: cost against rounding, entropies, slopes of DC."""

import math

import numpy as np
import pytest

from jpeg_standard import YCBCR_TO_RGB
from training import searched_rate

QTABLES = np.random.default_rng(7).integers(8, 40, (8, 8, 2)).astype(np.float32)
LMBDA = 0.02


@pytest.fixture(scope="module")
def z():
    """Coefficients of decaying spread, in units of their steps."""
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:8, :8]
    scale = 120 / (1 + 2 * (v + u) ** 1.5)[..., np.newaxis] * [1, 0.3, 0.3]
    dct = rng.laplace(0, scale, (9, 11, 8, 8, 3))
    return (dct / QTABLES[..., [0, 1, 1]]).astype(np.float32)


def bits_of(integers):
    """By plain counting: self-information of symbols, and the bits that follow."""
    natural = integers.reshape(-1, 64, 3)
    diagonals = [[(i, d - i) for i in range(8) if 0 <= d - i < 8] for d in range(15)]
    zigzag = [
        8 * v + u
        for d, diagonal in enumerate(diagonals)
        for v, u in (diagonal if d % 2 else diagonal[::-1])
    ]
    symbols = {}
    bits = 0
    for component in range(3):
        before, pending = 0, 0
        own = symbols.setdefault(("ac", component), [])
        for block in natural[:, zigzag, component].tolist():
            size = abs(block[0] - before).bit_length()
            symbols.setdefault(("dc", min(component, 1)), []).append(size)
            bits += size
            before, run = block[0], 0
            for value in block[1:]:
                if not value:
                    run += 1
                    continue
                if pending:
                    own.append(("end", pending.bit_length() - 1))
                    bits += pending.bit_length() - 1
                    pending = 0
                own += [("zeros",)] * (run // 16)
                own.append((run % 16, abs(value).bit_length()))
                bits += abs(value).bit_length()
                run = 0
            pending += run > 0
        if pending:
            own.append(("end", pending.bit_length() - 1))
            bits += pending.bit_length() - 1
    for found in symbols.values():
        for symbol in set(found):
            count = found.count(symbol)
            bits -= count * math.log2(count / len(found))
    return bits


def cost_of(integers, z):
    error = (integers - z) * QTABLES[..., [0, 1, 1]]
    squared = np.square(error @ YCBCR_TO_RGB.T).sum() / 3
    # Of each component by itself, as the search takes it.
    apart = sum(
        np.square(error[..., c]).sum() * np.mean(YCBCR_TO_RGB[:, c] ** 2)
        for c in range(3)
    )
    assert squared == pytest.approx(apart, rel=0.2)
    return LMBDA * apart + bits_of(integers)


def test_bits_are_those_of_the_symbols(z):
    integers, bits = searched_rate.searched(z, QTABLES, LMBDA)
    assert integers.dtype == np.int16 and integers.shape == z.shape
    assert bits == pytest.approx(bits_of(integers), rel=1e-6)


def test_cost_is_far_below_that_of_rounding(z):
    integers, _ = searched_rate.searched(z, QTABLES, LMBDA)
    assert cost_of(integers, z) < 0.9 * cost_of(np.rint(z).astype(int), z)


def test_errors_that_cost_all_leave_the_rounded_integers(z):
    integers, _ = searched_rate.searched(z, QTABLES, 1e6)
    near = np.abs(z - np.floor(z) - 0.5) > 1e-3
    np.testing.assert_array_equal(integers[near], np.rint(z)[near])


def independent_dc_bits(z, step):
    """Bits of DC of luma and of chroma, its step so many times larger."""
    bits = np.zeros(2)
    for table, components in enumerate(([0], [1, 2])):
        sizes = []
        for component in components:
            dc = np.rint(z[:, :, 0, 0, component] / step).astype(int).ravel()
            sizes += [abs(int(d)).bit_length() for d in np.diff(dc, prepend=0)]
        bits[table] = sum(sizes)
        for size in set(sizes):
            count = sizes.count(size)
            bits[table] -= count * math.log2(count / len(sizes))
    return bits


def test_dc_slopes_equal_a_finite_difference(z):
    coarse, fine = (independent_dc_bits(z, step) for step in (1.1, 1 / 1.1))
    expected = (coarse - fine) / math.log(1.1 / (1 / 1.1))
    np.testing.assert_allclose(searched_rate.dc_slopes(z), expected, rtol=1e-9)


def test_dc_slopes_of_a_broad_density_are_one_bit_a_doubling():
    rng = np.random.default_rng(0)
    z = np.zeros((60, 70, 8, 8, 3))
    z[:, :, 0, 0] = rng.laplace(0, 60, (60, 70, 3))
    expected = -60 * 70 / math.log(2) * np.array([1, 2])
    np.testing.assert_allclose(searched_rate.dc_slopes(z), expected, rtol=0.1)
