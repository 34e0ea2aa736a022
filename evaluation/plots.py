"""Figures: metrics against bits per pixel.

Classical codecs are dashed grey lines, each run of trainings has one colour and marker
with a point per lambda, and the Google baseline is black. The colours can be told apart
with the common kinds of colour blindness: Okabe and Ito, "Color Universal Design",
2008 (without its yellow), and two of Paul Tol's, https://sronpersonalpages.nl/~pault.
"""

import io
import math
import os
from dataclasses import dataclass

import numpy as np

from evaluation.results import MEASURED, is_shown, rate_for
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.metric import Metric

DPI = 200

_RUN_COLOURS = (
    "#0072B2",  # blue
    "#D55E00",  # vermillion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#882255",  # wine
    "#999933",  # olive
)
# One fewer than there are colours, so that the pairs repeat late.
_RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_JPEG_COLOURS = ("#555555", "#888888", "#AAAAAA")
# One more than there are colours, so that the pairs repeat late.
_JPEG_DASHES = ((0, (5, 2)), (0, (2, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)))
_GOOGLE_MARKERS = ("*", "p", "h")

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
    """Writes the figure of each metric into `folder`: `mse.png`, and so on.

    Args:
      curves: list of `Curve`.
      folder: where to write, made if it is missing.
      title: a line above each figure, for example the test set.

    Returns:
      The paths of the files, one for each metric that an operating point has.
    """
    points = [point for curve in curves for point in curve.points]
    return [
        save_figure(
            rate_distortion_figure(curves, key, title),
            os.path.join(folder, f"{registry.get(key).word}.png"),
        )
        for key in MEASURED
        if key != "bpp" and is_shown(key, points)
    ]


def plot_overview(curves, folder, bpp_range):
    """Writes `overview.png`: a panel for each metric of `registry.overview`.

    Args:
      curves: list of `Curve`.
      folder: where to write, made if it is missing.
      bpp_range: (low, high), the rates to show.

    Returns:
      The path of the file.
    """
    figure = new_figure((9.6, 7.8))
    metrics = registry.overview()
    panels = figure.subplots(math.ceil(len(metrics) / 2), 2).flat
    for axes, metric in zip(panels, metrics, strict=False):
        points = _draw(axes, curves, metric.key)
        _zoom(axes, points, bpp_range)
    lines = dict(zip(figure.axes[0].get_lines(), curves, strict=True))
    _add_legend(figure, lines, columns=3, top=0.06)
    figure.subplots_adjust(wspace=0.22)
    return save_figure(figure, os.path.join(folder, "overview.png"))


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
    nothing else.

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
    longest = max((len(curve.label) for curve in lines.values()), default=0)
    columns = max(1, min(3, 110 // (longest + 8)))
    _add_legend(axes, lines, columns, top=-0.14)
    return figure


def _draw(axes, curves, metric):
    """Draws one metric against bpp, without title and legend; returns the points."""
    shown = registry.get(metric)
    points = [_points(curve, shown) for curve in curves]
    for curve, xy, style in zip(curves, points, _styles(curves), strict=True):
        axes.plot(*xy, label=curve.label, **style)
    _set_limits(axes, curves, points)
    axes.set_xlabel("rate [bits per pixel]")
    axes.set_ylabel(shown.axis_label)
    style_axes(axes)
    if not any(xy.size for xy in points):
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
    return points


def style_axes(axes):
    """Draws the grid and frame that all figures share."""
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _zoom(axes, points, bpp_range):
    """Shows what lies within a range of rates."""
    low, high = bpp_range
    shown = np.concatenate([xy[1, (xy[0] >= low) & (xy[0] <= high)] for xy in points])
    axes.set_xlim(low, high)
    if shown.size > 1:
        margin = _MARGIN * np.ptp(shown)
        axes.set_ylim(shown.min() - margin, shown.max() + margin)


def _points(curve, metric: Metric):
    """Returns the finite points in order of their rates, `[2 (bpp, metric), n]`."""
    pairs = [
        (rate_for(mean, metric.key), metric.to_scale(mean[metric.key]))
        for mean in curve.points
    ]
    xy = np.reshape(sorted(p for p in pairs if np.all(np.isfinite(p))), (-1, 2))
    return xy.T


def _styles(curves):
    """Returns keyword arguments of `Axes.plot` for each curve."""
    makers = {"jpeg": _jpeg_style, "run": _run_style, "google": _google_style}
    counts = dict.fromkeys(makers, 0)
    styles = []
    for curve in curves:
        styles.append(makers[curve.kind](counts[curve.kind]))
        counts[curve.kind] += 1
    return styles


def _jpeg_style(index):
    return {
        "color": _JPEG_COLOURS[index % len(_JPEG_COLOURS)],
        "linestyle": _JPEG_DASHES[index % len(_JPEG_DASHES)],
        "linewidth": 1.4,
        "marker": ".",
        "markersize": 4,
        "zorder": 2,
    }


def _run_style(index):
    return {
        "color": _RUN_COLOURS[index % len(_RUN_COLOURS)],
        "marker": _RUN_MARKERS[index % len(_RUN_MARKERS)],
        "linewidth": 0.9,
        "markersize": 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "zorder": 3,
    }


def _google_style(index):
    return {
        "color": "black",
        "marker": _GOOGLE_MARKERS[index % len(_GOOGLE_MARKERS)],
        "linewidth": 0.9,
        "markersize": 8,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "zorder": 3,
    }


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
    near = classical[1, (classical[0] >= left) & (classical[0] <= right)]
    near = near[(near >= low - reach) & (near <= high + reach)]
    low, high = min([low, *near]), max([high, *near])
    margin = max(_MARGIN * (high - low), 0.02 * abs(high)) or 1
    axes.set_xlim(left, right)
    axes.set_ylim(low - margin, high + margin)


def _join(points, wanted):
    chosen = [xy for xy, is_wanted in zip(points, wanted, strict=True) if is_wanted]
    return np.concatenate([np.empty((2, 0)), *chosen], axis=1)


def _add_legend(owner, lines, columns, top):
    """Adds a legend below the axes, where it covers no point.

    Args:
      owner: figure or axes.
      lines: dict from a line to its `Curve`.
      columns: of the legend.
      top: its height as a part of the owner's.
    """
    if not lines:
        return
    legend = owner.legend(
        list(lines),
        [str(index) for index in range(len(lines))],
        loc="upper center",
        bbox_to_anchor=(0.5, top),
        ncols=columns,
        fontsize=8,
        frameon=False,
        handlelength=3,
    )
    # Set afterwards, since `legend` leaves out labels that start with an underscore.
    for text, curve in zip(legend.get_texts(), lines.values(), strict=True):
        text.set(text=curve.label, parse_math=False)
