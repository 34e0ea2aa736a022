"""Square tiles of an image, and a sample of those that hold its detail."""

from __future__ import annotations

import itertools
import math

import numpy as np

Tile = tuple[slice, slice]  # rows and columns

SAMPLE_SIDE = 256  # px of a tile of a sample; whole MCUs of every subsampling
_LEAST_TILES, _MOST_TILES = 6, 16
_SHARE = 0.25  # of an image that its sample has at most
# Detail below which a tile is plain; those of Kodak's photographs have 0.9 and more.
PLAIN = 0.3


def tile_starts(length: int, side: int) -> list[int]:
    """Returns where the tiles of an axis begin that has no two of them overlap.

    Args:
      length: of the axis, in px.
      side: of a tile, in px; the last one has from half to one and a half of it.
    """
    return list(range(0, max(length - side // 2, 1), side))


def covering_tiles(height: int, width: int, side: int) -> list[Tile]:
    """Returns square tiles that cover an image, the last of an axis at its end.

    Args:
      height, width: of the image, in px.
      side: of a tile, in px; an axis that is shorter gives tiles of its own length.
    """
    rows, cols = (
        [slice(start, start + side) for start in [*range(0, n - side, side), n - side]]
        if n > side
        else [slice(0, n)]
        for n in (height, width)
    )
    return list(itertools.product(rows, cols))


def detail(image: np.ndarray) -> float:
    """Returns mean differences of neighbouring pixels, across and down, added.

    Args:
      image: uint8 RGB `[h, w, 3]`.
    """
    levels = image.astype(np.int16)
    parts = [np.abs(np.diff(levels, axis=axis)) for axis in (0, 1)]
    return sum(float(part.mean()) for part in parts if part.size)


def sample_of(image: np.ndarray) -> np.ndarray:
    """Joins tiles of a large image by which a lambda can be found for it.

    Plain tiles are left out, because errors of the others decide the score. Of the rest
    the sample holds every level of detail, and the more tiles, the more they differ.

    Args:
      image: uint8 RGB `[h, w, 3]`.

    Returns:
      uint8 RGB, at most a quarter of the pixels; the image itself if that is small.
    """
    height, width = image.shape[:2]
    most = min(int(_SHARE * height * width / SAMPLE_SIDE**2), _MOST_TILES)
    if most < _LEAST_TILES or min(height, width) < 2 * SAMPLE_SIDE:
        return image
    tiles = [
        image[rows, cols]
        for rows, cols in covering_tiles(
            height - height % SAMPLE_SIDE, width - width % SAMPLE_SIDE, SAMPLE_SIDE
        )
    ]
    details = np.array([detail(tile) for tile in tiles])
    order = np.argsort(details, kind="stable")
    order = order[details[order] >= PLAIN]
    if not len(order):
        order = np.arange(len(tiles))
    rows, cols = _shape(details[order], most)
    places = (np.arange(rows * cols) + 0.5) / (rows * cols) * len(order)
    chosen = [tiles[order[int(place)]] for place in places]
    return joined(chosen, cols)


def _shape(details: np.ndarray, most: int) -> tuple[int, int]:
    """Returns (rows, cols) of a sample of tiles that have so much detail each."""
    spread = float(np.log(details + PLAIN).std())
    count = min(max(round(16 * spread), _LEAST_TILES), most, len(details))
    rows = math.isqrt(count)
    return rows, count // rows


def joined(tiles: list[np.ndarray], cols: int) -> np.ndarray:
    """Joins tiles of one size, row by row of so many each."""
    lines = [np.concatenate(tiles[i : i + cols], 1) for i in range(0, len(tiles), cols)]
    return np.concatenate(lines)
