"""Applies functions to images of any size in bounded memory, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# A network sees an image in strips of whole block rows, so that its activations fit
# into memory at any size. Each strip has HALO px of its neighbours, more than half the
# receptive field of either network (VGG through pool3: 22 px; ResConvLayer: 13 px).
STRIP_PIXELS = 1 << 20
HALO = 32


def in_strips(
    function: Callable[[np.ndarray], tuple[list[np.ndarray], np.ndarray | None]],
    image: np.ndarray,
    block_heights: Sequence[int],
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Applies a function to the strips of an image and joins the results.

    Args:
      function: turns uint8 `[h, w, 3]` into a list of arrays `[rows, cols, ...]`, by
        blocks, and an array `[h, w, 3]` or None.
      image: uint8 `[h, w, 3]`.
      block_heights: px that a row of each array covers, 8 or 16.

    Returns:
      The list of arrays and the array, or None, for the whole image.
    """
    by_block, by_pixel = [[] for _ in block_heights], []
    for top, bottom in strip_bounds(image.shape[0], image.shape[1]):
        start = max(top - HALO, 0)
        arrays, pixels = function(image[start : bottom + HALO])
        for joined, array, px in zip(by_block, arrays, block_heights, strict=True):
            first, rows = (top - start) // px, -(-(bottom - top) // px)
            joined.append(array[first : first + rows])
        if pixels is not None:
            by_pixel.append(pixels[top - start : bottom - start])
    arrays = [np.concatenate(joined) for joined in by_block]
    return arrays, np.concatenate(by_pixel) if by_pixel else None


def strip_bounds(height: int, width: int) -> list[tuple[int, int]]:
    """Returns (top, bottom) of the strips of an image; tops are multiples of 16.

    The strips are about equally high: a low last one might be too small for a metric.
    """
    step = max(STRIP_PIXELS // width // 16 * 16, 64)
    count = -(-height // step)
    step = -(-height // count // 16) * 16
    return [(top, min(top + step, height)) for top in range(0, height, step)]
