"""JPEG files that are smaller at the same quality, for every decoder there is.

    import learned_jpeg as lj

    data = lj.encode("photo.png", quality=75)
    lj.save(pillow_image, "small.jpg", target=lj.Bytes(200_000))

The quantized DCT coefficients and the quantization tables of each image are chosen by
rate-distortion optimisation. What can go wrong is an `lj.UserError` of one line. All
functions may be called from several threads; importing this package loads nothing else,
prints nothing and changes nothing of its host.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from learned_jpeg.api import (
        BitsPerPixel,
        Bytes,
        MetricTarget,
        decode,
        encode,
        load_model,
        save,
        score,
        scores,
    )
    from learned_jpeg.codec.options import EncodeOptions
    from learned_jpeg.codec.trained import TrainedModel
    from learned_jpeg.common.errors import UserError

__all__ = [
    "BitsPerPixel",
    "Bytes",
    "EncodeOptions",
    "MetricTarget",
    "TrainedModel",
    "UserError",
    "decode",
    "encode",
    "load_model",
    "save",
    "score",
    "scores",
]
__version__ = "0.1.0"

_HOMES = {
    "EncodeOptions": "learned_jpeg.codec.options",
    "TrainedModel": "learned_jpeg.codec.trained",
    "UserError": "learned_jpeg.common.errors",
}

# A host that configures no logging sees no warnings of ours.
logging.getLogger(__name__).addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # A type checker would accept any name.

    def __getattr__(name):
        """Loads a public name at its first use (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = importlib.import_module(_HOMES.get(name, f"{__name__}.api"))
        globals()[name] = getattr(home, name)
        return globals()[name]


def __dir__() -> list[str]:
    """Returns the public names, loaded or not."""
    return sorted({*globals(), *__all__})
