"""Estimated rate of quantized coefficients, by a density for each of them."""

from __future__ import annotations

import numpy as np

import image_utils
import tensorflow_v1 as tf
from learned_jpeg.jpeg.sampling import groups
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.models.contract import Tensor
from training import factorized_prior, variables


class FactorizedRate:
    """A learned density for each of the 192 coefficients of a block.

    The fully factorized prior of Ballé et al., "Variational Image Compression with a
    Scale Hyperprior", 2018 (arXiv 1802.01436), appendix 6.1. One prior a coefficient
    and component models DCT statistics far better than one a colour channel.
    """

    def __init__(self, sampling: str = "4:4:4"):
        """Creates the priors' variables, all trainable; `sampling` of the files."""
        self._components = [components for components, _ in groups(sampling)]
        # The scope by which variables.py knows what only a training needs.
        with tf.name_scope("rate_model"):
            self._priors = [
                _noisy_deep_factorized(BLOCK**2 * len(components))
                for components in self._components
            ]

    def bits_per_pixel(
        self, z: list[Tensor], num_pixels: Tensor, seed: Tensor
    ) -> Tensor:
        """Estimates the rate of coefficients, with uniform noise in place of rounding.

        Args:
          z: coefficients in units of their quantization step, before rounding, list as
            from `differentiable.rgb_to_dct`.
          num_pixels: pixels of the batch, true size.
          seed: int32 tensor `[2]` of the noise; [0, 1] more is used as well.

        Returns:
          float32 scalar, bits per pixel.
        """
        nats = 0.0
        for index, (own, prior) in enumerate(zip(z, self._priors, strict=True)):
            own = image_utils.merge_last_axes(own, 3)
            own = tf.reshape(own, [-1, own.shape.as_list()[-1]])
            noise = tf.random.stateless_uniform(
                tf.shape(own), tf.add(seed, [0, index]), -0.5, 0.5
            )
            nats -= tf.reduce_sum(prior.log_prob(own + noise))
        return nats / (np.log(2) * tf.cast(num_pixels, tf.float32))

    def bits_of_integers(self, limit: int) -> Tensor:
        """Returns the bits of -limit..limit, float32 `[192, 2 * limit + 1]`."""
        values = tf.range(-limit, limit + 1, dtype=tf.float32)[:, tf.newaxis]
        bits = []
        for components, prior in zip(self._components, self._priors, strict=True):
            size = BLOCK**2 * len(components)
            nats = -tf.transpose(prior.log_prob(tf.tile(values, [1, size])))
            shape = [BLOCK**2, len(components), 2 * limit + 1]
            bits.append(tf.reshape(nats / np.log(2), shape))
        return tf.reshape(tf.concat(bits, 1), [-1, 2 * limit + 1])


def _noisy_deep_factorized(size):
    """`size` priors of tensorflow-compression, or ours where that cannot be had."""
    try:
        # Takes seconds, and only an entropy model needs it.
        import tensorflow_compression as tfc
    except (ImportError, tf.errors.NotFoundError):  # Built for another TensorFlow.
        return factorized_prior.NoisyDeepFactorized(size)
    return tfc.NoisyDeepFactorized(batch_shape=(size,))


def bits_of_checkpoint(prefix: str, limit: int, sampling: str = "4:4:4") -> np.ndarray:
    """Reads the bits of integers from the entropy model in a checkpoint.

    Args:
      prefix: as from `folders.find_checkpoint`, of a model of
        `--rate_model entropy`.
      limit: the largest integer.
      sampling: that it was trained at.

    Returns:
      float32 `[192, 2 * limit + 1]`, the integers -limit..limit of each coefficient,
      in the order (v, u, component).

    Raises:
      UserError: the checkpoint is damaged, or holds no entropy model.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        bits = FactorizedRate(sampling).bits_of_integers(limit)
        variables.restore_some(session, tf.global_variables(), prefix)
        return session.run(bits)
