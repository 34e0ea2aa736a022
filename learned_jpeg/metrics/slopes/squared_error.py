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

    def look(self, strip: Strip, light: Light) -> None:
        """Takes nothing: no scale is coarse."""

    def settle(self, directions: Sequence[Direction]) -> None:
        """Prepares nothing."""

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
    errors, sums = np.empty((3, width), np.float32), np.zeros(width)
    for y in range(len(image)):
        _errors_row(image[y], decoded, first + y, errors)
        for c in range(3):
            _add_squares_row(errors[c], sums)
            if gradient.size:
                _add_slopes_row(errors[c], slope[c, first + y], factor, gradient[c, y])
    return sums.sum()


@njit
def _errors_row(levels, decoded, y, errors):
    """Writes the errors of a row whose levels are `[3 w]`, pixel by pixel."""
    red, green, blue = decoded[0, y], decoded[1, y], decoded[2, y]
    by_red, by_green, by_blue = errors[0], errors[1], errors[2]
    for x in range(red.size):
        by_red[x] = red[x] - (np.float32(levels[3 * x]) - _MIDDLE)
        by_green[x] = green[x] - (np.float32(levels[3 * x + 1]) - _MIDDLE)
        by_blue[x] = blue[x] - (np.float32(levels[3 * x + 2]) - _MIDDLE)


@njit
def _add_squares_row(errors, sums):
    for x in range(sums.size):
        sums[x] += errors[x] * errors[x]


@njit
def _add_slopes_row(errors, slope, factor, gradient):
    for x in range(gradient.size):
        gradient[x] += factor * errors[x] / slope[x]
