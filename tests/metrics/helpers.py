"""SSIMULACRA2's weighted sum of a picture and its JPEG, and its gradient."""

import io

import numpy as np
from PIL import Image

from learned_jpeg.metrics.slopes import tiling
from learned_jpeg.metrics.slopes.tiling import Direction
from learned_jpeg.metrics.ssimulacra2 import slopes as ssimulacra2_slopes
from tests.paths import EXAMPLE_IMAGES

# Of all norms of all maps, so that none of them can be wrong unseen.
RNG = np.random.default_rng(3)
ALL_WEIGHTS = tuple(RNG.uniform(1, 9, (3, 6)) for _ in range(5))


def coded_example(height, width, quality=40):
    """(original, decoded), uint8 `[height, width, 3]`."""
    with Image.open(EXAMPLE_IMAGES / "astronaut.png") as image:
        original = np.array(image.convert("RGB"))[30 : 30 + height, 170 : 170 + width]
    buffer = io.BytesIO()
    Image.fromarray(original).save(buffer, "JPEG", quality=quality)
    return original, np.array(Image.open(buffer))


def shown(picture):
    planes = np.moveaxis(picture, -1, 0).astype(np.float32) - 128
    return np.ascontiguousarray(planes)


CHANNELS = [Direction(rgb, 8, 8) for rgb in np.eye(3)]


def slopes_of(original, planes, weights=ALL_WEIGHTS, directions=(), **options):
    """(`Slopes`, gradients `[directions, h, w]`) of planes as from `shown`."""
    prepared = ssimulacra2_slopes.Original(original, weights)
    return slopes_of_term(
        ssimulacra2_slopes.Term(prepared, **options), planes, directions
    )


def slopes_of_term(term, planes, directions):
    """(`Slopes`, gradients `[directions, h, w]`) of one term."""
    gradients = np.full((len(directions), *planes.shape[1:]), np.nan)

    def part(rows):
        return np.ascontiguousarray(planes[:, rows])

    def take(number, rows, gradient):
        gradients[number, rows] = gradient

    found = tiling.slopes([term], planes.shape[1:], part, directions, take)
    return found, gradients


def value_of(original, planes, weights=ALL_WEIGHTS):
    return slopes_of(original, planes, weights)[0].values[0]
