"""Terms of the losses against other implementations; gradients against formulas."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import arg_parser
import ljpeg
from learned_jpeg.metrics.image_metrics import measure
from learned_jpeg.metrics.ssimulacra2 import loss as ssimulacra2_loss
from learned_jpeg.metrics.ssimulacra2 import score
from learned_jpeg.models.settings import WEIGHT_KEYS, LossWeights, ModelSettings
from tests.metrics.helpers import shown, value_of
from tests.plain_training import plain_words
from training import differentiable, losses, rate_models
from training.loop import Trainer
from training.options import TrainOptions

# Distortion


@pytest.fixture(scope="module")
def pairs(smooth_picture):
    """(originals, worse ones), uint8 `[2, h, w, 3]`."""
    x = np.stack([smooth_picture(seed, 168, 176) for seed in range(2)])
    noise = np.random.default_rng(0).normal(0, [[[[4]]], [[[20]]]], x.shape)
    return x, np.clip(x + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights, names",
    [
        ({}, {"mse"}),
        ({"ms_ssim": 5000.0}, {"mse", "ms-ssim"}),
        ({"lpips": 300.0, "ms_ssim": 70.0}, {"mse", "ms-ssim", "lpips"}),
    ],
)
def test_distortion_is_the_weighted_sum_of_the_metrics(session, pairs, weights, names):
    tensors = [tf.constant(batch / np.float32(255)) for batch in pairs]
    built = losses.distortion(*tensors, LossWeights(**weights), tf.float32)
    total, terms = session.run(built)
    rows = [measure(x, y) for x, y in zip(*pairs, strict=True)]
    wanted = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    assert set(terms) == names
    for name in names:
        tolerance = {"abs": 1e-5} if name == "ms-ssim" else {"rel": 1e-4}
        assert terms[name] == pytest.approx(wanted[name], **tolerance)
    expected = wanted["mse"] + weights.get("lpips", 0) * wanted["lpips"]
    expected += weights.get("ms_ssim", 0) * (1 - wanted["ms-ssim"])
    assert total == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_a_picture_like_the_original_has_no_distortion(session, pairs):
    x = tf.constant(pairs[0] / np.float32(255))
    weights = LossWeights(lpips=300.0, ms_ssim=5000.0, ssimulacra2=9.0)
    total, _ = losses.distortion(x, x, weights, tf.float32)
    assert abs(session.run(total)) < 5000 * 1e-5


def test_points_of_ssimulacra2_are_those_that_the_search_minimises(session, pairs):
    # Another height than width, so that no axis stands for the other.
    pairs = [batch[:, :45, :70] for batch in pairs]
    tensors = [tf.constant(batch / np.float32(255)) for batch in pairs]
    built = losses.distortion(*tensors, LossWeights(ssimulacra2=7.0), tf.float32)
    total, terms = session.run(built)
    wanted = [
        5 * value_of(x, shown(y), ssimulacra2_loss.WEIGHTS)
        for x, y in zip(*pairs, strict=True)
    ]
    assert terms["ssimulacra2"] == pytest.approx(np.mean(wanted), rel=1e-3)
    assert wanted[1] > 2 * wanted[0] > 4
    assert total == pytest.approx(terms["mse"] + 7 * terms["ssimulacra2"], rel=1e-5)


def test_every_weight_has_a_term_that_is_defined_from_the_side_of_its_metric():
    assert losses.TERMS.keys() == WEIGHT_KEYS.keys()
    assert losses.TERMS["ssimulacra2"].min_side == score.MIN_SIDE


# Rate of the entropy model


def test_estimated_bpp_is_the_rate_per_pixel_of_the_true_size(session):
    z = tf.constant(np.random.default_rng(0).laplace(0, 3, (2, 2, 3, 8, 8, 3)))
    z, seed = [tf.cast(z, tf.float32)], tf.constant([3, 16])
    jpeg = differentiable.Pipeline(tf.zeros([2, 13, 21, 3]))
    bpp = losses.estimated_bpp(jpeg, z, seed)
    own = tf.trainable_variables()
    expected = rate_models.FactorizedRate().bits_per_pixel(z, 2 * 13 * 21, seed)
    session.run(tf.global_variables_initializer())
    for first, second in zip(own, tf.trainable_variables()[len(own) :], strict=True):
        second.load(session.run(first), session)
    bpp, expected = session.run([bpp, expected])
    assert bpp == pytest.approx(expected, rel=1e-5)


# Gradient through rounding


def slopes(session, rounding, lpips_weight):
    """z, and the slopes of its integers as coefficients and tables see them."""
    weights = LossWeights(lpips=lpips_weight)
    settings = ModelSettings("ljpeg", rounding=rounding, weights=weights)
    rng = np.random.default_rng(4)
    dct = tf.constant(rng.normal(0, 60, (1, 2, 3, 8, 8, 3)), tf.float32)
    # Apart for every block, so that their gradients are as well.
    qtables = tf.constant(rng.uniform(5, 60, (8, 8, 2)), tf.float32)
    [integers] = losses.rounded([dct], qtables, settings)
    weights = tf.constant(rng.normal(0, 1, dct.shape), tf.float32)
    of_dct, of_tables = tf.gradients(weights * integers, [dct, qtables])
    fetches = [*differentiable.divide([dct], qtables), integers, weights, qtables]
    z, n, weights, q = map(np.float64, session.run(fetches))
    np.testing.assert_array_equal(n, np.rint(z))
    q = q[..., [0, 1, 1]]
    of_dct, of_tables = session.run([of_dct, of_tables])
    return z, of_dct * q / weights, of_tables, -weights * z / q


@pytest.mark.parametrize(
    "rounding, lpips_weight",
    [("straight_through", 0.0), ("straight_through", 9.0), ("polynomial", 9.0)],
)
def test_published_gradient_of_rounding_and_what_is_repaired(
    session, rounding, lpips_weight
):
    z, of_edits, of_tables, unit_slope = slopes(session, rounding, lpips_weight)
    polynomial = 3 * (z - np.rint(z)) ** 2
    dc = np.zeros((8, 8, 1))
    dc[0, 0] = 1
    repaired = rounding == "straight_through"
    wanted = np.ones(z.shape) if repaired else polynomial
    np.testing.assert_allclose(of_edits, wanted, rtol=1e-3, atol=1e-4)
    slope = np.where(dc, 1, polynomial) if repaired else polynomial
    if repaired and lpips_weight:
        slope = np.ones(z.shape)
    wanted = (unit_slope * slope).sum((0, 1, 2))
    wanted = np.stack([wanted[..., 0], wanted[..., 1] + wanted[..., 2]], -1)
    np.testing.assert_allclose(of_tables, wanted, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def gray_blocks():
    """Gray blocks of random brightness, far from black and white, a little noise."""
    rng = np.random.default_rng(0)
    levels = np.kron(rng.uniform(40, 215, (16, 8, 8, 1)), np.ones((1, 8, 8, 3)))
    return np.rint(levels + rng.normal(0, 2, (16, 64, 64, 1))).astype(np.uint8)


def options_of_tables(flags):
    words = ["train", *plain_words()]
    common = "--total_weight_regularizer 10 --table_lr 1e-5 --patchsize 64 "
    common += "--batchsize 4 --precision float32 --lr_schedule cosine "
    args = arg_parser.parse_model(
        ljpeg.LJPEG, [*words, *common.split(), *flags.split()]
    )
    return TrainOptions.of_flags("ljpeg", vars(args))


def dc_steps(options, pictures, steps):
    """(the luma DC step after each training step, the gradients in its variable)."""
    rng = np.random.default_rng(1)
    with tf.Graph().as_default(), tf.Session() as session:
        trainer = Trainer(ljpeg.LJPEG, options)
        trainer.initialize(session, None)
        (table,) = tf.trainable_variables("qtables")
        gradient = tf.gradients(trainer.graph.loss, table)[0]
        found = []
        for _ in range(steps):
            batch = pictures[rng.integers(len(pictures), size=options.batchsize)]
            feeds = {trainer.pixels: batch}
            slope, _ = session.run([gradient, trainer.train_op], feeds)
            found.append((session.run(table)[0, 0, 0] * 1e5, slope[0, 0, 0]))
    return np.transpose(found)


@pytest.mark.slow
@pytest.mark.parametrize("lmbda", [0.1, 0.4])
@pytest.mark.parametrize("start", [20, 60])
def test_dc_step_settles_where_its_error_is_worth_its_regularizer(
    lmbda, start, gray_blocks
):
    flags = f"--lambda {lmbda} --table_init {start} --last_step 150"
    reached = dc_steps(options_of_tables(flags), gray_blocks, 150)[0][-1]
    # 33.7 and 21.3.
    assert reached == pytest.approx((6 * 64 * 10 / lmbda) ** (1 / 3), rel=0.03)


@pytest.mark.slow
def test_published_gradient_of_dc_is_noise_where_it_should_be_0(gray_blocks):
    noise = {}
    for rounding in ("straight_through", "polynomial"):
        flags = f"--lambda 0.1 --table_init 33.7 --table_lr 1e-12 --rounding {rounding}"
        slopes = dc_steps(options_of_tables(flags), gray_blocks, 40)[1]
        noise[rounding] = slopes.std()
        assert abs(slopes.mean()) < slopes.std()
    assert noise["polynomial"] > 5 * noise["straight_through"]
    # It is as large as the regularizer's slope, 10 / q**2 on the variable's scale.
    assert noise["polynomial"] > 10 / 33.7**2 * 1e5
