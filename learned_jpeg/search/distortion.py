"""The contract between the search and the distortions that it can minimise.

The search minimises `distortion + bits` and knows no metric by name. It asks a
`Distortion` for a quadratic model of itself near the current coding of the image, one
component at a time. Each distortion is a module of this package whose name ends with
`_distortion` or `_error`, and declares in `TUNES` what `--tune` offers of it; see
tunes.py, which finds these modules. They load neither numba nor scipy when they are
imported, because every `--help` lists the tunes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from learned_jpeg.search.coded_image import CodedImage


class QuadraticModel(NamedTuple):
    """A distortion, in bits, near the coded image.

    It is `sum(weights * (coefficients - target)^2)`, up to a constant. The search
    overwrites `target` and `weights`, so each model owns its arrays.

    Attributes:
      target: float32 `[blocks, 64]`, zigzag: the coefficients of least distortion.
      weights: float32 `[blocks or 1, 64]`: bits of a squared error of 1.
      coupling: None, or float32 `[64, 64]`, upper triangular with ones on the diagonal.
        With the errors `e = sqrt(weights) * (coefficients - target)` of a block,
        `sum((coupling @ e)^2)` then replaces `sum(e^2)`.
    """

    target: np.ndarray
    weights: np.ndarray
    coupling: np.ndarray | None = None


class FirstSteps(NamedTuple):
    """A rule for the first quantization steps, in units of 1 / sqrt(weight).

    Attributes:
      dc: steps of the DC coefficients.
      ac: steps of the AC coefficients, extrapolated to frequency 0.
      slope: relative increase from frequency 0 to the highest one.
      chroma: factor on the AC steps of chroma.
    """

    dc: float
    ac: float
    slope: float
    chroma: float

    def at_rate(self, lmbda: float) -> FirstSteps:
        """Returns the rule at the rate that "psnr" has with a lambda."""
        factor = max(lmbda / _RATE_LAMBDA, 1) ** _RATE_EXPONENT
        return self._replace(ac=self.ac * factor)


# First steps of AC by lambda, in units of 1 / sqrt(weight): at high rates most integers
# are not 0, and finer steps pay.
_RATE_LAMBDA, _RATE_EXPONENT = 0.002, -0.08

EFFORTS = (1, 2, 3)  # from the fastest to the smallest files
DEFAULT_EFFORT = 2


class Schedule(NamedTuple):
    """How much work the search of an effort does.

    Attributes:
      warm_up_rounds: how often the original is rounded with first steps before the
        passes. Each round takes the weights near the integers of the round before. With
        0 the first pass is near the original.
      damping: factor on the weights in each pass, as many as there are passes. Larger
        ones move the coefficients less far: near the end of a search that would swing
        with a constant factor.
      first_rounds: how often integers and steps are found by the models of the first
        pass. A second round knows the code lengths of the first one; it takes less time
        than a pass.
      step_scale: factor on the first steps of the rule. Passes make steps finer or
        coarser as the integers need it, but only so far.
    """

    warm_up_rounds: int
    damping: tuple[float, ...]
    first_rounds: int = 1
    step_scale: float = 1.0


def rising(last: float, passes: int) -> tuple[float, ...]:
    """Returns a damping that rises from 1 in equal ratios."""
    return tuple(float(d) for d in np.geomspace(1, last, passes))


class Distortion(Protocol):
    """A distortion of one image, which the search minimises in addition to the bits.

    The properties are constants of a class, which a subclass may override.
    """

    @property
    def first_steps(self) -> FirstSteps | None:
        """The rule for the first tables; None if tables are always given."""
        ...

    @property
    def schedules(self) -> Mapping[int, Schedule]:
        """The schedule of each of the `EFFORTS`."""
        ...

    @property
    def moves_tables(self) -> bool:
        """Whether the search adapts the quantization tables to the image."""
        ...

    def weights(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns the weights of the coefficients, from which first steps follow.

        The search asks for the components 0, 1, 2 in this order.

        Args:
          coded: the image as it is coded at the moment.
          component: 0 (Y), 1 (Cb) or 2 (Cr).

        Returns:
          float32 `[blocks or 1, 64]`, zigzag: bits of a squared error of 1.
        """
        ...

    def quadratic_model(
        self, coded: CodedImage, component: int, damping: float
    ) -> QuadraticModel:
        """Returns the quadratic model of a component near the coded image.

        Every pass asks for the components 1, 2, 0 in this order, so that a distortion
        can prepare Cr together with Cb.

        Args:
          coded: the image as it is coded at the moment.
          component: 0 (Y), 1 (Cb) or 2 (Cr).
          damping: factor on the weights; the target moves less far by it.
        """
        ...


@dataclasses.dataclass(frozen=True)
class LossOfTraining:
    """A model's loss that a tune minimises: the MSE and one more distortion.

    Attributes:
      weight: name of that distortion's weight in the settings of a model.
      distortion: function from an image, uint8 RGB `[h, w, 3]`, the lambda of the loss
        and that weight to the `Distortion` of the loss.
      squared_error_worth: function from that weight to the factor on the lambda of the
        loss whose squared error alone gives files of about the same size.
    """

    weight: str
    distortion: Callable[[np.ndarray, float, float], Distortion]
    squared_error_worth: Callable[[float], float]


@dataclasses.dataclass(frozen=True)
class Tune:
    """A choice of `--tune`: what is minimised, and how its lambda compares.

    Attributes:
      name: the word on the command line.
      help: one phrase for `--help`.
      metric_name: how messages call the metric.
      min_side: the shorter side (px) from which the metric is defined, 1 if any will
        do.
      equal_rate: factor on the lambda of "psnr" that gives files of about the same
        size, measured on held-out images.
      distortion: function from an image, uint8 RGB `[h, w, 3]`, and that lambda to its
        `Distortion`.
      lambdas: lowest and highest lambda of its calibration.
      loss: the loss of a training that the tune stands for; None if there is none.
      minimises: keys of the metrics that the distortion contains, which are no outside
        judges of its files.
      versions: `NUMBERS_VERSION` of the modules that only this tune needs, by part of
        the fingerprint, see evaluation/fingerprint.py.
    """

    name: str
    help: str
    metric_name: str
    min_side: int
    equal_rate: float
    distortion: Callable[[np.ndarray, float], Distortion]
    lambdas: tuple[float, float]
    loss: LossOfTraining | None = None
    minimises: tuple[str, ...] = ()
    versions: Mapping[str, int] = dataclasses.field(default_factory=dict)
