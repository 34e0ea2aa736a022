"""Gradient of SSIMULACRA2 by differences of the metric, curvature by random errors."""

import numpy as np
import pytest
from scipy import ndimage

from learned_jpeg.common import threads
from learned_jpeg.jpeg.standard import YCBCR_TO_RGB
from learned_jpeg.metrics.slopes import tiling
from learned_jpeg.metrics.slopes.tiling import Direction
from learned_jpeg.metrics.ssimulacra2 import loss
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.metrics.ssimulacra2 import slopes as ssimulacra2_slopes
from learned_jpeg.metrics.ssimulacra2 import window as ssimulacra2_window
from tests.metrics import ssimulacra2_references as references
from tests.metrics.helpers import (
    ALL_WEIGHTS,
    CHANNELS,
    coded_example,
    shown,
    slopes_of,
    value_of,
)


def test_value_is_the_sum_that_the_score_is_taken_of():
    original, decoded = coded_example(131, 150)
    value = value_of(original, shown(decoded), ssimulacra2.WEIGHTS)
    wanted = references.score(original, decoded, references.EXACT)
    assert ssimulacra2._to_score(value) == pytest.approx(wanted, abs=0.001)


def test_equal_pictures_have_no_error():
    original, _ = coded_example(64, 72)
    found, gradients = slopes_of(original, shown(original), directions=CHANNELS)
    assert found.values[0] == pytest.approx(0, abs=0.02)
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize("height, width", [(129, 150), (128, 128), (40, 21)])
def test_gradient_is_that_of_the_value(height, width):
    original, decoded = coded_example(height, width)
    planes = shown(decoded)
    _, gradient = slopes_of(original, planes, directions=CHANNELS)
    rng = np.random.default_rng(0)
    ways = [
        np.sign(gradient) * rng.random(gradient.shape),
        np.sign(ndimage.gaussian_filter(gradient, (0, 5, 5))),
    ]
    edges = np.zeros(gradient.shape)
    edges[:, -1], edges[..., -1] = gradient[:, -1], gradient[..., -1]
    for way in [*ways, np.sign(edges)]:
        way = (0.25 * way).astype(np.float32)
        up, down = (
            value_of(original, (planes + s * way).clip(-128, 127)) for s in (1, -1)
        )
        slope = float((gradient * way).sum(dtype=float))
        assert (up - down) / 2 == pytest.approx(slope, rel=0.03, abs=2e-4)


def test_gradients_are_those_of_the_directions():
    original, decoded = coded_example(72, 90)
    directions = [Direction(rgb, 8, 8) for rgb in YCBCR_TO_RGB.T]
    by_channel, by_component = (
        slopes_of(original, shown(decoded), directions=d)[1]
        for d in (CHANNELS, directions)
    )
    mixed = np.tensordot(YCBCR_TO_RGB.T, by_channel, 1)
    np.testing.assert_allclose(by_component, mixed, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("kept", [1 << 22, 0])
def test_an_image_in_strips_has_the_same_slopes(kept, monkeypatch):
    original, decoded = coded_example(330, 300)
    directions = [Direction(YCBCR_TO_RGB[:, 0], 8, 8)]
    directions += [Direction(YCBCR_TO_RGB[:, 1], 16, 16)]
    monkeypatch.setattr(tiling, "_ROWS", (512, 512))
    whole, gradients = slopes_of(original, shown(decoded), directions=directions)
    monkeypatch.setattr(tiling, "_ROWS", (64, 64))
    monkeypatch.setattr(ssimulacra2_slopes, "_KEPT_PIXELS", kept)
    assert len(tiling.strips(330, 300)) == 6
    parts, again = slopes_of(original, shown(decoded), directions=directions)
    assert parts.values == pytest.approx(whole.values, rel=1e-5)
    for found, wanted in zip(again, gradients, strict=True):
        scale = np.abs(wanted).mean()
        np.testing.assert_allclose(found / scale, wanted / scale, atol=1e-3)
    for found, wanted in zip(parts.curvatures, whole.curvatures, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_threads_change_nothing():
    original, decoded = coded_example(330, 300)
    directions = [Direction(rgb, 16, 16) for rgb in YCBCR_TO_RGB.T]
    found = []
    for count in (1, 3):
        with threads.limit(count):
            found.append(slopes_of(original, shown(decoded), directions=directions))
    (one, gradients), (other, again) = found
    assert one.values == other.values
    np.testing.assert_array_equal(gradients, again)
    np.testing.assert_array_equal(one.curvatures, other.curvatures)


@pytest.mark.parametrize("component, block", [(0, 8), (2, 16)])
def test_curvature_predicts_what_random_errors_cost(component, block):
    """Tests the smooth norms, whose second differences a quadratic model stands for."""
    original, decoded = coded_example(256, 256, quality=95)
    planes = shown(decoded).clip(-100, 100)
    weights = tuple(w * [1, 0, 0, 0, 0, 0] for w in ALL_WEIGHTS)
    rgb = YCBCR_TO_RGB[:, component]
    directions = (Direction(rgb, block, block),)
    found, _ = slopes_of(original, planes, weights, directions)
    rng = np.random.default_rng(0)
    # Errors without a mean, and of one pixel each, have energy at the finest scale.
    error = rng.choice([-1.0, 1.0], (256, 256))
    moved = [
        value_of(
            original,
            (planes + s * rgb[:, np.newaxis, np.newaxis] * error).astype(np.float32),
            weights,
        )
        for s in (1, -1)
    ]
    second = (sum(moved) - 2 * found.values[0]) / 2
    taps = ssimulacra2_window.window()
    blurred = float(np.square(np.outer(taps, taps)).sum())
    energies = np.zeros((3, 5))
    for scale in range(5):
        size = 0.25 ** (2 * scale)  # a quarter of the px, of a quarter of the variance
        mean = blurred * size
        energies[:, scale] = size - mean, mean, size - mean
    by_block = found.curvatures[0] @ energies.ravel()
    assert by_block.shape == ((256 // block) ** 2,)
    assert second == pytest.approx(by_block.sum() * block**2, rel=0.25)


def test_curvatures_of_blocks_cover_pictures_of_any_size():
    original, decoded = coded_example(121, 90)
    directions = [
        Direction(YCBCR_TO_RGB[:, 0], 8, 8),
        Direction(YCBCR_TO_RGB[:, 1], 8, 16),
        Direction(YCBCR_TO_RGB[:, 2], 16, 16),
    ]
    found, _ = slopes_of(original, shown(decoded), directions=directions)
    counts = [len(c) for c in found.curvatures]
    assert counts == [16 * 12, 16 * 6, 8 * 6]
    assert all(c.shape[1] == 3 * 4 for c in found.curvatures)  # the fifth is 7 px
    assert all((c > 0).all() and np.isfinite(c).all() for c in found.curvatures)


def test_curvature_of_a_block_is_the_mean_over_its_smaller_blocks():
    original, decoded = coded_example(128, 160)
    rgb = YCBCR_TO_RGB[:, 1]
    small, large = slopes_of(
        original,
        shown(decoded),
        directions=[Direction(rgb, 8, 8), Direction(rgb, 16, 16)],
    )[0].curvatures
    means = small.reshape(8, 2, 10, 2, -1).mean((1, 3)).reshape(80, -1)
    np.testing.assert_allclose(large, means, rtol=1e-4)


def test_nothing_coded_yet_has_a_curvature_without_errors():
    original, _ = coded_example(96, 96)
    found, _ = slopes_of(
        original,
        shown(original),
        directions=[Direction(YCBCR_TO_RGB[:, 0], 8, 8)],
        is_original=True,
    )
    (curvature,) = found.curvatures
    assert (curvature > 0).all()


def test_terms_at_fine_scales_come_on_top_of_the_metric():
    weights, fine = loss.WEIGHTS, [*loss.FINE, (), ()]
    assert [len(own) for own in weights] == [1, 3, 3, 3, 3]
    for own, bare, added in zip(weights, ssimulacra2.WEIGHTS, fine, strict=True):
        rest = own.copy()
        rest[: len(bare)] -= bare
        rest[: len(added), 0] -= added
        np.testing.assert_allclose(rest, 0, atol=1e-12)
