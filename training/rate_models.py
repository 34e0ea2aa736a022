"""Estimated rate of quantized coefficients, by a density for each of them."""

import numpy as np

import tensorflow_v1 as tf
from training import factorized_prior, variables

COEFFICIENTS = 8 * 8 * 3


class FactorizedRate:
    """A learned density for each of the 192 coefficients of a block.

    The fully factorized prior of Ballé et al., "Variational Image Compression with a
    Scale Hyperprior", 2018 (arXiv 1802.01436), appendix 6.1. One prior a coefficient
    and component models DCT statistics far better than one a colour channel.
    """

    def __init__(self):
        """Creates the priors' variables, all trainable."""
        # The scope by which variables.py knows what only a training needs.
        with tf.name_scope("rate_model"):
            self._prior = _noisy_deep_factorized()

    def bits_per_pixel(self, z, num_pixels, seed):
        """Estimated rate of coefficients with additive uniform noise for rounding.

        Args:
          z: coefficients in units of their quantization step, before rounding,
            `[b, rows, cols, 8, 8, 3]`.
          num_pixels: pixels of the batch, true size.
          seed: int32 tensor `[2]` of the noise.

        Returns:
          float32 scalar, bits per pixel.
        """
        z = tf.reshape(z, [-1, COEFFICIENTS])
        z += tf.random.stateless_uniform(tf.shape(z), seed, -0.5, 0.5)
        nats = -tf.reduce_sum(self._prior.log_prob(z))
        return nats / (np.log(2) * tf.cast(num_pixels, tf.float32))

    def bits_of_integers(self, limit):
        """Bits of the integers -limit..limit, float32 `[192, 2 * limit + 1]`."""
        values = tf.range(-limit, limit + 1, dtype=tf.float32)[:, tf.newaxis]
        nats = -self._prior.log_prob(tf.tile(values, [1, COEFFICIENTS]))
        return tf.transpose(nats) / np.log(2)


def _noisy_deep_factorized():
    """The prior of tensorflow-compression, or ours where that cannot be had."""
    try:
        # Takes seconds, and only an entropy model needs it.
        import tensorflow_compression as tfc
    except (ImportError, tf.errors.NotFoundError):  # Built for another TensorFlow.
        return factorized_prior.NoisyDeepFactorized(COEFFICIENTS)
    return tfc.NoisyDeepFactorized(batch_shape=(COEFFICIENTS,))


def bits_of_checkpoint(prefix, limit):
    """Bits of integers, of the entropy model that a checkpoint was trained with.

    Args:
      prefix: as from `checkpoints.find_checkpoint`, of a model of
        `--rate_model entropy`.
      limit: the largest integer.

    Returns:
      float32 `[192, 2 * limit + 1]`, the integers -limit..limit of each coefficient,
      in the order (v, u, component).

    Raises:
      UserError: the checkpoint is damaged, or holds no entropy model.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        bits = FactorizedRate().bits_of_integers(limit)
        variables.restore_some(session, tf.global_variables(), prefix)
        return session.run(bits)
