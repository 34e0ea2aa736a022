"""Pictures of any size through a function of bounded memory, strip by strip."""

import numpy as np

# A picture goes through a network in strips of whole block rows, so that activations
# fit into memory at any size. Each strip sees HALO px of its neighbours, more than half
# the receptive field of either network (VGG through pool3: 22 px; ResConvLayer: 13 px).
STRIP_PIXELS = 1 << 20
HALO = 32


def in_strips(function, picture, block_heights):
    """Joins what a function makes of the strips of a picture.

    Args:
      function: from uint8 `[h, w, 3]` to a list of arrays `[rows, cols, ...]`, by
        blocks, and `[h, w, 3]` or None.
      picture: uint8 `[h, w, 3]`.
      block_heights: px that a row of each array covers, 8 or 16.

    Returns:
      The list of arrays, and the array or None, of the whole picture.
    """
    by_block, by_pixel = [[] for _ in block_heights], []
    for top, bottom in strip_bounds(*picture.shape[:2]):
        start = max(top - HALO, 0)
        arrays, pixels = function(picture[start : bottom + HALO])
        for joined, array, px in zip(by_block, arrays, block_heights, strict=True):
            first, rows = (top - start) // px, -(-(bottom - top) // px)
            joined.append(array[first : first + rows])
        if pixels is not None:
            by_pixel.append(pixels[top - start : bottom - start])
    arrays = [np.concatenate(joined) for joined in by_block]
    return arrays, np.concatenate(by_pixel) if by_pixel else None


def strip_bounds(height, width):
    """(top, bottom) of the strips of a picture, tops at multiples of 16.

    The strips are about equally high: a low last one might be too small for a metric.
    """
    step = max(STRIP_PIXELS // width // 16 * 16, 64)
    count = -(-height // step)
    step = -(-height // count // 16) * 16
    return [(top, min(top + step, height)) for top in range(0, height, step)]
