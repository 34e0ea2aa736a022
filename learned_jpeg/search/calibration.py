"""Rates and qualities that each lambda of the search gives on average, by tune.

`calibration.json` holds means over training photographs, of the search without a model
at 4:2:0; `python3 -m evaluation.calibrate` makes it. The search for a target starts
there.
"""

from __future__ import annotations

import functools
import json
import os

import numpy as np

from learned_jpeg.search.targets import Goal

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calibration.json")


@functools.cache
def _table():
    with open(PATH, encoding="utf-8") as file:
        return json.load(file)


def start(
    tune: str | None, goal: Goal, size: tuple[int, int]
) -> tuple[float | None, float | None]:
    """Estimates where the search for a goal begins.

    Args:
      tune: name of the metric that is minimised; None for squared steps.
      goal: `targets.Goal`.
      size: (height, width) in px.

    Returns:
      (lambda, slope of the goal's quantity by log(lambda), on the scale of its kind);
      (None, None) where nothing was measured.
    """
    curve = _table().get(tune, {})
    name, wanted = goal.name, goal.middle
    if name == "bytes":
        name, wanted = "bpp", 8 * wanted / (size[0] * size[1])
    if name not in curve:
        return None, None
    values = np.array([goal.kind.scale(value) for value in curve[name]])
    logs = np.log(curve["lambda"])
    log_lambda = np.interp(goal.kind.scale(wanted), values, logs)
    slope = np.interp(log_lambda, logs, np.gradient(values, logs))
    return float(np.exp(log_lambda)), float(slope)


def score(tune: str | None, lmbda: float) -> float | None:
    """Returns the SSIMULACRA2 that files of a lambda have on average.

    Args:
      tune: name of the metric that is minimised; None for squared steps.
      lmbda: of the search.

    Returns:
      The score; None where nothing was measured.
    """
    curve = _table().get(tune)
    if curve is None:
        return None
    scores = np.interp(np.log(lmbda), np.log(curve["lambda"]), curve["ssimulacra2"])
    return float(scores)
