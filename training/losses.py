"""Distortion and rate, as the models' losses use them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import image_utils
import tensorflow_v1 as tf
from learned_jpeg.common import machine
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.metrics.ms_ssim import MIN_SIDE as MS_SSIM_MIN_SIDE
from learned_jpeg.metrics.ssimulacra2 import MIN_SIDE as SSIMULACRA2_MIN_SIDE
from learned_jpeg.models.contract import DType, Tensor
from learned_jpeg.models.settings import FULL_CHROMA, LossWeights, ModelSettings
from lpips_tensorflow import MIN_SIDE as LPIPS_MIN_SIDE
from lpips_tensorflow import lpips
from training import devices, differentiable
from training.differentiable import Pipeline
from training.rate_models import FactorizedRate


def mse_255(x: Tensor, x_tilde: Tensor) -> Tensor:
    """Returns the mean squared error of RGB in [0, 1], on the 0..255 scale."""
    # l2_loss (half the sum of squares) has a gradient without a tiled tensor.
    scale = 2 * 255.0**2 / tf.cast(tf.size(x), tf.float32)
    return scale * tf.nn.l2_loss(x - x_tilde)


def coded_distortion(
    jpeg: Pipeline,
    x_tilde: Tensor,
    qtables: Tensor,
    settings: ModelSettings,
    dtype: DType,
    factors: Tensor = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the distortion of a batch that a model has rounded.

    Equal to `distortion(jpeg.x, x_tilde, settings.weights, dtype)`; a loss that is the
    MSE alone and a batch of whole blocks take a much faster way to the same gradients.

    Args:
      jpeg: the batch.
      x_tilde: the decoded batch, of the integers of `rounded`.
      qtables: float32 `[8, 8, 2]`.
      settings: of the training.
      dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
      factors: of the coefficients, `[b, rows, cols, 8 (v), 8 (u), 2 (luma, chroma)]`;
        None for a model that leaves them as they are.

    Returns:
      The distortion, a scalar, and its terms as `{name: scalar}`.
    """
    mse = compiled_mse(jpeg.x, qtables, settings, factors)
    return distortion(jpeg.x, x_tilde, settings.weights, dtype, mse)


def compiled_mse(
    x: Tensor, qtables: Tensor, settings: ModelSettings, factors: Tensor = None
) -> Tensor | None:
    """Returns `mse_255` of what rounding leaves, by compiled code instead of the graph.

    Same value and gradients as the graph of `differentiable` with `rounded`, in a
    fraction of the time.

    Args:
      x: RGB in [0, 1], `[b, h, w, 3]`.
      qtables: float32 `[8, 8, 2]`.
      settings: of the training.
      factors: of coefficients, `[b, rows, cols, 8 (v), 8 (u), 2 (luma, chroma)]`.

    Returns:
      A scalar; or None where only the graph will do: for another loss, gradient or
      subsampling, for sizes that are unknown or no multiples of 8, and for a GPU.
    """
    if not (_is_compiled_loss(settings) and _is_of_blocks(x)) or devices.gpus_in_use():
        return None
    inputs = [qtables] if factors is None else [qtables, factors]

    def mse_and_gradient(*inputs):
        types = [tf.float32] * (1 + len(inputs))
        mse, *slopes = tf.numpy_function(_mse_and_slopes, [x, *inputs], types)
        mse.set_shape([])
        for slope, own in zip(slopes, inputs, strict=True):
            slope.set_shape(own.shape)
        return mse, lambda upstream: [upstream * slope for slope in slopes]

    return tf.custom_gradient(mse_and_gradient)(*inputs)


def _is_compiled_loss(settings):
    is_proxy = settings.rate_model == "proxy" and settings.rounding != "polynomial"
    is_mse = settings.weights.is_mse()
    return is_mse and is_proxy and settings.subsampling == FULL_CHROMA


def _is_of_blocks(x):
    sizes = x.shape.as_list()[1:3]
    return None not in sizes and not any(size % BLOCK for size in sizes)


def _mse_and_slopes(images, qtables, factors=None):
    """MSE of a batch and its gradients for `qtables` and, where given, `factors`."""
    # Compiled at the first use, for seconds, and no other loss needs it.
    from training.coded_error import squared_error

    weight = np.float32(1 / images.size)
    own = of_factors = [None] * len(images)
    if factors is not None:
        own = factors.reshape(len(images), -1, 64, 2)
        of_factors = np.empty_like(own)

    def of_image(*arrays):
        image, own, of_own = arrays
        return squared_error(image, own, qtables.reshape(64, 2), weight, of_own)

    with concurrent.futures.ThreadPoolExecutor(machine.usable_cores()) as executor:
        results = executor.map(of_image, images, own, of_factors)
        errors, of_qtables = zip(*results, strict=True)
    slopes = [sum(of_qtables).reshape(qtables.shape)]
    if factors is not None:
        slopes.append(of_factors.reshape(factors.shape))
    return [np.float32(sum(errors)), *slopes]


def _lpips(x: Tensor, x_tilde: Tensor, dtype: DType) -> Tensor:
    return tf.reduce_mean(lpips(x, x_tilde, dtype=dtype))


def _ms_ssim(x: Tensor, x_tilde: Tensor, dtype: DType) -> Tensor:
    del dtype
    return tf.reduce_mean(tf.image.ssim_multiscale(x, x_tilde, max_val=1.0))


def _points_lost(x: Tensor, x_tilde: Tensor, dtype: DType) -> Tensor:
    """Approximates the points of SSIMULACRA2 below 100, with terms at fine scales."""
    del dtype
    # Compiles for a second, and only this term needs it.
    from training.lost_points import lost_points

    return lost_points(x, x_tilde)


class Term(NamedTuple):
    """A distortion that a loss may add to the MSE.

    Attributes:
      name: of the scalar in TensorBoard.
      title: for messages.
      min_side: px of the shorter side that it is defined from.
      measure: function from two batches of RGB in [0, 1] and the type of convolutions
        to the mean over the batch.
      is_similarity: whether that mean is 1 for equal images, and lower for others.
    """

    name: str
    title: str
    min_side: int
    measure: Callable[[Tensor, Tensor, DType], Tensor]
    is_similarity: bool = False


# By attribute of `LossWeights`.
TERMS = {
    "lpips": Term("lpips", "LPIPS", LPIPS_MIN_SIDE, _lpips),
    "ms_ssim": Term("ms-ssim", "MS-SSIM", MS_SSIM_MIN_SIDE, _ms_ssim, True),
    "ssimulacra2": Term(
        "ssimulacra2", "SSIMULACRA2", SSIMULACRA2_MIN_SIDE, _points_lost
    ),
}


def weighted_terms(weights: LossWeights) -> dict[str, tuple[float, Term]]:
    """Returns the weight and the term of each distortion that has a weight."""
    found = {name: (value, TERMS[name]) for name, value in vars(weights).items()}
    return {name: pair for name, pair in found.items() if pair[0]}


def distortion(
    x: Tensor,
    x_tilde: Tensor,
    weights: LossWeights,
    dtype: DType,
    mse: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the mean over a batch of MSE_255 and of each `Term` that has a weight.

    Args:
      x, x_tilde: RGB in [0, 1], `[b, h, w, 3]`.
      weights: of the terms; what has the weight 0 is not computed.
      dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
      mse: `mse_255(x, x_tilde)`, if it is known.

    Returns:
      The distortion, a scalar, and its terms as `{name: scalar}`.
    """
    terms = {"mse": mse_255(x, x_tilde) if mse is None else mse}
    total = terms["mse"]
    for weight, term in weighted_terms(weights).values():
        mean = terms[term.name] = term.measure(x, x_tilde, dtype)
        total += weight * (1.0 - mean if term.is_similarity else mean)
    return total, terms


def rounded(
    dct: list[Tensor], qtables: Tensor, settings: ModelSettings
) -> list[Tensor]:
    """Rounds coefficients, with the gradients that suit a loss.

    To the coefficients the gradient goes straight through, and to the DC steps, see
    `differentiable.round_with_slopes`; to the AC steps as `_table_slope` says. A DC
    step, which is always in use, then settles in the published loss where
    q^3 = 6 * 64 * total_weight_regularizer / lambda: there a squared error of q^2 / 12,
    on one of 64 coefficients, is worth 1/q.
    `--rounding polynomial` is the published gradient for all of them.

    Args:
      dct: (edited) coefficients, list as from `differentiable.rgb_to_dct`.
      qtables: float32 `[8, 8, 2]`.
      settings: of the training.

    Returns:
      float32 integers, shaped as `dct`.
    """
    if settings.rounding == "polynomial":
        z = differentiable.divide(dct, qtables)
        return [image_utils.differentiable_round(own) for own in z]
    return differentiable.round_with_slopes(dct, qtables, _table_slope(settings))


def _table_slope(settings):
    """The slope of the integers that the gradient of an AC step sees."""
    # LPIPS jumps where texture is rounded away, which integers held fixed do not see,
    # and of which a polynomial sees little.
    if settings.weights.lpips:
        return 1.0
    return image_utils.polynomial_slope if settings.rate_model == "proxy" else 0.0


def estimated_bpp(jpeg: Pipeline, z: list[Tensor], seed: Tensor) -> Tensor:
    """Returns estimated bits per pixel, of an entropy model that is trained along.

    Args:
      jpeg: the batch.
      z: its (edited) coefficients in units of their step, see `differentiable.divide`.
      seed: int32 tensor `[2]` of the noise that stands in for rounding.
    """
    return FactorizedRate(jpeg.sampling).bits_per_pixel(z, tf.size(jpeg.x) // 3, seed)
