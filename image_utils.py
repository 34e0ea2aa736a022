"""Pixels, 8x8 blocks, the DCT and the quantization tables, as TensorFlow graph code.

Conventions: images are NHWC float32 RGB in [0, 1] unless a docstring says otherwise;
blocks are `[batch, rows, cols, 8 (v), 8 (u), channels]`, v vertical and u horizontal.
"""

from __future__ import annotations

import numpy as np

import tensorflow_v1 as tf
from learned_jpeg.jpeg.standard import (
    BLOCK,
    RGB_TO_YCBCR,
    STD_QTABLES,
    YCBCR_TO_RGB,
    dct_matrix,
    ijg_qtables,
)

_CHROMA_OFFSET = np.array([0, 128, 128], np.float32)


def rgb_to_ycbcr(x: tf.Tensor) -> tf.Tensor:
    """Converts RGB to full-range YCbCr (JFIF), both in 0..255, channels last."""
    return tf.tensordot(x, _constant(RGB_TO_YCBCR.T), 1) + _CHROMA_OFFSET


def ycbcr_to_rgb(x: tf.Tensor) -> tf.Tensor:
    """Converts full-range YCbCr (JFIF) to RGB, both in 0..255, channels last."""
    return tf.tensordot(x - _CHROMA_OFFSET, _constant(YCBCR_TO_RGB.T), 1)


def pad_to_blocks(
    x: tf.Tensor, multiples: tuple[int, int] = (BLOCK, BLOCK)
) -> tf.Tensor:
    """Replicates the bottom and right edge of `[b, h, w, c]` up to multiples of 8.

    Args:
      x: images.
      multiples: others in place of 8, of the height and of the width.
    """
    for axis, multiple in zip((1, 2), multiples, strict=True):
        size = x.shape.as_list()[axis]
        if size is not None and size % multiple == 0:
            continue
        edge = x[:, -1:] if axis == 1 else x[:, :, -1:]
        repeats = [1, 1, 1, 1]
        repeats[axis] = -tf.shape(x)[axis] % multiple
        x = tf.concat([x, tf.tile(edge, repeats)], axis)
    return x


def image_to_patches(x: tf.Tensor) -> tf.Tensor:
    """Cuts `[b, h, w, c]` of any size into blocks `[b, rows, cols, 8, 8, c]`.

    Sides that are no multiple of 8 are padded by edge replication.
    """
    channels = x.shape.as_list()[-1]
    x = pad_to_blocks(x)
    batch, height, width, _ = tf.unstack(tf.shape(x))
    # A row of a block stays together: this is faster than space_to_depth.
    shape = [batch, height // BLOCK, BLOCK, width // BLOCK, BLOCK * channels]
    rows = tf.transpose(tf.reshape(x, shape), [0, 1, 3, 2, 4])
    rows = tf.ensure_shape(rows, [None, None, None, BLOCK, BLOCK * channels])
    return split_last_axis(rows, [BLOCK, channels])


def patches_to_image(
    patches: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """Puts blocks `[b, rows, cols, 8, 8, c]` together, cropped to `[b, h, w, c]`."""
    batch, rows, cols = tf.unstack(tf.shape(patches)[:3])
    x = tf.transpose(merge_last_axes(patches, 2), [0, 1, 3, 2, 4])
    channels = patches.shape.as_list()[-1]
    x = tf.reshape(x, [batch, rows * BLOCK, cols * BLOCK, channels])
    if _is_multiple_of_block(height) and _is_multiple_of_block(width):
        return tf.ensure_shape(x, [None, height, width, channels])
    return x[:, :height, :width]


def _is_multiple_of_block(size):
    return isinstance(size, int) and size % BLOCK == 0


def split_last_axis(x: tf.Tensor, sizes: list[int]) -> tf.Tensor:
    """Reshapes `[..., prod(sizes)]` to `[..., *sizes]`."""
    return tf.reshape(x, tf.concat([tf.shape(x)[:-1], sizes], 0))


def merge_last_axes(x: tf.Tensor, count: int) -> tf.Tensor:
    """Reshapes the last `count` axes, whose sizes are static, into one."""
    size = int(np.prod(x.shape.as_list()[-count:]))
    return tf.reshape(x, tf.concat([tf.shape(x)[:-count], [size]], 0))


def dct_2D(patches: tf.Tensor) -> tf.Tensor:
    """Computes the orthonormal 2-D DCT-II of each block of `[..., 8 (v), 8 (u), c]`."""
    return apply_to_blocks(patches, _block_operator(dct_matrix(), patches))


def idct_2D(coefficients: tf.Tensor) -> tf.Tensor:
    """Inverts `dct_2D`: `[..., 8 (v), 8 (u), c]` to samples of the same shape."""
    return apply_to_blocks(coefficients, _block_operator(dct_matrix().T, coefficients))


def apply_to_blocks(
    blocks: tf.Tensor, operator: np.ndarray, bias: np.ndarray | None = None
) -> tf.Tensor:
    """Multiplies every block `[..., 8, 8, c]`, as a vector of 64 c, by one matrix.

    Args:
      blocks: float32 tensor `[..., 8, 8, c]`.
      operator: float64 array `[64 n, 64 c]`. One large matrix product is several times
        faster than an FFT of each block or two small products.
      bias: array `[64 n]` that is added to each product, or None.

    Returns:
      `[..., 8, 8, n]`.
    """
    channels = operator.shape[0] // BLOCK**2
    shape = tf.concat([tf.shape(blocks)[:-1], [channels]], 0)
    vectors = tf.reshape(blocks, [-1, operator.shape[1]])
    product = tf.matmul(vectors, _constant(operator.T))
    if bias is not None:
        product = tf.nn.bias_add(product, _constant(bias))
    return tf.reshape(product, shape)


def _block_operator(matrix, blocks):
    channels = np.eye(blocks.shape.as_list()[-1])
    return np.kron(np.kron(matrix, matrix), channels)


def _constant(array):
    return tf.constant(array, tf.float32)


def differentiable_round(z: tf.Tensor) -> tf.Tensor:
    """Rounds to the nearest integer, with a gradient that is not zero.

    The gradient is that of round(z) + (z - round(z))**3, so 3 (z - round(z))**2
    (Shin and Song, "JPEG-resistant adversarial images", 2017).
    """

    def rounded_and_gradient(z):
        rounded = tf.round(z)
        return rounded, lambda upstream: upstream * polynomial_slope(z)

    return tf.custom_gradient(rounded_and_gradient)(z)


def polynomial_slope(z: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of `differentiable_round`: 3 (z - round(z))**2."""
    return 3.0 * tf.square(z - tf.round(z))


def clip_to_unit(x: tf.Tensor) -> tf.Tensor:
    """Clips to [0, 1]; the gradient passes where nothing was clipped.

    Several times faster than the gradient of tf.clip_by_value.
    """

    def clipped_and_gradient(x):
        clipped = tf.clip_by_value(x, 0.0, 1.0)
        inside = tf.cast(tf.equal(x, clipped), x.dtype)
        return clipped, lambda upstream: upstream * inside

    return tf.custom_gradient(clipped_and_gradient)(x)


def get_std_jpeg_qtable(quality: int | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Returns the IJG tables of a quality 1..100, integers as in libjpeg.

    Args:
      quality: int, or an integer scalar tensor (a sampled quality).

    Returns:
      `[8 (v), 8 (u), 2 (luma, chroma)]`, values 1..255: an int32 array for an int, an
      int32 tensor for a tensor.

    Raises:
      ValueError: an int outside 1..100.
    """
    if isinstance(quality, int | np.integer):
        return np.moveaxis(ijg_qtables(quality), 0, -1)
    quality.shape.assert_has_rank(0)
    quality = tf.cast(quality, tf.int32)
    low = 5000 // tf.maximum(quality, 1)
    scale = tf.where(quality < 50, low, 200 - 2 * quality)
    tables = np.moveaxis(STD_QTABLES, 0, -1)
    return tf.clip_by_value((tables * scale + 50) // 100, 1, 255)


def add_gaussian_noise(x: tf.Tensor, max_stddev: float, seed: tf.Tensor) -> tf.Tensor:
    """Adds Gaussian noise of a standard deviation drawn from U[0, `max_stddev`].

    Args:
      x: `[b, h, w, c]` in [0, 1].
      max_stddev: float, on the scale of `x`; one deviation is drawn for each image.
      seed: int32 tensor `[2]`; the same seed gives the same noise, so that a resumed
        training goes on exactly.
    """
    shape = tf.shape(x)
    stddev = tf.random.stateless_uniform([shape[0], 1, 1, 1], seed, 0.0, max_stddev)
    return x + stddev * tf.random.stateless_normal(shape, tf.add(seed, [0, 1]))
