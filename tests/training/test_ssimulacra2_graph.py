"""The metric as graph code against that in numba; where its slope could be infinite."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.metrics.ssimulacra2 import loss as ssimulacra2_loss
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from tests.metrics.helpers import (
    ALL_WEIGHTS,
    CHANNELS,
    coded_example,
    shown,
    slopes_of,
)
from training import ssimulacra2_graph


def run(originals, decoded, weights):
    """(sums `[b]`, their gradients `[b, h, w, 3]`), of a graph that knows no sizes."""
    pairs = np.asarray(originals, np.float32), np.asarray(decoded, np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        fed = [tf.placeholder(tf.float32, [None, None, None, 3]) for _ in pairs]
        sums = ssimulacra2_graph.weighted_sums(*fed, weights)
        fetches = [sums, tf.gradients(sums, fed[1])[0]]
        return session.run(fetches, dict(zip(fed, pairs, strict=True)))


@pytest.mark.parametrize("height, width", [(131, 74), (17, 9)])
def test_value_and_gradient_are_those_of_the_search(height, width):
    original, decoded = coded_example(height, width)
    noise = np.random.default_rng(1).integers(-40, 40, decoded.shape)
    noisy = (decoded + noise).clip(0, 255).astype(np.uint8)
    pairs = [original, original[::-1]], [decoded, noisy]
    sums, gradients = run(*pairs, ALL_WEIGHTS)
    for first, second, value, gradient in zip(*pairs, sums, gradients, strict=True):
        first = np.ascontiguousarray(first)
        wanted, slopes = slopes_of(first, shown(second), directions=CHANNELS)
        assert value == pytest.approx(wanted.values[0], rel=1e-3)
        slopes = np.moveaxis(slopes, 0, -1)
        # By interpolation there.
        tolerance = 0.01 * np.sqrt(np.square(slopes).mean())
        difference = np.abs(gradient - slopes)
        assert np.mean(difference > tolerance) < 0.01
        assert np.sqrt(np.square(difference).mean()) < 5 * tolerance


@pytest.mark.slow
def test_equal_pictures_lose_nothing_and_bad_ones_have_a_slope():
    original, _ = coded_example(32, 40)
    black = np.zeros_like(original)
    inverted = 255 - original
    pairs = [original, black, original, black], [original, black, inverted, inverted]
    sums, gradients = run(*pairs, ssimulacra2_loss.WEIGHTS)
    np.testing.assert_allclose(sums[:2], 0, atol=1e-6)
    assert (sums[2:] > 20).all()
    assert np.isfinite(gradients).all()
    slopes = np.abs(gradients).mean((1, 2, 3))
    assert (slopes[2:] > 1e-6).all()
    assert (slopes[:2] < 1e-3 * slopes[2:].min()).all()


@pytest.mark.slow
def test_scales_below_8_px_are_left_out():
    original, decoded = coded_example(40, 15)  # 8 px wide at the second scale
    first = run([original], [decoded], ALL_WEIGHTS[:2])
    all_scales = run([original], [decoded], ALL_WEIGHTS[:4])
    for own, wanted in zip(all_scales, first, strict=True):
        # Gradients of about 1e-4, by sums in another order.
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-9)


def test_terms_at_fine_scales_come_on_top_of_the_metric():
    weights, fine = ssimulacra2_loss.WEIGHTS, [*ssimulacra2_loss.FINE, (), ()]
    assert [len(own) for own in weights] == [2, 3, 3, 3, 3]
    for own, bare, added in zip(weights, ssimulacra2.WEIGHTS, fine, strict=True):
        rest = own.copy()
        rest[: len(bare)] -= bare
        rest[: len(added), 0] -= added
        np.testing.assert_allclose(rest, 0, atol=1e-12)
