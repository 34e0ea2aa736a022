"""The registry of what the search can be tuned for (`--tune`), and its lambdas."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from learned_jpeg import search
from learned_jpeg.common.errors import ImageTooSmallError
from learned_jpeg.jpeg.standard import STD_QTABLES
from learned_jpeg.search.distortion import Distortion, Tune

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

# The least and the largest lambda. The search divides by it, and sums of float32 come
# near their limits at 1e-38 and 1e28.
LAMBDAS = (1e-12, 1e12)

DEFAULT_TUNE = "visual"  # where neither the user nor a model's loss names one

_SUFFIXES = ("_distortion", "_error")  # of the modules that declare tunes

# Fitted to the mean PSNR of 20 held-out images at the qualities 10 to 90, 4:4:4, within
# 10 % of lambda.
_STANDARD_LAMBDA, _LAMBDA_EXPONENT = 0.0169, -1.39


def _find_tunes() -> dict[str, Tune]:
    """Collects `TUNES` of the modules of distortions.

    The squared error comes first, because the `equal_rate` of the others refers to it.
    """
    names = [module.name for module in pkgutil.iter_modules(search.__path__)]
    modules = [
        importlib.import_module(f"{search.__name__}.{name}")
        for name in sorted(names)
        if name.endswith(_SUFFIXES)
    ]
    found = [tune for module in modules for tune in module.TUNES]
    return {tune.name: tune for tune in sorted(found, key=lambda t: t.name != "psnr")}


TUNES: Mapping[str, Tune] = MappingProxyType(_find_tunes())
TUNE_NAMES = tuple(TUNES)


def tune_for(size: tuple[int, int], name: str | None) -> str:
    """Returns the tune for an image.

    Args:
      size: (height, width) in px.
      name: a key of `TUNES`; None for `DEFAULT_TUNE`, or "psnr" where the image is too
        small for that.
    """
    if name is not None:
        return name
    return DEFAULT_TUNE if min(size) >= TUNES[DEFAULT_TUNE].min_side else "psnr"


def distortion(name: str, image: np.ndarray, lmbda: float) -> Distortion:
    """Returns the distortion of a tune for an image.

    Args:
      name: a key of `TUNES`.
      image: uint8 RGB `[h, w, 3]`.
      lmbda: weight of the distortion against bits, as for this tune: that of "psnr"
        times `equal_rate` gives files of about the same size.

    Raises:
      ImageTooSmallError: the image is too small for the metric.
    """
    _check_size(image, name)
    return TUNES[name].distortion(image, lmbda)


def distortion_of_loss(
    image: np.ndarray, lmbda: float, weights: Mapping[str, float]
) -> Distortion:
    """Returns the distortion of a model's loss, `lmbda * (MSE + weight * other)`.

    Args:
      image: uint8 RGB `[h, w, 3]`.
      lmbda: bits per pixel that a distortion of 1 is worth.
      weights: of the distortions that the loss adds to the MSE, by the names of
        `LossOfTraining.weight`; the search knows none but these, and only one of them.

    Raises:
      ImageTooSmallError: the image is too small for the metric.
    """
    name = tune_of_loss(weights)
    _check_size(image, name)
    loss = TUNES[name].loss
    if loss is None:
        return TUNES[name].distortion(image, lmbda)
    return loss.distortion(image, lmbda, weights[loss.weight])


def tune_of_loss(weights: Mapping[str, float]) -> str:
    """Returns the tune that is nearest to a model's loss; see `distortion_of_loss`."""
    for tune in TUNES.values():
        if tune.loss and weights.get(tune.loss.weight):
            return tune.name
    return "psnr"


def squared_error_worth(weights: Mapping[str, float]) -> float:
    """Returns the factor from a loss's lambda to that of the squared error alone.

    At this factor the files of both have about the same size; see `distortion_of_loss`.
    """
    loss = TUNES[tune_of_loss(weights)].loss
    return loss.squared_error_worth(weights[loss.weight]) if loss else 1.0


def _check_size(image: np.ndarray, name: str) -> None:
    height, width = image.shape[:2]
    tune = TUNES[name]
    if min(height, width) < tune.min_side:
        raise ImageTooSmallError(
            f"an image of {width}x{height} px: {tune.metric_name} needs sides of at "
            f"least {tune.min_side} px; pass --tune psnr"
        )


def lambda_of_tables(qtables: np.ndarray) -> float:
    """Returns the lambda of "psnr" whose files have the PSNR of rounding with tables.

    It follows from the geometric mean of the tables' entries over those of the standard
    (quality 50). Only the lowest frequencies count: the entries of others are clipped
    at 255 at low qualities.

    Args:
      qtables: `[2, 8, 8]`.

    Returns:
      Bits per pixel that an MSE of 1 is worth.
    """
    ratios = np.asarray(qtables, float)[:, :2, :2] / STD_QTABLES[:, :2, :2]
    scale = np.exp(np.log(ratios).mean())
    return float(_STANDARD_LAMBDA * scale**_LAMBDA_EXPONENT)
