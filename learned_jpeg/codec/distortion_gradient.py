"""The gradient of a model's distortion in the coefficients of one image.

`refinement` moves the coefficients by it.
"""

from __future__ import annotations

import numpy as np

import tensorflow_v1 as tf
from learned_jpeg.common.errors import ImageTooSmallError
from training import devices, differentiable
from training.losses import distortion, weighted_terms

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py


class DistortionGradient:
    """The distortion of a reconstruction, differentiated by its coefficients.

    Owns a TensorFlow graph and session; several threads may use one object.
    """

    def __init__(self, weights, precision: str):
        """Builds the graph.

        Args:
          weights: `LossWeights` of the model.
          precision: "float32" or "bfloat16", of the convolutions of LPIPS.
        """
        with tf.Graph().as_default() as graph:
            self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
            self._dct = tf.placeholder(tf.float32, [None, None, 8, 8, 3])
            x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
            height, width = differentiable.image_size(x)
            x_tilde = differentiable.dct_to_rgb([self._dct[tf.newaxis]], height, width)
            total, _ = distortion(x, x_tilde, weights, tf.as_dtype(precision))
            self._gradient = tf.gradients(total, self._dct)[0]
        self._session = tf.Session(graph=graph, config=devices.session_config())
        terms = weighted_terms(weights).values()
        self._min_side = max((term.min_side for _, term in terms), default=1)

    def __call__(self, image: np.ndarray, dct: np.ndarray) -> np.ndarray:
        """Computes the gradient of the mean distortion.

        Args:
          image: the original, uint8 `[h, w, 3]`.
          dct: coefficients of the reconstruction, float32 `[rows, cols, 8, 8, 3]`.

        Returns:
          float32, shaped as `dct`.

        Raises:
          ImageTooSmallError: a side of the image is too short for the distortion.
        """
        height, width = image.shape[:2]
        if min(height, width) < self._min_side:
            raise ImageTooSmallError(
                f"an image of {width}x{height} px: the distortion that this model is "
                f"trained for needs sides of at least {self._min_side} px; leave out "
                "--refine_steps and --quantization"
            )
        return self._session.run(self._gradient, {self._pixels: image, self._dct: dct})
