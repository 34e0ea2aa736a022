"""What a lambda of the search gives on average: measured, for each `--tune`.

`calibration.json` holds means over training photographs, of the search without a model
at 4:2:0; `python3 -m evaluation.calibrate` makes it. A target is sought from there on.
"""

import functools
import json
import os

import numpy as np

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calibration.json")


@functools.cache
def _table():
    with open(PATH, encoding="utf-8") as file:
        return json.load(file)


def start(tune, goal, size):
    """Where the search for a goal begins.

    Args:
      tune: one of `search.tunes.TUNES`.
      goal: `targets.Goal`.
      size: (height, width) in px.

    Returns:
      (lambda, slope of the goal's quantity by log(lambda), on the scale of its kind);
      (None, None) where there is no curve.
    """
    curve = _table().get(tune)
    if curve is None:
        return None, None
    name, wanted = goal.name, goal.middle
    if name == "bytes":
        name, wanted = "bpp", 8 * wanted / (size[0] * size[1])
    values = np.array([goal.kind.scale(value) for value in curve[name]])
    logs = np.log(curve["lambda"])
    log_lambda = np.interp(goal.kind.scale(wanted), values, logs)
    slope = np.interp(log_lambda, logs, np.gradient(values, logs))
    return float(np.exp(log_lambda)), float(slope)
