"""Learned quantization tables and VGG attention for JPEG: the proposed model.

After Strümpler, Yang and Timofte, "Learning to Improve Image Compression without
Changing the Standard Decoder", ECCV Workshops 2020 (https://arxiv.org/abs/2009.12927).
An attention network on VGG features scales every DCT coefficient before rounding, so
that the content of the picture decides what is smoothed away. The thesis uses VGG-19;
the default here is VGG-16. TensorFlow, graph mode.
"""

import arg_parser
import tensorflow_v1 as tf
from conv_blocks import VGGAttention, imagenet_weights
from image_utils import pad_to_blocks
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from training import differentiable, variables
from training.losses import compiled_mse, distortion, estimated_bpp, rounded


class LJPEGAttention:
    """Learned tables, and attention for every coefficient."""

    NAME = "ljpeg_attention"
    TAKES_QUALITY = False
    TABLES_ALONE = False

    def __init__(self, settings, dtype):
        """Creates the variables.

        Args:
          settings: the flags of the training, as attributes.
          dtype: tf.float32 or tf.bfloat16, of the convolutions.
        """
        self._settings = settings
        self._sampling = settings.subsampling
        self._dtype = dtype
        self.tables = differentiable.LearnedTables(settings.table_init)
        self._attention = VGGAttention(
            "attention", settings.vgg, settings.freeze_vgg, dtype
        )
        trunk = self._attention.trunk.variables
        self.pretrained = [
            (trunk, lambda: imagenet_weights(settings.vgg)),
            *variables.pretrained_tables(self.tables, settings),
        ]
        self.frozen = trunk if settings.freeze_vgg else []

    def features(self, x):
        """What the attention is computed from: of `x` `[b, h, w, 3]`, RGB in [0, 1].

        Returns:
          float32 `[b, rows, cols, channels]`, a vector for each block.
        """
        return self._attention.features(pad_to_blocks(x))

    def _edit(self, x, features):
        attention = self._attention.of_features(features)
        dct = differentiable.rgb_to_dct(x, self._sampling)
        return differentiable.scale_blocks(dct, attention, self._sampling), attention

    def code(self, x, quality=None):
        """Codes `x`, RGB in [0, 1], `[b, h, w, 3]`; returns `differentiable.Coded`."""
        del quality  # The tables are learned.
        height, width = differentiable.picture_size(x)
        dct, _ = self._edit(x, self.features(x))
        return differentiable.code(
            dct, self.tables.integers, height, width, self._sampling
        )

    def training_graph(self, x, seed, features=None):
        """The loss on a batch; a `differentiable.TrainingGraph`.

        Args:
          x: RGB in [0, 1], `[b, h, w, 3]`.
          seed: int32 tensor `[2]` of the noise.
          features: of `x`, as `self.features` has them, if they are known.
        """
        settings, qtables = self._settings, self.tables.entries
        height, width = differentiable.picture_size(x)
        if features is None:
            features = self.features(x)
        dct, attention = self._edit(x, features)
        integers = rounded(dct, qtables, settings)
        x_tilde = differentiable.reconstruct(
            integers, qtables, height, width, self._sampling
        )

        mse = compiled_mse(x, qtables, settings, attention)
        total, terms = distortion(x, x_tilde, self._dtype, settings, mse)
        terms["regularizer"] = self.tables.regularizer
        terms["attention"] = tf.reduce_mean(attention)
        loss = settings.lmbda * total
        loss += settings.total_weight_regularizer * terms["regularizer"]
        if settings.rate_model == "entropy":
            z = differentiable.divide(dct, qtables)
            terms["estimated_bpp"] = estimated_bpp(z, x, seed, self._sampling)
            loss += terms["estimated_bpp"]
        else:
            loss += terms["attention"]
        coded = differentiable.code(
            dct, self.tables.integers, height, width, self._sampling
        )
        return differentiable.TrainingGraph(
            loss, terms, x_tilde, coded, _maps(attention)
        )


def _maps(attention):
    luma, chroma = tf.unstack(tf.reduce_mean(attention, [3, 4]), axis=-1)
    return {
        "attention_luma": luma[..., tf.newaxis],
        "attention_chroma": chroma[..., tf.newaxis],
    }


def main():
    """Runs the command of the command line."""
    args = arg_parser.parse_ljpeg_attention()
    return commands.run(LJPEGAttention, args)


if __name__ == "__main__":
    run_main(main)
