"""Tests of summaries; what they hold of a training is tested with the loop."""

import io

import numpy as np
import pytest
from PIL import Image

from training import summaries


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    image = Image.open(io.BytesIO(summaries._encode_png(picture)))
    assert image.format == "PNG"
    np.testing.assert_array_equal(np.asarray(image).reshape(5, 7, channels), picture)
