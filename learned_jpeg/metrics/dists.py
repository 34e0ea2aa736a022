"""DISTS: structure and texture of an image, compared by the activations of VGG-16.

K. Ding, K. Ma, S. Wang, E. P. Simoncelli, "Image Quality Assessment: Unifying Structure
and Texture Similarity", 2020, arXiv 2004.07728. The numbers are those of the package
DISTS-pytorch 0.1 without its resizing to 256 px. The weights are not shipped: the
metric is left out until `python3 weights/make_weights.py dists` has made them.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from learned_jpeg.metrics.metric import Metric
from learned_jpeg.metrics.network_distance import NetworkDistance

MIN_SIDE = 16  # px; four times the activations are halved

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's RGB in [0, 1], as torchvision has them
_STANDARD_DEVIATION = (0.229, 0.224, 0.225)

_STAGES = (2, 2, 3, 3, 3)  # convolutions of each
# Hanning window over 5 without its zeros: VGG's max-pools would alias.
_WINDOW = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]) / 4
_EPSILON = 1e-6  # keeps the similarity of channels that are 0 defined
_POOL_EPSILON = 1e-12


def features(x):
    """Returns the image and the activations of VGG-16 at the end of its five stages.

    Args:
      x: float32 tensor `[1, h, w, 3]`, RGB in [0, 1].

    Returns:
      list of six float32 tensors `[1, rows, cols, channels]`.
    """
    import tensorflow_v1 as tf
    import weights

    arrays = weights.load("dists")
    outputs = [x]
    x = (x - tf.constant(_MEAN)) / tf.constant(_STANDARD_DEVIATION)
    number = 0
    for stage, convolutions in enumerate(_STAGES):
        if stage:
            x = _halve(x)
        for _ in range(convolutions):
            kernel = arrays[f"conv{number}/kernel"]
            x = tf.nn.conv2d(x, kernel, 1, "SAME") + arrays[f"conv{number}/bias"]
            x = tf.nn.relu(x)
            number += 1
        outputs.append(x)
    return outputs


def _halve(x):
    """Returns the root of the blurred squares at every second position."""
    import tensorflow_v1 as tf

    channels = x.shape[-1]
    window = np.tile(_WINDOW[:, :, np.newaxis, np.newaxis], (1, 1, channels, 1))
    padded = tf.pad(tf.square(x), [[0, 0], [1, 1], [1, 1], [0, 0]])
    blurred = tf.nn.depthwise_conv2d(
        padded, window.astype(np.float32), [1, 2, 2, 1], "VALID"
    )
    return tf.sqrt(blurred + _POOL_EPSILON)


def distance(features0, features1):
    """Returns DISTS of two images, float32 `[1]`, by equations 4 to 6 of the paper.

    Args:
      features0: result of `features`.
      features1: the same, for an image of the same size.
    """
    import tensorflow_v1 as tf
    import weights

    arrays = weights.load("dists")
    total = arrays["alpha"].sum() + arrays["beta"].sum()
    similarities, start = [], 0
    for x, y in zip(features0, features1, strict=True):
        own = slice(start, start + int(x.shape[-1]))
        start = own.stop
        mean_x, variance_x = tf.nn.moments(x, [1, 2])
        mean_y, variance_y = tf.nn.moments(y, [1, 2])
        centred = (x - mean_x[:, None, None]) * (y - mean_y[:, None, None])
        covariance = tf.reduce_mean(centred, [1, 2])
        texture = _similarity(mean_x * mean_y, mean_x**2 + mean_y**2)
        structure = _similarity(covariance, variance_x + variance_y)
        weighted = arrays["alpha"][own] * texture + arrays["beta"][own] * structure
        similarities.append(tf.reduce_sum(weighted / total, axis=-1))
    return 1 - tf.add_n(similarities)


def _similarity(product, squares):
    return (2 * product + _EPSILON) / (squares + _EPSILON)


def _is_available() -> bool:
    needed = ("tensorflow", "weights")
    if not all(importlib.util.find_spec(name) for name in needed):
        return False
    import weights

    return weights.path_of("dists").exists()


_NETWORK = NetworkDistance(features, distance)

METRIC = Metric(
    key="dists",
    name="DISTS",
    note="VGG-16",
    prepare=_NETWORK.features,
    compare=_NETWORK.compare,
    is_available=_is_available,
    min_side=MIN_SIDE,
    higher_is_better=False,
    order=35,
    rank=55,
    decimals=4,
)
