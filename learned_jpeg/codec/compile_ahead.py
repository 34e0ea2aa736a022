"""Compiles what an encoder needs, from the last function to the first.

    python3 -m learned_jpeg.codec.compile_ahead

does that for the process that started it, see `common.first_call`.
"""

from __future__ import annotations

import numpy as np

_SHAPE = (64, 80)  # of the image, in px
_BLOCKS = (8, 8), (16, 16)  # of luma and of subsampled chroma, in px


def compile_ahead() -> None:
    """Runs the steps of an encoder on a small image, in the order from the last one.

    The process that started this one compiles the score and SSIMULACRA2's slopes first.
    """
    from learned_jpeg.codec.options import EncodeOptions
    from learned_jpeg.codec.trained import standard_tables

    image = np.random.default_rng(0).integers(0, 256, (*_SHAPE, 3), np.uint8)

    def encode(tune: str) -> None:
        options = EncodeOptions(tune=tune, subsampling="4:2:0")
        standard_tables().codec(options).encode(image, 75)

    encode("psnr")  # the search, and the writing of files
    _add_slopes(image)
    encode("visual")


def _add_slopes(image: np.ndarray) -> None:
    """Computes slopes of an image, as a search does that minimises CVVDP."""
    from learned_jpeg.metrics.cvvdp import slopes as cvvdp
    from learned_jpeg.metrics.slopes import squared_error, tiling

    terms = cvvdp.Term(cvvdp.Original(image)), squared_error.Term(image)
    decoded = np.ascontiguousarray(np.moveaxis(image ^ 1, -1, 0), np.float32) - 128
    directions = [tiling.Direction(np.ones(3, np.float32), *size) for size in _BLOCKS]
    tiling.slopes(terms, _SHAPE, lambda rows: decoded[:, rows], directions, _ignore)


def _ignore(number: int, rows: slice, gradient: np.ndarray) -> None:
    del number, rows, gradient


if __name__ == "__main__":
    compile_ahead()
