"""Gradient of distortions in the coefficients of a image."""

import numpy as np
import pytest
import scipy.fft
import tensorflow.compat.v1 as tf

from learned_jpeg.codec.distortion_gradient import DistortionGradient
from learned_jpeg.common.errors import UserError
from learned_jpeg.models.settings import LossWeights


def image_of(rng, height, width):
    """A smooth image with a noisy right half, uint8."""
    v, u = (i[..., np.newaxis] for i in np.mgrid[:height, :width])
    smooth = 120 + 60 * np.sin(v / 17) * np.cos(u / [11, 13, 19])
    noise = rng.normal(0, 30, (height, width, 3)) * (u > width // 2)
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def dct_of(image):
    """Coefficients in float64, `[rows, cols, 8, 8, 3]`; sides are multiples of 8."""
    rgb = image.astype(np.float64)
    r, g, b = np.moveaxis(rgb, -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    ycc = np.stack([y - 128, (b - y) / 1.772, (r - y) / 1.402], -1)
    rows, cols = image.shape[0] // 8, image.shape[1] // 8
    blocks = ycc.reshape(rows, 8, cols, 8, 3).transpose(0, 2, 1, 3, 4)
    return scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho").astype(np.float32)


def test_gradient_of_mse_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    image = image_of(rng, 16, 24) // 2 + 64  # nothing is clipped
    dct = dct_of(image)
    error = rng.normal(0, 3, dct.shape).astype(np.float32)
    gradient = DistortionGradient(LossWeights(), "float32")(image, dct + error)
    # Squared RGB errors of an error of 1 in Y, Cb, Cr; orthonormal DCT; mean of all.
    r, g, b = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
    gram = sum(np.outer(row, row) for row in (r, g, b))
    wanted = 2 * (error @ gram) / image.size
    np.testing.assert_allclose(gradient, wanted, rtol=2e-3, atol=2e-5)


@pytest.mark.slow
def test_gradient_of_ms_ssim_equals_a_finite_difference_of_the_metric():
    rng = np.random.default_rng(1)
    image = image_of(rng, 176, 168)
    dct = dct_of(image)
    reconstruction = (dct + rng.normal(0, 8, dct.shape)).astype(np.float32)
    direction = rng.normal(0, 1, dct.shape).astype(np.float32)
    found = DistortionGradient(LossWeights(ms_ssim=1e6), "float32")
    slope = np.sum(found(image, reconstruction) * direction)

    def similarity(step):
        blocks = scipy.fft.idctn(
            reconstruction + step * direction, axes=(2, 3), norm="ortho"
        )
        y, cb, cr = np.moveaxis(
            blocks.transpose(0, 2, 1, 3, 4).reshape(*image.shape), -1, 0
        )
        y = y + 128
        rgb = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
        with tf.Graph().as_default(), tf.Session() as session:
            pair = [image / 255.0, np.stack(rgb, -1).clip(0, 255) / 255.0]
            pair = [p.astype(np.float32) for p in pair]
            return session.run(tf.image.ssim_multiscale(*map(tf.constant, pair), 1.0))

    difference = -1e6 * (similarity(0.5) - similarity(-0.5))
    assert slope == pytest.approx(difference, rel=0.05)


@pytest.mark.parametrize("weights", [LossWeights(ms_ssim=1.0), LossWeights(lpips=1.0)])
def test_a_image_too_small_for_the_distortion_is_a_user_error(weights):
    found = DistortionGradient(weights, "float32")
    image = np.zeros([16, 24, 3], np.uint8)
    with pytest.raises(UserError, match="24x16 px.*sides of at least"):
        found(image, dct_of(image))
