"""One colour, one dash and one short name for each codec, in every figure.

The colours can be told apart with the common kinds of colour blindness: Okabe and Ito,
"Color Universal Design", 2008 (without its yellow), and two of Paul Tol's,
https://sronpersonalpages.nl/~pault. Codecs that are not ours are dashed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from learned_jpeg.search.tunes import DEFAULT_TUNE

GAIN_COLOUR = "#009E73"  # of what is better: green
LOSS_COLOUR = "#D55E00"  # of what is worse: red

_SOLID = "-"
_LONG, _SHORT = (0, (5, 2)), (0, (2, 1.5))
_DASH_DOT, _DOTS = (0, (5, 1.5, 1, 1.5)), (0, (1, 1))


class Look(NamedTuple):
    """How a codec is drawn.

    Attributes:
      colour: "#rrggbb".
      dash: line style of matplotlib.
      marker: of its operating points.
    """

    colour: str
    dash: str | tuple
    marker: str


# By short name.
_KNOWN = {
    "JPEG": Look("#555555", _LONG, "."),
    "JPEG, lossless pass": Look("#555555", _DOTS, "."),
    "JPEG 4:2:0": Look("#888888", _LONG, "."),
    "JPEG 4:2:0, lossless pass": Look("#888888", _DOTS, "."),
    "mozjpeg 4:2:0": Look("#000000", _DASH_DOT, "."),
    "jpegli 4:2:0": Look("#882255", _SHORT, "."),
    "WebP": Look("#999933", _LONG, "."),
    "AVIF": Look("#CC79A7", _LONG, "."),
    "ours": Look("#0072B2", _SOLID, "o"),
    "ours, SSIMULACRA2": Look("#56B4E9", _SOLID, "s"),
    "ours, PSNR": Look("#E69F00", _SOLID, "^"),
    "ours, MS-SSIM": Look("#009E73", _SOLID, "D"),
    "ours, mixed": Look("#D55E00", _SOLID, "v"),
    "Google baseline": Look("#000000", _SOLID, "*"),
}
# Of runs of trainings, and of other codecs, in the order in which they come.
_COLOURS = (
    "#D55E00",  # vermillion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#882255",  # wine
    "#999933",  # olive
    "#0072B2",  # blue
)
# One fewer than there are colours, so that the pairs repeat late.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = (_SHORT, _DASH_DOT, _LONG, _DOTS)

_TUNE_TITLES = {
    "ssimulacra2": "ours, SSIMULACRA2",
    "psnr": "ours, PSNR",
    "ms-ssim": "ours, MS-SSIM",
    DEFAULT_TUNE: "ours",
}


def short_name(label: str) -> str:
    """Returns the name of a curve for a legend, without its settings.

    Args:
      label: of the curve, in the words of `operating_points` or of `curves.Compared`.
    """
    search = re.match(
        r"search(?: for (\S+), no model$|, no model.*tuned for (\S+))", label
    )
    if search:
        tune = search[1] or search[2]
        return _TUNE_TITLES.get(tune, f"ours, {tune}")
    if re.match(r"JPEG\b", label):
        sampling = re.search(r"4:2:[02]", label)
        name = f"JPEG {sampling[0]}" if sampling else "JPEG"
        return f"{name}, lossless pass" if "optimized" in label else name
    if label.startswith("mozjpeg"):
        return "mozjpeg 4:2:0"
    if label.startswith("jpegli 4:2:0"):
        return "jpegli 4:2:0"
    for known in ("WebP", "AVIF"):
        if label.startswith(f"{known}, "):
            return known
    return label.removesuffix(", standard")


def short_names(labels: Sequence[str]) -> list[str]:
    """Returns the short name of each label, or the label where two would be equal."""
    names = [short_name(label) for label in labels]
    return [
        label if names.count(name) > 1 else name
        for label, name in zip(labels, names, strict=True)
    ]


def looks(labels: Sequence[str], dashed: Sequence[bool]) -> list[Look]:
    """Returns the look of each curve.

    Args:
      labels: of the curves.
      dashed: whether a curve is of a codec that is not ours; only for those that have
        no look of their own.
    """
    names = short_names(labels)
    used = {_KNOWN[name].colour for name in names if name in _KNOWN}
    free = [colour for colour in _COLOURS if colour not in used] or list(_COLOURS)
    found, counts = [], {True: 0, False: 0}
    for name, is_dashed in zip(names, dashed, strict=True):
        if name in _KNOWN:
            found.append(_KNOWN[name])
            continue
        index = counts[is_dashed]
        counts[is_dashed] += 1
        if is_dashed:
            colour = free[-1 - index % len(free)]
            found.append(Look(colour, _DASHES[index % len(_DASHES)], "."))
        else:
            marker = _MARKERS[index % len(_MARKERS)]
            found.append(Look(free[index % len(free)], _SOLID, marker))
    return found


def shade(position: float) -> tuple[float, float, float]:
    """Returns the colour of something that has an order, such as a lambda.

    Args:
      position: 0..1, from dark to light; of viridis, without its pale end.
    """
    from matplotlib import colormaps  # takes 0.3 s

    return colormaps["viridis"](0.88 * position)[:3]
