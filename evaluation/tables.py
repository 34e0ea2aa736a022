"""Tables of results as aligned Markdown: means, and BD-rates of curves."""

import math

from evaluation import judges
from evaluation.bd_rate import bd_rate, range_text
from evaluation.results import PICKLED, is_shown, rate_for
from learned_jpeg.common.terminal import one_line
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.metric import Metric


def shown_metrics(points: list[dict]) -> list[Metric]:
    """Returns the compared metrics that have a column, see `results.is_shown`.

    Args:
      points: dicts of means (keys `results.MEASURED`).
    """
    return [metric for metric in registry.compared() if is_shown(metric.key, points)]


def bd_rate_table(anchor_name, anchor, curves, bpp_range=None, minimised=None):
    """BD-rates of several curves against one anchor, as aligned Markdown text.

    Args:
      anchor_name: name of the anchor, for the heading.
      anchor: list of dicts of means (keys `results.MEASURED`), one per dot.
      curves: list of (name, such a list).
      bpp_range: as in `bd_rate`.
      minimised: dict from names of curves to `judges.minimised_by`.

    Returns:
      Text: a heading that says what was compared, a row per curve, and notes on points
      that were left out and on who chose by which metric.
    """
    where = f", {range_text(bpp_range)}" if bpp_range else ""
    metrics = shown_metrics([*anchor, *(point for _, c in curves for point in c)])
    header = ["run", *(judges.marked(metric, metric.heading) for metric in metrics)]
    rows = []
    for name, points in curves:
        rates = [_bd_rate_of_points(anchor, points, m.key, bpp_range) for m in metrics]
        rows.append([name, *map(_bd_rate_cell, rates)])
    text = (
        f"BD-rate against {anchor_name}{where} (negative: fewer bits; in brackets the "
        f"qualities compared):\n\n{markdown_table(header, rows)}"
    )
    if any("*" in cell for row in rows for cell in row[1:]):
        text += (
            "\n\n* without the operating points that are no better than one of fewer "
            "bits, or not finite"
        )
    if note := judges.note_on_judges(metrics, minimised or {}):
        text += f"\n\n{note}"
    return text


def summary_table(points):
    """Writes the means of every operating point as aligned Markdown text.

    Args:
      points: dict from the name of each operating point to its means (keys
        `results.MEASURED`).
    """
    header = ["operating point", "bpp"]
    rows = [[name, f"{means['bpp']:.4f}"] for name, means in points.items()]
    for metric in registry.METRICS.values():
        if not is_shown(metric.key, points.values()):
            continue
        header.append(metric.value_heading)
        if metric.scale:
            header.append(metric.heading)
        for row, means in zip(rows, points.values(), strict=True):
            value = means[metric.key]
            row.append(value_cell(metric, value))
            if metric.scale:
                scaled = metric.scale.convert(value)
                row.append(f"{scaled:.{metric.scale.decimals}f}")
    return markdown_table(header, rows)


def _bd_rate_of_points(anchor, points, metric, bpp_range):
    anchor, curve = (
        [(rate_for(mean, metric), mean[metric]) for mean in means]
        for means in (anchor, points)
    )
    return bd_rate(anchor, curve, metric, bpp_range)


def _bd_rate_cell(rate):
    mark = "*" if rate.dropped else ""
    if rate.percent is None:
        return rate.reason + mark
    digits = 3 if max(map(abs, rate.overlap)) < 1 else 1
    worst, best = (f"{quality:.{digits}f}" for quality in rate.overlap)
    return f"{rate.percent:+.1f} %{mark} ({worst} to {best})"


def value_cell(metric: Metric, value: float) -> str:
    """Returns a value for a table, empty where the metric may not be measured."""
    if math.isnan(value) and metric.key not in PICKLED:
        return ""
    return f"{value:.{metric.decimals}f}"


def markdown_table(header, rows):
    """Aligned Markdown: the first column to the left, numbers to the right."""
    lines = [[_cell(text) for text in line] for line in (header, *rows)]
    header, *rows = lines
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def aligned(cells):
        first, *others = zip(cells, widths, strict=True)
        texts = [first[0].ljust(first[1]), *(cell.rjust(w) for cell, w in others)]
        return "| " + " | ".join(texts) + " |"

    return "\n".join(aligned(line) for line in (header, rule, *rows))


def _cell(text):
    """Returns the text of one cell: names of files may hold line breaks and `|`."""
    return one_line(text).replace("|", r"\|")
