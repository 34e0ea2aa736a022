"""The networks: VGG attention (ljpeg_attention) and ResConvLayer (google_baseline).

Plain TensorFlow variables and ops, NHWC. Variables are float32; with
`dtype=tf.bfloat16` the convolutions, and only they, run in bfloat16.
"""

from __future__ import annotations

import concurrent.futures
import os

import numpy as np

import tensorflow_v1 as tf
import weights
from image_utils import split_last_axis
from learned_jpeg.common.errors import UserError

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

VGG_WIDTHS = (64, 128, 256)

# What the weights expect of RGB in [0, 1]: (x - mean) / stddev. torchvision's VGG-16;
# Keras' VGG-19 wants 255 x minus the means of its (BGR) training set.
VGG_MEAN = {
    "vgg16": (0.485, 0.456, 0.406),
    "vgg19": (123.68 / 255, 116.779 / 255, 103.939 / 255),
}
VGG_STDDEV = {"vgg16": (0.229, 0.224, 0.225), "vgg19": (1 / 255,) * 3}

# The attention starts at sigmoid(6) = 0.9975 everywhere: as good as plain JPEG. At 0.95
# only the loss of contrast costs an MSE of 5.
ATTENTION_BIAS = 6.0


class Conv2D:
    """A convolution, padding `same`, stride 1, with bias."""

    def __init__(
        self,
        name,
        in_channels,
        filters,
        size,
        dtype="float32",
        *,
        kernel_initializer=None,
        bias_initializer=None,
        trainable=True,
    ):
        """Creates `<name>/kernel` [size, size, in, filters] and `<name>/bias`.

        Args:
          name: of the variable scope.
          in_channels, filters, size: shape of the kernel, which is square.
          dtype: tf.float32 or tf.bfloat16, of the convolution.
          kernel_initializer: Glorot's uniform one if None.
          bias_initializer: zeros if None.
          trainable: whether an optimizer may change the variables.
        """
        self._dtype = dtype
        with tf.variable_scope(name):
            self.kernel = tf.get_variable(
                "kernel",
                [size, size, in_channels, filters],
                initializer=kernel_initializer,
                trainable=trainable,
                use_resource=True,
            )
            self.bias = tf.get_variable(
                "bias",
                [filters],
                initializer=bias_initializer or tf.zeros_initializer(),
                trainable=trainable,
                use_resource=True,
            )

    def __call__(self, x):
        """Maps `[b, h, w, in]` to `[b, h, w, filters]` in the dtype of this layer."""
        x = tf.cast(x, self._dtype)
        x = tf.nn.conv2d(x, tf.cast(self.kernel, self._dtype), 1, "SAME")
        return tf.nn.bias_add(x, tf.cast(self.bias, self._dtype))


class BatchNorm:
    """Batch normalisation over batch, height and width, in float32 statistics."""

    MOMENTUM = 0.99
    EPSILON = 1e-3

    def __init__(self, name, channels, gamma_initializer=None):
        """Creates gamma (ones unless told), beta and the moments, each `[channels]`."""
        zeros, ones = tf.zeros_initializer(), tf.ones_initializer()

        def variable(key, initializer, trainable=True):
            return tf.get_variable(
                key,
                [channels],
                initializer=initializer,
                trainable=trainable,
                use_resource=True,
            )

        with tf.variable_scope(name):
            self._gamma = variable("gamma", gamma_initializer or ones)
            self._beta = variable("beta", zeros)
            self._mean = variable("moving_mean", zeros, trainable=False)
            self._variance = variable("moving_variance", ones, trainable=False)

    def __call__(self, x, training):
        """Normalises `[b, h, w, channels]`; keeps its dtype.

        In training the moments of the batch are used, and their moving averages are
        updated by the ops of `tf.GraphKeys.UPDATE_OPS`.
        """
        if not training:
            scale = self._gamma * tf.math.rsqrt(self._variance + self.EPSILON)
            offset = self._beta - self._mean * scale
            return x * tf.cast(scale, x.dtype) + tf.cast(offset, x.dtype)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self._gamma,
            offset=self._beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.EPSILON,
            is_training=True,
        )
        for moving, value in ((self._mean, mean), (self._variance, variance)):
            update = moving.assign_sub((1 - self.MOMENTUM) * (moving - value))
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
        return y


class ResUnit:
    """3x3 conv, batch norm, LeakyReLU, 3x3 conv, ReLU, batch norm, plus the input."""

    def __init__(self, name, channels, dtype="float32"):
        """Creates two convolutions of `channels` filters and their batch norms."""
        with tf.variable_scope(name):
            self._conv0 = Conv2D("conv0", channels, channels, 3, dtype)
            self._norm0 = BatchNorm("norm0", channels)
            self._conv1 = Conv2D("conv1", channels, channels, 3, dtype)
            self._norm1 = BatchNorm("norm1", channels)

    def __call__(self, x, training):
        """Maps `[b, h, w, channels]` to the same shape."""
        y = tf.nn.leaky_relu(self._norm0(self._conv0(x), training), 0.2)
        return x + self._norm1(tf.nn.relu(self._conv1(y)), training)


def _passing_initializer(shape, dtype="float32", **_):
    """Glorot's uniform initializer, but the first three channels pass unchanged."""
    size, _, in_channels, filters = shape
    random, passed = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    random[..., :3] = 0
    channels = np.arange(min(3, in_channels, filters))
    passed[size // 2, size // 2, channels, channels] = 1
    return tf.glorot_uniform_initializer()(shape, dtype) * random + passed


class ResConvLayer:
    """A network that edits images, RGB to RGB, all convolutions `same`.

    After Talebi et al., "Better Compression with Deep Pre-Editing", 2020 (arXiv
    2002.00113). It starts as the identity, for pixels that are not negative: RGB passes
    every layer in three channels of its own, and the residual branch is scaled by 0.
    From random weights it would first have to learn to reproduce an image, for which
    learning rates of 1e-5 are far too low.
    """

    def __init__(self, name, filters=(64, 64, 64, 64, 128, 128, 3), dtype="float32"):
        """Creates the layers.

        Args:
          name: of the variable scope.
          filters: channels of the first convolution, the residual units, the
            convolution that closes them, and the last three convolutions. The units
            keep the channels of the first convolution.
          dtype: tf.float32 or tf.bfloat16, of the convolutions.

        Raises:
          ValueError: channels that the residual sums cannot join.
        """
        first, *units, close, wide0, wide1, out = filters
        if set(units) | {close} != {first}:
            raise ValueError(f"residual channels differ in filters={tuple(filters)}")
        passing = {"kernel_initializer": _passing_initializer}
        with tf.variable_scope(name):
            self._first = Conv2D("first", 3, first, 7, dtype, **passing)
            self._units = [
                ResUnit(f"unit{i}", channels, dtype) for i, channels in enumerate(units)
            ]
            self._close = Conv2D("close", first, close, 3, dtype)
            self._close_norm = BatchNorm("close_norm", close, tf.zeros_initializer())
            self._wide0 = Conv2D("wide0", close, wide0, 3, dtype, **passing)
            self._wide1 = Conv2D("wide1", wide0, wide1, 3, dtype, **passing)
            self._out = Conv2D("out", wide1, out, 7, dtype, **passing)

    def __call__(self, x, training):
        """Maps float32 `[b, h, w, 3]` to float32 `[b, h, w, filters[-1]]`."""
        y = x = tf.nn.leaky_relu(self._first(x), 0.2)
        for unit in self._units:
            y = unit(y, training)
        y = x + self._close_norm(self._close(y), training)
        y = tf.nn.leaky_relu(self._wide0(y), 0.2)
        y = tf.nn.leaky_relu(self._wide1(y), 0.2)
        return tf.cast(self._out(y), tf.float32)


class VGGTrunk:
    """VGG through its third max-pool: stride 8, 256 channels."""

    def __init__(
        self, name, trunk="vgg16", trainable=True, dtype="float32", widths=VGG_WIDTHS
    ):
        """Creates the convolutions `conv0`, `conv1`, ...

        Args:
          name: of the variable scope.
          trunk: "vgg16" or "vgg19".
          trainable: whether an optimizer may change the weights.
          dtype: tf.float32 or tf.bfloat16, of the convolutions.
          widths: channels of the three blocks; those of ImageNet's weights unless a
            test wants a small trunk.
        """
        self._mean = np.array(VGG_MEAN[trunk], np.float32)
        self._stddev = np.array(VGG_STDDEV[trunk], np.float32)
        self._blocks = []
        channels = 3
        with tf.variable_scope(name):
            for count, width in zip(weights.VGG_BLOCKS[trunk], widths, strict=True):
                block = []
                for _ in range(count):
                    index = sum(map(len, self._blocks)) + len(block)
                    block.append(
                        Conv2D(
                            f"conv{index}",
                            channels,
                            width,
                            3,
                            dtype,
                            kernel_initializer=tf.variance_scaling_initializer(2.0),
                            trainable=trainable,
                        )
                    )
                    channels = width
                self._blocks.append(block)
        self.channels = channels

    @property
    def variables(self) -> list[tf.Variable]:
        """Kernel and bias of each convolution, in order."""
        convs = [conv for block in self._blocks for conv in block]
        return [v for conv in convs for v in (conv.kernel, conv.bias)]

    def __call__(self, x):
        """Maps RGB in [0, 1], `[b, 8 rows, 8 cols, 3]`, to `[b, rows, cols, 256]`."""
        x = (x - self._mean) / self._stddev
        for block in self._blocks:
            for conv in block:
                x = tf.nn.relu(conv(x))
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        return tf.cast(x, tf.float32)


class VGGAttention:
    """Attention for every coefficient, from VGG features of the image."""

    def __init__(self, name, trunk="vgg16", freeze=False, dtype="float32", **options):
        """Creates the trunk and the 1x1 convolution.

        Args:
          name: of the variable scope.
          trunk: "vgg16" or "vgg19".
          freeze: leaves the trunk as it is: no gradient is computed for it.
          dtype: tf.float32 or tf.bfloat16, of the trunk's convolutions.
          **options: `widths` of the trunk.
        """
        self._freeze = freeze
        with tf.variable_scope(name):
            self.trunk = VGGTrunk("trunk", trunk, not freeze, dtype, **options)
            self._head = Conv2D(
                "head",
                self.trunk.channels,
                128,
                1,
                kernel_initializer=tf.zeros_initializer(),
                bias_initializer=tf.constant_initializer(ATTENTION_BIAS),
            )

    def __call__(self, x):
        """Attention in (0, 1) of an image padded to blocks.

        Args:
          x: RGB in [0, 1], `[b, 8 rows, 8 cols, 3]`.

        Returns:
          float32 `[b, rows, cols, 8 (v), 8 (u), 2 (luma, chroma)]`.
        """
        return self.of_features(self.features(x))

    def features(self, x: tf.Tensor) -> tf.Tensor:
        """The trunk's features of a padded image, `[b, rows, cols, channels]`."""
        features = self.trunk(x)
        return tf.stop_gradient(features) if self._freeze else features

    def of_features(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the attention of `features`, as a call does of images."""
        return split_last_axis(tf.sigmoid(self._head(features)), [8, 8, 2])


def imagenet_weights(trunk: str) -> list[np.ndarray]:
    """ImageNet weights of a trunk, as VGGTrunk normalises and orders its input (RGB).

    Args:
      trunk: "vgg16" (the repository's file) or "vgg19" (Keras' cache or download).

    Returns:
      float32 arrays, in the order of `VGGTrunk.variables`.

    Raises:
      UserError: the weights cannot be had; the text says what to do.
    """
    count = sum(weights.VGG_BLOCKS[trunk])
    if trunk == "vgg16":
        arrays = weights.load("vgg16")
        return [
            arrays[f"conv{i}/{part}"]
            for i in range(count)
            for part in ("kernel", "bias")
        ]
    arrays = _keras_vgg19_weights()[: 2 * count]
    arrays[0] = arrays[0][:, :, ::-1]  # Keras' weights take BGR.
    return arrays


def _load_keras_vgg19():
    model = tf.keras.applications.VGG19(weights="imagenet", include_top=False)
    return model.get_weights()


def _keras_vgg19_weights():
    try:
        # Keras 3 knows no graph mode, and in a thread of its own there is no graph.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(_load_keras_vgg19).result()
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        cache = os.path.join(
            os.environ.get("KERAS_HOME", os.path.join("~", ".keras")), "models"
        )
        raise UserError(
            "--vgg vgg19: Keras' ImageNet weights are neither in its cache nor to be "
            f"downloaded ({(str(error) or repr(error)).splitlines()[0]}): put "
            "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 into "
            f"{cache}, or use --vgg vgg16"
        ) from error
