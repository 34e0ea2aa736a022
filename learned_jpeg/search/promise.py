"""The promise of `--quality N`: what a file keeps of plain JPEG of quality N.

A file takes no more bytes than Pillow's JPEG of the same image after a lossless pass.
Its score is within a point of that JPEG's, on the whole, and in no tile much below: a
score is a mean over the image, and would let one region pay for another. A file that
does not keep this is corrected by its lambda, and by gains of the blocks in tiles that
fall behind.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

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
# A gain moves bits to a few blocks, and does less for them than lambda for all.
_GAIN_EFFECT = 0.3


def reference_sampling(quality: int) -> str:
    """Returns the subsampling of the JPEG that a quality stands for, as ImageMagick."""
    return "4:2:0" if quality < FULL_CHROMA_QUALITY else "4:4:4"


class PlainJpeg:
    """Pillow's JPEG of an image.

    Attributes:
      sampling: one of `jpeg.SUBSAMPLINGS`.
      decoded: the decoded image, uint8 RGB `[h, w, 3]`.
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
        self._image = image
        self._quality = quality
        data = jpeg_file.encode_rgb(image, quality, sampling=sampling)
        self.decoded = jpeg_file.decode(data)
        self._smallest: bytes | None = None

    def smallest(self) -> bytes:
        """Returns the file after the lossless pass."""
        from learned_jpeg.jpeg import file as jpeg_file

        if self._smallest is None:
            self._smallest = jpeg_file.encode_rgb(
                self._image, self._quality, "optimized", self.sampling
            )
        return self._smallest

    def is_smaller_than(self, data: bytes) -> bool:
        """Returns whether this file takes fewer bytes than another one."""
        return len(self.smallest()) < len(data)


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

    def __init__(self, image: np.ndarray, quality: int, plain: PlainJpeg):
        """Prepares what does not depend on a file.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `MIN_SIDE` px.
          quality: 1..100.
          plain: JPEG of this quality.
        """
        self.plain = plain
        self._image = image
        self._limit = _TILE_LIMITS[quality >= _FINE_QUALITY]
        height, width = image.shape[:2]
        tiles = covering_tiles(height, width, TILE_SIDE)
        self._tiles = [tile for tile in tiles if detail(image[tile]) >= PLAIN]
        self._whole = Scores(image).whole(plain.decoded)
        self._of_tiles = self._tile_scores(plain.decoded)

    def _tile_scores(self, decoded: np.ndarray) -> np.ndarray:
        """Returns the scores of the tiles, each as an image of its own."""
        found = []
        for tile in self._tiles:
            own, other = (np.ascontiguousarray(i[tile]) for i in (self._image, decoded))
            found.append(Scores(own).whole(other))
        return np.array(found)

    def measured(self, data: bytes) -> Measured:
        """Measures a file."""
        from learned_jpeg.jpeg import file as jpeg_file

        decoded = jpeg_file.decode(data)
        # Prepared anew, because a search of a large image needs the memory.
        whole = Scores(self._image).whole(decoded) - self._whole
        return Measured(whole, self._tile_scores(decoded) - self._of_tiles)

    def is_kept(self, measured: Measured) -> bool:
        """Returns whether a file looks as promised; its bytes are another matter."""
        is_whole = measured.whole >= -WHOLE_TOLERANCE
        return is_whole and measured.worst_tile >= -self._limit

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
        wanted = -self._limit + _TILE_AIM
        height, width = self._image.shape[:2]
        gains = np.ones(blocks_of(height, width), np.float32)
        for (rows, cols), points in zip(self._tiles, measured.tiles, strict=True):
            if points < wanted:
                own = math.exp((wanted - points) / (slope * _GAIN_EFFECT))
                blocks = _blocks(rows), _blocks(cols)
                gains[blocks] = np.maximum(gains[blocks], min(own, _LARGEST_GAIN))
        return gains


def _blocks(pixels: slice) -> slice:
    return slice(pixels.start // BLOCK, -(-pixels.stop // BLOCK))
