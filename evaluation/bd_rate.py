"""BD-rate: how many bits one curve needs more than another at equal quality.

G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33,
2001; interpolated as in https://github.com/FAU-LMS/bjontegaard (1.3.0).
"""

from dataclasses import dataclass

import numpy as np

from learned_jpeg.metrics import registry
from learned_jpeg.metrics.metric import Metric

# Bjontegaard's method was defined on four points a curve.
MIN_POINTS = 4


@dataclass(frozen=True)
class BdRate:
    """A BD-rate and how it was found.

    Attributes:
      percent: mean difference of the bit rate at equal quality, negative where the
        curve needs fewer bits than the anchor; None if there is nothing to compare.
      overlap: (worst, best) value over which it is the mean, on the metric's scale;
        None if there is no number.
      dropped: number of the curve's points that were left out, see `bd_rate`.
      reason: why there is no number, empty otherwise.
    """

    percent: float | None
    overlap: tuple[float, float] | None
    dropped: int
    reason: str = ""


def bd_rate(
    anchor: list, curve: list, metric: str, bpp_range: tuple[float, float] | None = None
) -> BdRate:
    """Returns the mean difference of the bit rate against `anchor` at equal quality.

    The convention: for each curve, log10(bpp) is a function of quality, interpolated by
    PCHIP through all of its points; the mean difference of the two functions is taken
    over the qualities that both reach (with `bpp_range`: that both reach at rates
    inside of this range, the ends interpolated on the same functions). Quality is
    `Metric.quality` of the mean: the value itself or in decibels (MS-SSIM), negated
    where lower is better. Nothing is extrapolated.

    Only a curve that rises has one rate for each quality. A point that is not better
    than another one of the same or a lower rate is left out (nobody would choose that
    setting), as is a point that is not finite; `dropped` counts both.

    Args:
      anchor: list of (bpp, value); value is the mean of the metric itself, so MS-SSIM
        in 0..1 and LPIPS with its sign.
      curve: the same for the codec that is compared.
      metric: key of a metric.
      bpp_range: (low, high) bits per pixel, or None for all of the curves. The
        `bd_range` of a metric, if it has one, limits the qualities instead.

    Returns:
      `BdRate`; without a number if the curves share no quality, or if one has fewer
      than `MIN_POINTS` points left, or no value of this metric at all.
    """
    if any(c and np.all(np.isnan([value for _, value in c])) for c in (anchor, curve)):
        return BdRate(None, None, 0, "no values")
    measured_by = registry.get(metric)
    curves = [_quality_points(c, measured_by) for c in (anchor, curve)]
    dropped = len(curve) - len(curves[1])
    if (fewest := min(len(points) for points in curves)) < MIN_POINTS:
        return BdRate(None, None, dropped, f"{fewest} of {MIN_POINTS} points")
    limits = _limits(measured_by, bpp_range)
    percent, low, high = _compare(*curves, limits)
    if percent is None:
        return BdRate(None, None, dropped, "no overlap")
    sign = 1 if measured_by.higher_is_better else -1
    return BdRate(float(percent), (float(sign * low), float(sign * high)), dropped)


def range_text(bpp_range: tuple[float, float]) -> str:
    """Returns the rates and qualities over which BD-rates are taken, in words.

    Args:
      bpp_range: (low, high) bits per pixel.
    """
    texts = [f"{bpp_range[0]:g} to {bpp_range[1]:g} bpp"]
    for metric in registry.compared():
        if metric.bd_range:
            worst, best = metric.bd_range
            texts.append(f"of {metric.name} {worst:g} to {best:g}")
    return ", ".join(texts)


def rate_at(curve: list, metric: str, level: float) -> float | None:
    """Returns the bits per pixel at which a curve reaches a quality.

    Args:
      curve, metric: as for `bd_rate`, whose interpolation is used.
      level: value on the metric's scale, see `Metric.to_scale`.

    Returns:
      float, or None if the curve does not reach it, or has too few points.
    """
    measured_by = registry.get(metric)
    quality = level if measured_by.higher_is_better else -level
    points = _quality_points(curve, measured_by)
    if len(points) < MIN_POINTS or not points[0][1] <= quality <= points[-1][1]:
        return None
    return float(10 ** _interpolate(points, points)[0](quality))


def saved_bits(
    anchor: list, curve: list, metric: str, bpp_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many bits a curve saves against `anchor` at each quality.

    Args:
      anchor, curve, metric: as for `bd_rate`, whose interpolation is used.
      bpp_range: (low, high) rates of the anchor that are covered.

    Returns:
      (values on the metric's scale, percent of the anchor's bits), two arrays of one
      length; empty where `bd_rate` has no number.
    """
    measured_by = registry.get(metric)
    curves = [_quality_points(c, measured_by) for c in (anchor, curve)]
    nothing = np.empty(0), np.empty(0)
    if min(map(len, curves)) < MIN_POINTS:
        return nothing
    low, high = _shared([(points[0][1], points[-1][1]) for points in curves])
    if low >= high:
        return nothing
    functions = _interpolate(*curves)
    own = _qualities_within(np.log10(bpp_range), functions[0])
    low, high = _shared([(low, high), own])
    if low >= high:
        return nothing
    qualities = np.linspace(low, high, 80)
    logs = functions[1](qualities) - functions[0](qualities)
    sign = 1 if measured_by.higher_is_better else -1
    return sign * qualities, 100 * (1 - 10**logs)


def _limits(metric: Metric, bpp_range):
    """Returns a function from a curve's function to the qualities to compare.

    These are (lowest, highest); None instead of a function for all of them.
    """
    if bpp_range is None:
        return None
    if metric.bd_range:
        ends = tuple(float(metric.quality(value)) for value in metric.bd_range)
        return lambda function: ends
    return lambda function: _qualities_within(np.log10(bpp_range), function)


def _compare(anchor, curve, limits):
    """Returns (percent or None, lowest, highest quality) of two rising curves."""
    low, high = _shared([(points[0][1], points[-1][1]) for points in (anchor, curve)])
    if low >= high:
        return None, low, high
    functions = _interpolate(anchor, curve)
    if limits is not None:
        low, high = _shared([(low, high), *map(limits, functions)])
        if low >= high:
            return None, low, high
    areas = [function.integrate(low, high) for function in functions]
    return 100 * (10 ** ((areas[1] - areas[0]) / (high - low)) - 1), low, high


def _quality_points(curve, metric: Metric):
    """Returns the points (bpp, quality) that a curve rises through, sorted.

    Those that are not finite, or not better than another point of no higher rate, are
    left out.
    """
    points = [(bpp, metric.quality(value)) for bpp, value in curve]
    kept = []
    # Of several points with one rate the best comes first.
    for bpp, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        is_better = not kept or quality > kept[-1][1]
        if bpp > 0 and np.isfinite(bpp) and np.isfinite(quality) and is_better:
            kept.append((bpp, quality))
    return kept


def _shared(ranges):
    return max(low for low, _ in ranges), min(high for _, high in ranges)


def _interpolate(anchor, curve):
    """Returns two functions from quality to log10(bpp)."""
    # Imported here, since it imports matplotlib.pyplot: 0.6 s that compress saves.
    import bjontegaard

    _, *functions = bjontegaard.bd_rate(
        *np.transpose(anchor),
        *np.transpose(curve),
        method="pchip",
        require_matching_points=False,
        interpolators=True,
        min_overlap=0,
    )
    return functions


def _qualities_within(limits, function):
    """Returns the (lowest, highest) quality at which log10(bpp) is within `limits`.

    They are equal, an empty range, if the curve lies outside.
    """
    ends = function.x[0], function.x[-1]
    inside = np.clip(limits, *function(ends))
    # Imported here, as it takes 0.2 s.
    from scipy import optimize

    return [
        optimize.brentq(lambda quality, rate: function(quality) - rate, *ends, (rate,))
        for rate in inside
    ]
