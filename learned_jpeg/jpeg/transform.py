"""Turns pixels into DCT coefficients, and coefficients into integers by rounding.

This is numpy code; training/differentiable.py is the same as a TensorFlow graph. Both
multiply blocks by the matrices of this module.
"""

from __future__ import annotations

import numpy as np

from learned_jpeg.jpeg.sampling import cell_means, groups
from learned_jpeg.jpeg.standard import BLOCK, RGB_TO_YCBCR, YCBCR_TO_RGB, dct_matrix

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# The colour transform, the scale of 255 and the DCT are linear, so each direction is a
# product with a 192x192 matrix. Rows and columns are ordered by (v, u, colour).
_DCT_64 = np.kron(dct_matrix(), dct_matrix())
_FORWARD = np.kron(_DCT_64, 255.0 * RGB_TO_YCBCR)
_INVERSE = np.kron(_DCT_64.T, YCBCR_TO_RGB / 255.0)
# The level shift: 128 in every sample of Y is 8 * 128 in its DC coefficient.
_LEVEL_SHIFT = np.zeros((64, 3))
_LEVEL_SHIFT[0, 0] = 8 * 128.0

MAX_INTEGER = 1023  # of AC coefficients in baseline JPEG (ITU-T T.81, table F.2)


def forward(components: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the map from RGB in [0, 1] to the coefficients of some components.

    Args:
      components: c numbers of components, 0 (Y) to 2 (Cr).

    Returns:
      (matrix `[64 c, 192]`, bias `[64 c]`), float64.
    """
    matrix = _FORWARD.reshape(64, 3, 192)[:, components].reshape(-1, 192)
    return matrix, -_LEVEL_SHIFT[:, components].ravel()


def inverse(components: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the map from coefficients of some components to their part of RGB.

    The parts of all components add up to RGB in [0, 1].

    Args:
      components: c numbers of components, 0 (Y) to 2 (Cr).

    Returns:
      (matrix `[192, 64 c]`, bias `[192]`), float64.
    """
    matrix = _INVERSE.reshape(192, 64, 3)[..., components].reshape(192, -1)
    # In RGB the bias of Y is one number; the DCT would add rounding errors to it.
    return matrix, np.full(192, 128 / 255.0 if 0 in components else 0.0)


def image_to_dct(image: np.ndarray, sampling: str = "4:4:4") -> list[np.ndarray]:
    """Returns the DCT coefficients of an image.

    Args:
      image: uint8 RGB `[h, w, 3]` of any size, continued as in `sampling.cell_means`.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      For each of `sampling.groups` the coefficients of the level-shifted YCbCr, float32
      `[rows, cols, 8 (v), 8 (u), components]`, orthonormal, on the 0..255 scale.
    """
    # The means may be taken of RGB, since the colour transform is linear.
    return [
        _samples_to_dct(cell_means(image, own_factors), components)
        for components, own_factors in groups(sampling)
    ]


def _samples_to_dct(samples: np.ndarray, components: list[int]) -> np.ndarray:
    rows, cols = samples.shape[0] // BLOCK, samples.shape[1] // BLOCK
    blocks = samples.reshape(rows, BLOCK, cols, BLOCK, 3).swapaxes(1, 2)
    x = blocks.reshape(rows * cols, 192).astype(np.float64)
    # In float64: sums in float32 depend on their order, which depends on the machine.
    matrix, bias = forward(components)
    dct = x @ (matrix.T / 255.0) + bias
    return dct.astype(np.float32).reshape(rows, cols, BLOCK, BLOCK, len(components))


def of_components(tables: np.ndarray, components: list[int]) -> np.ndarray:
    """Returns the tables of some components, `[8, 8, c]`.

    Args:
      tables: `[2 (luma, chroma), 8, 8]`.
      components: c numbers of components, 0 (Y) to 2 (Cr).
    """
    return np.moveaxis(tables[[min(component, 1) for component in components]], 0, -1)


def round_to_integers(z: np.ndarray) -> np.ndarray:
    """Rounds coefficients in units of their steps to int16 that a file can hold."""
    return np.rint(z).clip(-MAX_INTEGER, MAX_INTEGER).astype(np.int16)
