"""Tests of ms_ssim: slopes against TensorFlow's gradient and against differences."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.metrics import ms_ssim


def pictures(height, width, smooth_picture):
    """An original, uint8, and a decoded picture, float32 minus 128, `[3, h, w]`."""
    original = smooth_picture(0, height, width)
    noise = np.random.default_rng(1).normal(0, 8, original.shape)
    decoded = np.clip(original + noise, 0, 255).astype(np.float32) - 128
    return original, np.ascontiguousarray(np.moveaxis(decoded, -1, 0))


def slopes(original, decoded):
    """(`ms_ssim.Slopes`, the gradient as a whole)."""
    parts = []

    def take(rows, gradient):
        assert rows.start == sum(part.shape[1] for part in parts)
        assert rows.stop - rows.start == gradient.shape[1]
        parts.append(gradient.copy())

    found = ms_ssim.slopes(original, lambda rows: decoded[:, rows], take)
    return found, np.concatenate(parts, 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(176, 208), (161, 187), (203, 166)])
def test_value_and_gradient_are_tensorflows(size, smooth_picture, session):
    original, decoded = pictures(*size, smooth_picture)
    found, ours = slopes(original, decoded)
    x = tf.constant(original[np.newaxis], tf.float32)
    y = tf.constant(np.moveaxis(decoded, 0, -1)[np.newaxis] + 128)
    value = tf.image.ssim_multiscale(x, y, 255)[0]
    expected, gradient = session.run([value, tf.gradients(value, y)[0]])
    assert found.value == pytest.approx(expected, abs=2e-6)
    gradient = np.moveaxis(gradient[0], -1, 0)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(ours / scale, gradient / scale, atol=2e-3)


def test_curvature_tells_what_small_errors_cost(smooth_picture):
    """Local variance of random errors, at full size, against the loss itself."""
    original = smooth_picture(3, 192, 192)
    planes = np.moveaxis(original.astype(np.float32) - 128, -1, 0)
    found = ms_ssim.slopes(original, lambda rows: planes[:, rows])
    assert found.value == pytest.approx(1, abs=1e-6)
    rng = np.random.default_rng(0)
    # Fine checks have no part in the coarser scales.
    signs = (-1.0) ** np.indices((192, 192)).sum(0)
    errors = rng.normal(0, 1, (3, 24, 24)).repeat(8, 1).repeat(8, 2) * signs
    errors = errors.astype(np.float32)
    loss = 1 - ms_ssim.slopes(original, lambda rows: (planes + errors)[:, rows]).value
    variances = np.square(errors.reshape(3, 24, 8, 24, 8)).sum((2, 4))
    predicted = float((found.contrast[0] * variances).sum(dtype=np.float64))
    assert loss == pytest.approx(predicted, rel=0.1)


def test_maps_have_a_number_for_every_block(smooth_picture):
    original, decoded = pictures(163, 171, smooth_picture)
    found, gradient = slopes(original, decoded)
    assert gradient.shape == (3, 163, 171)
    without = ms_ssim.slopes(original, lambda rows: decoded[:, rows])
    assert without.value == found.value
    np.testing.assert_array_equal(without.contrast[0], found.contrast[0])
    for maps in (*found.contrast, found.luminance):
        assert maps.shape == (3, 21, 22)
        assert (maps > 0).all()
