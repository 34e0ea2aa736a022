"""The pipeline of ljpeg.py with the IJG tables of a quality 1..100: nothing is learned.

What the learned models are measured against, in our own coefficients; evaluate.py draws
its JPEG curve with Pillow's encoder, from which this one differs by its DCT's rounding.
"""

import arg_parser
import tensorflow_v1 as tf
from image_utils import get_std_jpeg_qtable
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from training import differentiable


class StandardJPEG:
    """Plain JPEG: no variables, the quality is an input."""

    NAME = "ljpeg_PIL"
    TAKES_QUALITY = True
    TABLES_ALONE = True

    def __init__(self, settings, dtype):
        """Takes what every model takes, of which it needs the subsampling."""
        del dtype
        self._sampling = settings.subsampling
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
        qtables = tf.cast(get_std_jpeg_qtable(quality), tf.float32)
        dct = differentiable.rgb_to_dct(x, self._sampling)
        return differentiable.code(dct, qtables, height, width, self._sampling)


def main():
    """Runs the command of the command line."""
    args = arg_parser.parse_ljpeg_pil()
    return commands.run(StandardJPEG, args)


if __name__ == "__main__":
    run_main(main)
