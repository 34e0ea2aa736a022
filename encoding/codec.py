"""A trained model as a function of pictures: uint8 RGB in, integers and tables out."""

from typing import NamedTuple

import numpy as np

from jpeg import transform
from jpeg.file import QuantizedImage
from jpeg.planes import CodedPicture, round_to_planes

# A picture goes through a network in strips of whole block rows, so that activations
# fit into memory at any size. Each strip sees HALO px of its neighbours, more than half
# the receptive field of either network (VGG through pool3: 22 px; ResConvLayer: 13 px).
STRIP_PIXELS = 1 << 20
HALO = 32


class Quantization(NamedTuple):
    """How a picture becomes integers at encoding."""

    method: str = "round"  # one of jpeg.QUANTIZATIONS
    entropy_coding: str = "optimized"  # whose bits `rdoq` counts
    refine_steps: int = 0  # gradient steps on the picture's coefficients before
    sampling: str = "4:4:4"  # one of jpeg.SUBSAMPLINGS
    # What `rdoq` minimises, one of jpeg.TUNES; None for `search.DEFAULT_TUNE`.
    tune: str | None = "model"

    @property
    def is_plain(self):
        """Whether coefficients are rounded as they are."""
        return self.method == "round" and not self.refine_steps


class Codec:
    """A restored model; may be called from several threads."""

    def __init__(self, model, quantization, searcher=None):
        """Takes what a model makes of a picture, and what becomes of that.

        Args:
          model: `TablesModel`, or the same of a network (`graph.RestoredGraph`).
          quantization: `Quantization`.
          searcher: as from `search.Searcher.restored`; None where it is plain.
        """
        self._model = model
        self._quantization = quantization
        self._searcher = searcher

    def quantize(self, picture, quality=0, edited=False, lmbda=None):
        """Codes one picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          quality: 1..100 for models that take one.
          edited: whether the edited picture is wanted as well, which only trellis
            quantization needs.
          lmbda: weight of the distortion against bits in the search; None for that of
            the model.

        Returns:
          `jpeg.file.QuantizedImage`.

        Raises:
          UserError: the picture is too small for the distortion of the model.
        """
        qtables = self._model.qtables(quality)
        method, sampling = self._quantization.method, self._quantization.sampling
        shown = None
        if method == "round" and sampling == "4:4:4":
            planes, shown = self._round(picture, quality, qtables, edited)
        else:
            shown = self._edit(picture, quality)
            if method == "round":
                planes = round_to_planes(CodedPicture(shown, sampling), qtables)
            else:
                planes, qtables = self._searcher(shown, qtables, lmbda)
        return QuantizedImage(
            planes=tuple(planes),
            sampling=sampling,
            qtables=np.moveaxis(qtables, -1, 0),
            height=picture.shape[0],
            width=picture.shape[1],
            edited=shown if edited else None,
        )

    def _round(self, picture, quality, qtables, edited):
        """Planes of the model's own coefficients, and the edited picture or None."""
        steps = transform.per_component(qtables).astype(np.float32)

        def of_strip(strip):
            dct, shown = self._model.code(strip, quality, edited)
            z = dct / steps
            if self._searcher:
                z = self._searcher.refined(strip, z, qtables)
            return transform.round_to_integers(z), shown

        integers, shown = _in_strips(of_strip, picture)
        return np.ascontiguousarray(np.moveaxis(integers, -1, 0)), shown

    def _edit(self, picture, quality):
        """The picture as the model edits it, uint8 RGB."""
        if self._model.IS_IDENTITY:
            return picture
        return _in_strips(lambda s: self._model.code(s, quality, True), picture)[1]

    @property
    def search(self):
        """The `search.Search` of the codec, None where it does not search."""
        return self._searcher if self._quantization.method == "rdoq" else None

    def qtables(self, quality=0):
        """The integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        return np.moveaxis(self._model.qtables(quality), -1, 0)


class TablesModel:
    """A model that leaves pictures as they are: its tables are all that it has."""

    IS_IDENTITY = True

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


def _in_strips(function, picture):
    """Joins what a function makes of the strips of a picture.

    Args:
      function: from uint8 `[h, w, 3]` to `[rows, cols, ...]`, by blocks, and
        `[h, w, 3]` or None.
      picture: uint8 `[h, w, 3]`.
    """
    by_block, by_pixel = [], []
    for top, bottom in strip_bounds(*picture.shape[:2]):
        start = max(top - HALO, 0)
        blocks, pixels = function(picture[start : bottom + HALO])
        first, rows = (top - start) // 8, -(-(bottom - top) // 8)
        by_block.append(blocks[first : first + rows])
        if pixels is not None:
            by_pixel.append(pixels[top - start : bottom - start])
    return np.concatenate(by_block), np.concatenate(by_pixel) if by_pixel else None


def strip_bounds(height, width):
    """(top, bottom) of the strips of a picture, tops at multiples of 8.

    The strips are about equally high: a low last one might be too small for a metric.
    """
    step = max(STRIP_PIXELS // width // 8 * 8, 64)
    count = -(-height // step)
    step = -(-height // count // 8) * 8
    return [(top, min(top + step, height)) for top in range(0, height, step)]
