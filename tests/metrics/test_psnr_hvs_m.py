"""Tests of PSNR-HVS-M: the published implementation, known numbers, odd sizes."""

import numpy as np
import pytest

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.image_metrics import ImageMetrics

METRIC = registry.get("psnr-hvs-m")


def value(original, decoded):
    return ImageMetrics(original, [METRIC]).compare(decoded)[METRIC.key]


def coded(image, quality):
    return jpeg_file.decode(jpeg_file.encode_rgb(image, quality, sampling="4:2:0"))


@pytest.mark.parametrize("quality", [3, 20, 60, 95])
@pytest.mark.parametrize("height, width", [(8, 8), (64, 48), (168, 200)])
def test_values_are_those_of_the_reference_package(
    smooth_picture, quality, height, width
):
    reference = pytest.importorskip("psnr_hvsm")
    original = smooth_picture(quality, height, width)
    decoded = coded(original, quality)
    lumas = (reference.bt601ycbcr(image)[0] for image in (original, decoded))
    _, wanted = reference.psnr_hvs_hvsm(*lumas)
    assert value(original, decoded) == pytest.approx(float(wanted), abs=1e-3)


def test_known_values(smooth_picture):
    """Returns the value of the package psnr-hvsm 0.3.0."""
    original = smooth_picture(1, 96, 120)
    found = [value(original, coded(original, quality)) for quality in (10, 50, 90)]
    assert found == pytest.approx([27.8375, 48.3500, 62.9003], abs=1e-3)


def test_incomplete_blocks_are_left_out(smooth_picture):
    original = smooth_picture(2, 23, 38)
    decoded = coded(original, 30)
    assert value(original, decoded) == value(original[:16, :32], decoded[:16, :32])


def test_a_difference_of_means_is_seen_in_full():
    gray = np.full((16, 24, 3), 100, np.uint8)
    # A step of 7 in RGB is one of 6 in luma, 16..235, at every pixel; the coefficient
    # is 48, its weight 25.735088 / 16.
    error = (48 * 25.735088 / 16) ** 2 / 64
    wanted = 10 * np.log10(255**2 / error)
    assert value(gray, gray + np.uint8(7)) == pytest.approx(wanted, abs=1e-4)


def test_what_cannot_be_seen_has_100_db(smooth_picture):
    original = smooth_picture(3, 40, 40)
    gray = np.full((8, 8, 3), 128, np.uint8)
    assert value(original, original) == value(gray, gray) == 100
    assert value(gray, gray + np.uint8([0, 0, 1])) == 100  # luma of the same level


def test_texture_masks_noise():
    rng = np.random.default_rng(5)
    noise = rng.integers(-6, 7, (64, 64, 1))
    flat = np.full((64, 64, 3), 128, np.int64)
    texture = flat + rng.integers(-60, 61, (64, 64, 1))
    values = [
        value(image.astype(np.uint8), (image + noise).astype(np.uint8))
        for image in (flat, texture)
    ]
    assert values[1] > values[0] + 5
