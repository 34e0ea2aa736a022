"""What a file shall come close to: a rate from below, a quality from above.

Where a search weighs distortion against bits, its lambda is a continuous number: a
secant on log(lambda) finds the one whose file meets the target. Other encoders choose
from a list of settings.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import ms_ssim
from learned_jpeg.metrics.basic import (
    bits_per_pixel,
    mean_squared_error,
    ms_ssim_db,
    psnr,
)
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2

MAX_ENCODES = 5  # of a picture, unless none of them is near
_NEAR, _LAST_ENCODES = 2, 10  # tolerances
_LOG_LAMBDAS = (math.log(1e-7), math.log(1e4))  # between which is searched
_LONGEST_STEP = 3.0  # in log(lambda)
_MOST = 100.0  # of a slack
_LIKE = 1.0  # points of SSIMULACRA2 that files which look alike may differ by
# How far inside of the limit the aim lies, of the tolerance: at first, and once files
# differ by what no lambda can tell.
_AIM, _LATER_AIM, _LATER = 0.4, 0.7, 3


class Kind(NamedTuple):
    """A quantity that can be asked for.

    Attributes:
      is_limit: whether it is a rate, met from below.
      tolerance: on the scale, within which a file is close enough.
      scale: function to a scale on which it is about linear in log(lambda).
      text: format of a value.
      slope: by log(lambda) on the scale, where nothing better is known.
    """

    is_limit: bool
    tolerance: float
    scale: Callable
    text: str
    slope: float


KINDS = {
    "bpp": Kind(True, 0.005, math.log, "{:.4f}", 0.4),
    "bytes": Kind(True, 0.005, math.log, "{:.0f}", 0.4),
    "psnr": Kind(False, 0.05, float, "{:.3f} dB", 2.0),
    "ms_ssim": Kind(False, 0.05, ms_ssim_db, "{:.5f}", 2.5),
    "ssimulacra2": Kind(False, 0.2, float, "{:.2f}", 12.0),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A flag `--target_<name>` and its value."""

    name: str
    value: float

    def goal(self, picture, path):
        """What it means for a picture, uint8 `[h, w, 3]`; a `Goal`.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          path: of the picture, for errors.

        Raises:
          UserError: the metric is not defined for a picture of this size.
        """
        return Goal(self, path, _measure(self.name, picture, path))


def target_of(args):
    """The `Target` among the flags of `compress`, or None."""
    values = {name: getattr(args, f"target_{name}") for name in KINDS}
    found = [Target(name, value) for name, value in values.items() if value is not None]
    return found[0] if found else None


def _measure(name, picture, path):
    """Function from the bytes of a file to the quantity of this name."""
    height, width = picture.shape[:2]
    if name == "bytes":
        return len
    if name == "bpp":
        return lambda data: bits_per_pixel(len(data), height, width)
    if name == "psnr":
        return lambda data: psnr(mean_squared_error(picture, jpeg_file.decode(data)))
    module = {"ms_ssim": ms_ssim, "ssimulacra2": ssimulacra2}[name]
    if min(height, width) < module.MIN_SIDE:
        raise UserError(
            f"{path}: {width}x{height} px: --target_{name} needs sides of at least "
            f"{module.MIN_SIDE} px; take --target_psnr"
        )
    metric = ms_ssim.ms_ssim if name == "ms_ssim" else ssimulacra2.score
    scales = module.reference_scales(picture)
    return lambda data: metric(scales, jpeg_file.decode(data))


class Tried(NamedTuple):
    """A file that was made on the way to a goal.

    Attributes:
      setting: of what made it: a lambda, or a setting of a list.
      data: bytes.
      value: of the quantity that is asked for.
      slack: on the scale of its kind, how far inside of the limit; negative outside.
    """

    setting: object
    data: bytes
    value: float
    slack: float


class Goal:
    """A target for one picture."""

    def __init__(self, target, path, measure):
        """Takes a `Target`, the picture's path, and a function of a file's bytes."""
        self.name = target.name
        self.wanted = self.middle = target.value
        self.kind = KINDS[target.name]
        self._path = path
        self._measure = measure

    def tried(self, setting, data):
        """The `Tried` of a file."""
        value = self._measure(data)
        slack = self.kind.scale(value) - self.kind.scale(self.wanted)
        return Tried(setting, data, value, -slack if self.kind.is_limit else slack)

    def is_met(self, tried):
        """Whether a file is close enough, on the right side."""
        return 0 <= tried.slack <= self.kind.tolerance

    def best(self, all_tried):
        """The closest file on the right side.

        Raises:
          UserError: there is none.
        """
        fitting = [tried for tried in all_tried if tried.slack >= 0]
        if fitting:
            # Of equal ones, such as copies of a blank page, the smallest.
            return min(fitting, key=lambda tried: (tried.slack, len(tried.data)))
        nearest = max(all_tried, key=lambda tried: tried.slack)
        raise UserError(f"{self._miss()} cannot be reached, {self._nearest(nearest)}")

    def miss(self, tried):
        """One line on a file that is far inside of the limit, or None."""
        return None if self.is_met(tried) else f"{self._miss()}: {self._nearest(tried)}"

    def _miss(self):
        wanted = self.kind.text.format(self.wanted)
        return f"{self._path}: --target_{self.name} {wanted}"

    def _nearest(self, tried):
        return f"the nearest is {self.kind.text.format(tried.value)}"


class Likeness(Goal):
    """The SSIMULACRA2 of Pillow's JPEG of a picture, to a point on either side."""

    def __init__(self, picture, quality):
        """Measures what is to be met.

        Args:
          picture: uint8 RGB `[h, w, 3]`, sides of at least `ssimulacra2.MIN_SIDE` px.
          quality: 1..100, of Pillow at 4:2:0.
        """
        measure = _measure("ssimulacra2", picture, "")
        score = measure(jpeg_file.encode_rgb(picture, quality, sampling="4:2:0"))
        super().__init__(Target("ssimulacra2", score - _LIKE), "", measure)
        self.middle = score
        self.kind = self.kind._replace(tolerance=2 * _LIKE)

    def best(self, all_tried):
        """The file that comes closest, from either side."""
        return min(all_tried, key=lambda tried: abs(tried.slack - _LIKE))


def closest_setting(settings, encode, goal):
    """The setting whose file comes closest to a goal, from the right side.

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


def closest_lambda(encode, goal, lmbda, slope=None):
    """The file of the lambda that comes closest to a goal, from the right side.

    Args:
      encode: function from lambda to bytes.
      goal: `Goal`.
      lmbda: to begin with.
      slope: of the goal's quantity by log(lambda), on its scale, as far as it is
        known.

    Returns:
      `Tried`, with lambda as its setting.

    Raises:
      UserError: no lambda is on the right side.
    """
    found, x = [], math.log(lmbda)
    slope = slope or goal.kind.slope
    while x is not None:
        found.append(goal.tried(math.exp(x), encode(math.exp(x))))
        if goal.is_met(found[-1]):
            break
        is_near = any(0 <= t.slack <= _NEAR * goal.kind.tolerance for t in found)
        if len(found) >= (MAX_ENCODES if is_near else _LAST_ENCODES):
            break
        x = _next(found, goal, slope)
    return goal.best(found)


def _next(found, goal, slope):
    """log(lambda) to try next, None where there is nothing between those tried."""
    sign = -1 if goal.kind.is_limit else 1
    aim = (_AIM if len(found) < _LATER else _LATER_AIM) * goal.kind.tolerance
    # A quantity that rises with lambda and is 0 at the aim.
    points = [(math.log(t.setting), sign * _bounded(t.slack - aim)) for t in found]
    below = [point for point in points if point[1] < 0]
    above = [point for point in points if point[1] >= 0]
    low = max(below, default=(_LOG_LAMBDAS[0], None))
    high = min(above, default=(_LOG_LAMBDAS[1], None))
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
    """A slack to draw a line through: that of a blank page may be infinite."""
    return min(max(slack, -_MOST), _MOST)
