"""Tests of ssimulacra2_distortion: its model against the metric, files by score."""

import io

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.sampling import blocks_of
from learned_jpeg.metrics.slopes import tiling
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.metrics.ssimulacra2 import slopes as ssimulacra2_slopes
from learned_jpeg.metrics.ssimulacra2.loss import WEIGHTS
from learned_jpeg.search import passes
from learned_jpeg.search import ssimulacra2_distortion as perceptual
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.squared_error import SquaredError
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion
from tests.paths import EXAMPLE_IMAGES
from tests.search.graphics import line_art

LMBDA = 0.05


def example(height, width):
    with Image.open(EXAMPLE_IMAGES / "chelsea.png") as image:
        return np.array(image.convert("RGB"))[:height, 100 : 100 + width]


def coded_example(image, sampling, step=24):
    """With all coefficients as whole multiples of one step."""
    coded = CodedImage(image, sampling)
    for component in range(3):
        coefficients = coded.original(component)
        steps = np.full(64, step, np.float32)
        coded.replace(component, np.rint(coefficients / steps).astype(np.int16), steps)
    return coded


def check_slope(model, here, loss):
    """Checks the slope of a quadratic model against differences of a loss."""
    target, weights, coupling = model
    roots = np.sqrt(weights.astype(float))
    errors = roots * (here - target) @ coupling.T.astype(float)
    slope = 2 * roots * (errors @ coupling)
    way = np.sign(slope) * np.random.default_rng(0).random(slope.shape) / roots
    way *= 0.2 * np.sqrt(np.median(weights)) / 4
    difference = (loss(here + way) - loss(here - way)) / 2
    assert difference == pytest.approx(float((slope * way).sum()), rel=0.05)


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("sampling, mse_lmbda", [("4:4:4", 0.0), ("4:2:0", 0.01)])
def test_model_has_the_slope_of_the_weighted_sum(
    sampling, mse_lmbda, component, monkeypatch
):
    monkeypatch.setattr(perceptual, "_REACH", 1e9)
    monkeypatch.setattr(perceptual, "_CHROMA_REACH", 1.0)
    image = example(130, 150)
    coded = coded_example(image, sampling)
    original = ssimulacra2_slopes.Original(image, WEIGHTS)
    distortion = Ssimulacra2Distortion(image, LMBDA, mse_lmbda)
    if component == 2:
        distortion.quadratic_model(coded, 1, 2.0)
    model = distortion.quadratic_model(coded, component, 2.0)

    def loss(coefficients):
        moved = coded_example(image, sampling)
        moved.replace(component, coefficients.astype(np.float32))

        term = ssimulacra2_slopes.Term(original)
        size = image.shape[:2]
        (value,) = tiling.slopes([term], size, moved.decoded_rgb, ()).values
        lost = 5 * LMBDA * value
        rgb = moved.decoded_rgb().astype(float) + 128
        mse = np.square(rgb - np.moveaxis(image, -1, 0)).mean()
        return (lost + mse_lmbda * mse) * image.shape[0] * image.shape[1]

    check_slope(model, coded.coefficients(component), loss)


def test_targets_stay_near_the_original():
    image = example(96, 112)
    coded = coded_example(image, "4:2:0")
    distortion = Ssimulacra2Distortion(image, LMBDA)
    for component in (1, 2, 0):
        target = distortion.quadratic_model(coded, component, 1.0).target
        rows = slice(0, blocks_of(*coded.sizes[component])[0])
        excess = coded.clipped_excess(component, rows)
        moved = target - coded.original(component) - (0 if excess is None else excess)
        assert np.abs(moved).mean() > 0.02
        assert np.abs(moved).max() <= perceptual._REACH * 24 * 1.001


def test_weights_of_passes_are_averaged_by_their_logarithms():
    image = example(96, 112)
    rough, fine = (
        coded_example(image, "4:2:0", 40),
        coded_example(image, "4:2:0", 9),
    )
    one, other = (Ssimulacra2Distortion(image, LMBDA) for _ in range(2))
    models = one.quadratic_model(rough, 0, 1.0), other.quadratic_model(fine, 0, 1.0)
    separate = [model.weights for model in models]
    both = one.quadratic_model(fine, 0, 1.0).weights
    means = np.sqrt(separate[0].astype(float) * separate[1])
    # But for the correlations, which are those of the image at hand.
    ratios = both / means
    assert np.median(ratios) == pytest.approx(1, rel=0.2)
    np.testing.assert_allclose(ratios / ratios[:1], 1, rtol=0.01)


def files(image, distortions, sampling="4:2:0", coding="optimized"):
    """(bytes, score) of the files of several distortions."""
    scales = ssimulacra2.reference_scales(image)
    for distortion in distortions:
        found, tables = passes.search(
            image,
            distortion,
            sampling=sampling,
            entropy_coding=coding,
        )
        coded = jpeg_file.QuantizedImage(
            *(tuple(found), sampling, tables), *image.shape[:2]
        )
        data = jpeg_file.encode(coded, coding)
        decoded = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        yield len(data), ssimulacra2.score(scales, decoded)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["optimized", "standard"])
def test_files_are_smaller_at_equal_score_than_those_of_the_squared_error(coding):
    image = example(200, 240)
    sizes = dict(files(image, [Ssimulacra2Distortion(image, 0.05)], coding=coding))
    ((size, score),) = sizes.items()
    squared = [SquaredError(lm) for lm in (0.004, 0.012, 0.04, 0.12)]
    others = sorted(files(image, squared, coding=coding), key=lambda f: f[1])
    wanted = np.interp(score, [s for _, s in others], [np.log(n) for n, _ in others])
    assert others[0][1] < score < others[-1][1]
    assert size < 0.9 * np.exp(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("height, width", [(8, 8), (9, 31), (65, 17)])
def test_images_of_any_size_from_8_px(height, width):
    image = example(height, width)
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        distortion = Ssimulacra2Distortion(image, 0.1)
        ((size, score),) = files(image, [distortion], sampling)
        assert size > 100
        assert score > 30


def test_an_even_image_takes_hardly_a_byte():
    image = np.full((64, 80, 3), 137, np.uint8)
    (size, score), _ = files(image, [Ssimulacra2Distortion(image, 0.1)] * 2)
    assert score > 90
    assert size < 400


def test_line_art_is_coded_beyond_white_and_black(monkeypatch):
    """The search uses that decoders clip, which saves a third of the bytes."""
    image = line_art(96)

    def coded():
        found = passes.search(
            image,
            Ssimulacra2Distortion(image, 2.0),
            sampling="4:2:0",
            entropy_coding="optimized",
        )
        quantized = jpeg_file.QuantizedImage(
            found.planes, "4:2:0", found.qtables, *image.shape[:2]
        )
        data = jpeg_file.encode(quantized, "optimized")
        decoded = jpeg_file.decode(data)
        scales = ssimulacra2.reference_scales(image)
        return ssimulacra2.score(scales, decoded), len(data)

    score, size = coded()
    monkeypatch.setattr(
        CodedImage, "clipped_excess", lambda self, component, rows: None
    )
    old_score, old_size = coded()
    assert score > old_score + 5 and size < 1.05 * old_size
