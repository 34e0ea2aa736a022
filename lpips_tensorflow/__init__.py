"""LPIPS, the learned perceptual distance of images, as native TensorFlow 1 ops.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", CVPR 2018, https://arxiv.org/abs/1801.03924. Version 0.1 with linear
calibration of AlexNet ("net-lin", "alex"), with the weights in weights/. Unlike a
graph imported from a file it can be read, is differentiable with respect to both
images, and takes images of any size.
"""

from __future__ import annotations

import tensorflow_v1 as tf
import weights

MIN_SIDE = 31  # px: below it the second max-pool of AlexNet has no output.

_SHIFT = (-0.030, -0.088, -0.188)  # of images in [-1, 1]
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10  # added to the norm of a feature vector

# (stride, padding on each side, 3x3 max-pool of stride 2 before it) of conv0, ...
_CONVOLUTIONS = (
    (4, 2, False),
    (1, 2, True),
    (1, 1, True),
    (1, 1, False),
    (1, 1, False),
)

_COLLECTION = "lpips_weights"  # of the graph, and the scope of its tensors


def lpips(
    input0: tf.Tensor,
    input1: tf.Tensor,
    model: str = "net-lin",
    net: str = "alex",
    dtype: str | tf.DType = "float32",
) -> tf.Tensor:
    """LPIPS distance of two batches of images.

    Args:
      input0: [b, h, w, 3], float32, RGB in [0, 1], sides of `MIN_SIDE` px or more.
      input1: the same.
      model: "net-lin", the only one there is here.
      net: "alex", the only one there is here.
      dtype: of the convolutions. tf.bfloat16 is faster on some machines and good
        enough for training; all the rest is float32 in any case.

    Returns:
      [b], float32, 0 for equal images.

    Raises:
      ValueError: `model` or `net` is another one.
    """
    if (model, net) != ("net-lin", "alex"):
        raise ValueError(f'no LPIPS model {model!r}, {net!r}: use "net-lin", "alex"')
    with tf.name_scope("lpips"):
        return distance(features(input0, dtype), features(input1, dtype))


def features(x: tf.Tensor, dtype: str | tf.DType = "float32") -> list[tf.Tensor]:
    """Activations of AlexNet's five convolutions, normalised at each position.

    Args:
      x: [b, h, w, 3], float32, RGB in [0, 1].
      dtype: of the convolutions.

    Returns:
      list of five float32 tensors [b, rows, cols, channels]; every vector of
      channels has the length 1 (or 0, where no channel is active).
    """
    constants = _graph_weights()
    x = (2 * x - 1 - tf.constant(_SHIFT)) / tf.constant(_SCALE)
    outputs = []
    for i, (stride, padding, pool_before) in enumerate(_CONVOLUTIONS):
        if pool_before:
            x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        x = _convolution(x, constants, f"conv{i}", stride, padding, dtype)
        outputs.append(_normalise(x))
    return outputs


def distance(features0: list[tf.Tensor], features1: list[tf.Tensor]) -> tf.Tensor:
    """LPIPS distance of images whose `features` are known.

    Args:
      features0: result of `features`.
      features1: the same, for images of the same size.

    Returns:
      [b], float32: squared differences, weighted by the linear layers, mean over
      the positions, sum over the five activations.
    """
    constants = _graph_weights()
    distances = [
        tf.reduce_mean(
            tf.reduce_sum(tf.squared_difference(y0, y1) * constants[f"lin{i}"], -1),
            axis=[1, 2],
        )
        for i, (y0, y1) in enumerate(zip(features0, features1, strict=True))
    ]
    return tf.add_n(distances)


def _graph_weights():
    """The weights as constants of the default graph, added to it only once."""
    constants = _constants_of_default_graph()
    if not constants:
        # Outside of the loop or branch in which the first call may stand.
        with tf.control_dependencies(None), tf.name_scope(f"{_COLLECTION}/"):
            for name, array in weights.load("alexnet_lpips").items():
                tf.add_to_collection(_COLLECTION, tf.constant(array, name=name))
        constants = _constants_of_default_graph()
    return {constant.op.name.partition("/")[-1]: constant for constant in constants}


def _constants_of_default_graph():
    """The weights it has; the graph of a branch shares the list, but no tensors."""
    constants = tf.get_collection(_COLLECTION)
    return [x for x in constants if x.graph is tf.get_default_graph()]


def _convolution(x, constants, name, stride, padding, dtype):
    """Convolution in `dtype`, bias and ReLU; padded as in torch, x and y float32."""
    sides = [padding, padding]
    # "SAME" pads a stride unevenly, and explicit padding inside of the convolution
    # has a gradient in bfloat16 that is 10 times slower.
    x = tf.pad(tf.cast(x, dtype), [[0, 0], sides, sides, [0, 0]])
    x = tf.nn.conv2d(x, tf.cast(constants[f"{name}/kernel"], dtype), stride, "VALID")
    return tf.nn.relu(tf.cast(x, tf.float32) + constants[f"{name}/bias"])


def _normalise(x):
    """Scales every vector of channels to length 1."""
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    # The gradient of the root is infinite at 0, where no channel is active: hold it
    # off. The result is the same, as all channels are 0 there.
    norm = tf.sqrt(tf.maximum(squares, _EPSILON**2))
    return x / (norm + _EPSILON)
