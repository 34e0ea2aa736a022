"""The points of a loss against those of the search; where their slope could be bad."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.metrics.ssimulacra2 import loss
from tests.metrics.helpers import CHANNELS, coded_example, shown, slopes_of
from training.lost_points import lost_points


def run(originals, decoded):
    """(points, their gradient `[b, h, w, 3]`), of a graph that knows no sizes.

    Both are of levels 0..255, the decoded ones of any values.
    """
    pairs = [np.asarray(own, np.float32) / 255 for own in (originals, decoded)]
    with tf.Graph().as_default(), tf.Session() as session:
        fed = [tf.placeholder(tf.float32, [None, None, None, 3]) for _ in pairs]
        points = lost_points(*fed)
        fetches = [points, tf.gradients(3.0 * points, fed[1])[0]]
        points, gradient = session.run(fetches, dict(zip(fed, pairs, strict=True)))
    return points, gradient / 3 / 255


@pytest.mark.parametrize("height, width", [(65, 74), (17, 9)])
def test_value_and_gradient_are_those_of_the_search(height, width):
    original, decoded = coded_example(height, width)
    noise = np.random.default_rng(1).integers(-40, 40, decoded.shape)
    noisy = decoded + noise
    noisy[0, 0] = -3, 260, 100  # beyond what the decoder shows
    originals = [original, np.ascontiguousarray(original[::-1])]
    points, gradients = run(originals, [decoded, noisy])
    values = []
    for number, own in enumerate((decoded, noisy)):
        planes = shown(own.clip(0, 255))
        found, slopes = slopes_of(originals[number], planes, loss.WEIGHTS, CHANNELS)
        values += found.values
        wanted = loss.POINTS / 2 * np.moveaxis(slopes, 0, -1)
        wanted[(own < 0) | (own > 255)] = 0
        atol = 1e-4 * np.abs(wanted).max()
        np.testing.assert_allclose(gradients[number], wanted, rtol=1e-2, atol=atol)
    assert points == pytest.approx(loss.POINTS * np.mean(values), rel=1e-5)


def test_equal_images_lose_nothing_and_bad_ones_have_a_slope():
    original, _ = coded_example(32, 40)
    black = np.zeros_like(original)
    equal, none = run([original, black], [original, black])
    points, gradient = run([original, black], 2 * [255 - original])
    assert equal == pytest.approx(0, abs=1e-5)
    assert points > 100
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).mean((1, 2, 3)) > 1e-6).all()
    assert np.abs(none).max() < 1e-3 * np.abs(gradient).max()
