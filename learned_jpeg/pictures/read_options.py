"""How an image file is read."""

from __future__ import annotations

import dataclasses

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import MAX_MEGAPIXELS, WHITE

COLOURS = KEEP, SRGB = ("keep", "srgb")
Colour = tuple[int, int, int]  # of sRGB, 0..255


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How an image file is read.

    Attributes:
      lenient: whether to read what is left of a JPEG file with damaged pixels.
      max_megapixels: largest size of an image that is decoded.
      raw: whether raw files of cameras are developed; else they are refused.
      colour: "keep" keeps the values of RGB pixels and their ICC profile, "srgb"
        converts them to sRGB.
      background: colour that transparent pixels are blended over.

    Raises:
      UserError: there is no such `colour`.
    """

    lenient: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    raw: bool = False
    colour: str = KEEP
    background: Colour = WHITE

    def __post_init__(self) -> None:
        """Checks the colour."""
        if self.colour not in COLOURS:
            raise UserError(
                f"colour {self.colour!r}: choose one of {', '.join(COLOURS)}"
            )


DEFAULT = ReadOptions()
