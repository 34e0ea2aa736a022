"""Pixels, blocks, DCT and tables against scipy, Pillow and plain numpy."""

import io

import numpy as np
import pytest
import scipy.fft
import tensorflow.compat.v1 as tf
from PIL import Image

import image_utils

# Each is a batch, a height and a width.
SIZES = [(1, 1, 1), (1, 7, 5), (2, 8, 8), (3, 17, 30), (1, 64, 9)]


def random_array(*shape, seed=0, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def run(build, *arrays, dynamic=False):
    """Evaluates `build(*tensors)`; with `dynamic`, only the last axes are static."""
    with tf.Graph().as_default(), tf.Session() as session:
        placeholders = [
            tf.placeholder(
                a.dtype,
                [None] * min(a.ndim, 3) + list(a.shape[3:]) if dynamic else a.shape,
            )
            for a in arrays
        ]
        outputs = build(*placeholders)
        return session.run(outputs, dict(zip(placeholders, arrays, strict=True)))


def blocks_by_loop(x):
    """Blocks of `[b, h, w, c]`; pixels beyond the picture repeat its edge."""
    batch, height, width, channels = x.shape
    rows, cols = -(-height // 8), -(-width // 8)
    blocks = np.zeros([batch, rows, cols, 8, 8, channels], x.dtype)
    for y in range(8 * rows):
        for column in range(8 * cols):
            pixel = x[:, min(y, height - 1), min(column, width - 1)]
            blocks[:, y // 8, column // 8, y % 8, column % 8] = pixel
    return blocks


# DCT


def test_dct_matrix_is_orthonormal():
    for size in (2, 5, 8):
        matrix = image_utils.dct_matrix(size)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-14)


def test_dct_matrix_equals_the_dct_of_unit_vectors():
    expected = scipy.fft.dct(np.eye(8), norm="ortho", axis=0)
    np.testing.assert_allclose(image_utils.dct_matrix(), expected, atol=1e-14)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_dct_2D_equals_scipy(channels):
    blocks = random_array(2, 3, 4, 8, 8, channels, low=-128, high=127)
    expected = scipy.fft.dctn(blocks.astype(np.float64), axes=(3, 4), norm="ortho")
    np.testing.assert_allclose(run(image_utils.dct_2D, blocks), expected, atol=5e-4)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_idct_2D_equals_scipy(channels):
    blocks = random_array(2, 3, 4, 8, 8, channels, low=-300, high=300)
    expected = scipy.fft.idctn(blocks.astype(np.float64), axes=(3, 4), norm="ortho")
    np.testing.assert_allclose(run(image_utils.idct_2D, blocks), expected, atol=1e-3)


def test_dct_puts_vertical_frequencies_on_the_first_block_axis():
    stripes = np.zeros([1, 1, 1, 8, 8, 1], np.float32)
    stripes[:, :, :, ::2] = 1  # changes from line to line only
    coefficients = run(image_utils.dct_2D, stripes)[0, 0, 0, :, :, 0]
    assert abs(coefficients[7, 0]) > 1
    np.testing.assert_allclose(coefficients[:, 1:], 0, atol=1e-6)


def test_idct_inverts_dct_for_dynamic_shapes():
    blocks = random_array(2, 1, 5, 8, 8, 3, low=-128, high=127)
    both = run(lambda x: image_utils.idct_2D(image_utils.dct_2D(x)), blocks)
    np.testing.assert_allclose(both, blocks, atol=2e-4)
    dynamic = run(
        lambda x: image_utils.idct_2D(image_utils.dct_2D(x)), blocks, dynamic=True
    )
    np.testing.assert_allclose(dynamic, blocks, atol=2e-4)


def test_operator_is_applied_to_each_block_as_one_vector():
    blocks = random_array(2, 2, 8, 8, 2)
    operator = np.random.default_rng(1).normal(size=(128, 128))
    expected = np.einsum("oi,bri->bro", operator, blocks.reshape(2, 2, 128))
    result = run(lambda x: image_utils.apply_to_blocks(x, operator), blocks)
    np.testing.assert_allclose(result, expected.reshape(blocks.shape), atol=1e-4)


# Colour


def test_ycbcr_follows_the_formulas_of_jfif():
    rgb = random_array(50, 3, high=255)
    r, g, b = rgb.astype(np.float64).T
    # JFIF 1.02, whose factors have four digits: 255 * 1e-4.
    expected = [
        0.299 * r + 0.587 * g + 0.114 * b,
        -0.1687 * r - 0.3313 * g + 0.5 * b + 128,
        0.5 * r - 0.4187 * g - 0.0813 * b + 128,
    ]
    ycbcr = run(image_utils.rgb_to_ycbcr, rgb)
    np.testing.assert_allclose(ycbcr, np.stack(expected, -1), atol=0.026)


def test_rgb_follows_the_formulas_of_jfif():
    ycbcr = random_array(50, 3, high=255)
    y, cb, cr = ycbcr.astype(np.float64).T - [[0], [128], [128]]
    # Five digits, at most 128: 128 * 2 * 1e-5.
    expected = [y + 1.402 * cr, y - 0.34414 * cb - 0.71414 * cr, y + 1.772 * cb]
    rgb = run(image_utils.ycbcr_to_rgb, ycbcr)
    np.testing.assert_allclose(rgb, np.stack(expected, -1), atol=0.0026)


def test_ycbcr_equals_pillow_within_its_rounding():
    rgb = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    pillow = np.asarray(Image.fromarray(rgb).convert("YCbCr"), np.float32)
    ours = run(image_utils.rgb_to_ycbcr, rgb.astype(np.float32))
    # Pillow cuts the fractions off, of fixed-point sums with six binary digits.
    assert (ours - pillow).min() > -0.05
    assert (ours - pillow).max() < 1.01


def test_ycbcr_to_rgb_inverts_rgb_to_ycbcr():
    rgb = random_array(4, 5, 3, high=255)
    both = run(lambda x: image_utils.ycbcr_to_rgb(image_utils.rgb_to_ycbcr(x)), rgb)
    np.testing.assert_allclose(both, rgb, atol=1e-3)


def test_gray_has_neutral_chroma():
    gray = np.repeat(np.arange(0, 256, 51, dtype=np.float32)[:, None], 3, 1)
    ycbcr = run(image_utils.rgb_to_ycbcr, gray)
    expected = np.stack([gray[:, 0], 128 + 0 * gray[:, 0], 128 + 0 * gray[:, 0]], -1)
    np.testing.assert_allclose(ycbcr, expected, atol=1e-4)


# Blocks


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_blocks_equal_a_plain_loop_with_edge_replication(size, dynamic):
    x = random_array(*size, 3)
    blocks = run(image_utils.image_to_patches, x, dynamic=dynamic)
    np.testing.assert_array_equal(blocks, blocks_by_loop(x))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_padding_equals_numpys_edge_mode(size, dynamic):
    x = random_array(*size, 3)
    below, right = -size[1] % 8, -size[2] % 8
    expected = np.pad(x, [(0, 0), (0, below), (0, right), (0, 0)], "edge")
    padded = run(image_utils.pad_to_blocks, x, dynamic=dynamic)
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_patches_to_image_inverts_image_to_patches(size, dynamic):
    x = random_array(*size, 2)
    _, height, width = size

    def both(x):
        patches = image_utils.image_to_patches(x)
        return image_utils.patches_to_image(patches, height, width)

    np.testing.assert_array_equal(run(both, x, dynamic=dynamic), x)


def test_blocks_go_back_to_their_places():
    blocks = random_array(2, 3, 2, 8, 8, 3)
    picture = run(lambda x: image_utils.patches_to_image(x, 24, 16), blocks)
    np.testing.assert_array_equal(blocks_by_loop(picture), blocks)


def test_last_axes_merge_and_split_in_row_major_order():
    x = random_array(2, 3, 4, 5, 6)
    merged = run(lambda x: image_utils.merge_last_axes(x, 3), x)
    np.testing.assert_array_equal(merged, x.reshape(2, 3, 120))
    split = run(lambda x: image_utils.split_last_axis(x, [4, 5, 6]), merged)
    np.testing.assert_array_equal(split, x)


# Tables


def pillow_qtables(quality):
    """[8 (v), 8 (u), 2] as Pillow writes them into a file."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    tables = Image.open(buffer).quantization
    return np.stack([np.reshape(tables[i], (8, 8)) for i in (0, 1)], -1)


def test_tables_equal_pillows_for_every_quality():
    for quality in range(1, 101):
        tables = image_utils.get_std_jpeg_qtable(quality)
        np.testing.assert_array_equal(tables, pillow_qtables(quality), str(quality))
        assert tables.dtype == np.int32


def test_tables_of_a_quality_tensor_equal_pillows_for_every_quality(session):
    quality = tf.placeholder(tf.int32, [])
    tables = image_utils.get_std_jpeg_qtable(quality)
    assert tables.dtype == tf.int32
    for value in range(1, 101):
        result = session.run(tables, {quality: value})
        np.testing.assert_array_equal(result, pillow_qtables(value), str(value))


@pytest.mark.parametrize("quality", [-5, 0, 101])
def test_quality_outside_1_to_100_is_refused(quality):
    with pytest.raises(ValueError, match=f"{quality}.*1..100"):
        image_utils.get_std_jpeg_qtable(quality)


# Rounding


ROUNDED = np.array(
    [-3, -2.5, -1.5, -0.9, -0.5, -0.2, 0, 0.25, 0.5, 0.75, 1.5, 2.5, 1000, 1000.25],
    np.float32,
)


def test_rounding_equals_numpys():
    z = np.concatenate([ROUNDED, random_array(1000, low=-9, high=9)])
    result = run(image_utils.differentiable_round, z)
    np.testing.assert_array_equal(result, np.round(z))


def test_rounding_gradient_is_that_of_the_polynomial(session):
    z = np.concatenate([ROUNDED, random_array(1000, low=-9, high=9)])
    upstream = random_array(z.size, seed=1, low=-2, high=2)
    tensor = tf.constant(z)
    rounded = image_utils.differentiable_round(tensor)
    gradient = session.run(tf.gradients(rounded, tensor, tf.constant(upstream))[0])
    np.testing.assert_allclose(
        gradient, upstream * 3 * (z - np.round(z)) ** 2, rtol=1e-6
    )


def test_rounding_gradient_is_finite_everywhere_and_zero_at_integers(session):
    z = tf.constant([-7.0, -1.0, 0.0, 1.0, 1023.0, 0.5, -0.5])
    gradient = session.run(tf.gradients(image_utils.differentiable_round(z), z)[0])
    np.testing.assert_array_equal(gradient[:5], 0)
    np.testing.assert_allclose(gradient[5:], 0.75)


# Noise


def noise(seed, batch=200):
    x = np.full([batch, 24, 24, 3], 0.5, np.float32)
    return run(lambda x: image_utils.add_gaussian_noise(x, 0.15, tf.constant(seed)), x)


def test_noise_has_a_standard_deviation_uniform_in_its_range_for_each_picture():
    deviations = (noise([3, 5]) - 0.5).std((1, 2, 3))
    assert deviations.min() < 0.01
    assert 0.14 < deviations.max() < 0.155  # 0.15, and the error of an estimate
    # Quantiles of U[0, 0.15]; the largest gap of 200 samples is about 0.015.
    expected = 0.15 * (np.arange(200) + 0.5) / 200
    np.testing.assert_allclose(np.sort(deviations), expected, atol=0.02)


def test_noise_is_gaussian_and_independent_of_pixel_and_channel():
    x = noise([3, 5]) - 0.5
    x = x / x.std((1, 2, 3), keepdims=True)
    assert abs(x.mean()) < 0.01
    assert abs((x**4).mean() - 3) < 0.05
    assert abs((x[..., 0] * x[..., 1]).mean()) < 0.02
    assert abs((x[:, 1:] * x[:, :-1]).mean()) < 0.02
    assert abs((x[1:] * x[:-1]).mean()) < 0.02


def test_noise_is_a_function_of_the_seed():
    first = noise([1, 32], batch=2)
    np.testing.assert_array_equal(first, noise([1, 32], batch=2))
    for other in ([1, 48], [2, 32]):
        assert np.abs(first - noise(other, batch=2)).max() > 1e-3
