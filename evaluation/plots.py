"""Figures: bits saved against JPEG, and metrics against bits per pixel.

Each codec has one colour, dash and marker (`palette.py`), each run of trainings a point
per lambda. A figure has at most seven curves: with more of them there are several.
"""

import io
import math
import os
from dataclasses import dataclass

import numpy as np

from evaluation import palette
from evaluation.bd_rate import saved_bits
from evaluation.results import MEASURED, is_shown, rate_for
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.metric import Metric

DPI = 200
MAX_CURVES = 7  # in one figure
GAIN_METRICS = ("ssimulacra2", "psnr")  # of gain.png: the first that was measured
GAIN_BPP_RANGE = (0.2, 2.5)  # of JPEG

# The part of the height that stays free above and below what is shown.
_MARGIN = 0.06


def new_figure(size):
    """Returns a `matplotlib.figure.Figure` of (width, height) in inches."""
    # Imported here, as it takes 0.4 s.
    from matplotlib.figure import Figure

    return Figure(figsize=size)


@dataclass(frozen=True)
class Curve:
    """The operating points of one codec.

    Attributes:
      label: its name in the legend.
      points: list of dicts of means (keys `results.MEASURED`), one per dot.
      kind: "jpeg" (a classical codec), "run" or "google".
    """

    label: str
    points: list
    kind: str


def plot_rate_distortion(curves, folder, title=""):
    """Writes `gain.png` and the figure of each metric into `folder`: `mse.png`, ...

    With more than `MAX_CURVES` curves the further ones are in `gain_2.png` and so on,
    beside JPEG and mozjpeg again.

    Args:
      curves: list of `Curve`.
      folder: where to write, made if it is missing.
      title: a line above each figure, for example the test set.

    Returns:
      The paths of the files, of each metric that an operating point has.
    """
    points = [point for curve in curves for point in curve.points]
    paths = []
    for number, group in enumerate(groups(curves), 1):
        suffix = f"_{number}.png" if number > 1 else ".png"

        def save(figure, name, suffix=suffix):
            paths.append(save_figure(figure, os.path.join(folder, name + suffix)))

        if (gain := gain_figure(group, title)) is not None:
            save(gain, "gain")
        for key in MEASURED:
            if key != "bpp" and is_shown(key, points):
                figure = rate_distortion_figure(group, key, title)
                save(figure, registry.get(key).word)
    return paths


def groups(curves):
    """Returns lists of at most `MAX_CURVES` curves, each with JPEG and mozjpeg."""
    if len(curves) <= MAX_CURVES:
        return [curves]
    jpeg = anchor_of(curves)
    mozjpeg = next((c for c in curves if c.label.startswith("mozjpeg")), None)
    common = [curve for curve in (jpeg, mozjpeg) if curve is not None]
    others = [c for c in curves if all(c is not known for known in common)]
    size = MAX_CURVES - len(common)
    return [
        common + others[first : first + size] for first in range(0, len(others), size)
    ]


def anchor_of(curves):
    """Returns plain JPEG, the first of its curves; None if there is none."""
    return next(
        (c for c in curves if c.kind == "jpeg" and c.label.startswith("JPEG")), None
    )


def gain_figure(curves, title=""):
    """Draws the bits saved against JPEG at equal quality.

    Args:
      curves: list of `Curve`, JPEG among them.
      title: a line above the figure.

    Returns:
      `matplotlib.figure.Figure`, or None without JPEG or anything to compare with it.
    """
    points = [point for curve in curves for point in curve.points]
    key = next((key for key in GAIN_METRICS if is_shown(key, points)), None)
    if anchor_of(curves) is None or key is None:
        return None
    figure = new_figure((6.4, 4.2))
    axes = figure.add_subplot()
    lines = _draw_gains(axes, curves, key, GAIN_BPP_RANGE)
    if not lines:
        return None
    axes.set_title(title, fontsize=10, parse_math=False)
    _add_legend(axes, lines, top=-0.14)
    return figure


def plot_overview(curves, folder, bpp_range):
    """Writes `overview.png`: bits saved by each metric of `registry.overview`.

    Args:
      curves: list of `Curve`, JPEG among them; at most `MAX_CURVES` are drawn.
      folder: where to write, made if it is missing.
      bpp_range: (low, high), the rates of JPEG to show.

    Returns:
      The path of the file.
    """
    curves = groups(curves)[0]
    figure = new_figure((8.4, 7.2))
    metrics = registry.overview()
    panels = figure.subplots(math.ceil(len(metrics) / 2), 2).flat
    lines = {}
    for axes, metric in zip(panels, metrics, strict=False):
        drawn = _draw_gains(axes, curves, metric.key, bpp_range)
        known = [curve.label for curve in lines.values()]
        lines |= {line: c for line, c in drawn.items() if c.label not in known}
    _add_legend(figure, lines, top=0.05)
    figure.subplots_adjust(wspace=0.25, hspace=0.28)
    return save_figure(figure, os.path.join(folder, "overview.png"))


def _draw_gains(axes, curves, key, bpp_range):
    """Draws the bits saved by one metric; returns {line: curve}."""
    metric = registry.get(key)
    jpeg = anchor_of(curves)
    lines = {}
    for curve, look in zip(curves, _looks(curves), strict=True):
        if jpeg is None or curve is jpeg:
            continue
        pairs = _pairs(jpeg, key), _pairs(curve, key)
        values, percents = saved_bits(*pairs, key, bpp_range)
        if values.size:
            (line,) = axes.plot(
                values,
                percents,
                color=look.colour,
                linestyle=look.dash,
                linewidth=1.6,
                label=curve.label,
            )
            lines[line] = curve
    _show_gain_limits(axes, metric, lines)
    return lines


def _show_gain_limits(axes, metric, lines):
    """Marks what is better and worse than JPEG, and names the axes."""
    if not lines:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
        return
    low, high = axes.get_ylim()
    low, high = min(low, -3), max(high, 3)
    axes.axhspan(0, high, color=palette.GAIN_COLOUR, alpha=0.05, zorder=0, lw=0)
    axes.axhspan(low, 0, color=palette.LOSS_COLOUR, alpha=0.08, zorder=0, lw=0)
    axes.axhline(0, color="#555555", linewidth=1)
    axes.annotate(
        "JPEG",
        (0.99, 0),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    axes.set_ylim(low, high)
    axes.margins(x=0.02)
    if metric.bd_range:  # and as much beyond it as is of interest
        worst, best = metric.bd_range
        reach = 0.4 * (best - worst)
        left, right = sorted(axes.get_xlim())
        low, high = sorted((worst - reach, best + reach))
        axes.set_xlim(max(left, low), min(right, high))
    if not metric.higher_is_better:
        axes.invert_xaxis()
    axes.set_xlabel(f"{metric.axis_label.split(' (')[0]} (better to the right)")
    axes.set_ylabel("bits saved against JPEG [%]")
    style_axes(axes)


def _pairs(curve, key):
    """Returns (bpp, metric) of each operating point."""
    return [(rate_for(mean, key), mean[key]) for mean in curve.points]


def save_figure(figure, path):
    """Writes a figure as PNG, its folder made if it is missing; returns the path."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, bbox_inches="tight")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    write_atomically(path, png.getvalue())
    return path


def rate_distortion_figure(curves, metric, title=""):
    """Draws one metric against bpp.

    Operating points that are not finite (MS-SSIM of small images, PSNR of equal ones,
    metrics that were not measured) are left out, and a curve that has no others with
    them. The axes show every operating point of the runs and of the Google baseline,
    and as much of the classical codecs as is near to them; all of these if there is
    nothing else. A line names a classical codec of which nothing is in sight.

    Args:
      curves: list of `Curve`.
      metric: of `results.MEASURED`, not "bpp".
      title: a line above the figure.

    Returns:
      `matplotlib.figure.Figure` with one pair of axes.
    """
    figure = new_figure((6.4, 4.2))
    axes = figure.add_subplot()
    points = _draw(axes, curves, metric)
    axes.set_title(title, fontsize=10, parse_math=False)
    drawn = zip(axes.get_lines(), curves, points, strict=True)
    lines = {line: curve for line, curve, xy in drawn if xy.size}
    _add_legend(axes, lines, top=-0.14)
    return figure


def _draw(axes, curves, metric):
    """Draws one metric against bpp, without title and legend; returns the points."""
    shown = registry.get(metric)
    points = [_points(curve, shown) for curve in curves]
    for curve, xy, look in zip(curves, points, _looks(curves), strict=True):
        is_classical = curve.kind == "jpeg"
        axes.plot(
            *xy,
            label=curve.label,
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            linewidth=1.4 if is_classical else 1.1,
            markersize=4 if is_classical else 5.5,
            markeredgecolor=look.colour if is_classical else "white",
            markeredgewidth=0.5,
            zorder=2 if is_classical else 3,
        )
    _set_limits(axes, curves, points)
    axes.set_xlabel("rate [bits per pixel]")
    axes.set_ylabel(shown.axis_label)
    style_axes(axes)
    if not any(xy.size for xy in points):
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
    elif hidden := _hidden(axes, curves, points):
        axes.text(0, 1.01, hidden, transform=axes.transAxes, fontsize=8)
    return points


def _looks(curves):
    return palette.looks(
        [curve.label for curve in curves], [curve.kind == "jpeg" for curve in curves]
    )


def _hidden(axes, curves, points):
    """Returns a line on the curves of which nothing is in sight, "" without any."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    hidden = []
    for curve, xy in zip(curves, points, strict=True):
        if not xy.size:
            continue
        # Between points a line may cross the axes.
        x, y = _dense(xy)
        if not np.any((x >= left) & (x <= right) & (y >= low) & (y <= high)):
            name = palette.short_name(curve.label)
            hidden.append(f"{name} ({xy[0].min():.2g} to {xy[0].max():.2g} bpp)")
    return f"outside of these axes: {', '.join(hidden)}" if hidden else ""


def _dense(xy):
    """Returns many points of the line through some, `[2, n]`."""
    if xy.shape[1] < 2:
        return xy
    positions = np.linspace(0, xy.shape[1] - 1, 40 * xy.shape[1])
    return np.stack([np.interp(positions, np.arange(xy.shape[1]), row) for row in xy])


def style_axes(axes):
    """Draws the grid and frame that all figures share."""
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _points(curve, metric: Metric):
    """Returns the finite points in order of their rates, `[2 (bpp, metric), n]`."""
    pairs = [
        (rate_for(mean, metric.key), metric.to_scale(mean[metric.key]))
        for mean in curve.points
    ]
    xy = np.reshape(sorted(p for p in pairs if np.all(np.isfinite(p))), (-1, 2))
    return xy.T


def _set_limits(axes, curves, points):
    """Shows all points of learned codecs, and those of classical ones near to them."""
    learned = _join(points, [curve.kind != "jpeg" for curve in curves])
    classical = _join(points, [curve.kind == "jpeg" for curve in curves])
    shown = learned if learned.size else classical
    if not shown.size:
        return
    # A third more rate on both sides, where the classical codecs go on, and a factor of
    # four from end to end, so that a single point has its surroundings too; likewise a
    # quarter of the value upwards and downwards.
    left, right = shown[0].min(), shown[0].max()
    wider = max(1.33 if learned.size else 1.05, np.sqrt(4 * left / right))
    left, right = left / wider, right * wider
    low, high = shown[1].min(), shown[1].max()
    reach = max(0.5 * (high - low), 0.25 * abs(high))
    classical = _join(
        [_dense(xy) if xy.size else xy for xy in points],
        [curve.kind == "jpeg" for curve in curves],
    )
    near = classical[1, (classical[0] >= left) & (classical[0] <= right)]
    near = near[(near >= low - reach) & (near <= high + reach)]
    low, high = min([low, *near]), max([high, *near])
    margin = max(_MARGIN * (high - low), 0.02 * abs(high)) or 1
    axes.set_xlim(left, right)
    axes.set_ylim(low - margin, high + margin)


def _join(points, wanted):
    chosen = [xy for xy, is_wanted in zip(points, wanted, strict=True) if is_wanted]
    return np.concatenate([np.empty((2, 0)), *chosen], axis=1)


def _add_legend(owner, lines, top):
    """Adds a legend of short names below the axes, where it covers no point.

    Args:
      owner: figure or axes.
      lines: dict from a line to its `Curve`.
      top: its height as a part of the owner's.
    """
    if not lines:
        return
    names = palette.short_names([curve.label for curve in lines.values()])
    longest = max(map(len, names))
    legend = owner.legend(
        list(lines),
        [str(index) for index in range(len(lines))],
        loc="upper center",
        bbox_to_anchor=(0.5, top),
        ncols=max(1, min(4, 100 // (longest + 8))),
        fontsize=9,
        frameon=False,
        handlelength=3,
    )
    # Set afterwards, since `legend` leaves out labels that start with an underscore.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)
