"""Content-adaptive encoding: gradient steps on the coefficients of one picture.

A model's network is trained for all pictures alike; the encoder may go on with the one
picture at hand, as for latents of learned codecs in Campos et al., "Content adaptive
optimization for neural image compression", CVPR Workshops 2019. What is minimised is
the model's own training loss, `lambda * distortion + estimated bpp`, over the unrounded
coefficients of the picture, with its tables and entropy model held fixed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# Chosen on held-out photographs, see docs/LOG.md.
LEARNING_RATE = 0.05  # quantization steps, falls to 0 along a half cosine
BETA1, BETA2 = 0.9, 0.9  # of Adam; the gradients change within few steps

# Tables that were trained with rounding are coarser than a refinement wants: with finer
# ones and a lower lambda the held-out photographs took fewer bits at equal LPIPS.
_LAMBDA_FACTOR = 0.2  # of the lambda of the training

_EPSILON = 1e-12


class Refinement:
    """Moves the coefficients of images before they are rounded."""

    def __init__(self, steps: int, lmbda: float, gradient: Callable, bits: np.ndarray):
        """Stores what `refine` needs of a checkpoint.

        Args:
          steps: number of gradient steps.
          lmbda: of the training loss.
          gradient: function from (image, coefficients) to the gradient of the mean
            distortion, see `distortion_gradient.DistortionGradient`.
          bits: as for `refine`.
        """
        self._steps = steps
        self._lmbda = _LAMBDA_FACTOR * lmbda
        self._gradient = gradient
        self._bits = bits

    def __call__(
        self, image: np.ndarray, z: np.ndarray, qtables: np.ndarray
    ) -> np.ndarray:
        """Refines an image, or a strip of one.

        Args:
          image: uint8 `[h, w, 3]`.
          z: (edited) coefficients in units of their quantization step, float32
            `[rows, cols, 8, 8, 3]`.
          qtables: `[2, 8, 8]`.

        Returns:
          float32, shaped as `z`.
        """
        return refine(
            z,
            qtables,
            gradient=lambda dct: self._gradient(image, dct),
            bits=self._bits,
            lmbda=self._lmbda,
            steps=self._steps,
            num_pixels=image.shape[0] * image.shape[1],
        )


def refine(z, qtables, gradient, bits, lmbda, steps, num_pixels):
    """Returns coefficients of less `lambda * distortion + bpp` once they are rounded.

    Args:
      z: float32 `[rows, cols, 8, 8, 3]`, coefficients in units of their step.
      qtables: float `[2, 8, 8]`.
      gradient: function from coefficients (shaped as `z`, on the 0..255 scale) to the
        gradient of the mean distortion of their picture.
      bits: float32 `[192, 2 * n + 1]`, bits of the integers -n..n of each coefficient.
      lmbda: weight of the distortion.
      steps: number of gradient steps.
      num_pixels: of the picture, for bits per pixel.

    Returns:
      float32, shaped as `z`.
    """
    scale = np.moveaxis(np.asarray(qtables, np.float32)[[0, 1, 1]], 0, -1)

    def total(z):
        # As in training: rounded values, and the gradient of Shin and Song's rounding.
        integers = np.rint(z)
        slope = 3 * (z - integers) ** 2 * scale
        rate = _bit_slopes(bits, z) / num_pixels
        return lmbda * slope * gradient(integers * scale) + rate

    mean, square = np.zeros_like(z), np.zeros_like(z)
    for step in range(steps):
        g = total(z)
        mean += (1 - BETA1) * (g - mean)
        square += (1 - BETA2) * (g * g - square)
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * (step + 0.5) / steps))
        rate *= np.sqrt(1 - BETA2 ** (step + 1)) / (1 - BETA1 ** (step + 1))
        z = z - np.float32(rate) * mean / (np.sqrt(square) + _EPSILON)
    return z


def _bit_slopes(bits, z):
    """Slope of the bits of coefficients, taken as linear between integers."""
    limit = bits.shape[1] // 2
    slopes = np.diff(bits, axis=1)
    index = np.floor(z).clip(-limit, limit - 1).astype(np.int32) + limit
    index += slopes.shape[1] * np.arange(192, dtype=np.int32).reshape(8, 8, 3)
    return slopes.ravel()[index]
