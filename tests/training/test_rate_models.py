"""The estimated rate against the entropy of data of known density."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from scipy import integrate

from training import rate_models

BLOCKS = 96


def laplace_scales():
    """Scale of the density of each coefficient, [192]: wide, narrow and mixed."""
    return np.geomspace(0.3, 12, 192)[np.random.default_rng(7).permutation(192)]


def laplace_batch(rng):
    z = rng.laplace(0, laplace_scales(), (BLOCKS, 192))
    return z.reshape(1, 8, BLOCKS // 8, 8, 8, 3).astype(np.float32)


def noisy_entropy(scale):
    """Bits of a Laplacian value plus uniform noise: that of its rounded integer.

    Differential entropy of the density F(x + 1/2) - F(x - 1/2), integrated in float64.
    """
    x = np.linspace(-40 * scale - 1, 40 * scale + 1, 40001)

    def cumulative(x):
        tail = 0.5 * np.exp(-np.abs(x) / scale)
        return np.where(x < 0, tail, 1 - tail)

    density = cumulative(x + 0.5) - cumulative(x - 0.5)
    density = np.maximum(density, 1e-300)
    return integrate.trapezoid(-density * np.log2(density), x)


@pytest.fixture(scope="module")
def trained():
    """(estimated bits per block at the start, after training, true entropy)."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        z = tf.placeholder(tf.float32, [1, 8, BLOCKS // 8, 8, 8, 3])
        seed = tf.placeholder(tf.int32, [2])
        # A block's bits, as 1 stands for the pixels of a block.
        rate = rate_models.FactorizedRate().bits_per_pixel([z], BLOCKS, seed)
        rng = np.random.default_rng(0)
        step = tf.train.AdamOptimizer(0.03).minimize(rate)
        session.run(tf.global_variables_initializer())
        test = {z: laplace_batch(np.random.default_rng(1)), seed: [0, 0]}
        before = session.run(rate, test)
        for i in range(250):
            session.run(step, {z: laplace_batch(rng), seed: [1, i]})
        after = session.run(rate, test)
    return before, after, sum(map(noisy_entropy, laplace_scales()))


def test_rate_comes_close_to_the_entropy_of_laplacian_coefficients(trained):
    before, after, entropy = trained
    assert before > 1.5 * entropy
    assert 0.97 * entropy < after < 1.06 * entropy


def bits(z, seed, num_pixels=64.0):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        rate = rate_models.FactorizedRate()
        value = rate.bits_per_pixel([tf.constant(z)], num_pixels, tf.constant(seed))
        session.run(tf.global_variables_initializer())
        return session.run(value)


def test_rate_is_a_function_of_the_seed():
    z = np.zeros([1, 1, 2, 8, 8, 3], np.float32)
    first = bits(z, [3, 16])
    assert first == bits(z, [3, 16])
    assert first != bits(z, [3, 32])
    assert first != bits(z, [4, 16])


def test_rate_is_per_pixel():
    z = np.zeros([1, 1, 2, 8, 8, 3], np.float32)
    np.testing.assert_allclose(
        bits(z, [0, 0], 64.0), 2 * bits(z, [0, 0], 128.0), rtol=1e-5
    )


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_bits_of_integers_are_those_of_a_density(session, sampling):
    table = rate_models.FactorizedRate(sampling).bits_of_integers(150)
    tf.set_random_seed(0)
    session.run(tf.global_variables_initializer())
    table = session.run(table)
    assert table.shape == (192, 301)
    assert table.min() > 0
    np.testing.assert_allclose(np.exp2(-table).sum(1), 1, atol=1e-3)


def test_subsampled_chroma_has_fewer_blocks(session):
    """Its rate is that of a 4:4:4 picture for each plane, with its own densities."""
    rate = rate_models.FactorizedRate("4:2:0")
    rng = np.random.default_rng(0)
    z = [rng.laplace(0, 2, (2, 4, 6, 8, 8, 1)), rng.laplace(0, 2, (2, 2, 3, 8, 8, 2))]
    z = [np.round(own).astype(np.float32) for own in z]
    table = rate.bits_of_integers(60)
    seed = tf.placeholder(tf.int32, [2])
    bpp = rate.bits_per_pixel([tf.constant(own) for own in z], 2 * 32 * 48, seed)
    # Densities of the integers are those of the noisy values, but for their noise.
    session.run(tf.global_variables_initializer())
    table = session.run(table).reshape(64, 3, -1)
    found = np.mean([session.run(bpp, {seed: [0, i]}) for i in range(20)])
    wanted = 0.0
    for (*_, v, u, _), value in np.ndenumerate(z[0]):
        wanted += table[8 * v + u, 0, int(value) + 60]
    for (*_, v, u, c), value in np.ndenumerate(z[1]):
        wanted += table[8 * v + u, 1 + c, int(value) + 60]
    assert found == pytest.approx(wanted / (2 * 32 * 48), rel=0.01)


def test_each_coefficient_has_a_density_of_its_own(session):
    rate_models.FactorizedRate()
    variables = tf.trainable_variables()
    assert variables
    assert {v.shape.as_list()[0] for v in variables} == {192}


def test_rate_has_a_gradient_for_the_coefficients(session):
    z = tf.constant(laplace_batch(np.random.default_rng(0)))
    rate = rate_models.FactorizedRate().bits_per_pixel([z], 1.0, tf.constant([0, 0]))
    gradient = tf.gradients(rate, z)[0]
    session.run(tf.global_variables_initializer())
    gradient, values = session.run([gradient, z])
    assert np.isfinite(gradient).all()
    # Bits grow away from the middle of the density.
    far = np.abs(values) > 15
    assert far.sum() > 50
    assert (gradient * np.sign(values))[far].min() > 0
