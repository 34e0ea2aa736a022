"""Tests of CVVDP's loss: its value, gradient and curvature in float64."""

import numpy as np
import pytest
from scipy import ndimage

from learned_jpeg.jpeg.standard import YCBCR_TO_RGB
from learned_jpeg.metrics.cvvdp import pyramid, slopes
from learned_jpeg.metrics.slopes import tiling
from learned_jpeg.metrics.slopes.tiling import Direction
from tests.metrics import cvvdp_reference as reference
from tests.metrics.helpers import slopes_of_term
from tests.synthetic import noisy_pair, wave_image

CHANNELS = [Direction(rgb, 8, 8) for rgb in np.eye(3)]


def pair(height, width, noise=12):
    """Returns an image with masking of its own, and a distorted copy, uint8."""
    original = wave_image(height, width, seed=3)
    error = np.random.default_rng(4).normal(0, noise, original.shape)
    error = ndimage.gaussian_filter(error, (1, 1, 0)) * 3
    return original, (original + error).clip(0, 255).astype(np.uint8)


def planes_of(image):
    return np.ascontiguousarray(np.moveaxis(image, -1, 0).astype(np.float32) - 128)


def slopes_of(original, decoded, directions=CHANNELS, **options):
    """Returns (`Slopes`, gradients `[directions, h, w]`) of uint8 images."""
    term = slopes.Term(slopes.Original(original), **options)
    return slopes_of_term(term, planes_of(decoded), directions)


@pytest.mark.parametrize(
    "height, width", [(8, 9), (15, 40), (16, 16), (33, 50), (62, 47)]
)
def test_value_is_that_in_float64(height, width):
    original, decoded = pair(height, width)
    found, _ = slopes_of(original, decoded)
    wanted = reference.loss(original, decoded.astype(float))
    assert found.values[0] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("height, width", [(8, 9), (31, 40), (40, 33)])
def test_gradient_is_that_of_the_value(height, width):
    original, decoded = pair(height, width)
    _, gradients = slopes_of(original, decoded)
    gradient = np.moveaxis(gradients, 0, -1)
    rng = np.random.default_rng(0)
    at_the_edge = np.zeros(gradient.shape)
    at_the_edge[-2:], at_the_edge[:, -2:] = gradient[-2:], gradient[:, -2:]
    for way in (
        np.sign(gradient) * rng.random(gradient.shape),
        np.sign(ndimage.gaussian_filter(gradient, (3, 3, 0))),
        np.sign(at_the_edge),
    ):
        up, down = (reference.loss(original, decoded + s * way) for s in (1e-4, -1e-4))
        slope = (gradient * way).sum()
        assert (up - down) / 2e-4 == pytest.approx(slope, rel=2e-3)


def test_gradients_are_those_of_the_directions():
    original, decoded = pair(40, 50)
    directions = [Direction(rgb, 8, 8) for rgb in YCBCR_TO_RGB.T]
    by_channel, by_component = (
        slopes_of(original, decoded, d)[1] for d in (CHANNELS, directions)
    )
    mixed = np.tensordot(YCBCR_TO_RGB.T, by_channel, 1)
    np.testing.assert_allclose(by_component, mixed, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("is_original", [False, True])
def test_curvature_is_a_floored_weight_of_squared_errors(is_original):
    original, decoded = pair(64, 48)
    rgb = YCBCR_TO_RGB[:, 0]
    weights = reference.loss_weights(original)
    errors = reference.loss_bands(original, decoded)
    _, by_mean = reference.loss_of_bands(errors, weights)
    powers = [w * np.square(e) for w, e in zip(weights, errors, strict=True)]
    means = [np.square(u / (1 + u / reference.LARGEST)).mean() for u in powers]
    expected = None
    if is_original:  # near which errors as large as those are expected
        decoded, expected = original, means
        errors = [np.zeros_like(error) for error in errors]
    directions = [Direction(rgb, 8, 16)]
    found, _ = slopes_of(original, decoded, directions, expected=expected)
    change = (decoded + 1e-3 * rgb).astype(float), (decoded - 1e-3 * rgb).astype(float)
    up, down = (reference.light(image.clip(0, 255))[0] for image in change)
    squares = np.square((up - down) / 2e-3)
    for band, (error, weight) in enumerate(zip(errors, weights, strict=True)):
        power = np.hypot(weight * np.square(error), 0.5 * np.sqrt(means[band]))
        bent = 2.5 * by_mean[band] * 2 / error.size
        bent = bent * power * weight / (1 + power / reference.LARGEST) ** 3
        unit = 2 << band
        product = np.kron(bent, np.ones((unit, unit))) * squares
        wanted = product.reshape(8, 8, 3, 16).mean((1, 3)).ravel()
        np.testing.assert_allclose(found.curvatures[0][:, band], wanted, rtol=5e-3)


def test_equal_images_have_neither_loss_nor_gradient():
    original, _ = pair(40, 33)
    found, gradients = slopes_of(original, original)
    assert 0 <= found.values[0] < 1e-4
    assert not gradients.any()
    assert all((c > 0).all() and np.isfinite(c).all() for c in found.curvatures)


def test_an_image_in_strips_has_the_same_slopes(monkeypatch):
    original, decoded = noisy_pair(5, 230, 210, 2, 20)
    directions = [Direction(YCBCR_TO_RGB[:, 0], 8, 8)]
    directions += [Direction(YCBCR_TO_RGB[:, 1], 16, 16)]
    whole, gradients = slopes_of(original, decoded, directions)
    monkeypatch.setattr(tiling, "_ROWS", (64, 64))
    assert len(tiling.strips(230, 210)) == 4
    parts, again = slopes_of(original, decoded, directions)
    assert parts.values == pytest.approx(whole.values, rel=1e-6)
    scale = np.abs(gradients).mean()
    np.testing.assert_allclose(again / scale, gradients / scale, rtol=1e-4, atol=1e-4)
    for found, wanted in zip(parts.curvatures, whole.curvatures, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_curvatures_of_blocks_cover_images_of_any_size():
    original, decoded = pair(41, 27)
    directions = [
        Direction(YCBCR_TO_RGB[:, 0], 8, 8),
        Direction(YCBCR_TO_RGB[:, 1], 8, 16),
        Direction(YCBCR_TO_RGB[:, 2], 16, 16),
    ]
    found, _ = slopes_of(original, decoded, directions)
    shapes = [c.shape for c in found.curvatures]
    assert shapes == [(6 * 4, 2), (6 * 2, 2), (3 * 2, 2)]
    assert all((c > 0).all() and np.isfinite(c).all() for c in found.curvatures)


@pytest.mark.parametrize(
    "height, width", [(2, 3), (3, 2), (4, 5), (5, 4), (8, 8), (17, 33), (33, 16)]
)
def test_adjoints_of_the_pyramid(height, width):
    rng = np.random.default_rng(height)
    fine = rng.standard_normal((2, height, width), np.float32)
    reduced = pyramid.reduce(fine)
    np.testing.assert_allclose(reduced, reference.reduce(fine), atol=1e-6)
    coarse = rng.standard_normal(reduced.shape, np.float32)
    back = np.zeros_like(fine)
    pyramid.add_reduce_adjoint(coarse, back)
    assert (reduced * coarse).sum() == pytest.approx((fine * back).sum(), abs=1e-4)
    if min(reduced.shape[1:]) > 1:
        expanded, down = np.zeros_like(fine), np.zeros_like(coarse)
        pyramid.subtract_expanded(coarse, expanded)
        pyramid.subtract_expand_adjoint(fine, down)
        wanted = reference.expand(coarse, height, width)
        np.testing.assert_allclose(-expanded, wanted, atol=1e-5)
        found = (expanded * fine).sum()
        assert found == pytest.approx((coarse * down).sum(), abs=1e-4)
