"""The recursive blur against numpy, bit for bit, and against the sum it stands for."""

import numpy as np
import pytest

from learned_jpeg.metrics.ssimulacra2 import recursive_blur
from tests.metrics import ssimulacra2_references as references


def blurred(planes):
    """The blurs of planes of one size, side by side in one memory."""
    height, width = planes[0].shape
    blur = recursive_blur.new_blur(width, len(planes))
    found = np.empty((len(planes), height, width), np.float32)
    for y in range(-recursive_blur.REACH, height, recursive_blur.STEP):
        first = y + recursive_blur.REACH
        if first % recursive_blur.ROWS == 0:
            for block, plane in zip(blur[0], planes, strict=True):
                recursive_blur.load_block(plane, first, block)
            recursive_blur.blur_block(first, blur)
        rows = recursive_blur.blur_down(y, blur)
        if y >= 0:
            inside = min(recursive_blur.STEP, height - y)
            found[:, y : y + inside] = rows[:inside].swapaxes(0, 1)
    return found


SIZES = [(1, 1), (3, 5), (9, 8), (12, 16), (16, 17), (13, 18), (65, 33), (30, 200)]


@pytest.mark.parametrize("height, width", SIZES)
def test_blur_is_that_of_the_tool_bit_for_bit(height, width):
    planes = np.random.default_rng(width).random((2, height, width), np.float32)
    for found, plane in zip(blurred(planes), planes, strict=True):
        np.testing.assert_array_equal(found, references.tool_blur(plane))


@pytest.mark.parametrize("height, width", SIZES)
def test_blur_is_a_sum_over_nine_pixels_but_for_rounding(height, width):
    plane = np.random.default_rng(width).random((height, width), np.float32)
    exact = references.exact_blur(plane)
    np.testing.assert_allclose(blurred([plane])[0], exact, rtol=0, atol=5e-6)
