"""Terms of the losses against other implementations; gradients against formulas."""

import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import arg_parser
import ljpeg
from jpeg import differentiable
from metrics.pictures import PictureMetrics
from training import losses, rate_models, searched_rate
from training.loop import Trainer

# JFIF 1.02: RGB of an error of 1 in Y, Cb and Cr.
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
LMBDA = 0.02


# Distortion


@pytest.fixture(scope="module")
def pairs(smooth_picture):
    """(originals, worse ones), uint8 `[2, h, w, 3]`."""
    x = np.stack([smooth_picture(seed, 168, 176) for seed in range(2)])
    noise = np.random.default_rng(0).normal(0, [[[[4]]], [[[20]]]], x.shape)
    return x, np.clip(x + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    "weights, names",
    [
        ({}, {"mse"}),
        ({"msssim_weight": 5000.0}, {"mse", "ms-ssim"}),
        ({"lpips_weight": 300.0, "msssim_weight": 70.0}, {"mse", "ms-ssim", "lpips"}),
    ],
)
def test_distortion_is_the_weighted_sum_of_the_metrics(session, pairs, weights, names):
    tensors = [tf.constant(batch / np.float32(255)) for batch in pairs]
    total, terms = session.run(losses.distortion(*tensors, tf.float32, **weights))
    metrics = PictureMetrics()
    rows = [
        metrics.compare(metrics.reference(x), y) for x, y in zip(*pairs, strict=True)
    ]
    wanted = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    assert set(terms) == names
    for name in names:
        tolerance = {"abs": 1e-5} if name == "ms-ssim" else {"rel": 1e-4}
        assert terms[name] == pytest.approx(wanted[name], **tolerance)
    expected = wanted["mse"] + weights.get("lpips_weight", 0) * wanted["lpips"]
    expected += weights.get("msssim_weight", 0) * (1 - wanted["ms-ssim"])
    assert total == pytest.approx(expected, rel=1e-3)


def test_a_picture_like_the_original_has_no_distortion(session, pairs):
    x = tf.constant(pairs[0] / np.float32(255))
    total, _ = losses.distortion(x, x, tf.float32, 300.0, 5000.0)
    assert abs(session.run(total)) < 5000 * 1e-5


# Rate of the entropy model


def test_estimated_bpp_is_the_rate_per_pixel_of_the_true_size(session):
    z = tf.constant(np.random.default_rng(0).laplace(0, 3, (2, 2, 3, 8, 8, 3)))
    z, seed = tf.cast(z, tf.float32), tf.constant([3, 16])
    bpp = losses.estimated_bpp(z, tf.zeros([2, 13, 21, 3]), seed)
    own = tf.trainable_variables()
    expected = rate_models.FactorizedRate().bits_per_pixel(z, 2 * 13 * 21, seed)
    session.run(tf.global_variables_initializer())
    for first, second in zip(own, tf.trainable_variables()[len(own) :], strict=True):
        second.load(session.run(first), session)
    bpp, expected = session.run([bpp, expected])
    assert bpp == pytest.approx(expected, rel=1e-5)


# Search for integers


class Search:
    """A batch's search, its loss and the gradient in the tables."""

    def __init__(self, session):
        rng = np.random.default_rng(0)
        # Spectra like those of photographs; no picture leaves 0..1.
        v, u = np.mgrid[:8, :8]
        scale = 60 / (1 + v + 2 * u)[..., np.newaxis] * [1, 0.4, 0.3]
        dct = rng.laplace(0, scale, (2, 3, 4, 8, 8, 3))
        self.dct = dct.astype(np.float32)
        self.q = rng.uniform(4, 40, (8, 8, 2)).astype(np.float32)
        self.pixels = 2 * 24 * 32
        dct, q = tf.constant(self.dct), tf.constant(self.q)
        z = differentiable.divide(dct, q)
        integers, bpp = losses.searched_integers(z, q, LMBDA)
        assert integers.shape.as_list() == z.shape.as_list()
        x = differentiable.dct_to_rgb(dct, 24, 32)
        x_tilde = differentiable.reconstruct(integers, q, 24, 32)
        loss = LMBDA * losses.mse_255(x, x_tilde) + bpp
        fetches = [z, integers, bpp, x, x_tilde, loss, tf.gradients(loss, q)[0]]
        values = session.run(fetches)
        self.z, self.integers, self.bpp, x, x_tilde, self.loss, self.gradient = values
        for picture in (x, x_tilde):
            assert picture.min() > 0 and picture.max() < 1
        # As the search takes them: the blocks of all pictures one after the other.
        self.blocks = self.z.reshape(6, 4, 8, 8, 3)

    @property
    def error(self):
        """What the integers are off, in float64, of the coefficients in their units."""
        return self.integers * self.q[..., [0, 1, 1]].astype(np.float64) - self.dct


@pytest.fixture
def search(session):
    return Search(session)


def test_integers_and_rate_are_those_of_the_search(search):
    expected, bits = searched_rate.searched(search.blocks, search.q, LMBDA)
    np.testing.assert_array_equal(search.integers.reshape(expected.shape), expected)
    # Another search than rounding, and than that of another lambda.
    dearer, _ = searched_rate.searched(search.blocks, search.q, 2 * LMBDA)
    for other in (np.rint(search.blocks), dearer):
        assert np.count_nonzero(other != expected) > 20
    assert search.bpp == pytest.approx(bits / search.pixels, rel=1e-5)


def test_loss_of_the_search_is_lambda_mse_and_bits_per_pixel(search):
    # The DCT is orthonormal: a squared error is the same in pixels.
    mse = np.sum((search.error @ TO_RGB.T) ** 2) / (3 * search.pixels)
    assert search.loss == pytest.approx(LMBDA * mse + search.bpp, rel=1e-4)


def test_gradient_in_ac_entries_is_that_of_the_distortion_of_fixed_integers(search):
    def loss(q):
        error = search.integers * q[..., [0, 1, 1]] - search.dct
        return LMBDA * np.sum((error @ TO_RGB.T) ** 2) / (3 * search.pixels)

    q = search.q.astype(np.float64)
    expected, delta = np.zeros(q.shape), 1e-3
    for index in np.ndindex(q.shape):
        change = np.zeros(q.shape)
        change[index] = delta
        expected[index] = (loss(q + change) - loss(q - change)) / (2 * delta)
    gradient = search.gradient.copy()
    gradient[0, 0] = expected[0, 0] = 0
    assert np.count_nonzero(expected) > 20
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * scale)


def test_gradient_in_dc_entries_is_that_of_fixed_phases_and_of_the_bits(search):
    # (z - phase) q of a fixed phase and a fixed z q: its derivative is integer - z.
    moved = (search.integers - search.z)[..., 0, 0, :].astype(np.float64)
    slopes = 2 * LMBDA / (3 * search.pixels) * search.error[..., 0, 0, :]
    by_component = np.sum(slopes @ TO_RGB.T @ TO_RGB * moved, axis=(0, 1, 2))
    rate = searched_rate.dc_slopes(search.blocks) / search.pixels / search.q[0, 0]
    # A coarser step takes fewer bits.
    assert (rate < 0).all()
    expected = [by_component[0], by_component[1] + by_component[2]] + rate
    np.testing.assert_allclose(search.gradient[0, 0], expected, rtol=1e-3)


# Gradient through rounding


def slopes(session, **settings):
    """z, and the slopes of its integers as coefficients and tables see them."""
    settings = {"rate_model": "proxy", "lpips_weight": 0.0, **settings}
    rng = np.random.default_rng(4)
    dct = tf.constant(rng.normal(0, 60, (1, 2, 3, 8, 8, 3)), tf.float32)
    # Apart for every block, so that their gradients are as well.
    qtables = tf.constant(rng.uniform(5, 60, (8, 8, 2)), tf.float32)
    integers = losses.rounded(dct, qtables, types.SimpleNamespace(**settings))
    weights = tf.constant(rng.normal(0, 1, dct.shape), tf.float32)
    of_dct, of_tables = tf.gradients(weights * integers, [dct, qtables])
    fetches = [differentiable.divide(dct, qtables), integers, weights, qtables]
    z, n, weights, q = map(np.float64, session.run(fetches))
    np.testing.assert_array_equal(n, np.rint(z))
    q = q[..., [0, 1, 1]]
    of_dct, of_tables = session.run([of_dct, of_tables])
    return z, of_dct * q / weights, of_tables, -weights * z / q


@pytest.mark.parametrize("rounding", ["straight_through", "polynomial"])
def test_published_gradient_of_rounding_and_what_is_repaired(session, rounding):
    z, of_edits, of_tables, unit_slope = slopes(session, rounding=rounding)
    polynomial = 3 * (z - np.rint(z)) ** 2
    dc = np.zeros((8, 8, 1))
    dc[0, 0] = 1
    repaired = rounding == "straight_through"
    wanted = np.ones(z.shape) if repaired else polynomial
    np.testing.assert_allclose(of_edits, wanted, rtol=1e-3, atol=1e-4)
    slope = np.where(dc, 1, polynomial) if repaired else polynomial
    wanted = (unit_slope * slope).sum((0, 1, 2))
    wanted = np.stack([wanted[..., 0], wanted[..., 1] + wanted[..., 2]], -1)
    np.testing.assert_allclose(of_tables, wanted, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def gray_blocks():
    """Gray blocks of random brightness, far from black and white, a little noise."""
    rng = np.random.default_rng(0)
    levels = np.kron(rng.uniform(40, 215, (16, 8, 8, 1)), np.ones((1, 8, 8, 3)))
    return np.rint(levels + rng.normal(0, 2, (16, 64, 64, 1))).astype(np.uint8)


def flags_of_tables(flags):
    common = "train --total_weight_regularizer 10 --table_lr 1e-5 --patchsize 64 "
    common += "--batchsize 4 --precision float32 --lr_schedule cosine "
    return arg_parser.parse_ljpeg([*common.split(), *flags.split()])


def dc_steps(args, pictures, steps):
    """(the luma DC step after each training step, the gradients in its variable)."""
    rng = np.random.default_rng(1)
    with tf.Graph().as_default(), tf.Session() as session:
        trainer = Trainer(ljpeg.LJPEG, args)
        trainer.initialize(session, None)
        (table,) = tf.trainable_variables("qtables")
        gradient = tf.gradients(trainer.graph.loss, table)[0]
        found = []
        for _ in range(steps):
            batch = pictures[rng.integers(len(pictures), size=args.batchsize)]
            feeds = {trainer.pixels: batch}
            slope, _ = session.run([gradient, trainer.train_op], feeds)
            found.append((session.run(table)[0, 0, 0] * 1e5, slope[0, 0, 0]))
    return np.transpose(found)


@pytest.mark.parametrize("lmbda", [0.1, 0.4])
@pytest.mark.parametrize("start", [20, 60])
def test_dc_step_settles_where_its_error_is_worth_its_regularizer(
    lmbda, start, gray_blocks
):
    flags = f"--lambda {lmbda} --table_init {start} --last_step 150"
    reached = dc_steps(flags_of_tables(flags), gray_blocks, 150)[0][-1]
    # 33.7 and 21.3.
    assert reached == pytest.approx((6 * 64 * 10 / lmbda) ** (1 / 3), rel=0.03)


def test_published_gradient_of_dc_is_noise_where_it_should_be_0(gray_blocks):
    noise = {}
    for rounding in ("straight_through", "polynomial"):
        flags = f"--lambda 0.1 --table_init 33.7 --table_lr 1e-12 --rounding {rounding}"
        slopes = dc_steps(flags_of_tables(flags), gray_blocks, 40)[1]
        noise[rounding] = slopes.std()
        assert abs(slopes.mean()) < slopes.std()
    assert noise["polynomial"] > 5 * noise["straight_through"]
    # It is as large as the regularizer's slope, 10 / q**2 on the variable's scale.
    assert noise["polynomial"] > 10 / 33.7**2 * 1e5
