"""SSIMULACRA2 of an image's files, on the whole and by tile."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from learned_jpeg.metrics import ssimulacra2
from learned_jpeg.pictures.tiles import Tile, tile_starts

MIN_SIDE = ssimulacra2.METRIC.min_side  # px, from which there is a score
TILE_SIDE = 192  # px, see `tiles.tile_starts`


class Scored(NamedTuple):
    """The scores of one decoded image.

    Attributes:
      whole: score of the image.
      tiles: scores of the errors in each tile, float64 `[rows, cols]`. Their corners
        are the `tiles.tile_starts` of `TILE_SIDE`.
    """

    whole: float
    tiles: np.ndarray


class Scores:
    """Measures the files of one original, which is prepared once for all of them.

    Attributes:
      image: the original, uint8 RGB `[h, w, 3]`.
    """

    def __init__(self, image: np.ndarray, keeps_prepared: bool = True):
        """Stores an image; prepares it when the first file is measured.

        Args:
          image: uint8 RGB `[h, w, 3]`, with sides of at least `MIN_SIDE` px.
          keeps_prepared: False to prepare it anew for each call, because 20 bytes a
            pixel of a large image are needed elsewhere meanwhile.
        """
        self.image = image
        self._keeps_prepared = keeps_prepared
        self._prepared: Any = None
        self._of_files: dict[bytes, Scored] = {}
        self._starts = [np.array(tile_starts(n, TILE_SIDE)) for n in image.shape[:2]]

    def by_tile(self, *decoded: np.ndarray) -> list[Scored]:
        """Measures decoded images, uint8 RGB `[h, w, 3]` each."""
        from learned_jpeg.metrics.ssimulacra2 import score  # compiled code

        prepared = self._prepared
        if prepared is None:
            prepared = score.reference_scales(self.image)
        if self._keeps_prepared:
            self._prepared = prepared
        return [
            Scored(*score.score_by_tile(prepared, own, *self._starts))
            for own in decoded
        ]

    def whole(self, decoded: np.ndarray) -> float:
        """Returns the score of a decoded image, uint8 RGB `[h, w, 3]`."""
        return self.by_tile(decoded)[0].whole

    def of_files(self, *files: bytes) -> list[Scored]:
        """Measures .jpg files; those that were measured before are known."""
        from learned_jpeg.jpeg import file as jpeg_file

        new = [data for data in files if data not in self._of_files]
        if new:
            measured = self.by_tile(*(jpeg_file.decode(data) for data in new))
            self._of_files.update(zip(new, measured, strict=True))
        return [self._of_files[data] for data in files]

    def of_file(self, data: bytes) -> float:
        """Returns the score of a .jpg file."""
        return self.of_files(data)[0].whole

    def known(self, data: bytes) -> float | None:
        """Returns the score of a .jpg file; None if it was not measured yet."""
        scored = self._of_files.get(data)
        return scored and scored.whole

    def tile_alone(self, tile: Tile, *decoded: np.ndarray) -> list[float]:
        """Measures one tile of decoded images, as images of their own."""
        own = Scores(np.ascontiguousarray(self.image[tile]))
        parts = (np.ascontiguousarray(image[tile]) for image in decoded)
        return [scored.whole for scored in own.by_tile(*parts)]

    def near_tile(self, tile: Tile, of_tiles: np.ndarray) -> np.ndarray:
        """Returns the values of those tiles of `Scored.tiles` that a tile overlaps."""
        places = []
        for side, starts in zip(tile, self._starts, strict=True):
            first = int(np.searchsorted(starts, side.start, "right")) - 1
            last = int(np.searchsorted(starts, side.stop, "left"))
            places.append(slice(first, last))
        return of_tiles[tuple(places)]
