"""The differentiable pipeline against numpy, scipy and decoded JPEG files."""

import functools
import io

import numpy as np
import pytest
import scipy.fft
import tensorflow.compat.v1 as tf
from PIL import Image

import image_utils
import ljpeg
from learned_jpeg.jpeg import SUBSAMPLINGS, transform
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.sampling import groups, planes_of
from learned_jpeg.models.settings import ModelSettings
from learned_jpeg.search import planes
from ljpeg_PIL import StandardJPEG
from training import differentiable

SIZES = [(1, 1), (7, 5), (8, 8), (17, 30), (24, 40)]


def random_picture(height, width, batch=2, seed=0):
    shape = (batch, height, width, 3)
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def random_tables(seed=0, low=1, high=60):
    """float32 [8, 8, 2], in no way symmetric."""
    tables = np.random.default_rng(seed).integers(low, high, (8, 8, 2))
    return tables.astype(np.float32)


# The pipeline in float64. Pictures [b, h, w, 3] in [0, 1], h and w multiples of 8.

TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)


def dct_by_scipy(x):
    """[b, rows, cols, 8, 8, 3]"""
    batch, height, width, _ = x.shape
    ycbcr = 255 * x.astype(np.float64) @ TO_YCBCR.T - [128, 0, 0]
    blocks = ycbcr.reshape(batch, height // 8, 8, width // 8, 8, 3)
    return scipy.fft.dctn(blocks.swapaxes(2, 3), axes=(3, 4), norm="ortho")


def picture_by_scipy(coefficients):
    """Not clipped."""
    blocks = scipy.fft.idctn(coefficients, axes=(3, 4), norm="ortho")
    batch, rows, cols = blocks.shape[:3]
    ycbcr = blocks.swapaxes(2, 3).reshape(batch, 8 * rows, 8 * cols, 3)
    return (ycbcr + np.array([128, 0, 0])) @ np.linalg.inv(TO_YCBCR).T / 255


# Both ways


def test_coefficients_equal_scipys(session):
    x = random_picture(16, 24)
    [dct] = session.run(differentiable.rgb_to_dct(tf.constant(x)))
    np.testing.assert_allclose(dct, dct_by_scipy(x), atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_coefficients_equal_the_separate_steps(session, size):
    x = tf.constant(random_picture(*size))
    ycbcr = image_utils.rgb_to_ycbcr(255 * x) - [128.0, 128.0, 128.0]
    separate = image_utils.dct_2D(image_utils.image_to_patches(ycbcr))
    [fused], separate = session.run([differentiable.rgb_to_dct(x), separate])
    np.testing.assert_allclose(fused, separate, atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_picture_equals_the_separate_steps(session, size):
    shape = (2, -(-size[0] // 8), -(-size[1] // 8), 8, 8, 3)
    coefficients = np.random.default_rng(0).normal(0, 60, shape).astype(np.float32)
    samples = image_utils.idct_2D(tf.constant(coefficients)) + 128.0
    rgb = image_utils.ycbcr_to_rgb(image_utils.patches_to_image(samples, *size))
    separate = tf.clip_by_value(rgb, 0, 255) / 255
    fused = differentiable.dct_to_rgb([tf.constant(coefficients)], *size)
    fused, separate = session.run([fused, separate])
    assert fused.shape == (2, *size, 3)
    np.testing.assert_allclose(fused, separate, atol=1e-5)
    assert fused.min() == 0 or size == (1, 1)


@pytest.mark.parametrize("size", SIZES)
def test_picture_comes_back_from_its_coefficients_at_dynamic_sizes(session, size):
    placeholder = tf.placeholder(tf.float32, [None, None, None, 3])
    height, width = differentiable.image_size(placeholder)
    back = differentiable.dct_to_rgb(
        differentiable.rgb_to_dct(placeholder), height, width
    )
    x = random_picture(*size)
    np.testing.assert_allclose(session.run(back, {placeholder: x}), x, atol=2e-6)


def test_size_is_static_where_it_is_known(session):
    assert differentiable.image_size(tf.zeros([2, 5, 7, 3])) == [5, 7]
    placeholder = tf.placeholder(tf.float32, [None, None, 7, 3])
    height, width = differentiable.image_size(placeholder)
    assert width == 7
    assert session.run(height, {placeholder: np.zeros([1, 9, 7, 3])}) == 9


def test_chroma_is_shared_by_cb_and_cr(session):
    values = random_tables()
    together, apart = (
        session.run(differentiable.per_component(tf.constant(values), groups))
        for groups in ([0], [0, 0])
    )
    np.testing.assert_array_equal(together, [values[..., [0, 1, 1]]])
    np.testing.assert_array_equal(apart[0], values[..., [0]])
    np.testing.assert_array_equal(apart[1], values[..., [1, 1]])


# Against files


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize(
    "seed, size",
    [*enumerate([(16, 16), (41, 29), (7, 5), (64, 90), (1, 1), (37, 4), (33, 3)])],
)
def test_x_tilde_is_what_a_decoder_shows_of_the_file(
    session, smooth_picture, size, seed, sampling
):
    x = smooth_picture(seed, *size, contrast=20)[np.newaxis] / np.float32(255)
    qtables = random_tables(seed)
    placeholder = tf.placeholder(tf.float32, [None, None, None, 3])
    height, width = differentiable.image_size(placeholder)
    coded = differentiable.code(
        *(differentiable.rgb_to_dct(placeholder, sampling), tf.constant(qtables)),
        *(height, width, sampling),
    )
    x_tilde = differentiable.reconstruct(
        *(coded.integers, coded.qtables, height, width, sampling)
    )
    integers, x_tilde = session.run([coded.integers, x_tilde], {placeholder: x})
    planes = planes_of([own[0].astype(np.int16) for own in integers])
    tables = qtables.transpose(2, 0, 1).astype(int)
    data = jpeg_file.encode(jpeg_file.QuantizedImage(planes, sampling, tables, *size))

    written = jpeg_file.read_coefficients(data)
    assert written.sampling == sampling
    np.testing.assert_array_equal(written.qtables, tables)
    decoded = np.asarray(Image.open(io.BytesIO(data))).astype(np.float64)
    inside = (x_tilde[0] > 2.5 / 255) & (x_tilde[0] < 252.5 / 255)
    assert inside.mean() > 0.98
    difference = (decoded - 255 * x_tilde[0])[inside]
    # Rounding of Y, Cb, Cr to integers, of the IDCT, of the filter, and of R, G, B.
    assert np.abs(difference).max() < (2.3 if sampling == "4:4:4" else 3.6)
    if difference.size > 1000:
        assert difference.std() < 0.8
        assert np.abs(difference.mean()) < 0.1

    def psnr(picture):
        return -10 * np.log10(np.mean((picture - x[0]) ** 2))

    tolerance = 0.04 if x.size > 10000 else 0.1  # dB; few pixels average less out
    if x.size > 1000:
        assert abs(psnr(decoded / 255) - psnr(x_tilde[0])) < tolerance


@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(16, 16), (41, 29), (7, 5), (1, 1), (37, 3)])
def test_filter_is_that_of_the_search(session, sampling, size):
    _, (v, h) = groups(sampling)[1]
    shape = -(-size[0] // v), -(-size[1] // h)
    samples = np.random.default_rng(0).normal(0, 60, shape).astype(np.float32)
    x = tf.constant(samples[np.newaxis, ..., np.newaxis])
    found = session.run(differentiable._upsample(x, v, h, shape[1]))
    wanted = planes.upsample(samples, sampling, *size)
    found = found[0, : size[0], : size[1], 0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(16, 16), (41, 29), (7, 5), (64, 90), (1, 1)])
def test_coefficients_are_those_of_numpy(session, smooth_picture, sampling, size):
    picture = smooth_picture(0, *size)
    x = tf.constant(picture[np.newaxis] / np.float32(255))
    found = session.run(differentiable.rgb_to_dct(x, sampling))
    wanted = transform.image_to_dct(picture, sampling)
    for own, array in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own[0], array, atol=2e-3)


def test_blocks_are_scaled_by_the_mean_of_what_they_cover(session):
    rng = np.random.default_rng(0)
    factors = rng.uniform(0, 1, (2, 3, 5, 8, 8, 2)).astype(np.float32)
    dct = [np.ones((2, 3, 5, 8, 8, 1)), np.ones((2, 2, 3, 8, 8, 2))]
    dct = [tf.constant(own, tf.float32) for own in dct]
    luma, chroma = session.run(
        differentiable.scale_blocks(dct, tf.constant(factors), "4:2:0")
    )
    np.testing.assert_array_equal(luma, factors[..., :1])
    np.testing.assert_array_equal(chroma[..., 0], chroma[..., 1])
    for row, col in np.ndindex(2, 3):
        rows, cols = slice(2 * row, 2 * row + 2), slice(2 * col, 2 * col + 2)
        covered = factors[:, rows, cols, ..., 1].mean((1, 2))
        np.testing.assert_allclose(chroma[:, row, col, ..., 0], covered, rtol=1e-5)
    whole = session.run(
        differentiable.scale_blocks(
            [tf.ones((2, 3, 5, 8, 8, 3))], tf.constant(factors), "4:4:4"
        )
    )
    np.testing.assert_array_equal(whole, [factors[..., [0, 1, 1]]])


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
def test_gradient_goes_through_averages_and_filter(session, sampling):
    """By finite differences along random directions."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.3, 0.7, (1, 13, 21, 3)).astype(np.float32)
    placeholder = tf.placeholder(tf.float32, x.shape)
    weights = tf.constant(rng.normal(0, 1, x.shape), tf.float32)
    dct = differentiable.rgb_to_dct(placeholder, sampling)
    shown = differentiable.dct_to_rgb(dct, 13, 21, sampling)
    total = tf.reduce_sum(weights * shown)
    gradient = tf.gradients(total, placeholder)[0]
    found = session.run(gradient, {placeholder: x})
    for seed in range(3):
        way = np.random.default_rng(seed).normal(0, 0.02, x.shape).astype(np.float32)
        above, below = (session.run(total, {placeholder: x + s * way}) for s in (1, -1))
        wanted = np.sum(found.astype(float) * way)
        assert (above - below) / 2 == pytest.approx(wanted, rel=0.01, abs=2e-3)


def test_integers_are_rounded_quotients(session):
    x, qtables = random_picture(16, 24), random_tables()
    dct = differentiable.rgb_to_dct(tf.constant(x))
    coded = differentiable.code(dct, tf.constant(qtables), 16, 24)
    z = dct_by_scipy(x) / qtables[..., [0, 1, 1]]
    [integers] = session.run(coded.integers)
    np.testing.assert_array_equal(integers, integers.round())
    assert np.abs(integers - z).max() < 0.501


def test_edited_is_the_picture_before_quantization(session):
    x = random_picture(13, 21)
    dct = differentiable.rgb_to_dct(tf.constant(x))
    coded = differentiable.code(
        dct, tf.constant(random_tables(low=90, high=255)), 13, 21
    )
    np.testing.assert_allclose(session.run(coded.edited), x, atol=2e-6)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_an_edited_image_keeps_the_chroma_that_subsampling_takes(session, sampling):
    x = random_picture(13, 21, batch=1) / 2 + 0.25
    jpeg = differentiable.Pipeline(tf.constant(x), sampling)
    mask = np.zeros([8, 8, 1], np.float32)
    mask[0, 0] = 8 * 20  # of all DC, a change of 20 levels in each plane
    luma, *chroma = dct = jpeg.dct(jpeg.x)
    moved = [luma + mask * np.eye(luma.shape[-1])[0], *chroma]
    tables = tf.constant(random_tables())
    shown = [jpeg.code(own, tables).edited for own in (dct, moved)]
    same, brighter = session.run(shown)
    np.testing.assert_allclose(same, x, atol=1e-5)
    np.testing.assert_allclose(brighter, x + 20 / 255, atol=1e-5)


def test_integers_stay_in_the_range_of_jpeg_whatever_the_edit(session):
    rng = np.random.default_rng(0)
    dct = rng.normal(0, 1e5, (1, 2, 3, 8, 8, 3)).astype(np.float32)
    coded = differentiable.code([tf.constant(dct)], tf.ones([8, 8, 2]), 16, 24)
    integers = session.run(coded.integers)[0][0]
    assert (integers.min(), integers.max()) == (-1023, 1023)
    np.testing.assert_array_equal(np.sign(integers), np.sign(dct[0]))
    quantized = jpeg_file.QuantizedImage.of_integers(
        integers.astype(np.int16), np.ones([2, 8, 8], int), 16, 24
    )
    read = jpeg_file.read_coefficients(jpeg_file.encode(quantized))
    np.testing.assert_array_equal(read.integers, integers)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(33, 50), (31, 41)])
@pytest.mark.parametrize("quality", [1, 49, 90, 100])
def test_standard_model_decodes_like_pillows_encoder(
    session, smooth_picture, quality, size, sampling
):
    picture = smooth_picture(3, *size)
    x = tf.constant(picture[np.newaxis] / np.float32(255))
    settings = ModelSettings("ljpeg_PIL", subsampling=sampling)
    coded = StandardJPEG(settings, tf.float32).code(x, tf.constant(quality))
    integers, qtables = session.run([coded.integers, coded.qtables])
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality, subsampling=sampling)
    quantized = jpeg_file.read_coefficients(data.getvalue())
    np.testing.assert_array_equal(qtables.transpose(2, 0, 1), quantized.qtables)
    found = planes_of([own[0] for own in integers])
    for plane, wanted in zip(found, quantized.planes, strict=True):
        difference = np.abs(plane - wanted)
        # Pillow's encoder rounds YCbCr to integers, their means, and its DCT.
        assert difference.max() <= (1 if quality < 91 else 4)
        assert (difference > 0).mean() < (0.05 if quality < 91 else 0.6)


# Rounding for an entropy model


@pytest.mark.parametrize("table_slope", [0.0, 1.0, 0.3])
def test_rounding_has_a_slope_for_edits_and_one_for_tables(session, table_slope):
    rng = np.random.default_rng(0)
    dct = rng.normal(0, 60, (2, 3, 4, 8, 8, 3)).astype(np.float32)
    qtables = rng.integers(5, 90, (8, 8, 2)).astype(np.float32)
    upstream = rng.normal(0, 1, dct.shape).astype(np.float32)
    inputs = tf.constant(dct), tf.constant(qtables)
    [integers] = differentiable.round_with_slopes([inputs[0]], inputs[1], table_slope)
    gradients = tf.gradients(integers, inputs, upstream)
    integers, of_edits, of_tables = session.run([integers, *gradients])
    steps = qtables[..., [0, 1, 1]].astype(np.float64)
    np.testing.assert_allclose(integers, np.round(dct / steps), atol=1e-4)
    np.testing.assert_allclose(of_edits, upstream / steps, rtol=1e-5)
    slopes = np.full((8, 8, 1), table_slope)
    slopes[0, 0] = 1
    expected = np.sum(-upstream * slopes * dct / steps**2, (0, 1, 2))
    expected = np.stack([expected[..., 0], expected[..., 1:].sum(-1)], -1)
    np.testing.assert_allclose(of_tables, expected, rtol=1e-4, atol=1e-4)


def test_gradient_with_integers_held_fixed_is_exact_for_a_squared_error(session):
    """By finite differences of the rounded error itself, over many coefficients."""
    rng = np.random.default_rng(0)
    dct = rng.laplace(0, 20, (1, 40, 50, 8, 8, 3)).astype(np.float32)
    qtables = rng.integers(15, 60, (8, 8, 2)).astype(np.float32)
    x = tf.constant(qtables)
    [z] = differentiable.round_with_slopes([tf.constant(dct)], x, 0.0)
    [steps] = differentiable.per_component(x, [z])
    error = tf.reduce_sum((z * steps - dct) ** 2)
    found = session.run(tf.gradients(error, x)[0])

    def errors(tables):
        steps = tables[..., [0, 1, 1]].astype(np.float64)
        squares = np.sum((np.round(dct / steps) * steps - dct) ** 2, (0, 1, 2))
        return np.stack([squares[..., 0], squares[..., 1:].sum(-1)], -1)

    expected = (errors(qtables + 0.01) - errors(qtables - 0.01)) / 0.02
    ac = np.ones((8, 8), bool)
    ac[0, 0] = False
    np.testing.assert_allclose(found[ac], expected[ac], rtol=0.03)


def test_straight_through_dc_is_nothing_but_a_gradient(session):
    z = np.random.default_rng(0).normal(0, 20, (1, 2, 2, 8, 8, 3)).astype(np.float32)
    x = tf.constant(z)
    value = differentiable.straight_through_dc(x)
    value, gradient = session.run([value, tf.gradients(value, x)[0]])
    assert not value.any()
    assert set(gradient[..., 0, 0, :].ravel()) == {1}
    assert np.count_nonzero(gradient) == gradient[..., 0, 0, :].size


# Learned tables


def adam_steps(session, tables, loss, learning_rate, steps):
    step = tf.train.AdamOptimizer(learning_rate).minimize(loss)
    session.run(tf.global_variables_initializer())
    for _ in range(steps):
        session.run(step)
        yield session.run([tables.entries, tables.integers])


def test_tables_start_between_1_and_2(session):
    tables = differentiable.LearnedTables()
    session.run(tf.global_variables_initializer())
    entries, integers = session.run([tables.entries, tables.integers])
    assert entries.shape == (8, 8, 2)
    assert 1 <= entries.min() < 1.1 and 1.9 < entries.max() <= 2.0001
    assert set(np.unique(integers)) == {1, 2}


def test_tables_start_at_the_entry_that_is_asked_for(session):
    tables = differentiable.LearnedTables(50.0)
    session.run(tf.global_variables_initializer())
    entries, integers = session.run([tables.entries, tables.integers])
    np.testing.assert_allclose(entries, np.full((8, 8, 2), 50), rtol=1e-6)
    np.testing.assert_array_equal(integers, np.full((8, 8, 2), 50))


def test_tables_stay_in_1_to_255_under_aggressive_steps(session):
    tables = differentiable.LearnedTables()
    rng = np.random.default_rng(0)
    sign = tf.constant(rng.choice([-1.0, 1.0], (8, 8, 2)), tf.float32)
    phase = tf.constant(rng.uniform(0, 200, (8, 8, 2)), tf.float32)
    entries = tables.entries
    loss = tf.reduce_sum(1e6 * sign * entries + tf.sin(entries + phase))
    lowest, highest = 255, 1
    for entries, integers in adam_steps(session, tables, loss, 1e-3, 12):
        assert entries.min() > 0.999 and entries.max() < 255.001
        np.testing.assert_array_equal(integers, integers.round())
        assert integers.min() >= 1 and integers.max() <= 255
        lowest = min(lowest, integers.min())
        highest = max(highest, integers.max())
    assert (lowest, highest) == (1, 255)


def test_adam_at_1e_6_moves_an_entry_by_a_tenth_a_step(session):
    tables = differentiable.LearnedTables()
    session.run(tf.global_variables_initializer())
    loss = -tf.reduce_sum(tables.entries)
    entries = [e for e, _ in adam_steps(session, tables, loss, 1e-6, 3)]
    np.testing.assert_allclose(entries[1] - entries[0], 0.1, rtol=1e-2)
    np.testing.assert_allclose(entries[2] - entries[1], 0.1, rtol=1e-2)


def test_integers_are_the_nearest_to_the_entries(session):
    tables = differentiable.LearnedTables()
    values = np.random.default_rng(0).uniform(1, 255, (8, 8, 2)).astype(np.float32)
    tf.global_variables()[0].load(values * 1e-5, session)
    entries, integers = session.run([tables.entries, tables.integers])
    np.testing.assert_allclose(entries, values, rtol=1e-6)
    np.testing.assert_array_equal(integers, values.round())


def test_regularizer_is_the_sum_of_reciprocals_over_both_tables(session):
    tables = differentiable.LearnedTables()
    values = random_tables(low=1, high=255)
    tf.global_variables()[0].load(values * np.float32(1e-5), session)
    regularizer = session.run(tables.regularizer)
    np.testing.assert_allclose(regularizer, (1 / values.astype(float)).sum(), 1e-5)


# Loss and gradient of the tables-only model

LMBDA, WEIGHT = 0.03, 10.0


def ljpeg_loss_by_numpy(x, q, z0, rounding):
    """The loss, with rounding as its tangent at `z0`: its value and its gradient."""
    dct, q3 = dct_by_scipy(x), q[..., [0, 1, 1]]
    rounded = np.round(z0)
    slope = 3 * (z0 - rounded) ** 2
    if rounding == "straight_through":
        slope[..., 0, 0, :] = 1
    surrogate = rounded + slope * (dct / q3 - z0)
    x_tilde = np.clip(picture_by_scipy(surrogate * q3), 0, 1)
    mse = np.mean((255 * (x - x_tilde)) ** 2)
    return LMBDA * mse + WEIGHT * np.sum(1 / q)


@pytest.mark.slow
@pytest.mark.parametrize("rounding", ["straight_through", "polynomial"])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradient_of_the_tables_equal_finite_differences(
    session, seed, rounding
):
    x = np.random.default_rng(seed).uniform(0.1, 0.9, (2, 16, 24, 3))
    x = x.astype(np.float32)
    settings = ModelSettings(
        "ljpeg",
        lmbda=LMBDA,
        total_weight_regularizer=WEIGHT,
        rounding=rounding,
    )
    model = ljpeg.LJPEG(settings, tf.float32)
    [variable] = tf.trainable_variables()
    q = np.random.default_rng(seed).uniform(10, 50, (8, 8, 2)).astype(np.float32)
    variable.load(q * np.float32(1e-5), session)
    loss = model.training_graph(tf.constant(x), None).loss
    gradient = tf.gradients(loss, variable)[0] * 1e-5  # of the entries
    entries, loss, gradient = session.run([model.tables.entries, loss, gradient])

    q = entries.astype(np.float64)
    z0 = dct_by_scipy(x) / q[..., [0, 1, 1]]
    surrogate = functools.partial(ljpeg_loss_by_numpy, x, z0=z0, rounding=rounding)
    np.testing.assert_allclose(loss, surrogate(q=q), rtol=2e-4)
    expected, delta = np.zeros(q.shape), 1e-4
    for index in np.ndindex(q.shape):
        change = np.zeros(q.shape)
        change[index] = delta
        rise = surrogate(q=q + change) - surrogate(q=q - change)
        expected[index] = rise / (2 * delta)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, atol=2e-3 * scale)
