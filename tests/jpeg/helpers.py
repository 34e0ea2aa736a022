"""Images, integers and a reader of segments for the tests of JPEG files."""

import io
import math

import numpy as np
from PIL import Image

from learned_jpeg.jpeg.file import QuantizedImage

# Order in which T.81 (figure A.6) stores the 64 entries: (row, column).
ZIGZAG = sorted(
    ((row, column) for row in range(8) for column in range(8)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)


SIZES = [(1, 1), (7, 9), (16, 16), (17, 8), (33, 50), (1000, 3), (3, 1000)]
FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}  # down, across


def random_quantized(seed, height, width, sampling="4:4:4"):
    """Returns random integers that baseline JPEG can code, and random tables."""
    rng = np.random.default_rng(seed)
    v, h = FACTORS[sampling]
    scale = rng.choice([1, 3, 30, 1024])  # sparse pictures and the whole range
    planes = []
    for down, across in ((1, 1), (v, h), (v, h)):
        rows = math.ceil(math.ceil(height / down) / 8)
        cols = math.ceil(math.ceil(width / across) / 8)
        plane = np.clip(rng.integers(-scale, scale, (rows, cols, 8, 8)), -1023, 1023)
        plane[:, :, 0, 0] = rng.integers(-1024, 1024, (rows, cols))
        planes.append(plane.astype(np.int16))
    qtables = rng.integers(1, 256, (2, 8, 8)).astype(np.uint8)
    return QuantizedImage(tuple(planes), sampling, qtables, height, width)


def smooth_picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def pillow_jpeg(pixels, **options):
    """Returns the file that Pillow writes for an array or an image."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def file_segments(data):
    """Returns (marker, payload) up to the first scan, as T.81, annex B says."""
    assert data[:2] == b"\xff\xd8"
    position, found = 2, []
    while True:
        marker, length = (
            data[position + 1],
            int.from_bytes(data[position + 2 :][:2], "big"),
        )
        found.append((marker, data[position + 4 : position + 2 + length]))
        if marker == 0xDA:
            return found
        position += 2 + length


def assert_same_coefficients(read, written):
    assert read.sampling == written.sampling
    for plane, own in zip(read.planes, written.planes, strict=True):
        np.testing.assert_array_equal(plane, own)
    np.testing.assert_array_equal(read.qtables, written.qtables)
    assert (read.height, read.width) == (written.height, written.width)
