"""Learned quantization tables for JPEG.

After Strümpler, Yang and Timofte, "Learning to Improve Image Compression without
Changing the Standard Decoder", ECCV Workshops 2020 (https://arxiv.org/abs/2009.12927).
Gradient descent through a differentiable JPEG learns the 128 entries of the two tables;
the files that come out open in any decoder. TensorFlow 2.14, graph mode.
"""

import tensorflow_log

import arg_parser
import compression
import differentiable_jpeg as jpeg
import training
from errors import run_main
from image_utils import differentiable_round
from losses import distortion, estimated_bpp, searched_integers, table_slope


class LJPEG:
    """The tables-only model."""

    NAME = "ljpeg"
    TAKES_QUALITY = False

    def __init__(self, settings, dtype):
        """Creates the variables.

        Args:
          settings: the flags of the training, as attributes.
          dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
        """
        self._settings = settings
        self._dtype = dtype
        self.tables = jpeg.LearnedTables("qtables", settings.table_init)
        self.pretrained = []
        self.frozen = []

    def code(self, x, quality=None):
        """Codes `x`, RGB in [0, 1], `[b, h, w, 3]`; returns `jpeg.Coded`."""
        del quality  # The tables are learned.
        height, width = jpeg.picture_size(x)
        return jpeg.code(jpeg.rgb_to_dct(x), self.tables.integers, height, width)

    def training_graph(self, x, seed):
        """The loss on a batch `x`, RGB in [0, 1]; returns `jpeg.TrainingGraph`."""
        settings, qtables = self._settings, self.tables.entries
        height, width = jpeg.picture_size(x)
        dct = jpeg.rgb_to_dct(x)
        z = jpeg.divide(dct, qtables)
        if settings.rate_model == "rdoq":
            integers, rate = searched_integers(z, qtables, settings.lmbda)
        elif settings.rate_model == "entropy":
            slope = table_slope(settings.lpips_weight)
            integers = jpeg.round_with_slopes(dct, qtables, slope)
        else:
            integers = differentiable_round(z)
        x_tilde = jpeg.reconstruct(integers, qtables, height, width)

        total, terms = distortion(
            x, x_tilde, self._dtype, settings.lpips_weight, settings.msssim_weight
        )
        terms["regularizer"] = self.tables.regularizer
        loss = settings.lmbda * total
        loss += settings.total_weight_regularizer * terms["regularizer"]
        if settings.rate_model == "entropy":
            terms["estimated_bpp"] = estimated_bpp(z, x, seed)
            loss += terms["estimated_bpp"]
        elif settings.rate_model == "rdoq":
            terms["estimated_bpp"] = rate
            loss += rate
        return jpeg.TrainingGraph(loss, terms, x_tilde, self.code(x), maps={})


def main():
    """Runs the command of the command line."""
    args = arg_parser.parse_ljpeg()
    commands = {
        "train": training.train,
        "compress": compression.compress,
        "export": compression.export,
    }
    return commands[args.command](LJPEG, args)


if __name__ == "__main__":
    run_main(main)
