"""JPEG as differentiable TensorFlow graph code: what every model of ours shares.

    x -> pad -> YCbCr -> DCT -> (edit) -> / tables -> round -> * tables -> IDCT

The integers after the rounding, with the tables, are a baseline JPEG file (see
file.py); the picture at the end, `x_tilde`, is what a decoder shows of it.
"""

from __future__ import annotations  # that tf.Tensor is not asked for

from typing import NamedTuple

import numpy as np

import image_utils
import tensorflow_v1 as tf
from jpeg import transform

_DC_MASK = np.zeros([8, 8, 1], np.float32)
_DC_MASK[0, 0] = 1.0


class Coded(NamedTuple):
    """What a model makes of a batch of pictures, as a file will hold it."""

    integers: tf.Tensor  # [b, rows, cols, 8, 8, 3], float32 with integer values
    qtables: tf.Tensor  # [8, 8, 2], float32 with integer values 1..255
    dct: tf.Tensor  # shaped as integers, float32, (edited) coefficients before rounding
    edited: tf.Tensor  # [b, h, w, 3], RGB in [0, 1] before quantization


class TrainingGraph(NamedTuple):
    """What a model gives to the training loop."""

    loss: tf.Tensor
    terms: dict  # name -> scalar tensor, for the summaries
    x_tilde: tf.Tensor  # [b, h, w, 3], RGB in [0, 1]
    coded: Coded
    maps: dict  # name -> [b, rows, cols, 1] in [0, 1], for the summaries


def picture_size(x):
    """Height and width of `[b, h, w, c]`: ints where static, else scalar tensors."""
    static, dynamic = x.shape.as_list(), tf.shape(x)
    return [static[axis] or dynamic[axis] for axis in (1, 2)]


def rgb_to_dct(x):
    """DCT coefficients of a picture.

    Args:
      x: RGB in [0, 1], `[b, h, w, 3]`; any size, padded by edge replication.

    Returns:
      Coefficients of the level-shifted YCbCr, `[b, rows, cols, 8 (v), 8 (u), 3]`,
      orthonormal, on the 0..255 scale.
    """
    patches = image_utils.image_to_patches(x)
    return image_utils.apply_to_blocks(patches, transform.FORWARD, transform.DCT_BIAS)


def dct_to_rgb(coefficients, height, width):
    """The picture `[b, height, width, 3]`, RGB clipped to [0, 1], of DCT coefficients.

    Inverse of `rgb_to_dct`; `height` and `width` are the true size.
    """
    blocks = image_utils.apply_to_blocks(
        coefficients, transform.INVERSE, transform.RGB_BIAS
    )
    return image_utils.clip_to_unit(image_utils.patches_to_image(blocks, height, width))


def per_component(values):
    """Repeats the chroma entry: `[..., 2 (luma, chroma)]` to `[..., 3 (Y, Cb, Cr)]`."""
    return tf.concat([values, values[..., 1:]], -1)


def divide(dct, qtables):
    """Coefficients in units of their quantization step, for training.

    Args:
      dct: `[b, rows, cols, 8, 8, 3]`.
      qtables: float32 `[8, 8, 2]`.
    """
    # A product has a far cheaper gradient than a quotient of large tensors.
    return dct * per_component(1.0 / qtables)


def straight_through_dc(z):
    """0, with the gradient of the identity for DC coefficients and none for AC.

    Added to integers held fixed, it makes `qtables * integers` change with a DC step as
    if the phase z - integer, not the integer, were fixed. The DC density is broad, so
    both have the same mean gradient together with the rate; but with integers in the
    tens the other one is nearly all noise, in which a table entry walks at random.
    (The gradient of Esser et al., "Learned step size quantization", 2020.)
    """
    return (z - tf.stop_gradient(z)) * _DC_MASK


def round_with_slopes(dct, qtables, table_slope):
    """Integers of coefficients, with the gradients that suit an estimated rate.

    To the (edited) coefficients the gradient goes straight through: 1 is the mean slope
    of rounding. (That of Shin and Song's polynomial is 1/4, so that against a rate a
    network takes distortion for four times cheaper than it is.) To the tables it goes
    straight through for DC, see `straight_through_dc`, and with a given slope for AC.
    A squared error is continuous where an integer changes, so for MSE the gradient with
    the integers held fixed, slope 0, is the exact one.

    Args:
      dct: `[b, rows, cols, 8, 8, 3]`.
      qtables: float32 `[8, 8, 2]`.
      table_slope: of the integers in `z = dct / qtables`, as the tables' gradient sees
        it, for AC: a float, or a tensor shaped as `dct`.

    Returns:
      float32 integers, shaped as `dct`.
    """
    of_tables = divide(tf.stop_gradient(dct), qtables)
    of_edits = divide(dct, tf.stop_gradient(qtables))
    integers = tf.stop_gradient(tf.round(of_tables))
    integers += of_edits - tf.stop_gradient(of_edits)
    integers += table_slope * (of_tables - tf.stop_gradient(of_tables)) * (1 - _DC_MASK)
    return integers + straight_through_dc(of_tables)


def reconstruct(integers, qtables, height, width):
    """What a decoder shows.

    Args:
      integers: quantized coefficients, float32 `[b, rows, cols, 8, 8, 3]`.
      qtables: float32 `[8, 8, 2]`.
      height, width: true size in px.

    Returns:
      x_tilde: RGB in [0, 1], `[b, height, width, 3]`.
    """
    return dct_to_rgb(integers * per_component(qtables), height, width)


def code(dct, qtables, height, width):
    """Quantizes DCT coefficients as a file will hold them.

    Args:
      dct: (edited) coefficients, `[b, rows, cols, 8, 8, 3]`.
      qtables: float32 `[8, 8, 2]`, integers in 1..255.
      height, width: true size in px.

    Returns:
      `Coded`; its `edited` is the picture of `dct` before quantization.
    """
    integers = tf.round(dct / per_component(qtables))
    # An edited picture may leave 0..255, and then the range that 8-bit JPEG codes.
    limit = float(transform.MAX_INTEGER)
    integers = tf.clip_by_value(integers, -limit, limit)
    return Coded(integers, qtables, dct, dct_to_rgb(dct, height, width))


class LearnedTables:
    """Quantization tables that gradient descent learns.

    The variable holds the entries times `SCALE`, in [1e-5, 255e-5], so that Adam at a
    learning rate of 1e-6 moves an entry by at most about 0.1 a step (the `scale1e-5` of
    the published experiments).
    """

    NAME = "qtables"  # of the variable
    SCALE = 1e-5

    def __init__(self, initial=None):
        """Creates the variable, `[8 (v), 8 (u), 2 (luma, chroma)]`.

        Args:
          initial: entry 1..255 that all start from; None for random ones in 1..2, as
            in the thesis. Adam remembers the huge gradients of 1/q at such small
            entries for thousands of steps.
        """
        low, high = (1.0, 2.0) if initial is None else (initial, initial)
        self._scaled = tf.get_variable(
            self.NAME,
            [8, 8, 2],
            initializer=tf.random_uniform_initializer(
                low * self.SCALE, high * self.SCALE
            ),
            constraint=lambda v: tf.clip_by_value(v, self.SCALE, 255 * self.SCALE),
            use_resource=True,
        )

    @property
    def variable(self):
        """The entries times `SCALE`."""
        return self._scaled

    @property
    def entries(self):
        """float32 `[8, 8, 2]` in [1, 255], differentiable."""
        return self._scaled / self.SCALE

    @property
    def integers(self):
        """float32 `[8, 8, 2]`, the entries that a file holds: integers in 1..255."""
        return tf.clip_by_value(tf.round(self.entries), 1.0, 255.0)

    @property
    def regularizer(self):
        """Sum of 1/q over the 128 entries: it pushes the steps up."""
        return tf.reduce_sum(1.0 / self.entries)

    @classmethod
    def integers_of(cls, saved):
        """`integers` of the variable's value as an array, uint8 `[8, 8, 2]`."""
        entries = np.asarray(saved, np.float32) / np.float32(cls.SCALE)
        return np.rint(entries).clip(1, 255).astype(np.uint8)
