"""Gradient and curvature of a model's distortion in the coefficients of one picture.

What an encoder needs to know of the metric that a model is trained for: which way to
move the coefficients of this picture (refinement.py), and what an error in each of them
costs (jpeg/rdoq.py).
"""

import numpy as np

import tensorflow_v1 as tf
from errors import UserError
from jpeg import differentiable
from lpips_tensorflow import MIN_SIDE as LPIPS_MIN_SIDE
from metrics.ms_ssim import MIN_SIDE as MS_SSIM_MIN_SIDE
from training.losses import distortion

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

_SMOOTHING = 3  # blocks; neighbours look alike, and a probe is noisy
_LEAST_PERCENTILE = 5  # of the blocks: below it an estimate is noise about 0
_LARGEST_RATIO = 10.0  # of a frequency's curvature to the mean of all, and its inverse


class DistortionGradient:
    """The distortion of a reconstruction, differentiated by its coefficients."""

    def __init__(self, settings, dtype):
        """Builds the graph in the default graph.

        Args:
          settings: of the model, as attributes: `lpips_weight`, `msssim_weight`.
          dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
        """
        self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
        self._dct = tf.placeholder(tf.float32, [None, None, 8, 8, 3])
        x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
        height, width = differentiable.picture_size(x)
        x_tilde = differentiable.dct_to_rgb(self._dct[tf.newaxis], height, width)
        weights = settings.lpips_weight, settings.msssim_weight
        total, _ = distortion(x, x_tilde, dtype, *weights)
        self._gradient = tf.gradients(total, self._dct)[0]
        sides = {LPIPS_MIN_SIDE: weights[0], MS_SSIM_MIN_SIDE: weights[1]}
        self._min_side = max((s for s, weight in sides.items() if weight), default=1)

    def at(self, session, picture, dct):
        """The gradient of the mean distortion.

        Args:
          session: of the graph.
          picture: the original, uint8 `[h, w, 3]`.
          dct: coefficients of the reconstruction, float32 `[rows, cols, 8, 8, 3]`.

        Returns:
          float32, shaped as `dct`.

        Raises:
          UserError: a side of the picture is too short for the distortion.
        """
        height, width = picture.shape[:2]
        if min(height, width) < self._min_side:
            raise UserError(
                f"a picture of {width}x{height} px: the distortion that this model is "
                f"trained for needs sides of at least {self._min_side} px; leave out "
                "--refine_steps and --quantization"
            )
        return session.run(self._gradient, {self._pixels: picture, self._dct: dct})


def curvature(gradient, dct, errors):
    """Second derivative of a distortion in each coefficient, at errors of a given size.

    With random signs of the errors e, the mean of e * gradient(e) is that of e^2 times
    the diagonal of the Hessian (Bekas, Kokiopoulou and Saad, "An estimator for the
    diagonal of a matrix", 2007). Two probes are too noisy for one coefficient, so the
    diagonal is taken as a product: of a factor for each block, smoothed over its
    neighbours, and one for each frequency, both for luma and for chroma.

    Args:
      gradient: function from coefficients to the gradient of the distortion there.
      dct: coefficients of the original, float32 `[rows, cols, 8, 8, 3]`.
      errors: positive, the size of the errors to expect, shaped as `dct`.

    Returns:
      float32, shaped as `dct`, positive.
    """
    # Imported here, as it takes 0.15 s, which other searches do without.
    from scipy import ndimage

    signs = np.random.default_rng(0)
    e = errors * signs.choice(np.array([-1, 1], np.float32), dct.shape)
    products, squares = gradient(dct + e) * e, errors**2
    result = np.empty_like(dct)
    for kind in (slice(0, 1), slice(1, 3)):
        p, s = products[..., kind], squares[..., kind]
        p_blocks, s_blocks = (
            ndimage.uniform_filter(v.sum((2, 3, 4), dtype=np.float64), _SMOOTHING)
            for v in (p, s)
        )
        blocks = p_blocks / s_blocks
        least = max(np.percentile(blocks, _LEAST_PERCENTILE), 1e-12)
        blocks = np.maximum(blocks, least)[..., np.newaxis, np.newaxis, np.newaxis]
        weighted = (s * blocks).sum((0, 1, 4), dtype=np.float64)
        frequencies = p.sum((0, 1, 4), dtype=np.float64) / weighted
        frequencies = frequencies.clip(1 / _LARGEST_RATIO, _LARGEST_RATIO)
        result[..., kind] = blocks * frequencies[..., np.newaxis]
    return result
