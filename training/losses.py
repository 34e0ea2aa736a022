"""Distortion and rate, as the models' losses use them."""

import concurrent.futures

import numpy as np

import image_utils
import tensorflow_v1 as tf
from learned_jpeg.common import machine
from learned_jpeg.jpeg.standard import BLOCK
from lpips_tensorflow import lpips
from training import devices, differentiable
from training.checkpoints import DISTORTION_WEIGHTS
from training.rate_models import FactorizedRate


def mse_255(x, x_tilde):
    """Mean squared error of two pictures in [0, 1], on the 0..255 scale."""
    # l2_loss (half the sum of squares) has a gradient without a tiled tensor.
    scale = 2 * 255.0**2 / tf.cast(tf.size(x), tf.float32)
    return scale * tf.nn.l2_loss(x - x_tilde)


def compiled_mse(x, qtables, settings, factors=None):
    """`mse_255` of what rounding leaves, by compiled code instead of the graph.

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
    is_mse = not any(getattr(settings, name) for name in DISTORTION_WEIGHTS)
    is_proxy = settings.rate_model == "proxy" and settings.rounding != "polynomial"
    return is_mse and is_proxy and settings.subsampling == "4:4:4"


def _is_of_blocks(x):
    sizes = x.shape.as_list()[1:3]
    return None not in sizes and not any(size % BLOCK for size in sizes)


def _mse_and_slopes(pictures, qtables, factors=None):
    """MSE of a batch and its gradients for `qtables` and, where given, `factors`."""
    # Compiled at the first use, for seconds, and no other loss needs it.
    from training.coded_error import squared_error

    weight = np.float32(1 / pictures.size)
    own = of_factors = [None] * len(pictures)
    if factors is not None:
        own = factors.reshape(len(pictures), -1, 64, 2)
        of_factors = np.empty_like(own)

    def of_picture(*arrays):
        picture, own, of_own = arrays
        return squared_error(picture, own, qtables.reshape(64, 2), weight, of_own)

    with concurrent.futures.ThreadPoolExecutor(machine.usable_cores()) as executor:
        results = executor.map(of_picture, pictures, own, of_factors)
        errors, of_qtables = zip(*results, strict=True)
    slopes = [sum(of_qtables).reshape(qtables.shape)]
    if factors is not None:
        slopes.append(of_factors.reshape(factors.shape))
    return [np.float32(sum(errors)), *slopes]


def distortion(x, x_tilde, dtype, settings, mse=None):
    """MSE_255 and what has a weight of LPIPS, 1 - MS-SSIM, SSIMULACRA2; batch means.

    Args:
      x, x_tilde: RGB in [0, 1], `[b, h, w, 3]`.
      dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
      settings: of the training, weights as attributes; what has the weight 0 is left
        out: `lpips_weight`, of LPIPS, which is as costly as the rest of ljpeg;
        `msssim_weight`, of 1 - MS-SSIM, which needs sides of at least 161 px;
        `ssimulacra2_weight`, of the points that `ssimulacra2_loss` takes off the score.
      mse: `mse_255(x, x_tilde)`, if it is known.

    Returns:
      The distortion, a scalar, and its terms as `{name: scalar}`.
    """
    terms = {"mse": mse_255(x, x_tilde) if mse is None else mse}
    total = terms["mse"]
    if settings.lpips_weight:
        terms["lpips"] = tf.reduce_mean(lpips(x, x_tilde, dtype=dtype))
        total += settings.lpips_weight * terms["lpips"]
    if settings.msssim_weight:
        similarity = tf.image.ssim_multiscale(x, x_tilde, max_val=1.0)
        terms["ms-ssim"] = tf.reduce_mean(similarity)
        total += settings.msssim_weight * (1.0 - terms["ms-ssim"])
    if settings.ssimulacra2_weight:
        terms["ssimulacra2"] = _points_lost(x, x_tilde)
        total += settings.ssimulacra2_weight * terms["ssimulacra2"]
    return total, terms


def _points_lost(x, x_tilde):
    """Points below 100 of SSIMULACRA2, near enough, with terms at fine scales."""
    # Compiles for a second, and only this term needs it.
    from learned_jpeg.metrics.ssimulacra2 import loss as ssimulacra2_loss
    from training import ssimulacra2_graph

    pictures = 255.0 * x, 255.0 * x_tilde
    sums = ssimulacra2_graph.weighted_sums(*pictures, ssimulacra2_loss.WEIGHTS)
    return ssimulacra2_loss.POINTS * tf.reduce_mean(sums)


def rounded(dct, qtables, settings):
    """Integers of coefficients, with the gradients that suit a loss.

    To the coefficients the gradient goes straight through, and to the DC steps, see
    `differentiable.round_with_slopes`; to the AC steps as `_table_slope` says. A DC
    step, which is always in use, then settles in the published loss where
    q^3 = 6 * 64 * total_weight_regularizer / lambda: there a squared error of q^2 / 12,
    on one of 64 coefficients, is worth 1/q.
    `--rounding polynomial` is the published gradient for all of them.

    Args:
      dct: (edited) coefficients, list as from `differentiable.rgb_to_dct`.
      qtables: float32 `[8, 8, 2]`.
      settings: of the training: `rate_model`, `rounding`, `lpips_weight`.

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
    if settings.lpips_weight:
        return 1.0
    return image_utils.polynomial_slope if settings.rate_model == "proxy" else 0.0


def estimated_bpp(z, x, seed, sampling="4:4:4"):
    """Estimated bits per pixel of a batch, of an entropy model that is trained along.

    Args:
      z: coefficients in units of their step, before rounding, as for
        `rate_models.FactorizedRate`.
      x: the pictures, `[b, h, w, 3]`.
      seed: int32 tensor `[2]` of the noise that stands for rounding.
      sampling: one of `jpeg.SUBSAMPLINGS`.
    """
    return FactorizedRate(sampling).bits_per_pixel(z, tf.size(x) // 3, seed)
