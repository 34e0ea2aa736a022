"""Measures decoded images against their original, by all metrics of the registry."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from learned_jpeg.metrics import registry
from learned_jpeg.metrics.metric import Metric

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py


class ImageMetrics:
    """One original, with all that comparisons with it need.

    Several threads may use one object at once.

    Attributes:
      original: uint8 `[h, w, 3]`, RGB.
    """

    def __init__(self, original: np.ndarray, metrics: Iterable[Metric] | None = None):
        """Computes what depends on the original only.

        Args:
          original: uint8 `[h, w, 3]`, RGB.
          metrics: the metrics to measure; by default all that are available. With all
            of them about 150 bytes per pixel are kept.

        Raises:
          ValueError: `original` is not a uint8 array of that shape.
        """
        _check_image(original)
        self.original = original
        self._metrics = list(registry.available() if metrics is None else metrics)
        smallest = min(original.shape[:2])
        self._references = {
            metric.key: metric.prepare(original)
            for metric in self._metrics
            if smallest >= metric.min_side
        }

    def compare(self, decoded: np.ndarray) -> dict[str, float]:
        """Measures a decoded image.

        Args:
          decoded: uint8 `[h, w, 3]`, RGB, of the size of the original.

        Returns:
          dict from the key of each metric to its value: nan if a side is below the
          metric's `min_side`.

        Raises:
          ValueError: `decoded` is not a uint8 array of the original's shape.
          UserError: an external tool fails.
        """
        _check_image(decoded)
        if decoded.shape != self.original.shape:
            raise ValueError(
                f"shapes differ: {self.original.shape} and {decoded.shape}"
            )
        values = dict.fromkeys((metric.key for metric in self._metrics), math.nan)
        for metric in self._metrics:
            if metric.key in self._references:
                reference = self._references[metric.key]
                values[metric.key] = metric.compare(reference, decoded)
        return values

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes, each counted once."""
        everything = [self.original, *self._references.values()]
        arrays = {id(array): array for array in _arrays(everything)}
        return sum(array.nbytes for array in arrays.values())


def measure(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Returns all metrics of a decoded image, see `ImageMetrics.compare`."""
    return ImageMetrics(original).compare(decoded)


def _arrays(reference: Any) -> Iterator[np.ndarray]:
    """Yields the arrays of a reference: of sequences and dataclasses of them."""
    if isinstance(reference, np.ndarray):
        yield reference
    elif isinstance(reference, list | tuple):
        for item in reference:
            yield from _arrays(item)
    elif dataclasses.is_dataclass(reference):
        for field in dataclasses.fields(reference):
            yield from _arrays(vars(reference)[field.name])


def _check_image(image: np.ndarray) -> None:
    """Raises ValueError unless `image` is uint8 `[h, w, 3]`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f"not a uint8 image [h, w, 3]: {image.dtype} {list(image.shape)}"
        )
