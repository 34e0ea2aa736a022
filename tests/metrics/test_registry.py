"""Tests of the registry: which metrics there are, and what each of them promises."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

import lpips_tensorflow
from learned_jpeg.metrics import butteraugli, registry
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.metrics.metric import Metric
from learned_jpeg.metrics.registry import METRICS
from tests.paths import ROOT

KNOWN = ["psnr", "ms-ssim", "lpips", "mse", "ssimulacra2", "butteraugli", "cvvdp"]


def test_all_metrics_are_there_in_the_order_of_tables():
    assert [key for key in METRICS if key in KNOWN] == KNOWN
    assert all(registry.get(key).key == key for key in METRICS)
    with pytest.raises(KeyError):
        registry.get("vmaf")


def test_no_two_metrics_share_a_name_or_a_place():
    for field in ("name", "order", "rank", "json_name", "word", "heading"):
        values = [getattr(metric, field) for metric in METRICS.values()]
        assert len(set(values)) == len(values), field


def test_finding_the_metrics_loads_nothing_that_takes_long():
    code = (
        "import sys; from learned_jpeg.metrics import registry, image_metrics;"
        "print([m for m in ('numba', 'scipy', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_new_module_is_a_new_metric(tmp_path):
    (tmp_path / "redness.py").write_text(
        "from learned_jpeg.metrics.metric import Metric\n"
        "METRIC = Metric(key='red-ness', name='Redness', higher_is_better=False,\n"
        "    order=15, rank=99, compare=lambda x, y: abs(float(x[0, 0, 0]) - 9))\n"
    )
    code = (
        "import learned_jpeg.metrics, numpy\n"
        f"learned_jpeg.metrics.__path__.append({str(tmp_path)!r})\n"
        "from learned_jpeg.metrics.image_metrics import measure\n"
        "values = measure(*numpy.zeros((2, 9, 9, 3), numpy.uint8))\n"
        "print(list(values)[:3], values['red-ness'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "['psnr', 'red-ness', 'ms-ssim'] 9.0\n", done.stderr


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_better_image_has_a_better_value(metric, smooth_picture, monkeypatch):
    if not metric.is_available():
        pytest.skip("no tool for it")
    x = smooth_picture(3, 170, 180)
    noise = np.random.default_rng(1).normal(0, 1, x.shape)
    good, bad = (np.clip(x + s * noise, 0, 255).astype(np.uint8) for s in (3, 20))
    metrics = ImageMetrics(x, [metric])
    best, better, worse = (
        metric.quality(metrics.compare(y)[metric.key]) for y in (x, good, bad)
    )
    assert best > better > worse > -math.inf


def test_lpips_is_defined_where_its_network_is():
    assert registry.get("lpips").min_side == lpips_tensorflow.MIN_SIDE


def test_a_metric_without_its_tool_is_not_available(monkeypatch):
    metric = registry.get("butteraugli")
    assert metric not in registry.available()
    assert metric.versions() == {}
    monkeypatch.setattr(butteraugli, "find_tool", lambda: sys.executable)
    assert metric in registry.available()
    version = metric.versions()["butteraugli_main"]
    assert version.startswith("file of SHA-256 ")


def test_lists_of_metrics():
    psnr, mse = METRICS["psnr"], METRICS["mse"]
    assert psnr in registry.compared()
    assert mse not in registry.compared()
    assert [metric.key for metric in registry.captions()] == ["ssimulacra2", "psnr"]
    words = [metric.word for metric in registry.targets()]
    assert words == ["psnr", "ms_ssim", "ssimulacra2", "cvvdp"]


def test_headings_labels_and_words():
    ms_ssim, lpips, mse = (METRICS[key] for key in ("ms-ssim", "lpips", "mse"))
    assert (ms_ssim.value_heading, ms_ssim.heading) == ("MS-SSIM", "MS-SSIM [dB]")
    assert METRICS["psnr"].value_heading == METRICS["psnr"].heading == "PSNR [dB]"
    assert METRICS["butteraugli"].heading == "Butteraugli 3-norm"
    assert ms_ssim.axis_label == "MS-SSIM [dB] (higher is better)"
    assert lpips.axis_label == "LPIPS (AlexNet, lower is better)"
    assert mse.axis_label == "MSE (0–255 scale, lower is better)"
    assert ms_ssim.described(0.99) == "MS-SSIM 0.99000 (20.000 dB)"
    assert METRICS["psnr"].described(33.21) == "PSNR 33.210 dB"
    assert METRICS["psnr"].caption(33.21, 1) == "33.2 dB"
    assert METRICS["ssimulacra2"].caption(70, 1) == "SSIMULACRA2 70.0"


def test_quality_rises_with_the_scaled_value():
    assert METRICS["ms-ssim"].quality(0.9) == pytest.approx(10)
    assert METRICS["ms-ssim"].quality(1) == math.inf
    assert METRICS["lpips"].quality(0.25) == -0.25
    assert METRICS["ssimulacra2"].quality(70) == 70


def test_what_is_not_given_follows_from_the_rest():
    metric = Metric(
        key="a-b", name="A", compare=min, higher_is_better=True, order=1, rank=1
    )
    assert (metric.title, metric.json_name, metric.word) == ("A", "a-b", "a_b")
    assert metric.is_available()
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.name = "B"
