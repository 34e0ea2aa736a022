"""The squared error in RGB near a decoded image, in addition to other metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.slopes.light import levels_row
from learned_jpeg.metrics.slopes.tiling import Direction, Light, Strip, strips


class Term:
    """The mean squared error times the number of pixels, a `tiling.Term`.

    The error is that of the decoded RGB, clipped to 0..255. Its curvature is constant,
    and left to the caller.
    """

    kinds = 0

    def __init__(self, image: np.ndarray, weight: float = 1.0):
        """Starts to compare an image.

        Args:
          image: the original, uint8 RGB `[h, w, 3]`.
          weight: of the gradient.
        """
        self._image = image
        self._weight = weight
        self._sums = np.zeros(len(strips(*image.shape[:2])))

    def look(self, strip: Strip, light: Light) -> None:
        """Does nothing: no scale is coarse."""

    def settle(self, directions: Sequence[Direction]) -> None:
        """Does nothing: there is nothing to prepare."""

    def add_slopes(
        self,
        strip: Strip,
        light: Light,
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
        gradient: np.ndarray | None,
    ) -> None:
        """Adds the gradient of a strip."""
        del directions, curvatures
        if gradient is None:
            gradient = _NO_GRADIENT
        factor = np.float32(2 * self._weight / 3)
        image = self._image[strip.own()]
        flat = np.ascontiguousarray(image).reshape(len(image), -1)
        first = strip.inside().start
        self._sums[strip.number] = _add_slopes(
            flat, light.decoded, light.slope, first, factor, gradient
        )

    def finish(
        self, directions: Sequence[Direction], curvatures: Sequence[np.ndarray]
    ) -> float:
        """Returns the mean squared error times the number of pixels."""
        del directions, curvatures
        return float(self._sums.sum()) / 3


_NO_GRADIENT = np.empty((3, 0, 0), np.float32)


@njit
def _add_slopes(image, decoded, slope, first, factor, gradient):
    """Adds the gradient in the decoded RGB, over the slope of linear light in it.

    Returns:
      The sum of the squared errors.
    """
    image, decoded, slope = borrowed(image), borrowed(decoded), borrowed(slope)
    gradient = borrowed(gradient)
    width = decoded.shape[2]
    levels, errors = np.empty((3, width), np.float32), np.empty(width, np.float32)
    sums = np.zeros(width)
    for y in range(len(image)):
        levels_row(image[y], levels)
        for c in range(3):
            _errors_row(levels[c], decoded[c, first + y], errors)
            _add_squares_row(errors, sums)
            if gradient.size:
                _add_slopes_row(errors, slope[c, first + y], factor, gradient[c, y])
    return sums.sum()


@njit
def _errors_row(levels, decoded, errors):
    for x in range(errors.size):
        errors[x] = decoded[x] - levels[x]


@njit
def _add_squares_row(errors, sums):
    for x in range(sums.size):
        sums[x] += errors[x] * errors[x]


@njit
def _add_slopes_row(errors, slope, factor, gradient):
    for x in range(gradient.size):
        gradient[x] += factor * errors[x] / slope[x]
