"""The promise of `--quality N`: what a file keeps of plain JPEG of quality N.

A file takes no more bytes than Pillow's JPEG of the same image after a lossless pass.
Its score is within a point of that JPEG's, on the whole, and in no tile much below: a
score is a mean over the image, and would let one region pay for another. A file that
does not keep this is corrected by its lambda, and by gains of the blocks in tiles that
fall behind.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from learned_jpeg.common import threads
from learned_jpeg.jpeg.sampling import blocks_of
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.pictures.tiles import PLAIN, covering_tiles, detail
from learned_jpeg.search.scores import TILE_SIDE, Scores

WHOLE_TOLERANCE = 1.0  # points, to either side
_FINE_QUALITY = 50  # from which tiles may fall behind less
_TILE_LIMITS = 8.0, 6.0  # points that a tile may be below JPEG's, below and from there
FULL_CHROMA_QUALITY = 90  # from which plain JPEG is the one without subsampling

# Points inside the limit from which a tile falls behind, and to which it is brought.
_TILE_RESERVE, _TILE_AIM = 0.5, 1.5
_LARGEST_GAIN = 32.0
# Points above the limit from which the errors of the whole image are enough to tell
# that a tile by itself is above it: where tiles fall behind, they are at most 0.5 too
# high.
_DOUBT = 3.0
# A gain moves bits to a few blocks, and does less for them than lambda for all.
_GAIN_EFFECT = 0.3


def reference_sampling(quality: int) -> str:
    """Returns the subsampling of the JPEG that a quality stands for, as ImageMagick."""
    return "4:2:0" if quality < FULL_CHROMA_QUALITY else "4:4:4"


class PlainJpeg:
    """Pillow's JPEG of an image.

    Attributes:
      sampling: one of `jpeg.SUBSAMPLINGS`.
      data: the bytes of the file.
    """

    def __init__(self, image: np.ndarray, quality: int, sampling: str):
        """Encodes an image.

        Args:
          image: uint8 RGB `[h, w, 3]`.
          quality: 1..100.
          sampling: one of `jpeg.SUBSAMPLINGS`.
        """
        from learned_jpeg.jpeg import file as jpeg_file

        self.sampling = sampling
        self.data = jpeg_file.encode_rgb(image, quality, sampling=sampling)

    @functools.cached_property
    def smallest(self) -> bytes:
        """The file after the lossless pass."""
        from learned_jpeg.jpeg import file as jpeg_file

        quantized = jpeg_file.read_coefficients(self.data)
        return jpeg_file.encode(quantized, "optimized")

    def is_smaller_than(self, data: bytes) -> bool:
        """Returns whether this file takes fewer bytes than another one."""
        return len(self.smallest) < len(data)


class Measured(NamedTuple):
    """The distances between a file and the plain JPEG.

    Attributes:
      whole: points of the metric above the plain JPEG, on the whole image.
      tiles: the same of each tile that is not plain, float64 `[n]`.
    """

    whole: float
    tiles: np.ndarray

    @property
    def worst_tile(self) -> float:
        """The points of the tile that is the farthest below; infinite without one."""
        return float(self.tiles.min(initial=math.inf))


class Promise:
    """The promise for one image.

    Attributes:
      plain: the `PlainJpeg` that the quality stands for.
    """

    def __init__(self, scores: Scores, quality: int, plain: PlainJpeg):
        """Prepares what does not depend on a file.

        Args:
          scores: of the image's files; sides of at least `MIN_SIDE` px.
          quality: 1..100.
          plain: JPEG of this quality.
        """
        self.plain = plain
        self._scores = scores
        self._limit = _TILE_LIMITS[quality >= _FINE_QUALITY]
        height, width = scores.image.shape[:2]
        self._tiles = [
            tile
            for tile in covering_tiles(height, width, TILE_SIDE)
            if detail(scores.image[tile]) >= PLAIN
        ]

    def measured(self, data: bytes) -> Measured:
        """Measures a file.

        A tile is measured as an image of its own where the errors of the whole image
        there say that it may be far below the plain JPEG; else they are what counts.
        """
        own, plain = self._scores.of_files(data, self.plain.data)
        near = own.tiles - plain.tiles
        points = [self._scores.near_tile(tile, near).min() for tile in self._tiles]
        tiles = np.array(points, float)
        doubtful = np.flatnonzero(tiles < -self._limit + _DOUBT)
        if len(doubtful):
            tiles[doubtful] = self._alone(doubtful, data)
        return Measured(own.whole - plain.whole, tiles)

    def _alone(self, numbers: np.ndarray, data: bytes) -> list[float]:
        """Returns the points of tiles that are taken as images of their own."""
        from learned_jpeg.jpeg import file as jpeg_file

        decoded = [jpeg_file.decode(file) for file in (data, self.plain.data)]

        def points(number: int) -> float:
            own, plain = self._scores.tile_alone(self._tiles[number], *decoded)
            return own - plain

        return threads.run(points, numbers.tolist())

    def is_kept(self, measured: Measured) -> bool:
        """Returns whether a file looks as promised; its bytes are another matter."""
        is_whole = measured.whole >= -WHOLE_TOLERANCE
        return is_whole and measured.worst_tile >= -self._limit

    @property
    def _wanted(self) -> float:
        return -self._limit + _TILE_AIM

    def shortfall(self, measured: Measured) -> float:
        """Returns the points that the worst tile lacks; 0 where it is as promised."""
        is_kept = measured.worst_tile >= -self._limit
        return 0.0 if is_kept else self._wanted - measured.worst_tile

    def gains(self, measured: Measured, slope: float) -> np.ndarray | None:
        """Returns factors on the weights of blocks that raise tiles that fall behind.

        Args:
          measured: of the file so far.
          slope: points of the metric by log(lambda).

        Returns:
          float32 `[rows, cols]` for blocks of luma, 1 and more; None where none falls
          behind.
        """
        if measured.worst_tile >= -self._limit + _TILE_RESERVE:
            return None
        wanted = self._wanted
        height, width = self._scores.image.shape[:2]
        gains = np.ones(blocks_of(height, width), np.float32)
        for (rows, cols), points in zip(self._tiles, measured.tiles, strict=True):
            if points < wanted:
                own = math.exp((wanted - points) / (slope * _GAIN_EFFECT))
                blocks = _blocks(rows), _blocks(cols)
                gains[blocks] = np.maximum(gains[blocks], min(own, _LARGEST_GAIN))
        return gains


def _blocks(pixels: slice) -> slice:
    return slice(pixels.start // BLOCK, -(-pixels.stop // BLOCK))
