"""From the pixels of a picture to DCT coefficients, and to integers by rounding.

For pictures in numpy arrays, without TensorFlow; differentiable.py is the same as graph
code. Both multiply blocks by the matrices of this module.
"""

import numpy as np

from jpeg_standard import BLOCK, RGB_TO_YCBCR, YCBCR_TO_RGB, dct_matrix

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# Colour transform, scale of 255 and DCT (and their inverses) are linear, so each way is
# one product with a 192x192 matrix. Orders: (v, u, colour).
_DCT_64 = np.kron(dct_matrix(), dct_matrix())
FORWARD = np.kron(_DCT_64, 255.0 * RGB_TO_YCBCR)
INVERSE = np.kron(_DCT_64.T, YCBCR_TO_RGB / 255.0)
# The level shift: 128 in every sample of Y is 8 * 128 in its DC coefficient alone.
DCT_BIAS = np.zeros(192)
DCT_BIAS[0] = -8 * 128.0
RGB_BIAS = np.full(192, 128 / 255.0)

# Of AC coefficients in baseline JPEG (ITU-T T.81, table F.2).
MAX_INTEGER = 1023


def picture_to_dct(picture):
    """DCT coefficients of a picture.

    Args:
      picture: uint8 RGB `[h, w, 3]`; any size, padded by edge replication.

    Returns:
      Coefficients of the level-shifted YCbCr, float32 `[rows, cols, 8 (v), 8 (u), 3]`,
      orthonormal, on the 0..255 scale.
    """
    height, width = picture.shape[:2]
    padding = [(0, -height % BLOCK), (0, -width % BLOCK), (0, 0)]
    padded = np.pad(picture, padding, mode="edge")
    rows, cols = padded.shape[0] // BLOCK, padded.shape[1] // BLOCK
    blocks = padded.reshape(rows, BLOCK, cols, BLOCK, 3).swapaxes(1, 2)
    x = blocks.reshape(rows * cols, 192).astype(np.float64)
    # In float64: that of float32 depends on the order of the sums, so on the machine.
    dct = x @ (FORWARD.T / 255.0) + DCT_BIAS
    return dct.astype(np.float32).reshape(rows, cols, BLOCK, BLOCK, 3)


def per_component(tables):
    """Repeats the chroma entry: `[8, 8, 2]` to `[8, 8, 3 (Y, Cb, Cr)]`."""
    return tables[..., [0, 1, 1]]


def round_to_integers(z):
    """Coefficients in units of their step as integers, int16, that a file can hold."""
    return np.rint(z).clip(-MAX_INTEGER, MAX_INTEGER).astype(np.int16)
