"""The squared error in RGB near a decoded image, in addition to other metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.slopes.tiling import Direction, Light, Strip, strips

_MIDDLE = np.float32(128)


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

    def see(self, strip: Strip, light: Light) -> None:
        """Returns nothing: the decoded image is enough."""

    def compare(self, strip: Strip, light: Light, seen: None) -> None:
        """Adds up the squared errors of a strip."""
        del seen
        own = self._image[strip.own()]
        self._sums[strip.number] = _squares(own, light.decoded, strip.inside().start)

    def settle(
        self, directions: Sequence[Direction], curvatures: Sequence[np.ndarray]
    ) -> float:
        """Returns the mean squared error times the number of pixels."""
        del directions, curvatures
        return float(self._sums.sum()) / 3

    def add_slopes(
        self,
        strip: Strip,
        light: Light,
        seen: None,
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
        gradient: np.ndarray | None,
    ) -> None:
        """Adds the gradient of a strip."""
        del seen, directions, curvatures
        if gradient is not None:
            factor = np.float32(2 * self._weight / 3)
            own, first = self._image[strip.own()], strip.inside().start
            _add_slopes(own, light.decoded, light.slope, first, factor, gradient)


@njit
def _squares(image, decoded, first):
    """Returns the sum of the squared errors of rows of an image."""
    image, decoded = borrowed(image), borrowed(decoded)
    sums = np.zeros(image.shape[1])
    for c in range(3):
        for y in range(len(image)):
            _add_squares_row(image[y, :, c], decoded[c, first + y], sums)
    return sums.sum()


@njit
def _add_squares_row(image, decoded, sums):
    for x in range(sums.size):
        error = _error(image[x], decoded[x])
        sums[x] += error * error


@njit
def _error(level, decoded):
    return decoded - (np.float32(level) - _MIDDLE)


@njit
def _add_slopes(image, decoded, slope, first, factor, gradient):
    """Adds the gradient in the decoded RGB, over the slope of linear light in it."""
    image, decoded, slope = borrowed(image), borrowed(decoded), borrowed(slope)
    gradient = borrowed(gradient)
    for c in range(3):
        for y in range(len(image)):
            own = first + y
            _add_slopes_row(
                image[y, :, c], decoded[c, own], slope[c, own], factor, gradient[c, y]
            )


@njit
def _add_slopes_row(image, decoded, slope, factor, gradient):
    for x in range(gradient.size):
        gradient[x] += factor * _error(image[x], decoded[x]) / slope[x]
