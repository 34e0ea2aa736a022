"""What a lambda of the search gives on average: measured, for each `--tune`.

`calibration.json` holds means over training photographs, of the search without a model
at 4:2:0 and of Pillow's JPEG at 4:2:0; `python3 -m evaluation.calibrate` makes it.
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


def lambda_of_quality(quality, tune):
    """The lambda whose files have the SSIMULACRA2 of Pillow's JPEG, in the mean.

    Args:
      quality: 1..100, of Pillow at 4:2:0.
      tune: one of `jpeg.TUNES` but "model".

    Returns:
      A number; None where the tune was not measured.
    """
    curve = _table()["tunes"].get(tune)
    return curve and curve["of_quality"][quality - 1]


def _log_lambda(curve, values, value):
    return np.interp(value, values, np.log(curve["lambda"]))


def start(tune, goal, size):
    """Where the search for a goal begins.

    Args:
      tune: one of `jpeg.TUNES`.
      goal: `targets.Goal`.
      size: (height, width) in px.

    Returns:
      (lambda, slope of the goal's quantity by log(lambda), on the scale of its kind);
      (None, None) where there is no curve.
    """
    curve = _table()["tunes"].get(tune)
    if curve is None:
        return None, None
    name, wanted = goal.name, goal.wanted
    if name == "bytes":
        name, wanted = "bpp", 8 * wanted / (size[0] * size[1])
    values = np.array([goal.kind.scale(value) for value in curve[name]])
    log_lambda = _log_lambda(curve, values, goal.kind.scale(wanted))
    slopes = np.gradient(values, np.log(curve["lambda"]))
    slope = np.interp(log_lambda, np.log(curve["lambda"]), slopes)
    return float(np.exp(log_lambda)), float(slope)
