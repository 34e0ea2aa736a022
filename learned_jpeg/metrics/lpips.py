"""LPIPS, the learned perceptual distance of images, by AlexNet and in float32.

`lpips_tensorflow` defines it. Without TensorFlow the metric is left out.
"""

from __future__ import annotations

import importlib.util

from learned_jpeg.metrics.metric import Metric
from learned_jpeg.metrics.network_distance import NetworkDistance

MIN_SIDE = 31  # px, that of lpips_tensorflow


# Imported in these functions, so that a user without TensorFlow needs neither.
def _features(x):
    import lpips_tensorflow

    return lpips_tensorflow.features(x)


def _distance(features0, features1):
    import lpips_tensorflow

    return lpips_tensorflow.distance(features0, features1)


def _is_available() -> bool:
    # The second is a module of the clone, which the package does not bring along.
    needed = ("tensorflow", "lpips_tensorflow")
    return all(importlib.util.find_spec(name) for name in needed)


_NETWORK = NetworkDistance(_features, _distance)

METRIC = Metric(
    key="lpips",
    name="LPIPS",
    note="AlexNet",
    prepare=_NETWORK.features,
    compare=_NETWORK.compare,
    is_available=_is_available,
    min_side=MIN_SIDE,
    higher_is_better=False,
    order=30,
    rank=50,
    in_overview=True,
    decimals=4,
    json_name="lpips-alex",
    codec_compare=("lpips", "Learned perceptual image patch similarity, AlexNet"),
)
