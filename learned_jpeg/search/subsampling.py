"""The chroma resolution that an image needs, by what subsampling alone costs it."""

from __future__ import annotations

import numpy as np

from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.pictures.tiles import covering_tiles, joined, sample_of
from learned_jpeg.search import planes
from learned_jpeg.search.scores import MIN_SIDE, TILE_SIDE, Scored, Scores

AUTO = "auto"  # the subsampling that is chosen by the image
_FULL = "4:4:4"
_TRIED = ("4:2:0", "4:2:2")  # from the fewest samples

# Points of SSIMULACRA2 that every tile keeps without any other loss. 4:2:0 leaves
# photographs 80 and more; with coloured type, pixel art or charts it is below 75.
_LEAST_SCORE = 77.0
# Points that the whole has to keep above what is aimed at: nearer to the limit luma
# pays more for the score than full chroma costs.
_MARGIN = 2.0
_STEPS = 1  # of the least squares: a search takes more, for a point or two
_COLOURFUL_TILES = 8  # of a large image, those of most chroma detail


def subsampled(image: np.ndarray, sampling: str) -> np.ndarray:
    """Returns an image after subsampling and nothing else, uint8 RGB `[h, w, 3]`.

    Args:
      image: uint8 RGB `[h, w, 3]`.
      sampling: one of `jpeg.SUBSAMPLINGS`.
    """
    height, width = image.shape[:2]
    samples = [planes.ycbcr_plane(image, component) for component in range(3)]
    for component in (1, 2):
        samples[component] = planes.subsample(samples[component], sampling, _STEPS)
    rows = slice(0, height)
    rgb = planes.decoded_rgb(samples, factors(sampling), rows, width)
    return np.rint(rgb.transpose(1, 2, 0) + np.float32(128)).astype(np.uint8)


def choose_subsampling(
    image: np.ndarray, aim: float | None = None, of_sample: Scores | None = None
) -> str:
    """Chooses the fewest samples of chroma that an image can do with.

    Args:
      image: uint8 RGB `[h, w, 3]`.
      aim: score of SSIMULACRA2 that the file will have about; None if it is unknown.
      of_sample: `Scores` of `tiles.sample_of(image)` where there are some already.

    Returns:
      One of `jpeg.SUBSAMPLINGS`.
    """
    if min(image.shape[:2]) < MIN_SIDE:
        return _FULL
    of_sample = of_sample or Scores(sample_of(image))
    is_all = of_sample.image is image
    of_colours = of_sample if is_all else Scores(_colourful_tiles(image))
    for sampling in _TRIED:
        found = _score_of_subsampling(of_sample, sampling)
        if aim is not None and aim + _MARGIN > found.whole:
            continue
        if not is_all:
            found = _score_of_subsampling(of_colours, sampling)
        if found.tiles.min() >= _LEAST_SCORE:
            return sampling
    return _FULL


def _score_of_subsampling(scores: Scores, sampling: str) -> Scored:
    return scores.by_tile(subsampled(scores.image, sampling))[0]


def _colourful_tiles(image: np.ndarray) -> np.ndarray:
    """Joins the tiles in which pixels side by side differ most in colour."""
    height, width = image.shape[:2]
    tiles = [image[tile] for tile in covering_tiles(height, width, TILE_SIDE)]
    tiles.sort(key=_colour_detail, reverse=True)
    return joined(tiles[:_COLOURFUL_TILES], _COLOURFUL_TILES // 2)


def _colour_detail(tile: np.ndarray) -> float:
    """Returns the mean square of differences between the chroma of pixels."""
    levels = tile.astype(np.int16)
    chroma = levels[..., ::2] - levels[..., 1:2]
    return sum(float(np.square(np.diff(chroma, axis=a)).mean()) for a in (0, 1))
