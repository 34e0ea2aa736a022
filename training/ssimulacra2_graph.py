"""SSIMULACRA2's weighted sum of errors as differentiable TensorFlow graph code.

The numbers of metrics/ssimulacra2.py and of the gradient in ssimulacra2_slopes.py, for
a batch of crops and a loss. Planes are `[n, b, h, w]`.
"""

from __future__ import annotations

import numpy as np

import tensorflow_v1 as tf
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.metrics.ssimulacra2 import window as ssimulacra2_window

# A fourth root is infinitely steep at 0: below this it is a mean of fourth powers.
_LEAST_NORM = 1e-4


def weighted_sums(
    x: tf.Tensor, x_tilde: tf.Tensor, weights=ssimulacra2.WEIGHTS
) -> tf.Tensor:
    """Returns the sum that the score is a polynomial of: 0 for equal images.

    Its gradient is finite everywhere: 0 in `x_tilde` where that is equal to `x`, and
    not flat where it is bad.

    Args:
      x, x_tilde: float32 RGB in 0..255, `[b, h, w, 3]`; the gradient is for `x_tilde`.
      weights: for each scale `[n, 6]`, as `ssimulacra2.WEIGHTS`.

    Returns:
      float32 `[b]`. Scales with a side below `ssimulacra2.MIN_SIDE` px are left out.
    """
    original, decoded = (_linear(tf.transpose(p, [3, 0, 1, 2])) for p in (x, x_tilde))
    total = 0.0
    for number, own_weights in enumerate(weights):
        if number:
            original, decoded = _halve(original), _halve(decoded)
        count = len(own_weights)
        norms = _norms(_xyb(original)[:count], _xyb(decoded)[:count])
        is_counted = tf.reduce_min(tf.shape(original)[2:]) >= ssimulacra2.MIN_SIDE
        own = tf.tensordot(np.float32(own_weights.T), norms, 2)
        total += tf.cast(is_counted, tf.float32) * own
    return total


def _linear(planes):
    """Converts sRGB in 0..255 to linear light."""
    planes = tf.clip_by_value(planes / 255.0, 0.0, 1.0)
    powers = ((planes + 0.055) / 1.055) ** 2.4
    return tf.where(planes <= 0.04045, planes / 12.92, powers)


def _halve(planes):
    """Averages 2x2 pixels; an odd side is continued by its last pixel."""
    height, width = tf.unstack(tf.shape(planes)[2:])
    odd = [[0, 0], [0, 0], [0, height % 2], [0, width % 2]]
    planes = tf.pad(planes, odd, "SYMMETRIC")
    rows = planes[:, :, ::2] + planes[:, :, 1::2]
    return 0.25 * (rows[..., ::2] + rows[..., 1::2])


def _xyb(linear):
    """Converts linear RGB to Y, X, B, as `ssimulacra2.to_xyb` has them."""
    bias_root = float(ssimulacra2.BIAS_ROOT)
    cones = tf.tensordot(ssimulacra2.CONES, linear, 1) + bias_root**3
    long, medium, short = tf.unstack(cones ** (1 / 3) - bias_root)
    luma = 0.5 * (long + medium) + 0.01
    return tf.stack([luma, 7.0 * (long - medium) + 0.42, short - luma + 0.56])


def _norms(original, decoded):
    """Returns the means of the SSIM, ringing and blur map, then their 4-norms.

    Shaped `[6, n, b]`.
    """
    blur = _Blur(original)
    mean, square = tf.unstack(blur(tf.stack([original, original * original])))
    error = decoded - original
    moments = blur(tf.stack([error, error * error, decoded * decoded]))
    change = _edge_changes(original - mean, error - moments[0])
    errors = _ssim_errors(mean, square - mean * mean, moments)
    maps = tf.stack([errors, tf.nn.relu(change), tf.nn.relu(-change)])
    fourth = tf.reduce_mean(tf.square(tf.square(maps)), [3, 4])
    roots = fourth * tf.maximum(fourth, _LEAST_NORM**4) ** -0.75
    return tf.concat([tf.reduce_mean(maps, [3, 4]), roots], 0)


class _Blur:
    """The metric's blur, zeros outside: a product with a band matrix on each side."""

    def __init__(self, planes):
        """Makes the matrices for planes of this size."""
        height, width = tf.unstack(tf.shape(planes)[2:])
        self._rows, self._columns = _band(height), _band(width)

    def __call__(self, planes):
        """Blurs `[..., h, w]`."""
        return tf.matmul(tf.matmul(self._rows, planes), self._columns)


def _band(side):
    taps = ssimulacra2_window.window().astype(np.float32)
    pixel = tf.range(side)
    distance = tf.abs(pixel - pixel[:, tf.newaxis])
    from_middle = np.append(taps[ssimulacra2_window.REACH :], np.float32(0))
    return tf.gather(from_middle, tf.minimum(distance, ssimulacra2_window.REACH + 1))


def _ssim_errors(mean, variance, moments):
    """1 - SSIM, see `ssimulacra2._ssim_errors`."""
    difference, square, decoded_square = tf.unstack(moments)
    luminance = difference * difference
    variance += decoded_square - tf.square(mean + difference)
    structure = (square - luminance) / (variance + float(ssimulacra2.C2))
    return luminance + (1.0 - luminance) * structure


def _edge_changes(edge, change):
    """Ringing where it is positive, blur where it is negative."""
    size = tf.abs(edge)
    return (tf.abs(edge + change) - size) / (1.0 + size)
