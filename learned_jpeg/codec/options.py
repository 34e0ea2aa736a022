"""The options of an encoder, checked once for Python and for every command."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

from learned_jpeg.codec import QUANTIZATIONS
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS
from learned_jpeg.search.distortion import DEFAULT_EFFORT, EFFORTS
from learned_jpeg.search.subsampling import AUTO
from learned_jpeg.search.targets import Target
from learned_jpeg.search.tunes import LAMBDAS, TUNE_NAMES

OWN_LOSS = "model"  # the tune that is the loss a model was trained for
DEFAULT_QUALITY = 75


@dataclass(frozen=True)
class EncodeOptions:
    """How images are encoded.

    At most one of `quality`, `lmbda` and `target` is set.

    Attributes:
      quality: 1..100. With a search the files look like JPEG of this quality; without
        one it is the quality of the IJG tables of a model that has no others.
      lmbda: bits per pixel that a distortion of 1 is worth, in a search.
      target: rate or score that each file comes close to.
      quantization: one of `QUANTIZATIONS`.
      tune: metric that the search minimises, one of `TUNE_NAMES`; `OWN_LOSS` for the
        loss that the model was trained for; None for `tunes.DEFAULT_TUNE`, or for
        the squared error of images that are too small for it.
      effort: of a search, one of `EFFORTS`: from the fastest to the smallest files.
      subsampling: of chroma, one of `SUBSAMPLINGS`; "auto" to let a search choose by
        the image; None for what suits the model.
      entropy_coding: one of `ENTROPY_CODINGS`.
      refine_steps: number of gradient steps on the coefficients of each image.

    Raises:
      UserError: an unknown word, a number out of range, or options that exclude each
        other.
    """

    quality: int | None = None
    lmbda: float | None = None
    target: Target | None = None
    quantization: str = "search"
    tune: str | None = None
    subsampling: str | None = None
    entropy_coding: str = "optimized"
    refine_steps: int = 0
    effort: int = DEFAULT_EFFORT

    def __post_init__(self):
        """Checks the values."""
        _check_word("quantization", self.quantization, QUANTIZATIONS)
        _check_word("entropy_coding", self.entropy_coding, ENTROPY_CODINGS)
        _check_word("subsampling", self.subsampling, (None, AUTO, *SUBSAMPLINGS))
        _check_word("effort", self.effort, EFFORTS)
        _check_word("tune", self.tune, (None, OWN_LOSS, *TUNE_NAMES))
        self._check_rate()
        self._check_quantization()

    def _check_rate(self):
        wishes = {"quality": self.quality, "lambda": self.lmbda, "target": self.target}
        given = [name for name, value in wishes.items() if value is not None]
        if len(given) > 1:
            raise UserError(f"{given[0]} and {given[1]}: name only one of them")
        if self.quality is not None and self.quality not in range(1, 101):
            raise UserError(
                f"quality {self.quality!r}: out of range; name a whole number in 1..100"
            )
        if self.lmbda is not None and not _is_lambda(self.lmbda):
            low, high = LAMBDAS
            raise UserError(
                f"lambda {self.lmbda!r}: name a number in {low:g}..{high:g}"
            )
        if not isinstance(self.target, Target | None):
            raise UserError(
                f"target {self.target!r}: pass one such as learned_jpeg.Bytes(200_000)"
            )

    def _check_quantization(self):
        searches = self.quantization == "search"
        if self.quantization == "mozjpeg" and self.entropy_coding == "standard":
            raise UserError(
                "entropy_coding standard: mozjpeg codes its files itself; leave it "
                "out, or choose another quantization"
            )
        if self.lmbda is not None and not searches:
            raise UserError("lambda has no effect without a search; leave it out")
        if self.effort != DEFAULT_EFFORT and not searches:
            raise UserError(f"effort {self.effort} has no effect without a search")
        if self.subsampling == AUTO and not searches:
            raise UserError(
                f"subsampling {AUTO}: only a search chooses it; name one of "
                f"{', '.join(SUBSAMPLINGS)}"
            )
        if self.tune not in (OWN_LOSS, None) and not searches:
            raise UserError(f"tune {self.tune} has no effect without a search")
        self._check_refinement()

    def _check_refinement(self):
        steps = self.refine_steps
        if not isinstance(steps, numbers.Integral) or steps < 0:
            raise UserError(f"refine_steps {steps!r}: name a whole number from 0")
        if not steps:
            return
        if self.quantization != "round":
            raise UserError(
                "refine_steps: refined coefficients are rounded; pass quantization "
                "round, or leave refine_steps out"
            )
        if self.subsampling not in (None, "4:4:4"):
            raise UserError(
                "refine_steps: works at full chroma only; leave subsampling out"
            )


def _is_lambda(value):
    low, high = LAMBDAS
    return isinstance(value, numbers.Real) and low <= float(value) <= high


def _check_word(name, value, words):
    if value not in words:
        known = ", ".join(str(word) for word in words if word is not None)
        raise UserError(f"{name} {value!r}: unknown; choose one of {known}")
