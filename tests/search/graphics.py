"""Small images of the kinds that subsampled chroma or a mean score go wrong with."""

import numpy as np
from PIL import Image, ImageDraw

from tests.commands.helpers import photograph


def soft_photograph(height, width, seed=0):
    """A photograph whose finest detail is gone, as a camera's lens leaves it."""
    image = Image.fromarray(photograph(height // 2, width // 2, seed))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


def with_type(image, colour, ground=None, rows=slice(None)):
    """An image with lines of type in a colour over some rows, on a ground or none."""
    image = image.copy()
    if ground:
        image[rows] = ground
    drawn = Image.fromarray(image)
    draw = ImageDraw.Draw(drawn)
    top, stop, _ = rows.indices(image.shape[0])
    for y in range(top, stop - 8, 12):
        draw.text((2, y), "Sphinx of black quartz " * 4, fill=colour)
    return np.array(drawn)


def photograph_with_banner(height=160, width=192):
    """A photograph above a banner with red type on blue."""
    image = soft_photograph(height, width)
    return with_type(image, (230, 30, 30), (30, 30, 160), slice(height - 40, height))


def pixel_art(side=128, seed=1):
    """Flat squares of 8 px, off the grid of 16 px, in saturated colours."""
    rng = np.random.default_rng(seed)
    colours = rng.choice([0, 90, 255], (side // 8, side // 8, 3)).astype(np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))


def checker(side=128):
    """Single pixels in black and white."""
    gray = 255 * (np.indices((side, side)).sum(0) % 2).astype(np.uint8)
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def line_art(side=128):
    """Thin black lines on white."""
    drawn = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(drawn)
    for x in range(0, 2 * side, 5):
        draw.line([(x, 0), (x - side // 2, side)], fill="black")
        draw.line([(0, x), (side, x - side // 3)], fill="black")
    return np.array(drawn)
