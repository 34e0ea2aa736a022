"""Tests of `compress` without a model: the default command, its quality."""

import io

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.codec import settings
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from tests.commands.helpers import photograph, run_ljpeg, save_png
from tests.paths import EXAMPLE_IMAGES


def score_of(original, data):
    scales = ssimulacra2.reference_scales(original)
    return ssimulacra2.score(scales, jpeg_file.decode(data))


def pillow_jpeg(picture, quality):
    buffer = io.BytesIO()
    options = {"quality": quality, "subsampling": "4:2:0", "optimize": True}
    Image.fromarray(picture).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [None, 40])
def test_without_a_model_a_file_looks_like_jpeg_of_its_quality(tmp_path, quality):
    picture, path = photograph(96, 120), save_png(tmp_path / "a.png", 96, 120)
    flags = () if quality is None else ("--quality", quality)
    assert run_ljpeg(path, *flags) == 0
    data = (tmp_path / "a.jpg").read_bytes()
    assert jpeg_file.read_coefficients(data).sampling == "4:2:0"
    wanted = score_of(picture, pillow_jpeg(picture, quality or 75))
    assert score_of(picture, data) == pytest.approx(wanted, abs=1.01)


def test_a_large_picture_is_coded_by_the_lambda_of_a_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_SAMPLE_SIDE", 48)
    picture, path = photograph(192, 208), save_png(tmp_path / "a.png", 192, 208)
    sample = settings.sample_of(picture)
    assert sample.shape == (96, 96, 3)
    np.testing.assert_array_equal(sample[:48, 48:], picture[24:72, 132:180])
    assert run_ljpeg(path, "--quality", 60) == 0
    wanted = score_of(picture, pillow_jpeg(picture, 60))
    found = score_of(picture, (tmp_path / "a.jpg").read_bytes())
    assert found == pytest.approx(wanted, abs=4)


@pytest.mark.parametrize("size", [(383, 384), (700, 700), (100, 60_000)])
def test_other_pictures_stand_for_themselves(size):
    picture = np.zeros((*size, 3), np.uint8)
    assert settings.sample_of(picture) is picture


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 7), (8, 8), (33, 17)])
def test_pictures_of_any_size_are_compressed(tmp_path, size):
    path = save_png(tmp_path / "a.png", *size)
    assert run_ljpeg(path, "--quality", 90) == 0
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.height, image.width) == size
        assert np.abs(np.array(image, float) - photograph(*size)).mean() < 20


def test_a_higher_quality_takes_more_bytes(tmp_path):
    path, sizes = save_png(tmp_path / "a.png", 64, 72), []
    for quality in (1, 30, 60, 90, 100):
        argv = ("--quality", quality, "-f", "--tune", "psnr")
        assert run_ljpeg(path, *argv) == 0
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_files_of_photographs_are_smaller_than_jpeg_that_looks_alike(tmp_path):
    ratios = []
    for path in sorted(EXAMPLE_IMAGES.glob("*.png"))[:3]:
        with Image.open(path) as image:
            picture = np.array(image.convert("RGB"))[60:252, 40:232]
        Image.fromarray(picture).save(tmp_path / "a.png")
        assert run_ljpeg(tmp_path / "a.png", "--quality", 75, "-f") == 0
        jpeg = pillow_jpeg(picture, 75)
        data = (tmp_path / "a.jpg").read_bytes()
        assert abs(score_of(picture, data) - score_of(picture, jpeg)) <= 1.01
        ratios.append(len(data) / len(jpeg))
    assert np.mean(ratios) < 0.9
