"""Tests of bd_rate: scaled curves, the package bjontegaard, measured anchors."""

import json
import os

import bjontegaard
import numpy as np
import pytest

from evaluation.bd_rate import bd_rate
from learned_jpeg.metrics import registry
from tests.evaluation.helpers import (
    BPP,
    MEANS,
)
from tests.paths import SHARED

ANCHORS = os.path.join(SHARED, "anchors", "kodak_curves.json")


def curve_of(metric, factor=1.0, points=slice(None)):
    pairs = zip(BPP, MEANS[metric], strict=True)
    return [(factor * bpp, value) for bpp, value in pairs][points]


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("metric", list(MEANS))
def test_bd_rate_of_scaled_rates_is_the_scale(metric, factor):
    rate = bd_rate(curve_of(metric), curve_of(metric, factor), metric)
    assert rate.percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert rate.dropped == 0


@pytest.mark.parametrize("metric", list(MEANS))
def test_bd_rate_of_scaled_rates_is_the_scale_within_a_range_of_rates_too(metric):
    anchor, curve = curve_of(metric), curve_of(metric, 0.8)
    rate = bd_rate(anchor, curve, metric, (0.3, 1.2))
    everything = bd_rate(anchor, curve, metric)
    assert rate.percent == pytest.approx(-20, abs=1e-9)
    # From the curve's quality at 0.3 bpp to the anchor's at 1.2 bpp.
    worst, best = np.abs(np.subtract(everything.overlap, rate.overlap))
    assert worst > 0 and (best > 0 or registry.get(metric).bd_range)


def test_bd_rate_overlap_is_in_the_units_of_the_metric():
    plain = {"psnr": (24.0, 36.4), "lpips": (0.45, 0.02), "ssimulacra2": (-24, 77)}
    for metric, ends in plain.items():
        overlap = bd_rate(curve_of(metric), curve_of(metric), metric).overlap
        assert overlap == pytest.approx(ends)
    overlap = bd_rate(*[curve_of("ms-ssim")] * 2, "ms-ssim").overlap
    assert overlap == pytest.approx((7.2125, 21.549), abs=1e-3)


def test_bd_rate_range_ends_lie_on_the_curve():
    anchor = curve_of("psnr")
    overlap = bd_rate(anchor, anchor, "psnr", (0.4, 1.3)).overlap
    assert overlap == pytest.approx((27.1, 33.6), abs=1e-9)


@pytest.mark.parametrize(
    "metric, values, ends",
    [
        ("ssimulacra2", np.linspace(0, 100, 101), (30, 80)),
        ("butteraugli", np.linspace(5, 0.5, 91), (3, 1)),
    ],
)
def test_scores_have_a_range_of_their_own_where_rates_have_one(metric, values, ends):
    rates = np.geomspace(0.1, 4, len(values))
    inside = (values >= min(ends)) & (values <= max(ends))
    curve = list(zip(rates, values, strict=True))
    other = list(zip(rates * np.where(inside, 1.01, 1), values, strict=True))
    rate = bd_rate(curve, other, metric, (0.2, 0.3))
    assert rate.overlap == pytest.approx(ends)
    assert rate.percent == pytest.approx(1, abs=0.01)
    assert bd_rate(curve, other, metric).percent < 0.8


def test_bd_rate_without_a_range_equals_the_package():
    other = [(0.2, 24.5), (0.5, 29.0), (0.7, 31.0), (1.0, 32.5), (1.2, 34.0)]
    anchor = curve_of("psnr")
    expected = bjontegaard.bd_rate(
        *np.transpose(anchor),
        *np.transpose(other),
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    rate = bd_rate(anchor, other[::-1], "psnr")
    assert rate.percent == pytest.approx(expected)
    assert rate.overlap == (24.5, 34.0)


@pytest.mark.parametrize(
    "curve, bpp_range, reason",
    [
        ([(b, p + 20) for b, p in curve_of("psnr")], None, "no overlap"),
        (curve_of("psnr"), (3.0, 4.0), "no overlap"),
        (curve_of("psnr"), (0.01, 0.02), "no overlap"),
        ([(b / 20, p) for b, p in curve_of("psnr")], (0.3, 1.2), "no overlap"),
        (curve_of("psnr", points=slice(3)), None, "3 of 4 points"),
        ([], None, "0 of 4 points"),
        ([(b, np.nan) for b, _ in curve_of("psnr")], None, "no values"),
    ],
)
def test_bd_rate_gives_no_number_from_nothing(curve, bpp_range, reason):
    rate = bd_rate(curve_of("psnr"), curve, "psnr", bpp_range)
    assert (rate.percent, rate.overlap, rate.reason) == (None, None, reason)


def test_bd_rate_at_equal_ssimulacra2_takes_the_scores_as_they_are():
    anchor = [(0.2, -20.0), (0.4, 20.0), (0.8, 60.0), (1.6, 80.0)]
    curve = [(0.1, -20.0), (0.2, 20.0), (0.4, 60.0), (0.8, 80.0)]
    rate = bd_rate(anchor, curve, "ssimulacra2")
    assert (rate.percent, rate.overlap) == (pytest.approx(-50), (-20, 80))


def test_bd_rate_at_equal_butteraugli_takes_smaller_as_better():
    anchor = [(0.2, 5.0), (0.4, 3.0), (0.8, 2.0), (1.6, 1.0)]
    curve = [(0.75 * bpp, distance) for bpp, distance in anchor]
    rate = bd_rate(anchor, curve, "butteraugli")
    assert (rate.percent, rate.overlap) == (pytest.approx(-25), (5, 1))


def test_bd_rate_leaves_out_dominated_and_infinite_points():
    good = curve_of("psnr", 0.8)
    bad = [(0.5, 20.0), (good[2][0], 28.0), (1.0, np.nan), (3.0, np.inf), (0.0, 10.0)]
    rate = bd_rate(curve_of("psnr"), bad + good, "psnr")
    assert rate.percent == pytest.approx(-20, abs=1e-9)
    assert rate.dropped == len(bad)


PUBLISHED = {
    "pillow 4:4:4 optimized Huffman": (-20.4, -19.2, -22.9),
    "pillow 4:4:4 + mozjpeg lossless": (-22.6, -21.5, -25.5),
    "mozjpeg 4:4:4": (-25.1, -30.1, -22.9),
    "mozjpeg 4:4:4 tune-psnr": (-37.1, -18.7, -21.6),
    "mozjpeg 4:4:4 no trellis": (-23.5, -23.4, -26.7),
    "mozjpeg 4:2:0": (-30.6, -34.2, -25.0),
    "jpegli 4:4:4": (-20.2, -20.7, -10.6),
    "jpegli 4:2:0": (-28.9, -33.6, -21.3),
}


@pytest.mark.skipif(not os.path.exists(ANCHORS), reason="no measured anchor curves")
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_bd_rates_of_the_measured_anchors_are_the_published_ones(name):
    with open(ANCHORS) as file:
        curves = {curve["name"]: curve["results"] for curve in json.load(file)}
    pairs = zip(("psnr-rgb", "ms-ssim-rgb", "lpips-alex"), MEANS, strict=False)
    for (column, metric), published in zip(pairs, PUBLISHED[name], strict=True):
        anchor, curve = (
            list(zip(curves[n]["bpp"], curves[n][column], strict=True))
            for n in ("pillow 4:4:4 default Huffman", name)
        )
        rate = bd_rate(anchor, curve, metric, (0.2, 1.2))
        # Published to 0.1, from curves that were not yet rounded.
        assert rate.percent == pytest.approx(published, abs=0.06)
