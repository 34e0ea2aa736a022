"""A learned filter before standard JPEG: the baseline of the field.

After Talebi et al., "Better Compression with Deep Pre-Editing", 2020
(https://arxiv.org/abs/2002.00113), with MSE and an estimated rate as its only losses.
Differs from the paper: the rate is estimated by the factorized prior of
tensorflow-compression. TensorFlow, graph mode.
"""

import arg_parser
import tensorflow_v1 as tf
from conv_blocks import ResConvLayer
from image_utils import add_gaussian_noise, get_std_jpeg_qtable
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from training import differentiable
from training.losses import estimated_bpp, mse_255

MAX_NOISE_STDDEV = 0.15
TRAINING_QUALITIES = (8, 25)


class GoogleBaseline:
    """ResConvLayer on the picture, then JPEG with the IJG tables of a quality."""

    NAME = "google_baseline"
    TAKES_QUALITY = True
    TABLES_ALONE = False

    def __init__(self, settings, dtype):
        """Creates the variables.

        Args:
          settings: the flags of the training, as attributes.
          dtype: tf.float32 or tf.bfloat16, of the convolutions.
        """
        self._settings = settings
        self._sampling = settings.subsampling
        self._edit = ResConvLayer("editor", dtype=dtype)
        self.tables = None
        self.pretrained = []
        self.frozen = []

    def code(self, x, quality):
        """Codes `x`, RGB in [0, 1], `[b, h, w, 3]`, with the tables of a quality.

        Args:
          x: pictures.
          quality: int or scalar int32 tensor, 1..100.

        Returns:
          `differentiable.Coded`.
        """
        height, width = differentiable.picture_size(x)
        edited = self._edit(x, training=False)
        dct = differentiable.rgb_to_dct(edited, self._sampling)
        qtables = tf.cast(get_std_jpeg_qtable(quality), tf.float32)
        return differentiable.code(dct, qtables, height, width, self._sampling)

    def training_graph(self, x, seed):
        """The loss on a batch `x`, RGB in [0, 1]; a `differentiable.TrainingGraph`."""
        height, width = differentiable.picture_size(x)
        low, high = TRAINING_QUALITIES
        quality = tf.random.stateless_uniform([], seed, low, high + 1, tf.int32)
        qtables = tf.cast(get_std_jpeg_qtable(quality), tf.float32)
        noisy = add_gaussian_noise(x, MAX_NOISE_STDDEV, seed + [0, 1])
        edited = self._edit(noisy, training=True)
        dct = differentiable.rgb_to_dct(edited, self._sampling)
        z = differentiable.divide(dct, qtables)
        # The mean slope of rounding is 1. That of a polynomial, 1/4, would tell the
        # filter that distortion costs a fourth of what it does.
        integers = differentiable.round_with_slopes(dct, qtables, 0.0)
        x_tilde = differentiable.reconstruct(
            integers, qtables, height, width, self._sampling
        )

        rate = estimated_bpp(z, x, seed + [0, 3], self._sampling)
        terms = {"mse": mse_255(x, x_tilde), "estimated_bpp": rate}
        loss = self._settings.lmbda * terms["mse"] + rate
        return differentiable.TrainingGraph(
            loss, terms, x_tilde, self.code(x, quality), maps={}
        )


def main():
    """Runs the command of the command line."""
    args = arg_parser.parse_google_baseline()
    return commands.run(GoogleBaseline, args)


if __name__ == "__main__":
    run_main(main)
