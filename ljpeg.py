"""Learned quantization tables for JPEG.

After Strümpler, Yang and Timofte, "Learning to Improve Image Compression without
Changing the Standard Decoder", ECCV Workshops 2020 (https://arxiv.org/abs/2009.12927).
Gradient descent through a differentiable JPEG learns the 128 entries of the two tables;
the files that come out open in any decoder. TensorFlow, graph mode.
"""

from __future__ import annotations

import arg_parser
from learned_jpeg.commands import run as commands
from learned_jpeg.common.process import run_main
from learned_jpeg.models.contract import Coded, Tensor, TrainingGraph, Traits
from learned_jpeg.models.settings import ModelSettings
from training import losses, variables
from training.differentiable import LearnedTables, Pipeline, divide


class LJPEG:
    """The tables-only model."""

    NAME = "ljpeg"
    TRAITS = Traits(
        description="learned quantization tables for JPEG",
        rate_models=("entropy", "search", "proxy"),
        searches_without_checkpoint=True,
    )

    def __init__(self, settings: ModelSettings, dtype):
        """Creates the variables; see `contract.Model`."""
        self._settings = settings
        self._dtype = dtype
        self.tables = LearnedTables(settings.table_init)
        self.pretrained = variables.pretrained_tables(self.tables, settings)
        self.frozen = []

    def code(self, x: Tensor, quality: Tensor = None) -> Coded:
        """Codes a batch of RGB in [0, 1], `[b, h, w, 3]`, with the learned tables."""
        del quality  # The tables are learned.
        jpeg = Pipeline(x, self._settings.subsampling)
        return jpeg.code(jpeg.dct(x), self.tables.integers)

    def training_graph(self, x: Tensor, seed: Tensor) -> TrainingGraph:
        """Builds the loss on a batch of RGB in [0, 1], `[b, h, w, 3]`."""
        settings, qtables = self._settings, self.tables.entries
        jpeg = Pipeline(x, settings.subsampling)
        dct = jpeg.dct(x)
        z = divide(dct, qtables)
        if settings.rate_model == "search":
            # Imports numba and the search, which no other loss needs.
            from training.searched_rate import searched_integers

            integers, searched_bpp = searched_integers(jpeg, z, qtables, settings)
        else:
            integers = losses.rounded(dct, qtables, settings)
        x_tilde = jpeg.reconstruct(integers, qtables)

        distortion, terms = losses.coded_distortion(
            jpeg, x_tilde, qtables, settings, self._dtype
        )
        terms["regularizer"] = self.tables.regularizer
        loss = settings.lmbda * distortion
        loss += settings.total_weight_regularizer * terms["regularizer"]
        if settings.rate_model == "entropy":
            terms["estimated_bpp"] = losses.estimated_bpp(jpeg, z, seed)
            loss += terms["estimated_bpp"]
        elif settings.rate_model == "search":
            terms["estimated_bpp"] = searched_bpp
            loss += searched_bpp
        coded = jpeg.code(dct, self.tables.integers)
        return TrainingGraph(loss, terms, x_tilde, coded, maps={})


def main():
    """Runs the command of the command line."""
    return commands.run(LJPEG, arg_parser.parse_model(LJPEG))


if __name__ == "__main__":
    run_main(main)
