"""LPIPS, the learned perceptual distance of images, by AlexNet and in float32.

`lpips_tensorflow` defines it. The graph and its session are made at the first use.
Without TensorFlow the metric is left out.
"""

from __future__ import annotations

import importlib.util
import threading

import numpy as np

from learned_jpeg.metrics.metric import Metric

MIN_SIDE = 31  # px, that of lpips_tensorflow

_lock = threading.Lock()
_graph: _Graph | None = None


class _Graph:
    """Graph and session for images of any size."""

    def __init__(self):
        # Imported here, so that a user without TensorFlow needs neither.
        import lpips_tensorflow
        import tensorflow_v1 as tf

        with tf.Graph().as_default() as graph:
            self._image = tf.placeholder(tf.uint8, [None, None, 3])
            x = tf.cast(self._image[tf.newaxis], tf.float32) / 255
            self._features = lpips_tensorflow.features(x)
            self._original = [
                tf.placeholder(tf.float32, y.shape) for y in self._features
            ]
            self._distance = lpips_tensorflow.distance(self._original, self._features)
        self._session = tf.Session(graph=graph)

    def features(self, image):
        """Returns the features of an image, a tuple of float32 arrays."""
        return tuple(self._session.run(self._features, {self._image: image}))

    def distance(self, features, image):
        """Returns LPIPS of an image and of one whose features are known."""
        feed = dict(zip(self._original, features, strict=True))
        (distance,) = self._session.run(self._distance, feed | {self._image: image})
        return float(distance)


def _shared_graph() -> _Graph:
    global _graph
    with _lock:
        if _graph is None:
            _graph = _Graph()
        return _graph


def _prepare(original: np.ndarray) -> tuple[np.ndarray, ...]:
    return _shared_graph().features(original)


def _compare(features: tuple[np.ndarray, ...], decoded: np.ndarray) -> float:
    return _shared_graph().distance(features, decoded)


def _is_available() -> bool:
    # The second is a module of the clone, which the package does not bring along.
    needed = ("tensorflow", "lpips_tensorflow")
    return all(importlib.util.find_spec(name) for name in needed)


METRIC = Metric(
    key="lpips",
    name="LPIPS",
    note="AlexNet",
    prepare=_prepare,
    compare=_compare,
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
