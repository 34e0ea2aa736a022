"""Image metrics against TensorFlow, scipy and plain formulas in float64."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image
from scipy import ndimage

import lpips_tensorflow
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel, mean_squared_error, psnr
from learned_jpeg.metrics.image_metrics import ImageMetrics, measure
from learned_jpeg.metrics.registry import METRICS
from learned_jpeg.metrics.ssimulacra2.score import reference_scales, score
from tests.paths import SHARED

KODAK = SHARED / "KODAK"


def image_pair(seed, height, width, noise=12):
    """A smooth random picture and a noisy copy of it, uint8."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (5, 5, 0))
    x = np.clip(128 + 60 * smooth / smooth.std(), 0, 255)
    y = np.clip(x + rng.normal(0, noise, x.shape), 0, 255)
    return x.round().astype(np.uint8), y.round().astype(np.uint8)


def tensorflow_ms_ssim(x, y):
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.ssim_multiscale(x[None], y[None], 255))[0]


def scipy_ms_ssim(x, y):
    """MS-SSIM in float64 with scipy's filters."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(z):
        for axis in (0, 1):
            z = ndimage.correlate1d(z, taps, axis)
        return z[5:-5, 5:-5]

    result = np.ones(3)
    x, y = x.astype(np.float64), y.astype(np.float64)
    for i, power in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mean_x, mean_y = blur(x), blur(y)
        similarity = (2 * (blur(x * y) - mean_x * mean_y) + c2) / (
            blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2 + c2
        )
        if i == 4:
            similarity *= (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        result *= np.maximum(similarity.mean((0, 1)), 0) ** power
        pad = [(0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)]
        x, y = (np.pad(z, pad, mode="symmetric") for z in (x, y))
        x, y = (
            z.reshape(z.shape[0] // 2, 2, z.shape[1] // 2, 2, 3).mean((1, 3))
            for z in (x, y)
        )
    return result.mean()


SIZES = [(161, 161), (176, 192), (163, 207), (197, 322), (331, 165)]


@pytest.mark.parametrize("height, width", SIZES)
def test_ms_ssim_equals_tensorflow_for_even_and_odd_sizes(height, width):
    x, y = image_pair(height, height, width)
    actual = measure(x, y)["ms-ssim"]
    assert actual == pytest.approx(tensorflow_ms_ssim(x, y), abs=1e-5)


@pytest.mark.parametrize("noise", [1, 8, 60])
def test_ms_ssim_equals_float64(noise):
    x, y = image_pair(noise, 189, 266, noise)
    actual = measure(x, y)["ms-ssim"]
    assert actual == pytest.approx(scipy_ms_ssim(x, y), abs=1e-6)


def test_ms_ssim_of_flat_pictures_equals_float64():
    # TensorFlow itself is off by 1e-3 here: E[x^2] - E[x]^2 cancels in float32.
    x = np.full((170, 180, 3), 250, np.uint8)
    y = x - np.uint8(1)
    y[60:90, 50:80] = 251
    actual = measure(x, y)["ms-ssim"]
    assert actual == pytest.approx(scipy_ms_ssim(x, y), abs=1e-5)


def test_negative_similarity_counts_as_zero_as_in_tensorflow():
    x, _ = image_pair(0, 170, 180)
    actual = measure(x, 255 - x)["ms-ssim"]
    assert actual == tensorflow_ms_ssim(x, 255 - x) == 0


def test_lpips_equals_that_of_lpips_tensorflow():
    x, y = image_pair(1, 90, 77)
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = [tf.constant(z[None] / np.float32(255)) for z in (x, y)]
        expected = session.run(lpips_tensorflow.lpips(*tensors))[0]
    actual = measure(x, y)["lpips"]
    assert actual == pytest.approx(expected, rel=1e-5)


def test_ssimulacra2_is_that_of_its_module():
    x, y = image_pair(8, 40, 53)
    found = measure(x, y)["ssimulacra2"]
    assert found == score(reference_scales(x), y) < 90


def test_mse_and_psnr_are_exact():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 256, (2, 37, 50, 3), dtype=np.uint8)
    difference = x.astype(object) - y.astype(object)
    expected = int(np.sum(difference * difference)) / x.size
    result = measure(x, y)
    assert result["mse"] == expected
    assert result["psnr"] == pytest.approx(-10 * math.log10(expected / 65025))


def test_mse_does_not_overflow():
    x = np.zeros((200, 400, 3), np.uint8)  # The sum is above 2^32.
    assert mean_squared_error(x, x + np.uint8(255)) == 65025
    assert psnr(65025) == 0


def test_equal_pictures_are_perfect():
    x, _ = image_pair(3, 170, 161)
    result = measure(x, x.copy())
    assert result["mse"] == 0 and result["psnr"] == math.inf and result["lpips"] == 0
    assert result["ssimulacra2"] == 100
    assert 1 - 1e-7 < result["ms-ssim"] <= 1


def test_results_are_python_floats_of_the_available_metrics():
    result = measure(*image_pair(4, 161, 161))
    assert list(result) == [metric.key for metric in registry.available()]
    assert {type(value) for value in result.values()} == {float}


@pytest.mark.parametrize(
    "height, width, defined",
    [
        (1, 1, set()),
        (7, 8, set()),
        (1000, 3, set()),
        (8, 8, {"ssimulacra2"}),
        (30, 90, {"ssimulacra2"}),
        (31, 90, {"ssimulacra2", "lpips"}),
        (160, 300, {"ssimulacra2", "lpips"}),
        (300, 160, {"ssimulacra2", "lpips"}),
        (161, 161, {"ssimulacra2", "lpips", "ms-ssim"}),
    ],
)
def test_undefined_metrics_of_small_pictures_are_nan(height, width, defined):
    original, decoded = image_pair(5, height, width)
    metrics = [
        METRICS[key] for key in ("mse", "psnr", "lpips", "ms-ssim", "ssimulacra2")
    ]
    result = ImageMetrics(original, metrics).compare(decoded)
    finite = {name for name, value in result.items() if math.isfinite(value)}
    assert finite == {"mse", "psnr", *defined}


@pytest.mark.slow
def test_threads_get_the_same_numbers_bit_for_bit():
    sizes = [(161, 170), (240, 161), (200, 1500), (50, 60)]
    pairs = [image_pair(i, *size) for i, size in enumerate(sizes * 2)]
    serial = [repr(measure(*pair)) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda pair: measure(*pair), pairs))
        metrics = list(pool.map(lambda pair: ImageMetrics(pair[0]), pairs))
        again = list(pool.map(lambda m, pair: m.compare(pair[1]), metrics, pairs))
    assert [repr(result) for result in threaded] == serial
    assert [repr(result) for result in again] == serial


def test_one_reference_serves_several_pictures():
    x, y = image_pair(6, 180, 170)
    metrics = ImageMetrics(x)
    first = metrics.compare(y)
    metrics.compare(255 - y)
    assert metrics.compare(y) == first


def test_nbytes_counts_pixels_statistics_and_features():
    x, _ = image_pair(7, 168, 200)
    planes = [(168, 200), (84, 100), (42, 50), (21, 25), (11, 13)]
    statistics = sum(3 * 4 * (h * w + 2 * (h - 10) * (w - 10)) for h, w in planes)
    features = 4 * (41 * 49 * 64 + 20 * 24 * 192 + 9 * 11 * (384 + 256 + 256))
    xyb = 3 * 4 * (168 * 200 + 2 * 84 * 100 + 2 * 42 * 50 + 3 * 21 * 25 + 3 * 11 * 13)
    expected = x.nbytes + statistics + features + xyb
    metrics = [METRICS[key] for key in ("mse", "ms-ssim", "lpips", "ssimulacra2")]
    assert ImageMetrics(x, metrics).nbytes == expected


@pytest.mark.parametrize(
    "decoded",
    [
        np.zeros((40, 41, 3), np.uint8),
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 3), np.float32),
    ],
)
def test_other_shapes_and_types_are_refused(decoded):
    metrics = ImageMetrics(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="40, 4"):
        metrics.compare(decoded)


def test_rate_counts_bits_of_the_true_size():
    assert bits_per_pixel(1000, 10, 16) == 50


@pytest.mark.slow
# Measured with Pillow 13.0 and, for the metrics but PSNR, other implementations.
@pytest.mark.skipif(not KODAK.is_dir(), reason=f"no Kodak pictures in {KODAK}")
def test_kodak_at_quality_20_has_the_known_means():
    results = []
    for path in sorted(KODAK.glob("*.png")):
        picture = np.asarray(Image.open(path))
        decoded = jpeg_file.decode(jpeg_file.encode_rgb(picture, 20))
        results.append(measure(picture, decoded))
    assert len(results) == 24
    mean = {name: np.mean([result[name] for result in results]) for name in results[0]}
    assert mean["psnr"] == pytest.approx(29.5108, abs=0.001)
    assert mean["ms-ssim"] == pytest.approx(0.950503, abs=2e-5)
    assert mean["lpips"] == pytest.approx(0.17184, abs=1e-4)
    assert mean["ssimulacra2"] == pytest.approx(33.5231, abs=0.02)
