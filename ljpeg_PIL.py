"""The pipeline of ljpeg.py with the IJG tables of a quality 1..100: nothing is learned.

The learned models are measured against these tables, in our own coefficients.
evaluate.py draws its JPEG curve with Pillow's encoder, from which this one differs by
the rounding of its DCT.
"""

from __future__ import annotations

import arg_parser
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from learned_jpeg.models.contract import Coded, Tensor, Traits
from learned_jpeg.models.settings import ModelSettings
from training.differentiable import Pipeline, standard_tables


class StandardJPEG:
    """Plain JPEG: no variables, the quality is an input."""

    NAME = "ljpeg_PIL"
    TRAITS = Traits(
        description="the pipeline with the standard (IJG) tables",
        is_trained=False,
        default_quality=75,
    )

    def __init__(self, settings: ModelSettings, dtype):
        """Creates nothing; see `contract.Model`."""
        del dtype  # There are no convolutions.
        self._settings = settings
        self.tables = None
        self.pretrained = []
        self.frozen = []

    def code(self, x: Tensor, quality: Tensor = None) -> Coded:
        """Codes a batch of RGB in [0, 1], `[b, h, w, 3]`, at a quality."""
        jpeg = Pipeline(x, self._settings.subsampling)
        return jpeg.code(jpeg.dct(x), standard_tables(quality))


def main():
    """Runs the command of the command line."""
    return commands.run(StandardJPEG, arg_parser.parse_model(StandardJPEG))


if __name__ == "__main__":
    run_main(main)
