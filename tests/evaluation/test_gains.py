"""Tests of gains: BD-rates of means and images, and their intervals."""

import numpy as np
import pytest

from evaluation import curves, gains, results

RATES = np.geomspace(0.15, 2.0, 8)
IMAGES = ["a.png", "b.png", "c.png", "d.png", "e.png"]


def curve_of(factors, **changes):
    """Rates of each image times its factor, at PSNR 30 + 10 log10(rate)."""
    points = []
    for rate in RATES:
        values = {"mse": 1.0, "ms-ssim": 0.9, "lpips": 0.1, "ssimulacra2": 50.0}
        values["psnr"] = 30 + 10 * np.log10(rate)
        rows = [{**values, "bpp": rate * factor, **changes} for factor in factors]
        images = IMAGES[: len(factors)]
        points.append(results.PointResults.from_rows(images, rows))
    return curves.Compared("x", "x", "run", [], [d.means() for d in points], points)


def test_gain_is_that_of_the_means_and_of_every_image():
    factors = [0.5, 0.6, 0.8, 0.9, 1.2]
    found = gains.gain(curve_of(np.ones(5)), curve_of(factors), "psnr", (0.2, 1.2))
    assert found.rate.percent == pytest.approx(-20)
    wanted = dict(zip(IMAGES, 100 * np.subtract(factors, 1), strict=True))
    assert found.by_image == pytest.approx(wanted)
    assert found.worst == ("e.png", pytest.approx(20)) and found.wins == 4


def test_interval_is_that_of_means_over_images_drawn_again():
    """Here the BD-rate is the mean factor less 1, whose spread is known."""
    factors = np.array([0.5, 0.6, 0.8, 0.9, 1.2])
    anchor, curve = curve_of(np.ones(5)), curve_of(factors)
    low, high = gains.gain(anchor, curve, "psnr", (0.2, 1.2)).interval
    rng = np.random.default_rng(1)
    means = factors[rng.integers(0, 5, (20000, 5))].mean(1)
    wanted = 100 * (np.quantile(means, [0.025, 0.975]) - 1)
    assert (low, high) == pytest.approx(tuple(wanted), abs=5)
    assert gains.gain(anchor, curve, "psnr", (0.2, 1.2)).interval == (low, high)


def test_images_that_all_gain_the_same_leave_no_doubt():
    anchor, curve = curve_of(np.ones(4)), curve_of(np.full(4, 0.7))
    found = gains.gain(anchor, curve, "psnr", (0.2, 1.2))
    assert found.interval == pytest.approx((-30, -30))


def test_two_images_have_no_interval():
    found = gains.gain(curve_of([1, 1]), curve_of([0.5, 0.9]), "psnr", (0.2, 1.2))
    assert found.rate.percent == pytest.approx(-30) and found.interval is None


def test_interval_is_of_the_rates_of_images_that_have_the_metric():
    """The image that is too small for it has a rate that is beyond all others."""
    curve = curve_of([0.5, 0.6, 0.8, 600.0])
    for point in curve.results:
        point.values["psnr"][3] = np.nan
    curve = curve._replace(means=[point.means() for point in curve.results])
    found = gains.gain(curve_of(np.ones(4)), curve, "psnr", (0.15, 2))
    assert found.rate.percent == pytest.approx(100 * (1.9 / 3 - 1))
    assert -50.1 < found.interval[0] < found.interval[1] < -19.9


def test_published_means_have_no_images():
    published = curve_of([0.5, 0.5, 0.5])._replace(results=[])
    found = gains.gain(curve_of(np.ones(3)), published, "psnr", (0.2, 1.2))
    assert found.rate.percent == pytest.approx(-50)
    assert (found.interval, found.by_image, found.worst) == (None, {}, None)


def test_a_metric_that_is_missing_gives_its_reason():
    curve = curve_of(np.ones(3), psnr=np.nan)
    found = gains.gain(curve_of(np.ones(3)), curve, "psnr", (0.2, 1.2))
    assert found.rate.reason == "no values" and found.by_image == {}
