"""JPEG as differentiable TensorFlow graph code: what every model of ours shares.

    x -> pad -> YCbCr -> mean of chroma -> DCT -> (edit) -> / tables -> round
      -> * tables -> IDCT -> triangle filter of chroma -> RGB

The integers after the rounding, with the tables, are a baseline JPEG file (see
file.py); the image at the end, `x_tilde`, is the decoded image, but for the
rounding of its samples to integers, and of its filter (libjpeg rounds halves by turns
up and down). `Pipeline` is the entry for model scripts.

Coefficients are lists of tensors, one for each of `sampling.groups`: all components
together without subsampling, else Y, and Cb with Cr.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import image_utils
import tensorflow_v1 as tf
from learned_jpeg.jpeg import transform
from learned_jpeg.jpeg.sampling import NEAREST_WEIGHT, UNFILTERED_WIDTH, groups
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.models.contract import Coded, Tensor

_DC_MASK = np.zeros([8, 8, 1], np.float32)
_DC_MASK[0, 0] = 1.0
# Y, Cb, Cr by luma, chroma.
_COMPONENTS = np.array([[1, 0], [0, 1], [0, 1]], np.float32)


class Pipeline:
    """The differentiable JPEG of one batch, whose size and subsampling it knows."""

    def __init__(self, x: Tensor, sampling: str = "4:4:4"):
        """Reads the size of a batch.

        Args:
          x: the original images, RGB in [0, 1], `[b, h, w, 3]`.
          sampling: one of `jpeg.SUBSAMPLINGS`.
        """
        self.x = x
        self.sampling = sampling
        self.size = image_size(x)

    def dct(self, image: Tensor) -> list[Tensor]:
        """Returns the coefficients of the batch or of an edited one, see `rgb_to_dct`.

        Args:
          image: `[b, h, w, 3]`, RGB in [0, 1].
        """
        return rgb_to_dct(image, self.sampling)

    def scale(self, dct: list[Tensor], factors: Tensor) -> list[Tensor]:
        """Multiplies coefficients by a network's factors, see `scale_blocks`."""
        return scale_blocks(dct, factors, self.sampling)

    def reconstruct(self, integers: list[Tensor], qtables: Tensor) -> Tensor:
        """Returns the decoded batch, RGB in [0, 1], `[b, h, w, 3]`.

        Args:
          integers: quantized coefficients, float32, list as from `rgb_to_dct`.
          qtables: float32 `[8, 8, 2]`.
        """
        return reconstruct(integers, qtables, *self.size, self.sampling)

    def code(self, dct: list[Tensor], qtables: Tensor) -> Coded:
        """Quantizes coefficients as a file will hold them.

        Args:
          dct: (edited) coefficients, list as from `rgb_to_dct`.
          qtables: float32 `[8, 8, 2]`, integers in 1..255.

        Returns:
          `Coded`; its `edited` is the batch with what the edit changes.
        """
        coded = code(dct, qtables, *self.size, self.sampling)
        if self.sampling == "4:4:4":
            return coded
        # What subsampling takes is no edit: the encoder of the edited image subsamples
        # it, too, and twice would be once too often.
        plain = dct_to_rgb(self.dct(self.x), *self.size, self.sampling)
        edited = image_utils.clip_to_unit(self.x + coded.edited - plain)
        return coded._replace(edited=edited)


def standard_tables(quality: int | Tensor) -> Tensor:
    """Returns the IJG tables of a quality 1..100, float32 `[8, 8, 2]`."""
    return tf.cast(image_utils.get_std_jpeg_qtable(quality), tf.float32)


def image_size(x: Tensor) -> list:
    """Returns height and width of `[b, h, w, c]`: ints if static, else tensors."""
    static, dynamic = x.shape.as_list(), tf.shape(x)
    return [static[axis] or dynamic[axis] for axis in (1, 2)]


def rgb_to_dct(x: Tensor, sampling: str = "4:4:4") -> list[Tensor]:
    """Computes the DCT coefficients of a batch.

    Args:
      x: RGB in [0, 1], `[b, h, w, 3]`; any size, continued as `sampling.cell_means`
        says.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      A list, for each of `sampling.groups` the coefficients of the level-shifted YCbCr,
      `[b, rows, cols, 8 (v), 8 (u), components]`, orthonormal, on the 0..255 scale.
    """
    return [
        image_utils.apply_to_blocks(
            image_utils.image_to_patches(_cell_means(x, own_factors)),
            *transform.forward(components),
        )
        for components, own_factors in groups(sampling)
    ]


def _cell_means(x, own_factors):
    v, h = own_factors
    if own_factors == (1, 1):
        return x
    x = image_utils.pad_to_blocks(x, (v, BLOCK * h))
    return tf.nn.avg_pool2d(x, own_factors, own_factors, "VALID")


def dct_to_rgb(
    coefficients: list[Tensor], height: Tensor, width: Tensor, sampling: str = "4:4:4"
) -> Tensor:
    """The image `[b, height, width, 3]`, RGB clipped to [0, 1], of DCT coefficients.

    Inverse of `rgb_to_dct`, as far as there is one; `height` and `width` are the true
    size.
    """
    planes = []
    for own, (components, (v, h)) in zip(coefficients, groups(sampling), strict=True):
        blocks = image_utils.apply_to_blocks(own, *transform.inverse(components))
        size = -(-height // v), -(-width // h)
        plane = image_utils.patches_to_image(blocks, *size)
        if (v, h) != (1, 1):
            plane = _upsample(plane, v, h, size[1])[:, :height, :width]
        planes.append(plane)
    return image_utils.clip_to_unit(tf.add_n(planes))


def _upsample(x, v, h, width):
    """The decoder's triangle filter, see planes.py: `[b, h, w, c]` of that width."""
    nearest = tf.where(tf.less_equal(width, UNFILTERED_WIDTH), 1.0, NEAREST_WEIGHT)
    for axis, factor in ((1, v), (2, h)):
        if factor == 2:
            x = _doubled(x, axis, nearest)
    return x


def _doubled(x, axis, nearest):
    """Twice as many samples: the nearest one and the next, the last ones repeated."""
    if axis == 1:
        before = tf.concat([x[:, :1], x[:, :-1]], 1)
        after = tf.concat([x[:, 1:], x[:, -1:]], 1)
    else:
        before = tf.concat([x[:, :, :1], x[:, :, :-1]], 2)
        after = tf.concat([x[:, :, 1:], x[:, :, -1:]], 2)
    pair = [nearest * x + (1 - nearest) * other for other in (before, after)]
    doubling = [2 if i == axis else 1 for i in range(4)]
    return tf.reshape(tf.stack(pair, axis + 1), tf.shape(x) * doubling)


def per_component(values: Tensor, coefficients: list[Tensor]) -> list[Tensor]:
    """Repeats values of luma and chroma for the components of coefficients.

    Args:
      values: `[..., 2 (luma, chroma)]`.
      coefficients: a list as from `rgb_to_dct`.

    Returns:
      A list of `[..., components]`.
    """
    if len(coefficients) == 1:
        return [_repeated(values)]
    luma, chroma = values[..., :1], values[..., 1:]
    return [luma, tf.concat([chroma, chroma], -1)]


def _repeated(values):
    """Repeats the chroma entry: `[..., 2 (luma, chroma)]` to `[..., 3 (Y, Cb, Cr)]`."""

    def repeated_and_gradient(values):
        def gradient(upstream):
            # A product: slices and their gradients take three times as long.
            return tf.tensordot(upstream, tf.constant(_COMPONENTS), 1)

        return tf.concat([values, values[..., 1:]], -1), gradient

    return tf.custom_gradient(repeated_and_gradient)(values)


def scale_blocks(dct: list[Tensor], factors: Tensor, sampling: str) -> list[Tensor]:
    """Multiplies coefficients by factors that a network gives each 8x8 px.

    Args:
      dct: list as from `rgb_to_dct`.
      factors: `[b, rows, cols, 8 (v), 8 (u), 2 (luma, chroma)]`, of 8x8 px each.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      A list like `dct`; a block that covers several squares of 8x8 px takes their mean.
    """
    scaled = []
    for own, of_own, (_, own_factors) in zip(
        dct, per_component(factors, dct), groups(sampling), strict=True
    ):
        if own_factors != (1, 1):
            flat = image_utils.merge_last_axes(of_own, 3)
            # SAME leaves out what lies beyond the edge.
            means = tf.nn.avg_pool2d(flat, own_factors, own_factors, "SAME")
            of_own = image_utils.split_last_axis(means, of_own.shape.as_list()[-3:])
        scaled.append(own * of_own)
    return scaled


def divide(dct: list[Tensor], qtables: Tensor) -> list[Tensor]:
    """Divides coefficients by their quantization steps, for training.

    Args:
      dct: list as from `rgb_to_dct`.
      qtables: float32 `[8, 8, 2]`.
    """
    # A product has a far cheaper gradient than a quotient of large tensors.
    inverses = per_component(1.0 / qtables, dct)
    return [own * inverse for own, inverse in zip(dct, inverses, strict=True)]


def straight_through_dc(z: Tensor) -> Tensor:
    """Returns 0, with the gradient of the identity for DC and none for AC.

    Added to integers held fixed, it makes `qtables * integers` change with a DC step as
    if the phase z - integer, not the integer, were fixed. The DC density is broad, so
    both have the same mean gradient together with the rate; but with integers in the
    tens the other one is nearly all noise, in which a table entry walks at random.
    (The gradient of Esser et al., "Learned step size quantization", 2020.)
    """
    return (z - tf.stop_gradient(z)) * _DC_MASK


def round_with_slopes(
    dct: list[Tensor],
    qtables: Tensor,
    table_slope: float | Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Rounds coefficients, with the gradients that suit an estimated rate.

    To the (edited) coefficients the gradient goes straight through: 1 is the mean slope
    of rounding. (That of Shin and Song's polynomial is 1/4, so that against a rate a
    network takes distortion for four times cheaper than it is.) To the tables it goes
    straight through for DC, see `straight_through_dc`, and with a given slope for AC.
    A squared error is continuous where an integer changes, so for MSE the gradient with
    the integers held fixed, slope 0, is the exact one.

    Args:
      dct: list as from `rgb_to_dct`.
      qtables: float32 `[8, 8, 2]`.
      table_slope: of the integers in `z = dct / qtables`, as the tables' gradient sees
        it, for AC: a float, or a function of `z`.

    Returns:
      float32 integers, shaped as `dct`.
    """
    reciprocals = per_component(1.0 / qtables, dct)
    return [
        _rounded(own, reciprocal, table_slope)
        for own, reciprocal in zip(dct, reciprocals, strict=True)
    ]


def _rounded(dct, reciprocals, table_slope):
    def rounded_and_gradient(dct, reciprocals):
        z = dct * reciprocals

        def gradient(upstream):
            dc = _sum_of_blocks((upstream * dct)[:, :, :, :1, :1])
            of_reciprocals = dc * _DC_MASK
            if table_slope:
                slope = table_slope(z) if callable(table_slope) else table_slope
                ac = _sum_of_blocks(upstream * dct * slope)
                of_reciprocals += ac * (1 - _DC_MASK)
            return upstream * reciprocals, of_reciprocals

        return tf.round(z), gradient

    # By hand: a sum of terms with stopped gradients takes twice as long.
    return tf.custom_gradient(rounded_and_gradient)(dct, reciprocals)


def _sum_of_blocks(values):
    return tf.reduce_sum(values, [0, 1, 2])


def reconstruct(
    integers: list[Tensor],
    qtables: Tensor,
    height: Tensor,
    width: Tensor,
    sampling: str = "4:4:4",
) -> Tensor:
    """Decodes quantized coefficients.

    Args:
      integers: quantized coefficients, float32, list as from `rgb_to_dct`.
      qtables: float32 `[8, 8, 2]`.
      height, width: true size in px.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      x_tilde: RGB in [0, 1], `[b, height, width, 3]`.
    """
    steps = per_component(qtables, integers)
    dct = [own * step for own, step in zip(integers, steps, strict=True)]
    return dct_to_rgb(dct, height, width, sampling)


def code(
    dct: list[Tensor],
    qtables: Tensor,
    height: Tensor,
    width: Tensor,
    sampling: str = "4:4:4",
) -> Coded:
    """Quantizes DCT coefficients as a file will hold them.

    Args:
      dct: (edited) coefficients, list as from `rgb_to_dct`.
      qtables: float32 `[8, 8, 2]`, integers in 1..255.
      height, width: true size in px.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      `Coded`; its `edited` is the image of `dct` before quantization.
    """
    # An edited image may leave 0..255, and then the range that 8-bit JPEG codes.
    limit = float(transform.MAX_INTEGER)
    integers = [
        tf.clip_by_value(tf.round(own / steps), -limit, limit)
        for own, steps in zip(dct, per_component(qtables, dct), strict=True)
    ]
    return Coded(integers, qtables, dct, dct_to_rgb(dct, height, width, sampling))


class LearnedTables:
    """Quantization tables that gradient descent learns.

    The variable holds the entries times `SCALE`, in [1e-5, 255e-5], so that Adam at a
    learning rate of 1e-6 moves an entry by at most about 0.1 a step (the `scale1e-5` of
    the published experiments).
    """

    NAME = "qtables"  # of the variable
    SCALE = 1e-5

    def __init__(self, initial: float | None = None):
        """Creates the variable, `[8 (v), 8 (u), 2 (luma, chroma)]`.

        Args:
          initial: entry 1..255 that all start from; None for random ones in 1..2, as
            in the publication. Adam remembers the huge gradients of 1/q at such small
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
    def variable(self) -> Tensor:
        """Returns the entries times `SCALE`."""
        return self._scaled

    @property
    def entries(self) -> Tensor:
        """Returns the entries, float32 `[8, 8, 2]` in [1, 255], differentiable."""
        return self._scaled / self.SCALE

    @property
    def integers(self) -> Tensor:
        """Returns the integers 1..255 that a file holds, float32 `[8, 8, 2]`."""
        return tf.clip_by_value(tf.round(self.entries), 1.0, 255.0)

    @property
    def regularizer(self) -> Tensor:
        """Returns the sum of 1/q over the 128 entries: it pushes the steps up."""
        return tf.reduce_sum(1.0 / self.entries)

    @classmethod
    def integers_of(cls, saved: np.ndarray) -> np.ndarray:
        """Converts a value of the variable to tables of a file, uint8 `[2, 8, 8]`."""
        entries = np.asarray(saved, np.float32) / np.float32(cls.SCALE)
        return np.moveaxis(np.rint(entries).clip(1, 255).astype(np.uint8), -1, 0)
