"""Tests of visual_distortion: its model against both metrics, files by CVVDP."""

import numpy as np
import pytest

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.cvvdp import slopes as cvvdp_slopes
from learned_jpeg.metrics.slopes import tiling
from learned_jpeg.metrics.ssimulacra2 import slopes as ssimulacra2_slopes
from learned_jpeg.metrics.ssimulacra2.loss import POINTS, WEIGHTS
from learned_jpeg.search import passes
from learned_jpeg.search import ssimulacra2_distortion as perceptual
from learned_jpeg.search import visual_distortion as visual
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion
from learned_jpeg.search.visual_distortion import VisualDistortion
from tests.search.test_ssimulacra2_distortion import (
    check_slope,
    coded_example,
    example,
)

LMBDA = 0.05


def values_of(coded, lost, contrast):
    """Returns SSIMULACRA2's weighted sum and CVVDP's loss of a coded image."""
    terms = [ssimulacra2_slopes.Term(lost), cvvdp_slopes.Term(contrast)]
    return tiling.slopes(terms, coded.image.shape[:2], coded.decoded_rgb, ()).values


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_model_has_the_slope_of_both_metrics_and_the_squared_error(
    sampling, component, monkeypatch
):
    monkeypatch.setattr(perceptual, "_REACH", 1e9)
    monkeypatch.setattr(perceptual, "_CHROMA_REACH", 1.0)
    # Far from white and black, where decoders clip.
    image = (example(130, 150) // 2 + 60).astype(np.uint8)
    coded = coded_example(image, sampling)
    lost = ssimulacra2_slopes.Original(image, WEIGHTS)
    contrast = cvvdp_slopes.Original(image)
    distortion = VisualDistortion(image, LMBDA)
    for earlier in {0: (1, 2), 1: (), 2: (1,)}[component]:
        distortion.quadratic_model(coded, earlier, 1.5)
    model = distortion.quadratic_model(coded, component, 1.5)

    def loss(coefficients):
        moved = coded_example(image, sampling)
        moved.replace(component, coefficients.astype(np.float32))
        points, jods = values_of(moved, lost, contrast)
        points = POINTS * points + 30 * jods
        rgb = moved.decoded_rgb().astype(float) + 128
        points += 0.03 * np.square(rgb - np.moveaxis(image, -1, 0)).mean()
        return 0.75 * LMBDA * points * image.shape[0] * image.shape[1]

    check_slope(model, coded.coefficients(component), loss)


def files(image, distortions):
    """(bytes, CVVDP) of the files of several distortions."""
    metric = registry.get("cvvdp")
    reference = metric.prepare(image)
    for distortion in distortions:
        found = passes.search(
            image, distortion, sampling="4:2:0", entropy_coding="optimized"
        )
        quantized = jpeg_file.QuantizedImage(
            found.planes, "4:2:0", found.qtables, *image.shape[:2]
        )
        data = jpeg_file.encode(quantized, "optimized")
        yield len(data), metric.compare(reference, jpeg_file.decode(data))


def test_cvvdp_is_better_at_equal_bytes_than_by_ssimulacra2_alone():
    image = example(160, 176)
    ((size, jod),) = files(image, [VisualDistortion(image, 0.02)])
    others = [Ssimulacra2Distortion(image, lmbda) for lmbda in (0.012, 0.02, 0.033)]
    sizes, jods = zip(*files(image, others), strict=True)
    assert sizes[0] < size < sizes[2]
    assert jod > np.interp(size, sizes, jods) + 0.03


@pytest.mark.parametrize("height, width", [(8, 8), (9, 31), (17, 40)])
def test_images_of_any_size_from_8_px(height, width):
    image = example(height, width)
    ((size, jod),) = files(image, [VisualDistortion(image, 0.1)])
    assert size > 100
    assert np.isnan(jod) or jod > 8


def test_every_component_is_linearised_once_a_pass(monkeypatch):
    image = example(40, 48)
    calls = []
    linearise = visual.VisualDistortion._linearise

    def counted(self, coded, components, wants_gradients=True):
        calls.append((components, wants_gradients))
        linearise(self, coded, components, wants_gradients)

    monkeypatch.setattr(visual.VisualDistortion, "_linearise", counted)
    list(files(image, [VisualDistortion(image, 0.05)]))
    assert calls == [((0, 1, 2), False)] * 2 + [((1, 2, 0), True)] * 5


def test_first_steps_are_near_those_that_follow_from_a_first_quantization():
    image = example(128, 144)
    distortion, coded = VisualDistortion(image, 0.05), CodedImage(image, "4:2:0")
    first = passes.first_steps(coded, distortion)
    for component in range(3):
        coefficients = coded.original(component)
        steps = first[min(component, 1)].astype(np.float32)
        coded.replace(component, np.rint(coefficients / steps).astype(np.int16), steps)
    second = passes.first_steps(coded, distortion)
    # Without CVVDP the first ones are up to 1.4 times as large.
    np.testing.assert_allclose(first[0, 1:15], second[0, 1:15], rtol=0.15)


@pytest.mark.parametrize("factor", [0.25, 4])
def test_a_lambda_that_is_corrected_within_a_search_gives_the_files_of_that_lambda(
    factor,
):
    image = example(120, 136)
    factors = iter([factor])
    found = [
        passes.search(
            image,
            VisualDistortion(image, lmbda),
            sampling="4:2:0",
            entropy_coding="optimized",
            steer=steer,
        )
        for lmbda, steer in (
            (0.03 / factor, lambda result: next(factors, None)),
            (0.03, None),
        )
    ]
    steered, wanted = (sum(np.count_nonzero(p) for p in f.planes) for f in found)
    assert steered == pytest.approx(wanted, rel=0.02)
