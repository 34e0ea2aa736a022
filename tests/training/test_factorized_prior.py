"""The prior that stands in for tensorflow-compression: against it, and by itself."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from scipy import integrate, special

from training import factorized_prior

SIZE = 5


def make(prior_class):
    with tf.name_scope("rate_model"):
        return prior_class()


def ours():
    return factorized_prior.NoisyDeepFactorized(SIZE)


def theirs():
    tfc = pytest.importorskip("tensorflow_compression")
    return tfc.NoisyDeepFactorized(batch_shape=(SIZE,))


def random_values(variables):
    rng = np.random.default_rng(0)
    shapes = {v.op.name: v.shape.as_list() for v in variables}
    return {n: rng.normal(0, 1, s).astype(np.float32) for n, s in shapes.items()}


def log_probs(prior_class, values, x):
    """(names and shapes of the variables, log densities at x with those values)."""
    with tf.Graph().as_default(), tf.Session() as session:
        prior = make(prior_class)
        variables = tf.global_variables()
        session.run(tf.global_variables_initializer())
        for variable in variables:
            variable.load(values[variable.op.name], session)
        shapes = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
        return shapes, session.run(prior.log_prob(tf.constant(x)))


@pytest.fixture
def values():
    with tf.Graph().as_default():
        make(ours)
        return random_values(tf.global_variables())


@pytest.fixture
def x():
    grid = np.linspace(-60, 60, 241, dtype=np.float32)
    return np.tile(grid[:, np.newaxis], [1, SIZE])


@pytest.mark.slow
def test_it_is_that_of_tensorflow_compression(values, x):
    shapes, expected = log_probs(theirs, values, x)
    own_shapes, found = log_probs(ours, values, x)
    assert own_shapes == shapes
    np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-6)


def test_it_starts_as_that_of_tensorflow_compression():
    found = []
    for prior_class in (ours, theirs):
        with tf.Graph().as_default(), tf.Session() as session:
            make(prior_class)
            session.run(tf.global_variables_initializer())
            found.append({v.op.name: session.run(v) for v in tf.global_variables()})
    for name, value in found[0].items():
        if "bias" in name:
            for start in found:
                assert np.abs(start[name]).max() <= 0.5
        else:
            np.testing.assert_allclose(value, found[1][name], rtol=1e-6)


def test_each_density_integrates_to_1(values):
    grid = np.linspace(-2000, 2000, 400001, dtype=np.float32)
    points = np.tile(grid[:, np.newaxis], [1, SIZE])
    _, found = log_probs(ours, values, points)
    mass = integrate.trapezoid(np.exp(found.astype(np.float64)), grid, axis=0)
    np.testing.assert_allclose(mass, 1, atol=1e-3)


def test_density_is_the_difference_of_the_cumulative_one(values, x):
    """By the formulas, in float64."""

    def cumulative(x):
        for k in range(3):

            def of(kind, k=k):
                name = f"rate_model/DeepFactorized_1/{kind}_{k}"
                return values[name].astype(np.float64)

            x = np.logaddexp(0, of("matrix")) @ x + of("bias")
            if k < 2:
                x = x + np.tanh(of("factor")) * np.tanh(x)
        return special.expit(x)

    points = x.T[:, np.newaxis].astype(np.float64)
    density = (cumulative(points + 0.5) - cumulative(points - 0.5))[:, 0].T
    _, found = log_probs(ours, values, x)
    tested = density > 1e-9  # below that a difference has no digits left
    assert tested.sum() > 100
    np.testing.assert_allclose(found[tested], np.log(density[tested]), rtol=1e-5)
