"""Outside judges: metrics that took no part in any choice."""

from collections.abc import Iterable, Mapping
from typing import Any

from evaluation.palette import short_name
from learned_jpeg.codec.options import OWN_LOSS
from learned_jpeg.common.terminal import one_line
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.metric import Metric
from learned_jpeg.models.settings import WEIGHT_KEYS
from learned_jpeg.search import tunes

OUTSIDE_MARK = "\N{DAGGER}"

_NAMED = 3  # codecs that a note names

# The metric of each weight of a training's loss.
_METRIC_OF_WEIGHT = {
    "lpips": "lpips",
    "ms_ssim": "ms-ssim",
    "ssimulacra2": "ssimulacra2",
}


def is_outside(metric: Metric) -> bool:
    """Returns whether no default was chosen by a metric."""
    return metric.key not in registry.CHOSEN_BY


def marked(metric: Metric, text: str) -> str:
    """Returns a heading, with `OUTSIDE_MARK` if the metric is an outside judge."""
    return f"{text} {OUTSIDE_MARK}" if is_outside(metric) else text


def minimised_by(settings: Mapping[str, Any]) -> frozenset[str]:
    """Returns the keys of the metrics that a codec minimises.

    Args:
      settings: of an operating point. What a codec without a `script` minimises, such
        as mozjpeg, is not known.
    """
    if "script" not in settings:
        return frozenset()
    weights = {name: settings.get(key) for name, key in WEIGHT_KEYS.items()}
    found = set()
    if "rate_model" in settings:  # trained
        found |= {"psnr"}
        found |= {_METRIC_OF_WEIGHT[name] for name, weight in weights.items() if weight}
    if settings.get("quantization") == "search":
        tune = settings["tune"]
        if tune == OWN_LOSS:
            tune = tunes.tune_of_loss(weights)
        found |= {*tunes.TUNES[tune].minimises}
    return frozenset(found)


def note_on_judges(
    metrics: Iterable[Metric], minimised: Mapping[str, frozenset[str]]
) -> str:
    """Says who chose by which metric, in one line; "" without an outside judge.

    Args:
      metrics: those of a table.
      minimised: dict from the labels of its codecs to what these minimise.
    """
    metrics = list(metrics)
    if not any(map(is_outside, metrics)):
        return ""
    choosing = [metric.name for metric in metrics if not is_outside(metric)]
    sentences = [f"{OUTSIDE_MARK} outside judge: no default was chosen by it."]
    if choosing:
        sentences.append(f"Defaults were chosen by {', '.join(choosing)}.")
    for metric in metrics:
        labels = [label for label, keys in minimised.items() if metric.key in keys]
        if labels:
            names = "; ".join(map(short_name, labels[:_NAMED]))
            others = f" and {len(labels) - _NAMED} more" if labels[_NAMED:] else ""
            sentences.append(
                f"{metric.name} is minimised by {one_line(names)}{others}."
            )
    return " ".join(sentences)
