"""MS-SSIM as a distortion of the search, alone or mixed with the squared error."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from learned_jpeg.jpeg.standard import YCBCR_TO_RGB
from learned_jpeg.metrics import ms_ssim
from learned_jpeg.search.basis_energies import grams
from learned_jpeg.search.distortion import (
    FirstSteps,
    LossOfTraining,
    QuadraticModel,
    Schedule,
    Tune,
    rising,
)
from learned_jpeg.search.squared_error import SquaredError

if TYPE_CHECKING:
    from learned_jpeg.search.coded_image import CodedImage, Gradient

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

# Weight of 1 - MS-SSIM against an MSE of 1 where one lambda serves for both.
_SCALE = 5000.0
# Factors on the lambda of "psnr" that give files of about the same size.
_RATE, _MIXED_RATE = 1 / 2.4, 1 / 4

_FIRST_STEPS = FirstSteps(dc=3.0, ac=4.2, slope=0.0, chroma=1.0)


class MsSsimDistortion:
    """`lmbda * (1 - MS-SSIM) * pixels`, plus a squared error if that has a weight.

    Near the coded image, `1 - MS-SSIM` is replaced by its gradient and by the curvature
    of its contrast and structure, which is exact. Every pass linearises it anew for
    chroma and for luma. Later passes move the coefficients less far, by damping.
    """

    schedules: Mapping[int, Schedule] = {
        1: Schedule(warm_up_rounds=0, damping=(1.0,), first_rounds=2),
        2: Schedule(warm_up_rounds=0, damping=(1.0, 1.0, 2.0, 3.0, 4.0)),
        3: Schedule(warm_up_rounds=0, damping=rising(6.0, passes=12), first_rounds=2),
    }
    moves_tables = True

    def __init__(self, image: np.ndarray, lmbda: float, mse_lmbda: float = 0.0):
        """Prepares what depends on the original only.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `ms_ssim.METRIC.min_side` px.
          lmbda: bits per pixel that a loss of 1 in MS-SSIM is worth.
          mse_lmbda: bits per pixel that a mean squared error of 1 is worth.
        """
        rate = _MIXED_RATE if mse_lmbda else _RATE
        self.first_steps = _FIRST_STEPS.at_rate(lmbda / _SCALE / rate)
        self._factor = np.float32(lmbda * image.shape[0] * image.shape[1])
        self._image = image
        self._squared = SquaredError(mse_lmbda) if mse_lmbda else None
        self._mse_lmbda = mse_lmbda
        self._slopes: ms_ssim.Slopes | None = None
        self._gradients: dict[int, Gradient] = {}  # of the components that come next

    def weights(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns weights of the coefficients without damping, `[blocks, 64]`."""
        slopes = self._slopes or self._linearise(coded, ())
        energies = np.float32(YCBCR_TO_RGB[:, component] ** 2)
        own_factors = coded.factors(component)
        responses = _responses(own_factors)
        maps = [*slopes.contrast, slopes.luminance]
        columns = [
            _block_cells(np.tensordot(energies, m, 1), own_factors).ravel()
            for m in maps
        ]
        weights = np.stack(columns, -1) @ (self._factor * responses)
        if self._squared:
            weights += self._squared.weights(coded, component)
        return weights

    def quadratic_model(
        self, coded: CodedImage, component: int, damping: float
    ) -> QuadraticModel:
        """Returns the model of a component near the coded image."""
        if component != 2:  # Cr takes that of Cb.
            self._linearise(coded, (1, 2) if component else (0,))
        gradient = self._gradients.pop(component)
        if self._squared:
            coded.add_error_slope(gradient, component, 2 * self._mse_lmbda)
        slope = gradient.coefficients()
        weights = self.weights(coded, component)
        weights *= np.float32(damping)
        slope /= weights
        slope *= np.float32(0.5)
        return QuadraticModel(coded.moved(component, slope), weights)

    def _linearise(
        self, coded: CodedImage, components: tuple[int, ...]
    ) -> ms_ssim.Slopes:
        """Sets and returns the slopes near the coded image; sets gradients as well."""
        self._gradients = {c: coded.new_gradient(c) for c in components}

        def take(rows, gradient):
            for component, own in self._gradients.items():
                direction = -self._factor * np.float32(YCBCR_TO_RGB[:, component])
                own.add(rows, np.tensordot(direction, gradient, 1))

        self._slopes = ms_ssim.slopes(
            self._image, coded.decoded_rgb, take if components else None
        )
        return self._slopes


def _block_cells(means: np.ndarray, own_factors: tuple[int, int]) -> np.ndarray:
    """Returns the means over the blocks of luma that a component's block covers."""
    rows, cols = means.shape
    v, h = own_factors
    padded = np.pad(means, [(0, -rows % v), (0, -cols % h)], mode="edge")
    return padded.reshape(-(-rows // v), v, -(-cols // h), h).mean((1, 3))


@functools.cache
def _responses(own_factors: tuple[int, int]) -> np.ndarray:
    """Returns the energies of each basis function at each scale of MS-SSIM.

    Returns:
      float32 `[6, 64]`, zigzag: local variance, `sum(x^2) - sum((G * x)^2)`, at the
      five scales, and the squared local mean at the coarsest; G is the Gaussian window.
    """
    plain, mean, _ = grams(own_factors, tuple(ms_ssim.window()))
    energies = np.concatenate([plain - mean, mean[-1:]])
    return np.einsum("saa->sa", energies).astype(np.float32)


TUNES = (
    Tune(
        name="ms-ssim",
        help="MS-SSIM",
        metric_name=ms_ssim.METRIC.name,
        min_side=ms_ssim.METRIC.min_side,
        equal_rate=_RATE,
        distortion=lambda image, lmbda: MsSsimDistortion(image, _SCALE * lmbda),
        lambdas=(8e-5, 1.5),
        minimises=("ms-ssim",),
    ),
    Tune(
        name="mixed",
        help="MSE + 5000 (1 - MS-SSIM)",
        metric_name=ms_ssim.METRIC.name,
        min_side=ms_ssim.METRIC.min_side,
        equal_rate=_MIXED_RATE,
        distortion=lambda image, lmbda: MsSsimDistortion(image, _SCALE * lmbda, lmbda),
        lambdas=(8e-5, 1.5),
        loss=LossOfTraining(
            weight="ms_ssim",
            distortion=lambda image, lmbda, weight: MsSsimDistortion(
                image, weight * lmbda, lmbda
            ),
            squared_error_worth=lambda weight: 1.0 / _MIXED_RATE,
        ),
        minimises=("psnr", "ms-ssim"),
    ),
)
