"""The gain of one curve over another: BD-rates of means and images, with intervals.

Intervals are over the images: B. Efron, "Bootstrap methods: another look at the
jackknife", 1979. Test images are drawn again with replacement, the same ones for both
curves, and the BD-rate is taken of the means over those.
"""

from typing import NamedTuple

import numpy as np

from evaluation.bd_rate import BdRate, bd_rate
from learned_jpeg.metrics.basic import mean_of_defined

RESAMPLES = 200
CONFIDENCE = 0.95
MIN_IMAGES = 3  # below them an interval would tell nothing


class Gain(NamedTuple):
    """A curve against an anchor, for one metric.

    Attributes:
      rate: `BdRate` of the means.
      interval: (low, high) of its percent, None if it is not known.
      by_image: dict from the names of images to BD-rates in percent; without those
        images that have none.
    """

    rate: BdRate
    interval: tuple[float, float] | None
    by_image: dict

    @property
    def worst(self):
        """The (image, percent) that gains least; None without images."""
        by_image = self.by_image.items()
        return max(by_image, key=lambda item: item[1], default=None)

    @property
    def wins(self):
        """Number of images that need fewer bits than with the anchor."""
        return sum(percent < 0 for percent in self.by_image.values())


def gain(anchor, curve, metric, bpp_range) -> Gain:
    """Computes the `Gain` of a curve.

    Args:
      anchor, curve: `curves.Compared`, of the same test images.
      metric: key of a metric.
      bpp_range: as in `bd_rate`.
    """
    rate = bd_rate(anchor.points(metric), curve.points(metric), metric, bpp_range)
    if not curve.results or not anchor.results or rate.percent is None:
        return Gain(rate, None, {})
    by_image = gains_of_images(anchor, curve, metric, bpp_range)
    return Gain(rate, _interval(anchor, curve, metric, bpp_range), by_image)


def gains_of_images(anchor, curve, metric, bpp_range):
    """Returns a dict from the names of images to BD-rates in percent, if any."""
    by_image = {}
    for index, image in enumerate(anchor.results[0].images):
        pair = (c.points_of_image(metric, index) for c in (anchor, curve))
        rate = bd_rate(*pair, metric, bpp_range)
        if rate.percent is not None:
            by_image[image] = rate.percent
    return by_image


def _interval(anchor, curve, metric, bpp_range):
    """Returns percentiles of the BD-rate over resampled images, None for too few."""
    count = len(anchor.results[0].images)
    if count < MIN_IMAGES:
        return None
    rng = np.random.default_rng(0)
    percents = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, count, count)
        pair = (_points_of(c, metric, drawn) for c in (anchor, curve))
        percents.append(bd_rate(*pair, metric, bpp_range).percent)
    percents = [percent for percent in percents if percent is not None]
    tail = (1 - CONFIDENCE) / 2
    if len(percents) < RESAMPLES / 2:
        return None
    return tuple(float(v) for v in np.quantile(percents, [tail, 1 - tail]))


def _points_of(curve, metric, drawn):
    """Returns (bpp, metric) of each operating point, means over the images drawn."""
    points = []
    for point in curve.results:
        if metric in point.values:
            rates, values = (
                np.asarray(point.values[name])[drawn] for name in ("bpp", metric)
            )
            rates = rates[~np.isnan(values)]  # of the same images
            points.append((mean_of_defined(rates), mean_of_defined(values)))
    return points
