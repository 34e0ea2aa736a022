"""Rates and qualities that each lambda of the search gives, by tune and effort.

`calibration.json` holds means over training photographs, of the search without a model
at 4:2:0, and how the final file of a photograph follows from its first quantization;
`python3 -m evaluation.calibrate` makes it. The search for a target starts there.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from learned_jpeg.search.distortion import DEFAULT_EFFORT
from learned_jpeg.search.targets import Goal, Tried, closest_lambda

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calibration.json")

_MOST_CORRECTIONS = 2  # of lambda by the first quantization
_LONGEST_CORRECTION = 1.5  # in log(lambda)
_LEAST_CORRECTION = 0.04


@functools.cache
def _table() -> dict[str, Any]:
    with open(PATH, encoding="utf-8") as file:
        return json.load(file)


def key_of(tune: str | None, effort: int) -> str:
    """Returns the key in `calibration.json` of a tune at an effort."""
    return f"{tune}" if effort == DEFAULT_EFFORT else f"{tune}, effort {effort}"


def _curve_of(tune: str | None, effort: int) -> dict[str, Any]:
    table = _table()
    return table.get(key_of(tune, effort)) or table.get(f"{tune}", {})


def features(first: np.ndarray, log_lambda: np.ndarray) -> np.ndarray:
    """Returns what the last step of a search is predicted from, `[..., 6]`.

    Args:
      first: a quantity of the first quantization, on the scale of its kind.
      log_lambda: log of the lambda that it was made for.
    """
    ones = np.ones_like(first)
    parts = ones, first, log_lambda, first**2, first * log_lambda, log_lambda**2
    return np.stack(parts, axis=-1)


class Calibration:
    """The values of a quantity at each lambda, on the scale of its kind.

    Attributes:
      is_known: whether the quantity was measured for the tune.
    """

    def __init__(
        self, tune: str | None, effort: int, goal: Goal, size: tuple[int, int]
    ):
        """Looks up a goal's quantity.

        Args:
          tune: name of the metric that is minimised; None for squared steps.
          effort: one of `distortion.EFFORTS`.
          goal: `targets.Goal`.
          size: (height, width) in px.
        """
        curve = _curve_of(tune, effort)
        name, self._unit = goal.name, 0.0
        if name == "bytes":  # measured as bits per pixel
            name, self._unit = "bpp", math.log(8 / (size[0] * size[1]))
        self._goal = goal
        self.is_known = name in curve
        if self.is_known:
            self._logs = np.log(curve["lambda"])
            self._values = np.array([goal.kind.scale(value) for value in curve[name]])
            self._weights = curve.get("changes", {}).get(name)

    @property
    def _aim(self) -> float:
        return self._goal.aim + self._unit

    def start(self) -> float:
        """Returns the lambda that comes to the goal on average."""
        return float(np.exp(np.interp(self._aim, self._values, self._logs)))

    def slope(self, lmbda: float) -> float:
        """Returns the slope of the quantity by log(lambda)."""
        slopes = np.gradient(self._values, self._logs)
        return float(np.interp(math.log(lmbda), self._logs, slopes))

    def change(self, data: bytes, lmbda: float) -> float | None:
        """Returns the change of log(lambda) that comes to the goal.

        Args:
          data: a file of the first quantization, in standard coding.
          lmbda: that it was made for.

        Returns:
          The change; None where none can be told.
        """
        first = self._goal.kind.scale(self._goal.measure(data)) + self._unit
        if self._weights is None or not math.isfinite(first):
            return None
        x = min(max(math.log(lmbda), self._logs[0]), self._logs[-1])
        last = first + features(np.array(first), np.array(x)) @ self._weights
        change = (self._aim - float(last)) / self.slope(lmbda)
        return min(max(change, -_LONGEST_CORRECTION), _LONGEST_CORRECTION)


class Steering:
    """Corrects lambda by the first quantization, so that the file comes to a goal.

    Attributes:
      lmbda: the one that the search goes on with.
    """

    def __init__(self, calibration: Calibration, lmbda: float):
        """Stores a `Calibration` and the lambda of the first quantization."""
        self.lmbda = lmbda
        self._calibration = calibration
        self._corrections = 0

    def __call__(self, data: bytes) -> float | None:
        """Returns the factor on lambda after a first quantization, None to go on."""
        if self._corrections == _MOST_CORRECTIONS:
            return None
        self._corrections += 1
        change = self._calibration.change(data, self.lmbda)
        if change is None or abs(change) < _LEAST_CORRECTION:
            return None
        self.lmbda *= math.exp(change)
        return math.exp(change)


def closest_file(
    encode: Callable[[float, Steering | None], bytes],
    goal: Goal,
    calibration: Calibration,
    usual_lambda: float,
) -> Tried:
    """Finds the file of an image that comes closest to a goal.

    Args:
      encode: function from lambda, and what corrects it within the search, to bytes.
      goal: `Goal`.
      calibration: that of the tune for this goal.
      usual_lambda: to start with where nothing is known of the goal's quantity.

    Returns:
      `Tried`, with lambda as its setting.

    Raises:
      UserError: no lambda is on the right side.
    """
    if not calibration.is_known:
        return closest_lambda(lambda x: encode(x, None), goal, usual_lambda)
    start = calibration.start()
    steering = Steering(calibration, start)
    data = encode(start, steering)
    return closest_lambda(
        lambda lmbda: encode(lmbda, None),
        goal,
        steering.lmbda,
        calibration.slope(steering.lmbda),
        [goal.tried(steering.lmbda, data)],
    )


def score(tune: str | None, lmbda: float) -> float | None:
    """Returns the SSIMULACRA2 that files of a lambda have on average.

    Args:
      tune: name of the metric that is minimised; None for squared steps.
      lmbda: of the search.

    Returns:
      The score; None where nothing was measured.
    """
    curve = _table().get(f"{tune}")
    if curve is None:
        return None
    scores = np.interp(np.log(lmbda), np.log(curve["lambda"]), curve["ssimulacra2"])
    return float(scores)
