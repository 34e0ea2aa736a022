"""The declaration of an image-quality metric: all that the project knows of it.

A module of this package that assigns a `Metric` to the name `METRIC` is found by
`registry`. Tables, figures, BD-rates, reports, results and targets iterate over the
registry, so that a new metric is a new module and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TargetKind:
    """How close a file has to come to a value of the metric, and how that is searched.

    Attributes:
      tolerance: on the metric's scale, within which a file is close enough.
      text: format of a value for messages.
      slope: derivative of the scaled value by log(lambda), where nothing better is
        known.
      metavar: placeholder of the value in the help of `--target_<name>`.
      help: the second half of that help text.
      allowed: (low, high), both exclusive, of the values that may be asked for.
    """

    tolerance: float
    text: str
    slope: float
    metavar: str
    help: str
    allowed: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class ComparisonScale:
    """A second scale, on which differences of a metric can be compared.

    Attributes:
      convert: function from a value to the scale, rising.
      unit: of the scale.
      decimals: of a scaled value in tables.
    """

    convert: Callable[[float], float]
    unit: str
    decimals: int


def _itself(original: np.ndarray) -> np.ndarray:
    return original


def _always() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One image-quality metric.

    Attributes:
      key: name in results, such as "ms-ssim".
      name: name in prose, such as "MS-SSIM".
      compare: function from a reference and the decoded image (uint8 `[h, w, 3]`, of
        the original's size) to the value, a float.
      prepare: function from the original (uint8 `[h, w, 3]`) to the reference: all that
        depends on the original only, in NumPy arrays. Threads share it.
      min_side: the metric is nan where a side has fewer pixels.
      higher_is_better: whether larger values mean better images.
      order: place in tables and files, from left to right.
      rank: place in findings, by how well the metric tells what people see. The best
        ranked one chooses the images of a report.
      decimals: of a value in tables.
      title: name in headings, if it is another one than `name`.
      unit: of the values, empty if they have none.
      note: remark for the label of the figure's axis.
      scale: on which BD-rates and figures are, if it is not the value itself.
      is_available: whether the metric can be measured on this machine.
      versions: function to a dict of what measures it, beside the libraries that every
        result names.
      is_compared: whether BD-rates and findings are of this metric.
      bd_range: (worst, best) value over which BD-rates are taken where the rates are
        limited; None for the rates' own limits.
      in_overview: whether the figure of several metrics has a panel of it.
      in_captions: whether the captions of images show it, which is worth the time only
        for few metrics.
      caption_decimals: of a value in a caption.
      json_name: name of the mean in CompressAI's JSON files; `key` if it is empty.
      codec_compare: (name, description) on Google's page Codec-Compare, where a metric
        without these is left out.
      target: how `--target_<name>` is met; None if nobody can ask for a value.
    """

    key: str
    name: str
    compare: Callable[[Any, np.ndarray], float]
    prepare: Callable[[np.ndarray], Any] = _itself
    min_side: int = 1
    higher_is_better: bool
    order: int
    rank: int
    decimals: int = 2
    title: str = ""
    unit: str = ""
    note: str = ""
    scale: ComparisonScale | None = None
    is_available: Callable[[], bool] = _always
    versions: Callable[[], dict[str, str]] = dict
    is_compared: bool = True
    bd_range: tuple[float, float] | None = None
    in_overview: bool = False
    in_captions: bool = False
    caption_decimals: int = 2
    json_name: str = ""
    codec_compare: tuple[str, str] | None = None
    target: TargetKind | None = None

    def __post_init__(self):
        """Fills in the names that follow from others."""
        object.__setattr__(self, "title", self.title or self.name)
        object.__setattr__(self, "json_name", self.json_name or self.key)

    @property
    def word(self) -> str:
        """Name in flags and file names, such as `ms_ssim`."""
        return self.key.replace("-", "_")

    @property
    def value_heading(self) -> str:
        """Heading of a column of values, with the unit."""
        return _with_unit(self.title, self.unit)

    @property
    def heading(self) -> str:
        """Heading of a column of scaled values or of BD-rates, with the unit."""
        return _with_unit(self.title, self.scale.unit if self.scale else self.unit)

    @property
    def axis_label(self) -> str:
        """Label of the axis of a figure."""
        better = "higher" if self.higher_is_better else "lower"
        note = f"{self.note}, " if self.note else ""
        return f"{self.heading} ({note}{better} is better)"

    def to_scale(self, value: float) -> float:
        """Returns a value on the scale of figures and BD-rates."""
        return self.scale.convert(value) if self.scale else value

    def quality(self, value: float) -> float:
        """Returns the scaled value with the sign by which larger is better."""
        scaled = self.to_scale(value)
        return scaled if self.higher_is_better else -scaled

    def described(self, value: float) -> str:
        """Returns name and value, with one decimal more than in tables."""
        unit = f" {self.unit}" if self.unit else ""
        text = f"{self.name} {value:.{self.decimals + 1}f}{unit}"
        if self.scale:
            scaled = self.scale.convert(value)
            text += f" ({scaled:.{self.scale.decimals + 1}f} {self.scale.unit})"
        return text

    def caption(self, value: float, decimals: int) -> str:
        """Returns a value in words: a unit tells which metric it is of."""
        text = f"{value:.{decimals}f}"
        return f"{text} {self.unit}" if self.unit else f"{self.name} {text}"


def _with_unit(title: str, unit: str) -> str:
    return f"{title} [{unit}]" if unit else title
