"""Learned quantization tables for JPEG.

After Strümpler, Yang and Timofte, "Learning to Improve Image Compression without
Changing the Standard Decoder", ECCV Workshops 2020 (https://arxiv.org/abs/2009.12927).
Gradient descent through a differentiable JPEG learns the 128 entries of the two tables;
the files that come out open in any decoder. TensorFlow, graph mode.
"""

import arg_parser
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from training import differentiable, variables
from training.losses import compiled_mse, distortion, estimated_bpp, rounded


class LJPEG:
    """The tables-only model."""

    NAME = "ljpeg"
    TAKES_QUALITY = False
    TABLES_ALONE = True

    def __init__(self, settings, dtype):
        """Creates the variables.

        Args:
          settings: the flags of the training, as attributes.
          dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
        """
        self._settings = settings
        self._sampling = settings.subsampling
        self._dtype = dtype
        self.tables = differentiable.LearnedTables(settings.table_init)
        self.pretrained = variables.pretrained_tables(self.tables, settings)
        self.frozen = []

    def code(self, x, quality=None):
        """Codes `x`, RGB in [0, 1], `[b, h, w, 3]`; returns `differentiable.Coded`."""
        del quality  # The tables are learned.
        height, width = differentiable.picture_size(x)
        return differentiable.code(
            *(differentiable.rgb_to_dct(x, self._sampling), self.tables.integers),
            *(height, width, self._sampling),
        )

    def training_graph(self, x, seed):
        """The loss on a batch `x`, RGB in [0, 1]; a `differentiable.TrainingGraph`."""
        settings, qtables = self._settings, self.tables.entries
        height, width = differentiable.picture_size(x)
        dct = differentiable.rgb_to_dct(x, self._sampling)
        z = differentiable.divide(dct, qtables)
        if settings.rate_model == "rdoq":
            # Compiles for a second, and only this rate needs it.
            from training.searched_rate import searched_integers

            integers, rate = searched_integers(x, z, qtables, settings)
        else:
            integers = rounded(dct, qtables, settings)
        x_tilde = differentiable.reconstruct(
            integers, qtables, height, width, self._sampling
        )

        mse = compiled_mse(x, qtables, settings)
        total, terms = distortion(x, x_tilde, self._dtype, settings, mse)
        terms["regularizer"] = self.tables.regularizer
        loss = settings.lmbda * total
        loss += settings.total_weight_regularizer * terms["regularizer"]
        if settings.rate_model == "entropy":
            terms["estimated_bpp"] = estimated_bpp(z, x, seed, self._sampling)
            loss += terms["estimated_bpp"]
        elif settings.rate_model == "rdoq":
            terms["estimated_bpp"] = rate
            loss += rate
        return differentiable.TrainingGraph(loss, terms, x_tilde, self.code(x), maps={})


def main():
    """Runs the command of the command line."""
    args = arg_parser.parse_ljpeg()
    return commands.run(LJPEG, args)


if __name__ == "__main__":
    run_main(main)
