"""Gradient of a model's distortion in the coefficients of one picture.

Which way to move them by the metric that the model is trained for, see refinement.py.
"""

import tensorflow_v1 as tf
from learned_jpeg.common.errors import UserError
from training import differentiable
from training.losses import distortion, weighted_terms

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py


class DistortionGradient:
    """The distortion of a reconstruction, differentiated by its coefficients."""

    def __init__(self, weights, dtype):
        """Builds the graph in the default graph.

        Args:
          weights: `LossWeights` of the model.
          dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
        """
        self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
        self._dct = tf.placeholder(tf.float32, [None, None, 8, 8, 3])
        x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
        height, width = differentiable.image_size(x)
        x_tilde = differentiable.dct_to_rgb([self._dct[tf.newaxis]], height, width)
        total, _ = distortion(x, x_tilde, weights, dtype)
        self._gradient = tf.gradients(total, self._dct)[0]
        terms = weighted_terms(weights).values()
        self._min_side = max((term.min_side for _, term in terms), default=1)

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
