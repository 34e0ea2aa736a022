"""Compiles what an encoder needs, from the last function to the first.

    python3 -m learned_jpeg.codec.compile_ahead

does that for the process that started it, see `common.first_call`.
"""

from __future__ import annotations

import gc

import numpy as np

_SHAPE = (64, 80)  # of the image, in px


def compile_ahead() -> None:
    """Runs the steps of an encoder on a small image, in the order from the last one."""
    from learned_jpeg.codec.options import EncodeOptions
    from learned_jpeg.codec.trained import standard_tables
    from learned_jpeg.metrics.cvvdp import slopes

    image = np.random.default_rng(0).integers(0, 256, (*_SHAPE, 3), np.uint8)

    def encode(tune: str) -> None:
        options = EncodeOptions(tune=tune, subsampling="4:2:0")
        standard_tables().codec(options).encode(image, 75)

    encode("psnr")  # the search, and the writing of files
    slopes.Original(image)
    encode("visual")


if __name__ == "__main__":
    gc.disable()  # It takes a tenth of the time, and the process ends soon.
    compile_ahead()
