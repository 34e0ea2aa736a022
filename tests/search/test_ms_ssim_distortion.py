"""Tests of ms_ssim_distortion: its quadratic model against the metric itself."""

import numpy as np
import pytest

from learned_jpeg.jpeg.bands import choose_bands
from learned_jpeg.jpeg.huffman import code_lengths
from learned_jpeg.jpeg.scans import coded_bits
from learned_jpeg.jpeg.standard import ZIGZAG
from learned_jpeg.metrics import ms_ssim
from learned_jpeg.search import passes
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.ms_ssim_distortion import MsSsimDistortion
from learned_jpeg.search.squared_error import SquaredError


def value_of(image, coded):
    return ms_ssim.slopes(image, coded.decoded_rgb).value


@pytest.mark.parametrize("component", [0, 1])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_model_has_the_slope_and_the_curvature_of_the_metric(
    sampling, component, smooth_picture
):
    image = smooth_picture(0, 208, 192)
    lmbda = 10.0
    distortion = MsSsimDistortion(image, lmbda)
    coded = CodedImage(image, sampling)
    start = np.rint(coded.original(component) / 12) * 12
    coded.replace(component, start.astype(np.float32))

    def loss(coefficients):
        coded.replace(component, coefficients.astype(np.float32))
        value = value_of(image, coded)
        coded.replace(component, start.astype(np.float32))
        return lmbda * (1 - value) * image.shape[0] * image.shape[1]

    target, weights, _ = distortion.quadratic_model(coded, component, 1.0)
    predicted_slope = 2 * weights * (start - target)
    rng = np.random.default_rng(0)
    way = rng.choice([-1.0, 1.0], start.shape) * np.sqrt(1 / weights)
    up, here, down = (loss(start + step * way) for step in (0.2, 0, -0.2))
    slope = float((predicted_slope * way).sum())
    assert (up - down) / 0.4 == pytest.approx(slope, rel=0.05, abs=0.02 * way.size)
    curvature = (up - 2 * here + down) / (2 * 0.2**2)
    assert curvature == pytest.approx(float((weights * way**2).sum()), rel=0.35)


def scan_bits(counts):
    return coded_bits(counts, code_lengths(counts))


@pytest.mark.slow
def test_search_for_ms_ssim_beats_that_for_mse_by_its_own_cost(smooth_picture):
    image = smooth_picture(5, 176, 184)

    def loss_and_bits(distortion):
        found, tables = passes.search(
            image, distortion, sampling="4:2:0", entropy_coding="optimized"
        )
        coded = CodedImage(image, "4:2:0")
        bits = 0
        for component, plane in enumerate(found):
            steps = tables[min(component, 1)].ravel()[ZIGZAG]
            own = np.ascontiguousarray(plane.reshape(-1, 64)[:, ZIGZAG])
            coded.replace(component, (own * steps).astype(np.float32))
            bits += sum(scan_bits(band.counts) for band in choose_bands(own))
        return 1 - value_of(image, coded), bits

    loss, bits = loss_and_bits(MsSsimDistortion(image, 30.0))
    curve = [loss_and_bits(SquaredError(lm)) for lm in (0.002, 0.005, 0.02, 0.1)]
    others = np.interp(
        np.log(bits), *zip(*[(np.log(b), x) for x, b in curve], strict=True)
    )
    assert loss < 0.95 * others


def test_mixed_distortion_adds_the_squared_error(smooth_picture):
    image = smooth_picture(0, 176, 176)
    coded = CodedImage(image, "4:2:0")
    coded.replace(0, np.rint(coded.original(0) / 20).astype(np.float32) * 20)
    plain = MsSsimDistortion(image, 5.0).quadratic_model(coded, 0, 1.0)
    mixed = MsSsimDistortion(image, 5.0, 0.001).quadratic_model(coded, 0, 1.0)
    squared = SquaredError(0.001).quadratic_model(coded, 0, 1.0)
    np.testing.assert_allclose(
        mixed.weights, plain.weights + squared.weights, rtol=1e-5
    )
    here = coded.coefficients(0)
    slopes = [2 * f.weights * (here - f.target) for f in (plain, squared, mixed)]
    np.testing.assert_allclose(slopes[2], slopes[0] + slopes[1], rtol=1e-3, atol=1e-4)


def test_later_passes_move_less_far(smooth_picture):
    image = smooth_picture(0, 176, 176)
    coded = CodedImage(image, "4:4:4")
    coded.replace(0, np.rint(coded.original(0) / 20).astype(np.float32) * 20)
    distortion = MsSsimDistortion(image, 5.0)
    first, last = (distortion.quadratic_model(coded, 0, d) for d in (1.0, 4.0))
    np.testing.assert_allclose(last.weights, 4 * first.weights, rtol=1e-5)
    here = coded.coefficients(0)
    np.testing.assert_allclose(4 * (last.target - here), first.target - here, atol=2e-3)
