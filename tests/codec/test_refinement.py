"""Refinement of coefficients against quadratic distortions of known minima."""

import numpy as np

from learned_jpeg.codec import refinement


def flat_bits():
    """Bits that do not depend on the integer."""
    return np.zeros([192, 129], np.float32)


def rising_bits(slope):
    """`slope` bits for each unit of magnitude."""
    return np.tile(slope * np.abs(np.arange(-64, 65)), [192, 1]).astype(np.float32)


def refined(z, bits, lmbda, original, qtables=None, steps=60):
    qtables = np.full([2, 8, 8], 10.0) if qtables is None else qtables
    num_pixels = z.size // 3
    scale = qtables[[0, 1, 1]].transpose(1, 2, 0)

    def gradient(dct):
        # Of the mean squared error to `original`, both on the 0..255 scale.
        return (2 * (dct - original * scale) / z.size).astype(np.float32)

    return refinement.refine(z, qtables, gradient, bits, lmbda, steps, num_pixels)


def test_without_a_rate_integers_move_to_those_of_least_distortion():
    rng = np.random.default_rng(0)
    original = rng.integers(-3, 4, (2, 3, 8, 8, 3))
    # Just on the wrong side of the threshold of rounding.
    wrong = rng.choice([-0.55, 0.55], original.shape)
    z = (original + wrong).astype(np.float32)
    result = np.rint(refined(z, flat_bits(), 1.0, original))
    assert (np.rint(z) == original).mean() == 0
    assert (result == original).mean() > 0.99


def test_without_a_distortion_coefficients_shrink_towards_zero():
    rng = np.random.default_rng(1)
    z = rng.uniform(-4, 4, (2, 2, 8, 8, 3)).astype(np.float32)
    result = refined(z, rising_bits(1.0), 0.0, z)
    moved = np.abs(z) > 1.5
    assert (np.abs(result) < np.abs(z))[moved].all()
    assert (np.sign(result) == np.sign(z))[moved].all()


def test_the_loss_falls_and_a_higher_lambda_keeps_more():
    rng = np.random.default_rng(2)
    original = rng.laplace(0, 1.0, (4, 4, 8, 8, 3)).astype(np.float32)
    qtables = rng.uniform(5, 40, (2, 8, 8))
    scale = qtables[[0, 1, 1]].transpose(1, 2, 0)
    bits = rising_bits(1.5)

    def cost(z, lmbda):
        integers = np.rint(z)
        error = np.mean(((integers - original) * scale) ** 2)
        return lmbda * error + 1.5 * np.abs(integers).sum() / (z.size / 3)

    kept = []
    for lmbda in (0.002, 0.02):
        result = refined(original, bits, lmbda, original, qtables)
        assert cost(result, lmbda) <= cost(original, lmbda)
        kept.append(np.abs(np.rint(result)).sum())
    assert kept[0] < 0.9 * kept[1]


def test_the_slope_of_the_bits_is_that_of_its_coefficient():
    rng = np.random.default_rng(3)
    bits = rng.uniform(0, 20, (192, 9)).astype(np.float32)
    z = rng.uniform(-7, 7, (1, 2, 8, 8, 3)).astype(np.float32)
    found = refinement._bit_slopes(bits, z)
    for (row, col, v, u, c), value in np.ndenumerate(z):
        lower = min(max(int(np.floor(value)), -4), 3)
        own = bits[24 * v + 3 * u + c]
        assert found[row, col, v, u, c] == own[lower + 5] - own[lower + 4]
