"""BD-rate: how many bits one curve needs more than another at equal quality.

G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33,
2001; interpolated as in https://github.com/FAU-LMS/bjontegaard (1.3.0).
"""

from dataclasses import dataclass

import numpy as np

from learned_jpeg.metrics.basic import ms_ssim_db

# Bjontegaard's method was defined on four points a curve.
MIN_POINTS = 4


# What is compared, larger is better.
QUALITY = {
    "psnr": lambda psnr: psnr,
    "ms-ssim": ms_ssim_db,
    "lpips": lambda lpips: -lpips,
    "ssimulacra2": lambda score: score,
    "butteraugli": lambda distance: -distance,
}

# Negated above: their overlap is told as what was measured.
SMALLER_IS_BETTER = ("lpips", "butteraugli")


# Where rates are limited, so are these: a score of 0 or a norm of 5 is no picture that
# anybody would keep, whatever its rate.
QUALITY_RANGES = {"ssimulacra2": (30.0, 80.0), "butteraugli": (3.0, 1.0)}


@dataclass(frozen=True)
class BdRate:
    """A BD-rate and what it stands on.

    Attributes:
      percent: mean difference of the bit rate at equal quality, negative where the
        curve needs fewer bits than the anchor; None if there is nothing to compare.
      overlap: (worst, best) quality over which it is the mean, in dB for PSNR and
        MS-SSIM, else plain; None if there is no number.
      dropped: number of the curve's points that were left out, see `bd_rate`.
      reason: why there is no number, empty otherwise.
    """

    percent: float | None
    overlap: tuple[float, float] | None
    dropped: int
    reason: str = ""


def bd_rate(anchor, curve, metric, bpp_range=None):
    """Mean difference of the bit rate of `curve` against `anchor` at equal quality.

    The convention: for each curve, log10(bpp) is a function of quality, interpolated by
    PCHIP through all of its points; the mean difference of the two functions is taken
    over the qualities that both reach (with `bpp_range`: that both reach at rates
    inside of this range, the ends interpolated on the same functions). Quality is
    PSNR [dB], -10 log10(1 - MS-SSIM) of the mean MS-SSIM, -LPIPS (not its logarithm),
    SSIMULACRA2, or -Butteraugli. Nothing is extrapolated.

    Only a curve that rises has one rate for each quality. A point that is not better
    than another one of the same or a lower rate is left out (nobody would choose that
    setting), as is a point that is not finite; `dropped` counts both.

    Args:
      anchor: list of (bpp, value); value is the mean of the metric itself, so MS-SSIM
        in 0..1 and LPIPS with its sign.
      curve: the same for the codec that is compared.
      metric: one of `QUALITY`.
      bpp_range: (low, high) bits per pixel, or None for all of the curves; of some
        metrics `QUALITY_RANGES` limits the qualities instead.

    Returns:
      `BdRate`; without a number if the curves share no quality, or if one has fewer
      than `MIN_POINTS` points left, or no value of this metric at all.
    """
    if any(c and np.all(np.isnan([value for _, value in c])) for c in (anchor, curve)):
        return BdRate(None, None, 0, "no values")
    quality = QUALITY[metric]
    curves = [_rising([(b, quality(v)) for b, v in c]) for c in (anchor, curve)]
    dropped = len(curve) - len(curves[1])
    if (fewest := min(len(points) for points in curves)) < MIN_POINTS:
        return BdRate(None, None, dropped, f"{fewest} of {MIN_POINTS} points")
    limits = _limits(metric, bpp_range)
    percent, low, high = _compare(*curves, limits)
    if percent is None:
        return BdRate(None, None, dropped, "no overlap")
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    return BdRate(float(percent), (float(sign * low), float(sign * high)), dropped)


def range_text(bpp_range):
    """What BD-rates are taken over, in words.

    Args:
      bpp_range: (low, high) bits per pixel.
    """
    scores, norms = (QUALITY_RANGES[m] for m in ("ssimulacra2", "butteraugli"))
    return (
        f"{bpp_range[0]:g} to {bpp_range[1]:g} bpp, of SSIMULACRA2 {scores[0]:g} to "
        f"{scores[1]:g}, of Butteraugli {norms[0]:g} to {norms[1]:g}"
    )


def rate_at(curve, metric, value):
    """Bits per pixel at which a curve reaches a value, on the same interpolation.

    Args:
      curve, metric: as for `bd_rate`.
      value: of the metric itself.

    Returns:
      float, or None if the curve does not reach it, or has too few points.
    """
    quality = QUALITY[metric]
    points = _rising([(bpp, quality(v)) for bpp, v in curve])
    if len(points) < MIN_POINTS or not points[0][1] <= quality(value) <= points[-1][1]:
        return None
    return float(10 ** _interpolate(points, points)[0](quality(value)))


def _limits(metric, bpp_range):
    """Function from a curve's function to the (lowest, highest) quality to compare.

    None for all of them.
    """
    if bpp_range is None:
        return None
    if metric in QUALITY_RANGES:
        ends = tuple(float(QUALITY[metric](value)) for value in QUALITY_RANGES[metric])
        return lambda function: ends
    return lambda function: _qualities_within(np.log10(bpp_range), function)


def _compare(anchor, curve, limits):
    """(percent, lowest, highest quality) of two rising curves; percent may be None."""
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


def _rising(points):
    """The finite points that are better than every point of no higher rate, sorted."""
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
    """Two functions from quality to log10(bpp)."""
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
    """(lowest, highest) quality at which log10(bpp) is within `limits`.

    Equal, an empty range, if the curve lies outside.
    """
    ends = function.x[0], function.x[-1]
    inside = np.clip(limits, *function(ends))
    # Imported here, as it takes 0.2 s.
    from scipy import optimize

    return [
        optimize.brentq(lambda quality, rate: function(quality) - rate, *ends, (rate,))
        for rate in inside
    ]
