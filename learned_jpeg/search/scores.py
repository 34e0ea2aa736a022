"""SSIMULACRA2 of an image's files, on the whole and by tile."""

from __future__ import annotations

import numpy as np

from learned_jpeg.metrics import ssimulacra2
from learned_jpeg.pictures.tiles import tile_starts

MIN_SIDE = ssimulacra2.METRIC.min_side  # px, from which there is a score
TILE_SIDE = 192  # px, see `tiles.tile_starts`


class Scores:
    """SSIMULACRA2 of decoded images of one original."""

    def __init__(self, image: np.ndarray):
        """Prepares uint8 RGB `[h, w, 3]`, with sides of at least `MIN_SIDE` px."""
        from learned_jpeg.metrics.ssimulacra2 import score  # compiled code

        self._reference = score.reference_scales(image)
        self._starts = [np.array(tile_starts(n, TILE_SIDE)) for n in image.shape[:2]]

    def whole(self, decoded: np.ndarray) -> float:
        """Returns the score of a decoded image, uint8 `[h, w, 3]`."""
        return ssimulacra2.METRIC.compare(self._reference, decoded)

    def by_tile(self, decoded: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the score of a decoded image, and those of its tiles, `[n]`."""
        from learned_jpeg.metrics.ssimulacra2 import score

        return score.score_by_tile(self._reference, decoded, *self._starts)

    def of_file(self, data: bytes) -> float:
        """Returns the score of a .jpg file."""
        from learned_jpeg.jpeg import file as jpeg_file

        return self.whole(jpeg_file.decode(data))
