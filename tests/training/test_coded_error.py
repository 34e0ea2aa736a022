"""The compiled squared error against the graph and against finite differences."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.models.settings import WEIGHT_KEYS, LossWeights, ModelSettings
from training import differentiable, losses
from training.coded_error import LANES

SIZE = 72, 80  # px; more blocks than lanes, and not a multiple of them


def settings(**changes):
    """Settings of a training by the squared error only."""
    return ModelSettings("ljpeg", **{"rounding": "straight_through", **changes})


@pytest.fixture(scope="module")
def batch():
    """Pictures in [0, 1], of which parts are black and white, so that some clip."""
    rng = np.random.default_rng(3)
    x = rng.normal(0.5, 0.15, [2, *SIZE, 3])
    x[0, :40] = x[0, :40].round()
    return x.clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def tables():
    return np.random.default_rng(4).uniform(5, 60, [8, 8, 2]).astype(np.float32)


@pytest.fixture(scope="module")
def factors():
    shape = [2, SIZE[0] // 8, SIZE[1] // 8, 8, 8, 2]
    return np.random.default_rng(5).uniform(0.3, 1, shape).astype(np.float32)


def of_graph(x, qtables, factors=None):
    """The same error, as the graph has it."""
    dct = differentiable.rgb_to_dct(x)
    if factors is not None:
        dct = differentiable.scale_blocks(dct, factors, "4:4:4")
    integers = losses.rounded(dct, qtables, settings())
    x_tilde = differentiable.reconstruct(integers, qtables, *SIZE)
    return losses.mse_255(x, x_tilde)


@pytest.mark.parametrize("is_edited", [True, False])
def test_error_and_gradients_are_those_of_the_graph(
    session, batch, tables, factors, is_edited
):
    assert batch[0].size // 192 % LANES and batch[0].size // 192 > LANES
    inputs = [tf.constant(tables), tf.constant(factors)][: 1 + is_edited]
    x = tf.constant(batch)
    compiled = losses.compiled_mse(x, inputs[0], settings(), *inputs[1:])
    errors = [compiled, of_graph(x, *inputs)]
    found, wanted = session.run(
        [[error, *tf.gradients(3.0 * error, inputs)] for error in errors]
    )
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-3, atol=2e-4)
    # A quotient within float32's error of a half may be rounded either way.
    for own, other in zip(found[2:], wanted[2:], strict=True):
        assert own.shape == other.shape
        assert np.isclose(own, other, rtol=1e-3, atol=1e-6).mean() > 0.98


def test_gradient_of_factors_is_the_slope_of_the_error(session, batch, tables):
    # Steps so fine that rounding is next to nothing: the error of the edit is left.
    x, level = tf.constant(batch[1:]), tf.placeholder(tf.float32, [])
    fine = tf.constant(tables / 5000)
    shape = [1, SIZE[0] // 8, SIZE[1] // 8, 8, 8, 2]
    error = losses.compiled_mse(x, fine, settings(), tf.fill(shape, level))
    slope = tf.gradients(error, level)[0]
    low, middle, high = (
        session.run([error, slope], {level: value}) for value in (0.79, 0.8, 0.81)
    )
    assert (high[0] - low[0]) / 0.02 == pytest.approx(middle[1], rel=1e-2)
    assert middle[1] < -100


@pytest.mark.parametrize(
    "changes",
    [
        *({"weights": LossWeights(**{name: 1.0})} for name in WEIGHT_KEYS),
        {"rate_model": "entropy"},
        {"rate_model": "search"},
        {"rounding": "polynomial"},
        {"subsampling": "4:2:0"},
    ],
)
@pytest.mark.usefixtures("session")
def test_other_losses_are_left_to_the_graph(batch, tables, changes):
    x, qtables = tf.constant(batch), tf.constant(tables)
    assert losses.compiled_mse(x, qtables, settings()) is not None
    assert losses.compiled_mse(x, qtables, settings(**changes)) is None


@pytest.mark.usefixtures("session")
def test_parts_of_blocks_unknown_sizes_and_gpus_are_left_to_the_graph(
    batch, tables, monkeypatch
):
    qtables = tf.constant(tables)
    part = tf.constant(batch[:, :, :-1])
    unknown = tf.placeholder(tf.float32, [None, None, None, 3])
    for x in (part, unknown):
        assert losses.compiled_mse(x, qtables, settings()) is None
    monkeypatch.setattr("training.devices.gpus_in_use", lambda: ["GPU"])
    assert losses.compiled_mse(tf.constant(batch), qtables, settings()) is None
