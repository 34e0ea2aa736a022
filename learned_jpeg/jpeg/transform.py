"""From the pixels of a picture to DCT coefficients, and to integers by rounding.

For pictures in numpy arrays, without TensorFlow; differentiable.py is the same as graph
code. Both multiply blocks by the matrices of this module.
"""

import numpy as np

from learned_jpeg.jpeg.sampling import cell_means, groups
from learned_jpeg.jpeg.standard import BLOCK, RGB_TO_YCBCR, YCBCR_TO_RGB, dct_matrix

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# Colour transform, scale of 255 and DCT (and their inverses) are linear, so each way is
# one product with a 192x192 matrix. Orders: (v, u, colour).
_DCT_64 = np.kron(dct_matrix(), dct_matrix())
_FORWARD = np.kron(_DCT_64, 255.0 * RGB_TO_YCBCR)
_INVERSE = np.kron(_DCT_64.T, YCBCR_TO_RGB / 255.0)
# The level shift: 128 in every sample of Y is 8 * 128 in its DC coefficient alone.
_LEVEL_SHIFT = np.zeros((64, 3))
_LEVEL_SHIFT[0, 0] = 8 * 128.0

# Of AC coefficients in baseline JPEG (ITU-T T.81, table F.2).
MAX_INTEGER = 1023


def forward(components):
    """RGB in [0, 1] to coefficients of components of 0 (Y), 1 (Cb), 2 (Cr).

    Returns:
      (matrix `[64 c, 192]`, bias `[64 c]`), float64.
    """
    matrix = _FORWARD.reshape(64, 3, 192)[:, components].reshape(-1, 192)
    return matrix, -_LEVEL_SHIFT[:, components].ravel()


def inverse(components):
    """Coefficients of components to what they add to RGB in [0, 1].

    Returns:
      (matrix `[192, 64 c]`, bias `[192]`), float64.
    """
    matrix = _INVERSE.reshape(192, 64, 3)[..., components].reshape(192, -1)
    # In RGB that of Y is one number; computed by the DCT it would have its rounding.
    return matrix, np.full(192, 128 / 255.0 if 0 in components else 0.0)


def picture_to_dct(picture, sampling="4:4:4"):
    """DCT coefficients of a picture.

    Args:
      picture: uint8 RGB `[h, w, 3]`; any size, continued as `sampling.cell_means` says.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      For each of `sampling.groups` the coefficients of the level-shifted YCbCr, float32
      `[rows, cols, 8 (v), 8 (u), components]`, orthonormal, on the 0..255 scale.
    """
    # Means of RGB and their YCbCr are those of YCbCr: all of it is linear.
    return [
        _samples_to_dct(cell_means(picture, own_factors), components)
        for components, own_factors in groups(sampling)
    ]


def _samples_to_dct(samples, components):
    rows, cols = samples.shape[0] // BLOCK, samples.shape[1] // BLOCK
    blocks = samples.reshape(rows, BLOCK, cols, BLOCK, 3).swapaxes(1, 2)
    x = blocks.reshape(rows * cols, 192).astype(np.float64)
    # In float64: that of float32 depends on the order of the sums, so on the machine.
    matrix, bias = forward(components)
    dct = x @ (matrix.T / 255.0) + bias
    return dct.astype(np.float32).reshape(rows, cols, BLOCK, BLOCK, len(components))


def of_components(tables, components):
    """Entries `[8, 8, c]` of tables `[2, 8, 8]`, for components of 0 (Y) to 2 (Cr)."""
    return np.moveaxis(tables[[min(component, 1) for component in components]], 0, -1)


def round_to_integers(z):
    """Coefficients in units of their step as integers, int16, that a file can hold."""
    return np.rint(z).clip(-MAX_INTEGER, MAX_INTEGER).astype(np.int16)
