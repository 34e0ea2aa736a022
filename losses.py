"""Distortions of a reconstruction, as the models' losses use them."""

import tensorflow.compat.v1 as tf

from lpips_tensorflow import lpips


def mse_255(x, x_tilde):
    """Mean squared error of two pictures in [0, 1], on the 0..255 scale."""
    # l2_loss (half the sum of squares) has a gradient without a tiled tensor.
    scale = 2 * 255.0**2 / tf.cast(tf.size(x), tf.float32)
    return scale * tf.nn.l2_loss(x - x_tilde)


def distortion(x, x_tilde, lpips_weight, dtype):
    """MSE_255 + lpips_weight * LPIPS, batch means.

    Args:
      x, x_tilde: RGB in [0, 1], `[b, h, w, 3]`.
      lpips_weight: float; at 0, LPIPS (as costly as the rest of ljpeg) is left out.
      dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.

    Returns:
      The distortion, a scalar, and its terms as `{name: scalar}`.
    """
    terms = {"mse": mse_255(x, x_tilde)}
    total = terms["mse"]
    if lpips_weight:
        terms["lpips"] = tf.reduce_mean(lpips(x, x_tilde, dtype=dtype))
        total += lpips_weight * terms["lpips"]
    return total, terms
