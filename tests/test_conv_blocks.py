"""The networks against numpy and Keras in float64, and what is trained of them."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import conv_blocks
import weights
from learned_jpeg.common.errors import UserError

WIDTHS = (4, 6, 8)


def values(*shape, seed=0, scale=1.0):
    array = np.random.default_rng(seed).normal(0, scale, shape)
    return array.astype(np.float32)


def randomize(session, seed=0, scale=0.3):
    """Sets every variable to random numbers; variances to positive ones."""
    rng = np.random.default_rng(seed)
    for variable in tf.global_variables():
        array = rng.normal(0, scale, variable.shape.as_list())
        if "variance" in variable.op.name:
            array = np.abs(array) + 0.5
        variable.load(array.astype(np.float32), session)
    return {v.op.name: session.run(v).astype(np.float64) for v in tf.global_variables()}


# The networks in float64


def conv(x, kernel, bias):
    """`same` convolution with stride 1 of [b, h, w, in], by a sum over the taps."""
    size = kernel.shape[0]
    margin = size // 2
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    return bias + sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j].astype(np.float64)
        for i in range(size)
        for j in range(size)
    )


def relu(x):
    return np.maximum(x, 0)


def leaky_relu(x):
    return np.where(x > 0, x, 0.2 * x)


def max_pool(x):
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


def layer(x, arrays, name):
    return conv(x, arrays[f"{name}/kernel"], arrays[f"{name}/bias"])


def norm(x, arrays, name):
    deviation = np.sqrt(arrays[f"{name}/moving_variance"] + 1e-3)
    normal = (x - arrays[f"{name}/moving_mean"]) / deviation
    return arrays[f"{name}/gamma"] * normal + arrays[f"{name}/beta"]


def res_unit(x, arrays, name):
    y = leaky_relu(norm(layer(x, arrays, f"{name}/conv0"), arrays, f"{name}/norm0"))
    y = relu(layer(y, arrays, f"{name}/conv1"))
    return x + norm(y, arrays, f"{name}/norm1")


def vgg(x, arrays, counts):
    """VGG without its normalisation; `arrays` are kernel, bias, kernel, ..."""
    arrays = iter(arrays)
    for count in counts:
        for _ in range(count):
            x = relu(conv(x, next(arrays), next(arrays)))
        x = max_pool(x)
    return x


def assert_close(result, expected, relative=1e-4):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=0, atol=relative * scale)


# Layers


@pytest.mark.parametrize("size", [1, 3, 7])
def test_convolution_equals_numpy(session, size):
    x = values(2, 9, 6, 3)
    y = conv_blocks.Conv2D("conv", 3, 5, size)(tf.constant(x))
    arrays = randomize(session)
    assert_close(session.run(y), layer(x, arrays, "conv"), 1e-5)


def test_bfloat16_convolution_keeps_float32_variables(session):
    x = values(1, 6, 6, 3)
    y = conv_blocks.Conv2D("conv", 3, 4, 3, tf.bfloat16)(tf.constant(x))
    assert {v.dtype.base_dtype for v in tf.global_variables()} == {tf.float32}
    assert y.dtype == tf.bfloat16
    arrays = randomize(session)
    result = session.run(tf.cast(y, tf.float32))
    expected = layer(x, arrays, "conv")
    assert_close(result, expected, 0.02)
    assert np.abs(result - expected).max() > 1e-5  # It did run in eight bits.


def test_batch_norm_normalises_by_the_moments_of_the_batch(session):
    x = values(4, 5, 6, 3, scale=3) + np.float32([5, 0, -2])
    y = conv_blocks.BatchNorm("norm", 3)(tf.constant(x), training=True)
    arrays = randomize(session)
    deviation = np.sqrt(x.astype(np.float64).var((0, 1, 2)) + 1e-3)
    normal = (x - x.mean((0, 1, 2), dtype=np.float64)) / deviation
    expected = arrays["norm/gamma"] * normal + arrays["norm/beta"]
    assert_close(session.run(y), expected)


def test_batch_norm_at_inference_uses_the_moving_moments(session):
    x = values(1, 5, 6, 3, scale=3)
    y = conv_blocks.BatchNorm("norm", 3)(tf.constant(x), training=False)
    arrays = randomize(session)
    assert_close(session.run(y), norm(x, arrays, "norm"), 1e-5)
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)


def test_batch_norm_moves_its_moments_a_hundredth_of_the_way(session):
    x = values(4, 5, 6, 3, scale=3) + np.float32([5, 0, -2])
    conv_blocks.BatchNorm("norm", 3)(tf.constant(x), training=True)
    before = randomize(session)
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    after = {v.op.name: session.run(v) for v in tf.global_variables()}
    count = x[..., 0].size
    moments = {
        "norm/moving_mean": x.mean((0, 1, 2)),
        "norm/moving_variance": x.var((0, 1, 2)) * count / (count - 1),
    }
    for name, moment in moments.items():
        expected = 0.99 * before[name] + 0.01 * moment
        np.testing.assert_allclose(after[name], expected, rtol=1e-4)
    np.testing.assert_array_equal(after["norm/gamma"], before["norm/gamma"])


def test_batch_norm_does_not_train_its_moving_moments(session):
    conv_blocks.BatchNorm("norm", 3)
    names = {v.op.name for v in tf.trainable_variables()}
    assert names == {"norm/gamma", "norm/beta"}


def test_fresh_batch_norm_leaves_its_input_at_inference(session):
    x = values(1, 5, 6, 3)
    y = conv_blocks.BatchNorm("norm", 3)(tf.constant(x), training=False)
    session.run(tf.global_variables_initializer())
    np.testing.assert_allclose(session.run(y), x / np.sqrt(1.001), rtol=1e-5)


def test_res_unit_equals_numpy(session):
    x = values(2, 7, 5, 4)
    y = conv_blocks.ResUnit("unit", 4)(tf.constant(x), training=False)
    arrays = randomize(session)
    assert_close(session.run(y), res_unit(x, arrays, "unit"))


# ResConvLayer


def test_res_conv_layer_equals_numpy(session):
    x = values(1, 12, 10, 3)
    edit = conv_blocks.ResConvLayer("editor", (4, 4, 4, 4, 6, 5, 3))
    y = edit(tf.constant(x), training=False)
    arrays = randomize(session)

    def convolution(x, name):
        return layer(x, arrays, f"editor/{name}")

    first = leaky_relu(convolution(x, "first"))
    expected = res_unit(first, arrays, "editor/unit0")
    expected = res_unit(expected, arrays, "editor/unit1")
    closed = convolution(expected, "close")
    expected = first + norm(closed, arrays, "editor/close_norm")
    expected = leaky_relu(convolution(expected, "wide0"))
    expected = leaky_relu(convolution(expected, "wide1"))
    assert_close(session.run(y), convolution(expected, "out"))


@pytest.mark.parametrize("training", [False, True])
def test_fresh_res_conv_layer_is_the_identity(session, training):
    x = np.abs(values(2, 12, 10, 3))
    edit = conv_blocks.ResConvLayer("editor", (4, 4, 4, 4, 6, 5, 3))
    y = edit(tf.constant(x), training=training)
    session.run(tf.global_variables_initializer())
    np.testing.assert_allclose(session.run(y), x, rtol=1e-6)


def test_fresh_res_conv_layer_can_learn_with_every_layer(session):
    """After a few steps no kernel is as it was: the start is no dead point."""
    x = tf.constant(np.abs(values(2, 12, 10, 3)))
    edit = conv_blocks.ResConvLayer("editor", (8, 8, 8, 8, 8, 8, 3))
    loss = tf.reduce_mean((edit(x, training=True) - x[:, ::-1]) ** 2)
    step = tf.train.AdamOptimizer(1e-3).minimize(loss)
    session.run(tf.global_variables_initializer())
    kernels = [v for v in tf.trainable_variables() if v.op.name.endswith("kernel")]
    before = session.run(kernels)
    for _ in range(4):
        session.run(step)
    for old, new in zip(before, session.run(kernels), strict=True):
        assert np.abs(new - old).max() > 1e-4


def test_res_conv_layer_has_the_filters_of_the_paper():
    with tf.Graph().as_default():
        edit = conv_blocks.ResConvLayer("editor")
        y = edit(tf.zeros([2, 9, 11, 3]), training=True)
        assert y.shape.as_list() == [2, 9, 11, 3]
        kernels = {
            v.op.name.split("/", 1)[1]: tuple(v.shape.as_list())
            for v in tf.trainable_variables()
            if v.op.name.endswith("kernel")
        }
        assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2 * 5
    assert kernels == {
        "first/kernel": (7, 7, 3, 64),
        "unit0/conv0/kernel": (3, 3, 64, 64),
        "unit0/conv1/kernel": (3, 3, 64, 64),
        "unit1/conv0/kernel": (3, 3, 64, 64),
        "unit1/conv1/kernel": (3, 3, 64, 64),
        "close/kernel": (3, 3, 64, 64),
        "wide0/kernel": (3, 3, 64, 128),
        "wide1/kernel": (3, 3, 128, 128),
        "out/kernel": (7, 7, 128, 3),
    }


def test_res_conv_layer_refuses_channels_that_cannot_be_added():
    with tf.Graph().as_default(), pytest.raises(ValueError, match="residual"):
        conv_blocks.ResConvLayer("editor", (4, 4, 5, 4, 6, 5, 3))


# VGG


def test_vgg16_with_imagenet_weights_equals_float64(session, smooth_picture):
    x = smooth_picture(0, 32, 40)[np.newaxis] / np.float32(255)
    trunk = conv_blocks.VGGTrunk("trunk")
    y = trunk(tf.constant(x))
    arrays = weights.load("vgg16")
    for variable in tf.global_variables():
        name = variable.op.name.removeprefix("trunk/")
        variable.load(arrays[name], session)
    # The normalisation of torchvision, whose weights these are.
    normal = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ordered = [arrays[f"conv{i}/{p}"] for i in range(7) for p in ("kernel", "bias")]
    expected = vgg(normal, ordered, (2, 2, 3))
    assert expected.shape == (1, 4, 5, 256)
    assert expected.std() > 0.1
    assert_close(session.run(y), expected)


def test_imagenet_weights_come_in_the_order_of_the_variables(session):
    trunk = conv_blocks.VGGTrunk("trunk")
    arrays = weights.load("vgg16")
    loaded = conv_blocks.imagenet_weights("vgg16")
    assert len(loaded) == len(trunk.variables) == 14
    for variable, array in zip(trunk.variables, loaded, strict=True):
        name = variable.op.name.removeprefix("trunk/")
        np.testing.assert_array_equal(array, arrays[name])


def in_eager_mode(function, *args):
    """Calls a function in a thread of its own, which no graph reaches."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


@pytest.fixture
def keras_vgg19(monkeypatch):
    """Keras' VGG-19 with random weights, which stand for those of ImageNet."""
    random = np.random.default_rng(0).normal

    def make():
        model = vgg19(weights=None, include_top=False)
        shapes = [array.shape for array in model.get_weights()]
        scales = [5 if len(s) == 1 else np.sqrt(2 / np.prod(s[:3])) for s in shapes]
        arrays = [random(0, *pair) for pair in zip(scales, shapes, strict=True)]
        model.set_weights([array.astype(np.float32) for array in arrays])
        return model

    def features(x):
        output = model.get_layer("block3_pool").output
        first_blocks = tf.keras.Model(model.input, output)
        preprocess = tf.keras.applications.vgg19.preprocess_input
        return first_blocks(preprocess(255 * x)).numpy()

    vgg19 = tf.keras.applications.VGG19
    model = in_eager_mode(make)
    monkeypatch.setattr(tf.keras.applications, "VGG19", lambda **options: model)
    return lambda x: in_eager_mode(features, x)


@pytest.mark.slow
def test_vgg19_equals_keras_with_its_preprocessing(keras_vgg19, smooth_picture):
    x = smooth_picture(0, 24, 32)[np.newaxis] / np.float32(255)
    expected = keras_vgg19(x)
    with tf.Graph().as_default(), tf.Session() as session:
        trunk = conv_blocks.VGGTrunk("trunk", "vgg19")
        arrays = conv_blocks.imagenet_weights("vgg19")
        for variable, array in zip(trunk.variables, arrays, strict=True):
            variable.load(array, session)
        features = session.run(trunk(tf.constant(x)))
    assert expected.std() > 1
    assert_close(features, expected)


def test_missing_vgg19_weights_are_a_user_error_that_tells_what_to_do(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure on https://example.org\nmore\nlines")

    monkeypatch.setattr(conv_blocks.tf.keras.applications, "VGG19", fail)
    monkeypatch.setenv("KERAS_HOME", os.path.join("some", "cache"))
    with pytest.raises(UserError) as caught:
        conv_blocks.imagenet_weights("vgg19")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "--vgg vgg19",
        "URL fetch failure on https://example.org",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        os.path.join("some", "cache", "models"),
        "--vgg vgg16",
    ):
        assert part in message


def test_error_without_text_is_still_a_user_error(monkeypatch):
    def fail(**options):
        raise RuntimeError

    monkeypatch.setattr(conv_blocks.tf.keras.applications, "VGG19", fail)
    with pytest.raises(UserError, match="--vgg vgg19"):
        conv_blocks.imagenet_weights("vgg19")


# Attention


def test_attention_starts_at_sigmoid_3_everywhere(session):
    attention = conv_blocks.VGGAttention("attention", widths=WIDTHS)
    result = attention(tf.constant(values(2, 16, 24, 3)))
    session.run(tf.global_variables_initializer())
    result = session.run(result)
    assert result.shape == (2, 2, 3, 8, 8, 2)
    np.testing.assert_allclose(result, 1 / (1 + np.exp(-6)), rtol=1e-6)


def test_attention_is_a_sigmoid_of_a_linear_map_of_the_features(session):
    x = tf.constant(values(2, 16, 24, 3))
    attention = conv_blocks.VGGAttention("attention", widths=WIDTHS)
    result, features = attention(x), attention.trunk(x)
    arrays = randomize(session, scale=0.2)
    result, features = session.run([result, features])
    kernel, bias = arrays["attention/head/kernel"], arrays["attention/head/bias"]
    logits = features @ kernel[0, 0] + bias
    expected = 1 / (1 + np.exp(-logits))
    assert expected.std() > 0.1
    np.testing.assert_allclose(result.reshape(2, 2, 3, 128), expected, atol=1e-4)
    assert result.min() > 0 and result.max() < 1


@pytest.mark.parametrize("trunk, count", [("vgg16", 7), ("vgg19", 8)])
def test_trunk_has_the_convolutions_before_the_third_pool(trunk, count):
    with tf.Graph().as_default():
        vgg_trunk = conv_blocks.VGGTrunk("trunk", trunk)
        shapes = [v.shape.as_list() for v in vgg_trunk.variables]
        features = vgg_trunk(tf.zeros([1, 16, 24, 3]))
        assert features.shape.as_list() == [1, 2, 3, 256]
    assert len(shapes) == 2 * count
    assert [s[-1] for s in shapes[::2]] == [64] * 2 + [128] * 2 + [256] * (count - 4)


def test_frozen_trunk_has_no_gradient_and_is_not_trainable():
    with tf.Graph().as_default():
        attention = conv_blocks.VGGAttention("attention", freeze=True, widths=WIDTHS)
        loss = tf.reduce_mean(attention(tf.constant(values(1, 16, 16, 3))))
        gradients = tf.gradients(loss, attention.trunk.variables)
        names = {v.op.name for v in tf.trainable_variables()}
    assert gradients == [None] * 14
    assert names == {"attention/head/kernel", "attention/head/bias"}


def test_every_variable_has_a_gradient_once_the_head_has_left_zero(session):
    attention = conv_blocks.VGGAttention("attention", widths=WIDTHS)
    loss = tf.reduce_mean(attention(tf.constant(values(1, 16, 16, 3))))
    variables = tf.trainable_variables()
    assert len(variables) == 16
    gradients = tf.gradients(loss, variables)
    session.run(tf.global_variables_initializer())
    head = attention._head.kernel
    head.load(values(*head.shape.as_list()), session)
    for gradient in session.run(gradients):
        assert np.abs(gradient).max() > 0
