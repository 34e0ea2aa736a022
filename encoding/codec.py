"""A trained model as a function of pictures: uint8 RGB in, integers and tables out."""

from typing import NamedTuple

import numpy as np

from jpeg import transform
from jpeg.file import QuantizedImage

# A picture is coded in strips of whole block rows, so that a network's activations fit
# into memory at any size. Each strip sees HALO px of its neighbours, more than half the
# receptive field of either network (VGG through pool3: 22 px; ResConvLayer: 13 px).
STRIP_PIXELS = 1 << 20
HALO = 32


class Quantization(NamedTuple):
    """How coefficients become integers at encoding."""

    method: str = "round"  # one of jpeg.QUANTIZATIONS
    entropy_coding: str = "optimized"  # whose bits `rdoq` counts
    refine_steps: int = 0  # gradient steps on the picture's coefficients before

    @property
    def is_plain(self):
        """Whether coefficients are rounded as they are."""
        return self.method == "round" and not self.refine_steps


class Codec:
    """A restored model; may be called from several threads."""

    def __init__(self, model, search=None):
        """Takes what a model makes of a picture, and what becomes of that.

        Args:
          model: `TablesModel`, or the same of a network (`graph.RestoredGraph`).
          search: `search.Search`, or None for rounding.
        """
        self._model = model
        self._search = search

    def quantize(self, picture, quality=0, edited=False):
        """Codes one picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          quality: 1..100 for models that take one.
          edited: whether the edited picture is wanted as well, which only trellis
            quantization needs.

        Returns:
          `jpeg.file.QuantizedImage`.

        Raises:
          UserError: the picture is too small for the distortion of the model.
        """
        height, width = picture.shape[:2]
        qtables = self._model.qtables(quality)
        strips = [
            self._quantize_strip(picture, top, bottom, quality, qtables, edited)
            for top, bottom in strip_bounds(height, width)
        ]
        joined = {
            name: np.concatenate([strip[name] for strip in strips])
            for name in strips[0]
        }
        if self._search:
            joined["integers"], qtables = self._search.integers(
                joined["z"], joined["weights"], qtables
            )
        return QuantizedImage.of_integers(
            joined["integers"],
            qtables=np.moveaxis(qtables, -1, 0),
            height=height,
            width=width,
            edited=joined.get("edited"),
        )

    def _quantize_strip(self, picture, top, bottom, quality, qtables, edited):
        start = max(top - HALO, 0)
        strip = picture[start : bottom + HALO]
        dct, edited_strip = self._model.code(strip, quality, edited)
        if self._search:
            z, weights = self._search.prepare(strip, dct, qtables)
            values = {"z": z, "weights": weights}
        else:
            z = dct / transform.per_component(qtables).astype(np.float32)
            values = {"integers": transform.round_to_integers(z)}
        first, rows = (top - start) // 8, -(-(bottom - top) // 8)
        values = {name: value[first : first + rows] for name, value in values.items()}
        if edited:
            values["edited"] = edited_strip[top - start : bottom - start]
        return values

    def qtables(self, quality=0):
        """The integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        return np.moveaxis(self._model.qtables(quality), -1, 0)


class TablesModel:
    """A model that leaves pictures as they are: its tables are all that it has."""

    def __init__(self, qtables):
        """Takes a function from a quality to uint8 `[8 (v), 8 (u), 2]`."""
        self.qtables = qtables

    def code(self, picture, quality, edited):
        """Coefficients of a picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          quality: not needed.
          edited: whether the edited picture is wanted.

        Returns:
          float32 `[rows, cols, 8, 8, 3]`, and the edited picture, uint8 `[h, w, 3]`,
          or None.
        """
        del quality
        return transform.picture_to_dct(picture), picture if edited else None


def strip_bounds(height, width):
    """(top, bottom) of the strips of a picture, tops at multiples of 8.

    The strips are about equally high: a low last one might be too small for a metric.
    """
    step = max(STRIP_PIXELS // width // 8 * 8, 64)
    count = -(-height // step)
    step = -(-height // count // 8) * 8
    return [(top, min(top + step, height)) for top in range(0, height, step)]
