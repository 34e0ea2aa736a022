"""Tests of CVVDP: values of its authors' package, and its stages in float64."""

import csv
import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.compiled import njit
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.cvvdp import powers, score
from learned_jpeg.metrics.cvvdp.pyramid import reduce_as_package
from learned_jpeg.metrics.image_metrics import ImageMetrics
from tests.metrics import cvvdp_reference as reference
from tests.paths import EXAMPLE_IMAGES, SHARED
from tests.synthetic import noisy_pair

GOLDEN = SHARED / "anchors" / "cvvdp_golden.csv"

# Scores of the package cvvdp 0.5.7, from `cvvdp(display_name="standard_4k")` and its
# `predict(decoded, original, dim_order="HWC")`, by the arguments of `noisy_pair`.
PACKAGE_SCORES = {
    (1, 4, 4, 3, 12): 9.36976,
    (2, 5, 300, 3, 12): 9.77330,
    (3, 7, 40, 1, 40): 9.48562,
    (4, 13, 14, 3, 12): 9.78239,
    (5, 33, 64, 2, 5): 9.97718,
    (6, 64, 33, 3, 30): 9.16988,
    (7, 65, 97, 3, 12): 9.85019,
    (8, 128, 96, 1, 4): 9.99598,
    (9, 257, 130, 5, 60): 7.18744,
    (10, 520, 517, 4, 20): 9.40490,
}
# The same of `squares`, by their colours.
PACKAGE_SCORES_OF_SQUARES = {
    ((0, 0, 0), (255, 255, 255)): 2.71277,
    ((255, 255, 255), (0, 0, 0)): 5.24814,
    ((250, 250, 250), (190, 190, 190)): 6.66683,
    ((0, 0, 255), (0, 0, 0)): 5.65329,
    ((60, 90, 90), (60, 100, 90)): 8.59154,
}


def value(original, decoded):
    return score.score(score.prepare(original), decoded)


def squares(colour, other):
    """Returns an image of one colour, and a copy with a square of another."""
    original = np.full((70, 65, 3), colour, np.uint8)
    decoded = original.copy()
    decoded[20:40, 30:50] = other
    return original, decoded


@pytest.mark.parametrize("arguments", PACKAGE_SCORES)
def test_scores_are_those_of_the_package(arguments):
    wanted = PACKAGE_SCORES[arguments]
    assert value(*noisy_pair(*arguments)) == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize("colours", PACKAGE_SCORES_OF_SQUARES)
def test_scores_of_flat_colours_are_those_of_the_package(colours):
    wanted = PACKAGE_SCORES_OF_SQUARES[colours]
    assert value(*squares(*colours)) == pytest.approx(wanted, abs=5e-5)


def test_score_of_a_gray_image_is_that_of_the_package():
    original, decoded = (
        np.repeat(image[..., :1], 3, 2) for image in noisy_pair(11, 48, 61)
    )
    assert value(original, decoded) == pytest.approx(9.52294, abs=5e-5)


def test_the_score_is_not_symmetric():
    original, decoded = noisy_pair(7, 65, 97)
    assert value(decoded, original) == pytest.approx(9.84994, abs=5e-5)
    assert value(original, decoded) == pytest.approx(9.85019, abs=5e-5)


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.exists(), reason=f"no scores of the package in {GOLDEN}")
def test_scores_of_photographs_are_those_of_the_package():
    with open(GOLDEN, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        folder = (
            SHARED / "KODAK" if row["image"].startswith("kodim") else EXAMPLE_IMAGES
        )
        original, data = Image.open(folder / row["image"]), io.BytesIO()
        quality, subsampling = int(row["pillow_quality"]), row["subsampling"]
        original.save(data, "JPEG", quality=quality, subsampling=subsampling)
        found = value(np.asarray(original), np.asarray(Image.open(data)))
        wanted = float(row["cvvdp_jod_standard_4k"])
        assert found == pytest.approx(wanted, abs=2e-4)
    assert len(rows) == 56


@pytest.mark.parametrize(
    "height, width", [(4, 5), (31, 33), (30, 41), (41, 30), (64, 52)]
)
def test_score_equals_the_metric_in_float64(height, width):
    original, decoded = noisy_pair(height, height, width, noise=25)
    wanted = reference.score(original, decoded)
    assert value(original, decoded) == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize(
    "height, width", [(4, 4), (4, 5), (5, 4), (5, 7), (16, 9), (33, 40)]
)
def test_a_reduced_plane_is_blurred_and_has_every_second_pixel(height, width):
    planes = np.random.default_rng(0).random((2, height, width), np.float32)
    found = reduce_as_package(planes)
    np.testing.assert_allclose(found, reference.reduce_as_package(planes), rtol=1e-5)


def test_bands_hold_perceived_contrast():
    original, _ = noisy_pair(4, 37, 50)
    bands = score.prepare(original).bands
    *wanted, _ = reference.bands(original)
    assert len(bands) == len(wanted) == 4
    for number, (band, (contrast, luminance, factor)) in enumerate(
        zip(bands, wanted, strict=True)
    ):
        gain = reference.gain(luminance, number) * factor
        np.testing.assert_allclose(band.gain, gain, rtol=2e-5)
        np.testing.assert_allclose(band.contrast, contrast * gain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("exponent", [0.3, 1, 2.264355, 3.680771])
def test_powers_are_exact_in_single_precision(exponent):
    @njit
    def raise_all(bases, exponent, raised):
        for i in range(bases.size):
            raised[i] = powers.power(bases[i], exponent)

    bases = np.geomspace(1e-5, 1e5, 1001).astype(np.float32)
    raised = np.empty_like(bases)
    raise_all(bases, np.float32(exponent), raised)
    wanted = bases.astype(float) ** float(np.float32(exponent))
    np.testing.assert_allclose(raised, wanted, rtol=1e-5)


@pytest.mark.parametrize("height, width", [(4, 4), (61, 40), (130, 257)])
def test_equal_images_have_exactly_10(height, width):
    noise = np.random.default_rng(6).integers(0, 256, (height, width, 3), np.uint8)
    smooth, _ = noisy_pair(6, height, width)
    for image in (noise, smooth, 0 * noise, 0 * noise - 1):
        assert value(image, image.copy()) == 10


def test_a_lower_quality_has_a_lower_score():
    original, _ = noisy_pair(7, 96, 96)
    reference_image = score.prepare(original)
    scores = []
    for quality in (2, 5, 10, 20, 40, 60, 80, 90):
        data = io.BytesIO()
        Image.fromarray(original).save(data, "JPEG", quality=quality)
        scores.append(score.score(reference_image, np.asarray(Image.open(data))))
    assert np.all(np.diff(scores) > 0) and 10 > scores[-1] > scores[0] + 0.5


def test_contrast_masks_noise():
    flat = np.full((64, 64, 3), 128, np.int64)
    texture = flat + np.random.default_rng(5).integers(-60, 61, (64, 64, 1))
    y, x = np.mgrid[:64, :64]
    noise = (12 * np.sin(x / 2) * np.sin(y / 2)).astype(np.int64)[..., np.newaxis]
    scores = [
        value(image.astype(np.uint8), (image + noise).astype(np.uint8))
        for image in (flat, texture)
    ]
    assert scores[1] > scores[0] + 0.5


def test_threads_get_the_same_score_bit_for_bit():
    pairs = [noisy_pair(i, 60 + 30 * i, 160 - 20 * i) for i in range(6)]
    serial = [value(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pair: value(*pair), pairs * 4)) == serial * 4


def test_any_layout_of_the_pixels_has_the_same_score():
    original, decoded = noisy_pair(9, 50, 40)
    decoded.flags.writeable = False
    wanted = value(original, decoded)
    mirrored = decoded[:, ::-1].copy()[:, ::-1]
    assert value(original, mirrored) == wanted
    assert value(original, np.asfortranarray(decoded)) == wanted


def test_an_image_of_another_size_or_type_is_refused():
    original, decoded = noisy_pair(10, 20, 30)
    prepared = score.prepare(original)
    with pytest.raises(ValueError, match="size"):
        score.score(prepared, decoded[:19])
    with pytest.raises(ValueError, match="uint8"):
        score.score(prepared, decoded.astype(np.int64))
    with pytest.raises(ValueError, match="uint8"):
        score.prepare(original / np.float32(255))
    with pytest.raises(ValueError, match="below 4 px: 30x3"):
        score.prepare(original[:3])


def test_an_image_below_4_px_has_no_score():
    metric = registry.get("cvvdp")
    for height, width in ((3, 30), (30, 3), (1, 1)):
        original, decoded = noisy_pair(1, height, width)
        found = ImageMetrics(original, [metric]).compare(decoded)
        assert math.isnan(found[metric.key])
