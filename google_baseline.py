"""A learned filter before standard JPEG: the baseline of the field.

After Talebi et al., "Better Compression with Deep Pre-Editing", 2020
(https://arxiv.org/abs/2002.00113), with MSE and an estimated rate as its only losses.
Differs from the paper: the rate is estimated by the factorized prior of
tensorflow-compression. TensorFlow, graph mode.
"""

from __future__ import annotations

import arg_parser
import tensorflow_v1 as tf
from conv_blocks import ResConvLayer
from image_utils import add_gaussian_noise
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from learned_jpeg.models.contract import Coded, Tensor, TrainingGraph, Traits
from learned_jpeg.models.settings import ModelSettings
from training import losses
from training.differentiable import (
    Pipeline,
    divide,
    round_with_slopes,
    standard_tables,
)

MAX_NOISE_STDDEV = 0.15
TRAINING_QUALITIES = (8, 25)


class GoogleBaseline:
    """ResConvLayer on the image, then JPEG with the IJG tables of a quality."""

    NAME = "google_baseline"
    TRAITS = Traits(
        description="a learned filter before standard JPEG",
        default_quality=25,
        has_network=True,
    )

    def __init__(self, settings: ModelSettings, dtype):
        """Creates the variables; see `contract.Model`."""
        self._settings = settings
        self._edit = ResConvLayer("editor", dtype=dtype)
        self.tables = None
        self.pretrained = []
        self.frozen = []

    def code(self, x: Tensor, quality: Tensor = None) -> Coded:
        """Codes a batch of RGB in [0, 1], `[b, h, w, 3]`, at a quality."""
        jpeg = Pipeline(x, self._settings.subsampling)
        edited = self._edit(x, training=False)
        return jpeg.code(jpeg.dct(edited), standard_tables(quality))

    def training_graph(self, x: Tensor, seed: Tensor) -> TrainingGraph:
        """Builds the loss on a batch of RGB in [0, 1], `[b, h, w, 3]`."""
        jpeg = Pipeline(x, self._settings.subsampling)
        low, high = TRAINING_QUALITIES
        quality = tf.random.stateless_uniform([], seed, low, high + 1, tf.int32)
        qtables = standard_tables(quality)
        noisy = add_gaussian_noise(x, MAX_NOISE_STDDEV, tf.add(seed, [0, 1]))
        dct = jpeg.dct(self._edit(noisy, training=True))
        z = divide(dct, qtables)
        # The mean slope of rounding is 1. That of a polynomial, 1/4, would tell the
        # filter that distortion costs a fourth of what it does.
        integers = round_with_slopes(dct, qtables, table_slope=0.0)
        x_tilde = jpeg.reconstruct(integers, qtables)

        rate = losses.estimated_bpp(jpeg, z, tf.add(seed, [0, 3]))
        terms = {"mse": losses.mse_255(x, x_tilde), "estimated_bpp": rate}
        loss = self._settings.lmbda * terms["mse"] + rate
        return TrainingGraph(loss, terms, x_tilde, self.code(x, quality), maps={})


def main():
    """Runs the command of the command line."""
    return commands.run(GoogleBaseline, arg_parser.parse_model(GoogleBaseline))


if __name__ == "__main__":
    run_main(main)
