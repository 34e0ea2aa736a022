"""Learned quantization tables and VGG attention for JPEG: the proposed model.

After Strümpler, Yang and Timofte, "Learning to Improve Image Compression without
Changing the Standard Decoder", ECCV Workshops 2020 (https://arxiv.org/abs/2009.12927).
An attention network on VGG features scales every DCT coefficient before rounding, so
that the content of the image decides what is smoothed away. The publication uses
VGG-19; the default here is VGG-16. TensorFlow, graph mode.
"""

from __future__ import annotations

import arg_parser
import tensorflow_v1 as tf
from conv_blocks import VGGAttention, imagenet_weights
from image_utils import pad_to_blocks
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from learned_jpeg.models.contract import Coded, Tensor, TrainingGraph, Traits
from learned_jpeg.models.settings import ModelSettings
from training import losses, variables
from training.differentiable import LearnedTables, Pipeline, divide


class LJPEGAttention:
    """Learned tables, and attention for every coefficient."""

    NAME = "ljpeg_attention"
    TRAITS = Traits(
        description="learned tables and VGG attention for JPEG",
        rate_models=("entropy", "proxy"),
        has_network=True,
        has_trunk=True,
        has_maps=True,
    )

    def __init__(self, settings: ModelSettings, dtype):
        """Creates the variables; see `contract.Model`."""
        self._settings = settings
        self._dtype = dtype
        self.tables = LearnedTables(settings.table_init)
        self._attention = VGGAttention(
            "attention", settings.vgg, settings.freeze_vgg, dtype
        )
        trunk = self._attention.trunk.variables
        self.pretrained = [
            (trunk, lambda: imagenet_weights(settings.vgg)),
            *variables.pretrained_tables(self.tables, settings),
        ]
        self.frozen = trunk if settings.freeze_vgg else []

    def code(self, x: Tensor, quality: Tensor = None) -> Coded:
        """Codes a batch of RGB in [0, 1], `[b, h, w, 3]`, with the learned tables."""
        del quality  # The tables are learned.
        jpeg = Pipeline(x, self._settings.subsampling)
        attention = self._attention.of_features(self.features(x))
        return jpeg.code(jpeg.scale(jpeg.dct(x), attention), self.tables.integers)

    def training_graph(
        self, x: Tensor, seed: Tensor, features: Tensor = None
    ) -> TrainingGraph:
        """Builds the loss on a batch of RGB in [0, 1], `[b, h, w, 3]`."""
        settings, qtables = self._settings, self.tables.entries
        jpeg = Pipeline(x, settings.subsampling)
        if features is None:
            features = self.features(x)
        attention = self._attention.of_features(features)
        dct = jpeg.scale(jpeg.dct(x), attention)
        integers = losses.rounded(dct, qtables, settings)
        x_tilde = jpeg.reconstruct(integers, qtables)

        distortion, terms = losses.coded_distortion(
            jpeg, x_tilde, qtables, settings, self._dtype, attention
        )
        terms["regularizer"] = self.tables.regularizer
        terms["attention"] = tf.reduce_mean(attention)
        loss = settings.lmbda * distortion
        loss += settings.total_weight_regularizer * terms["regularizer"]
        if settings.rate_model == "entropy":
            z = divide(dct, qtables)
            terms["estimated_bpp"] = losses.estimated_bpp(jpeg, z, seed)
            loss += terms["estimated_bpp"]
        else:
            loss += terms["attention"]
        coded = jpeg.code(dct, self.tables.integers)
        return TrainingGraph(loss, terms, x_tilde, coded, _maps(attention))

    def features(self, x: Tensor) -> Tensor:
        """Returns what the attention is computed from, a vector for each block.

        Args:
          x: `[b, h, w, 3]`, RGB in [0, 1].

        Returns:
          float32 `[b, rows, cols, channels]`.
        """
        return self._attention.features(pad_to_blocks(x))


def _maps(attention):
    luma, chroma = tf.unstack(tf.reduce_mean(attention, [3, 4]), axis=-1)
    return {
        "attention_luma": luma[..., tf.newaxis],
        "attention_chroma": chroma[..., tf.newaxis],
    }


def main():
    """Runs the command of the command line."""
    return commands.run(LJPEGAttention, arg_parser.parse_model(LJPEGAttention))


if __name__ == "__main__":
    run_main(main)
