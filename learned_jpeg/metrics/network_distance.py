"""Distances of images that a network in TensorFlow measures, for one image at a time.

Graph and session of a network are made at the first use, for images of any size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Features = tuple[np.ndarray, ...]


class NetworkDistance:
    """A distance whose features of the original are kept."""

    def __init__(
        self,
        features: Callable[[Any], Sequence[Any]],
        distance: Callable[[Sequence[Any], Sequence[Any]], Any],
    ):
        """Stores the two halves of the network; nothing is loaded yet.

        Args:
          features: function that adds the network to the default graph; from a float32
            tensor `[1, h, w, 3]`, RGB in [0, 1], to its features.
          distance: function from the features of two images to a tensor `[1]`.
        """
        self._make = features, distance
        self._lock = threading.Lock()
        self._graph: _Graph | None = None

    def features(self, image: np.ndarray) -> Features:
        """Returns the features of an image, uint8 `[h, w, 3]`."""
        return self._shared_graph().features(image)

    def compare(self, features: Features, image: np.ndarray) -> float:
        """Returns the distance of an image and of one whose features are known."""
        return self._shared_graph().distance(features, image)

    def _shared_graph(self) -> _Graph:
        with self._lock:
            if self._graph is None:
                self._graph = _Graph(*self._make)
            return self._graph


class _Graph:
    """Graph and session for images of any size."""

    def __init__(self, features, distance):
        # Imported here, so that a user without TensorFlow does not need it.
        import tensorflow_v1 as tf

        with tf.Graph().as_default() as graph:
            self._image = tf.placeholder(tf.uint8, [None, None, 3])
            x = tf.cast(self._image[tf.newaxis], tf.float32) / 255
            self._features = tuple(features(x))
            self._original = [
                tf.placeholder(tf.float32, y.shape) for y in self._features
            ]
            self._distance = distance(self._original, self._features)
        self._session = tf.Session(graph=graph)

    def features(self, image):
        return self._session.run(self._features, {self._image: image})

    def distance(self, features, image):
        feed = dict(zip(self._original, features, strict=True))
        (distance,) = self._session.run(self._distance, feed | {self._image: image})
        return float(distance)
