"""Tests of Encoder: qualities, lambdas, targets, samples of large images."""

import logging

import numpy as np
import pytest
from PIL import Image

import google_baseline
from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.models.settings import ModelSettings
from learned_jpeg.search.targets import Target
from tests.commands.helpers import photograph
from tests.paths import EXAMPLE_IMAGES
from tests.plain_jpeg import pillow_jpeg, score_of
from tests.tables_models import asymmetric_tables, write_tables_model


def encoded(image, models=None, **options):
    models = [standard_tables()] if models is None else models
    return Encoder(EncodeOptions(**options), models).encode(image)


# Qualities


class Identity:
    """Stands for a filter that leaves images as they are."""

    def __init__(self, name, dtype):
        pass

    def __call__(self, x, training):
        return x


@pytest.mark.parametrize(
    "quality, tune, label",
    [(None, None, "quality 75"), (40, None, "quality 40"), (60, "psnr", "quality 60")],
)
def test_a_file_of_a_search_looks_like_jpeg_of_its_quality(quality, tune, label):
    image = photograph(96, 120)
    data, setting, score = encoded(image, quality=quality, tune=tune)
    assert setting == label
    assert score == pytest.approx(score_of(image, data), abs=1e-4)
    assert jpeg_file.read_coefficients(data).sampling == "4:2:0"
    wanted = score_of(image, pillow_jpeg(image, quality or 75))
    assert score_of(image, data) == pytest.approx(wanted, abs=1.01)


def test_quality_means_the_same_behind_a_filter(monkeypatch):
    """Every model with the tables of a quality, at its own default as well."""
    monkeypatch.setattr(google_baseline, "ResConvLayer", Identity)
    image = photograph(96, 120)
    settings = ModelSettings("google_baseline")
    baseline = google_baseline.GoogleBaseline
    with TrainedModel(settings, None, baseline, Networks("float32")) as model:
        data = encoded(image, [model], quality=40)
        assert data == encoded(image, quality=40)
        assert encoded(image, [model]) == encoded(image, quality=25)


def test_quality_is_that_of_the_tables_without_a_search():
    image = photograph(40, 56)
    for quality in (5, 80):
        data, setting, _ = encoded(image, quantization="round", quality=quality)
        found = jpeg_file.read_coefficients(data)
        plain = jpeg_file.read_coefficients(pillow_jpeg(image, quality))
        np.testing.assert_array_equal(found.qtables, plain.qtables)
        assert (setting, found.sampling) == (f"quality {quality}", "4:4:4")


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 7), (8, 8), (33, 17)])
def test_images_of_any_size_are_encoded(size):
    image = photograph(*size)
    decoded = jpeg_file.decode(encoded(image, quality=90).data)
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(float) - image).mean() < 20


def test_a_higher_quality_takes_more_bytes():
    image = photograph(64, 72)
    qualities = (1, 30, 60, 90, 100)
    sizes = [len(encoded(image, quality=q, tune="psnr").data) for q in qualities]
    assert sizes == sorted(set(sizes))


def test_effort_is_told_and_changes_the_file():
    image = photograph(64, 72)
    files = {}
    for effort, label in ((1, ", effort 1"), (2, ""), (3, ", effort 3")):
        data, setting, _ = encoded(image, lmbda=0.01, tune="psnr", effort=effort)
        assert setting == f"lambda 0.01{label}"
        files[effort] = data
    assert len(set(files.values())) == 3


@pytest.mark.slow
def test_files_of_photographs_are_smaller_than_jpeg_that_looks_alike():
    ratios = []
    for path in sorted(EXAMPLE_IMAGES.glob("*.png"))[:3]:
        with Image.open(path) as opened:
            image = np.array(opened.convert("RGB"))[60:252, 40:232]
        jpeg = pillow_jpeg(image, 75)
        data = encoded(image, quality=75).data
        assert abs(score_of(image, data) - score_of(image, jpeg)) <= 1.01
        ratios.append(len(data) / len(jpeg))
    assert np.mean(ratios) < 0.9


# Lambdas and targets


def test_lambda_weighs_bits_and_is_told():
    image = photograph(64, 72)
    sizes = []
    for lmbda in (0.001, 0.01, 0.1):
        data, setting, _ = encoded(image, lmbda=lmbda, tune="psnr")
        codec = standard_tables().codec(EncodeOptions(tune="psnr"))
        assert data == codec.encode(image, 75, lmbda)
        assert setting == f"lambda {lmbda}"
        sizes.append(len(data))
    assert sizes == sorted(set(sizes))


def test_metadata_count_in_a_target_of_bytes():
    image = photograph(64, 72)
    for options in ({"tune": "psnr"}, {"quantization": "round"}):
        encoder = Encoder(
            EncodeOptions(target=Target("bytes", 2500), **options), [standard_tables()]
        )
        bare = encoder.encode(image)
        full = encoder.encode(image, embed=lambda data: data + bytes(700))
        assert len(bare.data) <= 2500 and len(full.data) <= 2500
        assert len(full.data[:-700]) < len(bare.data)


def run_of_models(folder, lambdas):
    """Models of a run, as `compress` opens them for a target."""
    models = []
    for number, lmbda in enumerate(lambdas):
        name = folder / f"lambda_{number}"
        tables = asymmetric_tables(30 - 9 * number)
        write_tables_model(name, tables, rate_model="entropy", lmbda=lmbda)
        models.append(TrainedModel.load(str(name)))
    return models


def test_a_target_chooses_among_models(tmp_path):
    image = photograph(64, 72)
    models = run_of_models(tmp_path, (0.003, 0.01, 0.03))
    files = [encoded(image, [m], quantization="round").data for m in models]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes)
    target = Target("bytes", sizes[1] + 1)
    data, setting, _ = encoded(image, models, quantization="round", target=target)
    assert (data, setting) == (files[1], "lambda_1")
    target = Target("bytes", sizes[0] - 1)
    with pytest.raises(UserError, match="cannot be reached"):
        encoded(image, models, quantization="round", target=target)


def test_a_search_takes_the_model_of_the_nearest_lambda(tmp_path):
    image = photograph(64, 72)
    models = run_of_models(tmp_path, (0.003, 0.01, 0.03))
    target = Target("psnr", 25)
    data, setting, _ = encoded(image, models, tune="model", target=target)
    label, lmbda = setting.replace("lambda ", "").split(", ")
    distances = [abs(np.log(float(lmbda) / n)) for n in (0.003, 0.01, 0.03)]
    assert label == f"lambda_{np.argmin(distances)}"
    decoded = jpeg_file.decode(data)
    mse = np.mean((decoded.astype(float) - image) ** 2)
    assert 25 <= 10 * np.log10(255**2 / mse) <= 25.3


def test_a_target_that_is_passed_by_far_is_logged(caplog):
    caplog.set_level(logging.WARNING)
    image = np.full((40, 40, 3), 90, np.uint8)
    encoder = Encoder(EncodeOptions(target=Target("psnr", 40)), [standard_tables()])
    encoder.encode(image, name="blank.png")
    assert caplog.messages == [
        "blank.png: --target_psnr 40.000 dB: the nearest is inf dB"
    ]


def test_a_quality_for_a_model_with_tables_of_its_own_is_refused(tmp_path):
    models = run_of_models(tmp_path, (0.01,))
    for quantization in ("round", "search", "mozjpeg"):
        with pytest.raises(UserError, match="quality: the model has tables of its own"):
            encoded(photograph(8, 8), models, quantization=quantization, quality=75)
