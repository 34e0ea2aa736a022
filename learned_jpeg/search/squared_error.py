"""The squared error in RGB as a distortion of the search; it is that of PSNR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from learned_jpeg.jpeg.standard import YCBCR_TO_RGB
from learned_jpeg.metrics import psnr
from learned_jpeg.search.distortion import FirstSteps, QuadraticModel, Schedule, Tune

if TYPE_CHECKING:
    from learned_jpeg.search.coded_image import CodedImage

# Mean squared error in RGB of an error of 1 in Y, Cb, Cr.
_ENERGIES = (YCBCR_TO_RGB**2).mean(0)

_FIRST_STEPS = FirstSteps(dc=2.8, ac=3.6, slope=0.4, chroma=1.15)


class SquaredError:
    """`lmbda * MSE_255 * pixels`, of the decoded RGB, clipped as a decoder clips it.

    The errors of the components add up in RGB, so that each makes up for the others',
    and values outside 0..255 cost nothing.
    """

    schedules: Mapping[int, Schedule] = {
        1: Schedule(warm_up_rounds=0, damping=(1.0,) * 2),
        2: Schedule(warm_up_rounds=0, damping=(1.0,) * 6),
        3: Schedule(warm_up_rounds=0, damping=(1.0,) * 10),
    }
    moves_tables = True

    def __init__(self, lmbda: float):
        """Stores the bits per pixel that a mean squared error of 1 is worth."""
        self.first_steps = _FIRST_STEPS.at_rate(lmbda)
        self._lmbda = lmbda

    def weights(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns the same weights for all blocks, float32 `[1, 64]`."""
        energies = _ENERGIES[component] * coded.filter_energies(component)
        return (self._lmbda * energies).astype(np.float32)[np.newaxis]

    def quadratic_model(
        self, coded: CodedImage, component: int, damping: float
    ) -> QuadraticModel:
        """Returns the model of a component near the coded image."""
        weights = self.weights(coded, component) * np.float32(damping)
        gradient = coded.new_gradient(component)
        coded.add_error_slope(gradient, component, 1)
        slope = gradient.coefficients()
        slope *= np.float32(self._lmbda) / weights
        return QuadraticModel(coded.moved(component, slope), weights)


TUNES = (
    Tune(
        name="psnr",
        help="the squared error",
        metric_name=psnr.METRIC.name,
        min_side=psnr.METRIC.min_side,
        equal_rate=1.0,
        distortion=lambda image, lmbda: SquaredError(lmbda),
        lambdas=(4e-4, 4.0),
        minimises=("psnr",),
    ),
)
