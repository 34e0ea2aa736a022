"""Tests of `compress` without a model: the default command, its quality."""

import io

import numpy as np
import pytest
from PIL import Image

from encoding import calibration
from encoding.codec import Quantization
from encoding.codecs import Codecs
from encoding.search import DEFAULT_TUNE
from jpeg import TUNES
from jpeg import file as jpeg_file
from ljpeg_PIL import StandardJPEG
from metrics import ssimulacra2
from tests.encoding.helpers import photograph, run_ljpeg, save_png
from tests.paths import EXAMPLE_IMAGES


@pytest.mark.parametrize("quality", [None, 40])
def test_without_flags_the_file_is_that_of_the_search(tmp_path, quality):
    path = save_png(tmp_path / "a.png", 40, 56)
    flags = () if quality is None else ("--quality", quality)
    assert run_ljpeg(path, *flags) == 0
    lmbda = calibration.lambda_of_quality(quality or 75, DEFAULT_TUNE)
    how = Quantization("rdoq", "optimized", 0, "4:2:0", DEFAULT_TUNE)
    with Codecs(quantization=how).make(StandardJPEG) as codec:
        # No tables are its start, so that this quality makes no difference.
        quantized = codec.quantize(photograph(40, 56), 10, lmbda=lmbda)
    written = (tmp_path / "a.jpg").read_bytes()
    assert written == jpeg_file.encode(quantized, "optimized")


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 7), (8, 8), (33, 17)])
def test_pictures_of_any_size_are_compressed(tmp_path, size):
    path = save_png(tmp_path / "a.png", *size)
    assert run_ljpeg(path, "--quality", 90) == 0
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.height, image.width) == size
        assert np.abs(np.array(image, float) - photograph(*size)).mean() < 20


@pytest.mark.parametrize("tune", TUNES[1:])
def test_lambda_rises_with_the_quality(tune):
    lambdas = [calibration.lambda_of_quality(q, tune) for q in range(1, 101)]
    assert np.all(np.diff(lambdas) >= 0) and lambdas[0] > 0
    assert lambdas[30] < lambdas[60] < lambdas[90]


@pytest.mark.parametrize("quality", [30, 75, 90])
def test_files_of_a_quality_look_like_jpeg_of_that_number(quality, tmp_path):
    """On the five example images; within what five are sure of."""
    differences, sizes = [], []
    for path in sorted(EXAMPLE_IMAGES.glob("*.png")):
        with Image.open(path) as image:
            picture = np.array(image.convert("RGB"))[60:252, 40:232]
        Image.fromarray(picture).save(tmp_path / "a.png")
        assert run_ljpeg(tmp_path / "a.png", "--quality", quality, "-f") == 0
        buffer = io.BytesIO()
        options = {"quality": quality, "subsampling": "4:2:0", "optimize": True}
        Image.fromarray(picture).save(buffer, "JPEG", **options)
        scales = ssimulacra2.reference_scales(picture)
        scores = [
            ssimulacra2.score(scales, jpeg_file.decode(data))
            for data in ((tmp_path / "a.jpg").read_bytes(), buffer.getvalue())
        ]
        differences.append(scores[0] - scores[1])
        sizes.append((tmp_path / "a.jpg").stat().st_size / len(buffer.getvalue()))
    assert abs(np.mean(differences)) < 4
    assert np.mean(sizes) < 0.95
