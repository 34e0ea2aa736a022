"""Targets of files: a rate that is met from below, or a quality met from above.

Where a search weighs distortion against bits, its lambda is a continuous number, and a
secant on log(lambda) finds the one whose file meets the target. Other encoders choose
from a list of settings.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from learned_jpeg.common.errors import UserError
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel

MAX_ENCODES = 5  # of an image, unless none of the files is near
_NEAR, _LAST_ENCODES = 2, 10  # tolerances
_LOG_LAMBDAS = (math.log(1e-7), math.log(1e4))  # bounds of the search
_LONGEST_STEP = 3.0  # in log(lambda)
_LARGEST_SLACK = 100.0
_LONGEST_TEXT = 1e12  # of a value with all its digits
_MATCH_TOLERANCE = 0.9  # points of SSIMULACRA2, to either side
# Where the aim lies inside of the limit, in tolerances: at first, and from the third
# file on, when files differ by more than lambda can tell.
_AIM, _LATER_AIM, _LATER = 0.4, 0.7, 3


class Kind(NamedTuple):
    """A quantity that can be a target.

    Attributes:
      is_limit: whether it is a rate, met from below.
      tolerance: on the scale, within which a file is close enough.
      scale: function to a scale on which it is about linear in log(lambda).
      text: format of a value.
      slope: by log(lambda) on the scale, where nothing better is known.
      metric: key of the metric that measures it; empty for a rate.
      allowed: (low, high), both exclusive, of the values that may be asked for.
    """

    is_limit: bool
    tolerance: float
    scale: Callable[[float], float]
    text: str
    slope: float
    metric: str = ""
    allowed: tuple[float, float] = (0.0, math.inf)


RATES = {
    "bpp": Kind(True, 0.005, math.log, "{:.4f}", 0.4),
    "bytes": Kind(True, 0.005, math.log, "{:.0f}", 0.4),
}


def _kind_of_metric(metric):
    return Kind(
        is_limit=False,
        tolerance=metric.target.tolerance,
        scale=metric.to_scale,
        text=metric.target.text,
        slope=metric.target.slope,
        metric=metric.key,
        allowed=metric.target.allowed,
    )


def number_between(low: float, high: float) -> str:
    """Returns in words which numbers lie between two, both excluded."""
    if math.isinf(low):
        return f"a number below {high:g}"
    if math.isinf(high):
        return f"a number above {low:g}"
    return f"a number between {low:g} and {high:g}"


# Every quantity that can be a target, by the name of its flag without `--target_`.
KINDS = RATES | {m.word: _kind_of_metric(m) for m in registry.targets()}


@dataclass(frozen=True)
class Target:
    """A quantity and the value that each file comes close to.

    Attributes:
      name: a key of `KINDS`.
      value: bits per pixel, bytes, or a value of the metric.

    Raises:
      UserError: an unknown name, or a value out of range.
    """

    name: str
    value: float

    def __post_init__(self):
        """Checks the name and the value."""
        if self.name not in KINDS:
            known = ", ".join(KINDS)
            raise UserError(f"target {self.name!r}: unknown; choose one of {known}")
        low, high = KINDS[self.name].allowed
        if not isinstance(self.value, numbers.Real) or not low < self.value < high:
            raise UserError(
                f"target {self.name} {self.value!r}: name {number_between(low, high)}"
            )

    def goal(self, image: np.ndarray, name: str) -> Goal:
        """Returns the target for one image.

        Args:
          image: uint8 RGB `[h, w, 3]`.
          name: of the image, for errors.

        Raises:
          UserError: the metric is not defined for an image of this size.
        """
        return Goal(self, name, _measure(self.name, image, name))


def _measure(name, image, image_name):
    """Returns the function from the bytes of a file to the quantity of a target."""
    height, width = image.shape[:2]
    if name == "bytes":
        return len
    if name == "bpp":
        return lambda data: bits_per_pixel(len(data), height, width)
    metric = registry.get(KINDS[name].metric)
    if min(height, width) < metric.min_side:
        raise UserError(
            f"{image_name}: {width}x{height} px: --target_{name} needs sides of at "
            f"least {metric.min_side} px; pass --target_psnr instead"
        )
    # Imported here, as compiled functions come with it.
    from learned_jpeg.jpeg import file as jpeg_file

    reference = metric.prepare(image)
    return lambda data: metric.compare(reference, jpeg_file.decode(data))


class Tried(NamedTuple):
    """A file that was made on the way to a goal.

    Attributes:
      setting: a lambda, or a setting of a list, that made the file.
      data: bytes of the file.
      value: of the quantity that is the target.
      slack: how far inside of the limit the file is, on the scale of its kind; negative
        outside.
    """

    setting: Any
    data: bytes
    value: float
    slack: float


class Goal:
    """A target for one image.

    Attributes:
      last_encodes: number of files after which even a search that is not near ends.
      name, wanted: of the target.
      kind: its `Kind`.
      measure: function from the bytes of a file to the quantity.
    """

    last_encodes = _LAST_ENCODES

    def __init__(self, target: Target, image_name: str, measure: Callable):
        """Stores a `Target`, the image's name, and the function to measure a file."""
        self.name = target.name
        self.wanted = target.value
        self.kind = KINDS[target.name]
        self.measure = measure
        self._image_name = image_name

    @property
    def aim(self) -> float:
        """The value on the scale of the kind that a search had best come to."""
        inside = _AIM * self.kind.tolerance
        wanted = self.kind.scale(self.wanted)
        return wanted - inside if self.kind.is_limit else wanted + inside

    def tried(self, setting: Any, data: bytes) -> Tried:
        """Measures a file that a setting made; returns a `Tried`."""
        value = self.measure(data)
        slack = self.kind.scale(value) - self.kind.scale(self.wanted)
        return Tried(setting, data, value, -slack if self.kind.is_limit else slack)

    def is_met(self, tried: Tried) -> bool:
        """Returns whether a file is close enough, on the right side."""
        return 0 <= tried.slack <= self.kind.tolerance

    def best(self, all_tried: Sequence[Tried]) -> Tried:
        """Returns the closest file on the right side.

        Raises:
          UserError: there is none.
        """
        fitting = [tried for tried in all_tried if tried.slack >= 0]
        if fitting:
            # Of equal ones, such as copies of a blank page, the smallest.
            return min(fitting, key=lambda tried: (tried.slack, len(tried.data)))
        nearest = max(all_tried, key=lambda tried: tried.slack)
        raise UserError(f"{self._miss()} cannot be reached, {self._nearest(nearest)}")

    def miss(self, tried: Tried) -> str | None:
        """Returns one line on a file that is far inside of the limit, or None."""
        return None if self.is_met(tried) else f"{self._miss()}: {self._nearest(tried)}"

    def _miss(self):
        wanted = self._text(self.wanted)
        return f"{self._image_name}: --target_{self.name} {wanted}"

    def _nearest(self, tried):
        return f"the nearest is {self._text(tried.value)}"

    def _text(self, value):
        is_short = abs(value) < _LONGEST_TEXT or math.isinf(value)
        return self.kind.text.format(value) if is_short else f"{value:g}"


class MatchScore(Goal):
    """The SSIMULACRA2 of another file, to a point on either side."""

    last_encodes = MAX_ENCODES  # The other file itself will do.

    def __init__(self, score: float, measure: Callable[[bytes], float]):
        """Stores the score of the other file, and the function to measure one."""
        super().__init__(Target("ssimulacra2", score - _MATCH_TOLERANCE), "", measure)
        self.kind = self.kind._replace(tolerance=2 * _MATCH_TOLERANCE)

    @property
    def aim(self) -> float:
        """The score of the other file."""
        return self.wanted + _MATCH_TOLERANCE

    def best(self, all_tried: Sequence[Tried]) -> Tried:
        """Returns the file that comes closest, from either side."""
        return min(all_tried, key=lambda tried: abs(tried.slack - _MATCH_TOLERANCE))


def closest_setting(settings: Sequence, encode: Callable, goal: Goal) -> Tried:
    """Finds the setting whose file comes closest to a goal, from the right side.

    Args:
      settings: either of one checkpoint with rising quality, searched by bisection
        (more quality gives more bytes, but for rare ties); or of several checkpoints,
        which are all tried.
      encode: function from a setting to bytes.
      goal: `Goal`.

    Returns:
      `Tried`.

    Raises:
      UserError: no setting is on the right side.
    """

    def tried(setting):
        return goal.tried(setting, encode(setting))

    if not settings[0].quality:
        return goal.best([tried(setting) for setting in settings])
    found, low, high = [], 0, len(settings)
    while low < high:
        middle = (low + high) // 2
        found.append(tried(settings[middle]))
        if (found[-1].slack >= 0) == goal.kind.is_limit:
            low = middle + 1
        else:
            high = middle
    return goal.best(found)


def closest_lambda(
    encode: Callable[[float], bytes],
    goal: Goal,
    lmbda: float,
    slope: float | None = None,
    made: Sequence[Tried] = (),
) -> Tried:
    """Finds the lambda whose file comes closest to a goal, from the right side.

    Args:
      encode: function from lambda to bytes.
      goal: `Goal`.
      lmbda: the first one to try.
      slope: of the goal's quantity by log(lambda), on its scale; None where it is
        unknown.
      made: files of other lambdas that were made before; `lmbda` is not tried then.

    Returns:
      `Tried`, with lambda as its setting.

    Raises:
      UserError: no lambda is on the right side.
    """
    found, slope = list(made), slope or goal.kind.slope
    while not found or not goal.is_met(found[-1]):
        is_near = any(0 <= t.slack <= _NEAR * goal.kind.tolerance for t in found)
        if len(found) >= (MAX_ENCODES if is_near else goal.last_encodes):
            break
        x = _next(found, goal, slope) if found else math.log(lmbda)
        if x is None:
            break
        found.append(goal.tried(math.exp(x), encode(math.exp(x))))
    return goal.best(found)


def _next(found, goal, slope):
    """Returns the log(lambda) to try next, None if nothing is between those tried."""
    sign = -1 if goal.kind.is_limit else 1
    aim = (_AIM if len(found) < _LATER else _LATER_AIM) * goal.kind.tolerance
    # A quantity that rises with lambda and is 0 at the aim.
    points = [(math.log(t.setting), sign * _bounded(t.slack - aim)) for t in found]
    below = [point for point in points if point[1] < 0]
    above = [point for point in points if point[1] >= 0]
    low = max(below, default=(_LOG_LAMBDAS[0], -math.inf))
    high = min(above, default=(_LOG_LAMBDAS[1], math.inf))
    nearest = sorted(points, key=lambda point: abs(point[1]))[:2]
    if below and above:
        nearest = [low, high]
    if len(nearest) == 2:
        (x0, y0), (x1, y1) = nearest
        slope = max((y1 - y0) / (x1 - x0), slope / 8)
    x, y = nearest[0]
    step = min(max(-y / slope, -_LONGEST_STEP), _LONGEST_STEP)
    x = min(max(x + step, _LOG_LAMBDAS[0]), _LOG_LAMBDAS[1])
    if below and above and not low[0] < x < high[0]:
        x = (low[0] + high[0]) / 2
    return None if any(abs(x - place) < 1e-9 for place, _ in points) else x


def _bounded(slack):
    """Bounds a slack, which is infinite for a blank page, to draw a line through it."""
    return min(max(slack, -_LARGEST_SLACK), _LARGEST_SLACK)
