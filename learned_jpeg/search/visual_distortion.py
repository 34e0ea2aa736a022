"""SSIMULACRA2 and CVVDP together as a distortion of the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from learned_jpeg.metrics.ssimulacra2 import METRIC
from learned_jpeg.search import ssimulacra2_distortion
from learned_jpeg.search.band_energies import band_grams
from learned_jpeg.search.distortion import Schedule, Tune, rising
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion

if TYPE_CHECKING:
    from learned_jpeg.metrics.slopes.tiling import Term
    from learned_jpeg.search.coded_image import CodedImage

NUMBERS_VERSION = 3  # see evaluation/fingerprint.py

_POINTS_OF_JOD = 30.0  # points of SSIMULACRA2 that a JOD of CVVDP's loss counts
_POINTS_OF_MSE = 0.03  # and a mean squared error of 1
# Mean squares of CVVDP's differences in files of lambda 1, in the bands of its loss,
# and their exponent by lambda. Fitted to 19 training photographs.
_SQUARES, _SQUARES_EXPONENT = np.array([0.05, 0.01]), -1.6
_RATE = 0.75  # factor on lambda that gives files of the size that SSIMULACRA2 alone has


class VisualDistortion(Ssimulacra2Distortion):
    """`lmbda * pixels` times SSIMULACRA2's points, CVVDP's JOD and the squared error.

    SSIMULACRA2 by itself leaves large errors of middle frequencies, which CVVDP sees.
    The squared error counts where errors are so large that neither is a guide.

    All components are linearised once a pass; the search takes more passes for it.
    """

    schedules: Mapping[int, Schedule] = {
        1: Schedule(warm_up_rounds=1, damping=(1.5,), first_rounds=2),
        2: Schedule(warm_up_rounds=2, damping=(1.0, 1.5, 2.5, 4.0, 6.0)),
        3: Schedule(warm_up_rounds=3, damping=rising(6.0, passes=24), first_rounds=2),
    }

    def __init__(self, image: np.ndarray, lmbda: float):
        """Prepares what depends on the original only.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `METRIC.min_side` px.
          lmbda: bits per pixel that a point of SSIMULACRA2 is worth, but for `_RATE`.
        """
        from learned_jpeg.metrics.cvvdp import slopes

        self._expected = _SQUARES * lmbda**_SQUARES_EXPONENT
        lmbda *= _RATE
        super().__init__(image, lmbda, _POINTS_OF_MSE * lmbda)
        self._contrast = slopes.Original(image)
        self._joined_grams: dict[tuple[int, int], np.ndarray] = {}
        self._contrast_scale = _POINTS_OF_JOD * lmbda * image.shape[0] * image.shape[1]

    def _linearise_for(self, component: int, coded: CodedImage) -> None:
        if component == 1:  # the first one of a pass
            self._linearise(coded, (1, 2, 0))

    def _other_terms(self, is_original: bool) -> list[tuple[Term, float]]:
        from learned_jpeg.metrics.cvvdp.slopes import Term

        terms = super()._other_terms(is_original)
        weight = self._contrast_scale / self._scale
        expected = self._expected if is_original else None
        terms.append((Term(self._contrast, weight, expected), self._contrast_scale))
        return terms

    def _grams(self, coded: CodedImage, component: int) -> np.ndarray:
        from learned_jpeg.metrics.cvvdp.slopes import BANDS

        own = super()._grams(coded, component)
        factors = coded.factors(component)
        if factors not in self._joined_grams:
            energies = band_grams(factors, BANDS[: len(self._contrast.weights)])
            self._joined_grams[factors] = np.concatenate([own, energies])
        return self._joined_grams[factors]


TUNES = (
    Tune(
        name="visual",
        help="SSIMULACRA2 and CVVDP, on which most other metrics agree",
        metric_name=METRIC.name,
        min_side=METRIC.min_side,
        equal_rate=1.1,
        distortion=lambda image, lmbda: VisualDistortion(image, lmbda),
        lambdas=(6e-4, 2.5),
        minimises=("ssimulacra2", "cvvdp", "psnr"),
        versions={
            "perceptual": ssimulacra2_distortion.NUMBERS_VERSION,
            "visual": NUMBERS_VERSION,
        },
    ),
)
