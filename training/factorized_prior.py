"""A learned density for each of many coefficients, in plain TensorFlow.

Ballé et al., "Variational Image Compression with a Scale Hyperprior", 2018 (arXiv
1802.01436), appendix 6.1. The variables are those of tensorflow-compression's
`NoisyDeepFactorized`, under the same names, so that each loads checkpoints of the
other; that package ends with TensorFlow 2.14.
"""

from __future__ import annotations

import itertools

import numpy as np

import tensorflow_v1 as tf

WIDTHS = (1, 3, 3, 1)  # of the layers of each density's network
INIT_SCALE = 10.0  # spread of the density that it starts as


class NoisyDeepFactorized:
    """Independent variables, each plus uniform noise of width 1.

    The cumulative distribution of a variable is `sigmoid(f_K(..f_1(x)))`, of affine
    maps with positive matrices; between them `x + a * tanh(x)` with |a| < 1. So it
    grows from 0 to 1.
    """

    def __init__(self, size: int):
        """Creates the variables of `size` densities, all trainable."""
        self._layers = []
        last = len(WIDTHS) - 2
        # The slopes of all layers multiply to 1 / INIT_SCALE.
        slope = INIT_SCALE ** (-1 / (last + 1))
        for k, (inputs, outputs) in enumerate(itertools.pairwise(WIDTHS)):
            # softplus(matrix) = slope / outputs
            matrix = np.full((size, outputs, inputs), np.log(np.expm1(slope / outputs)))
            bias = tf.random_uniform([size, outputs, 1], -0.5, 0.5)
            factor = np.zeros((size, outputs, 1), np.float32)
            self._layers.append(
                (
                    _variable(f"matrix_{k}", matrix.astype(np.float32)),
                    _variable(f"bias_{k}", bias),
                    _variable(f"factor_{k}", factor) if k < last else None,
                )
            )

    def log_prob(self, x: tf.Tensor) -> tf.Tensor:
        """Log density at x, in nats; both float32 `[n, size]`."""
        x = tf.transpose(x)[:, tf.newaxis]
        above, below = self._logits(x + 0.5), self._logits(x - 0.5)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) * sigmoid(-b) * (1 - exp(b - a)): no
        # difference of numbers close to 0 or 1 in either tail.
        log_prob = tf.log_sigmoid(above) + tf.log_sigmoid(-below)
        log_prob += tf.log(-tf.math.expm1(below - above))
        return tf.transpose(log_prob[:, 0])

    def _logits(self, x):
        """Logits of the cumulative distributions at x, both `[size, 1, n]`."""
        for matrix, bias, factor in self._layers:
            x = tf.matmul(tf.nn.softplus(matrix), x) + bias
            if factor is not None:
                x += tf.tanh(factor) * tf.tanh(x)
        return x


def _variable(name, value):
    # tensorflow-compression's name scope.
    return tf.Variable(value, name=f"DeepFactorized_1/{name}", use_resource=True)
