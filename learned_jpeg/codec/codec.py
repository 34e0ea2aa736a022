"""A trained model as a function of pictures: uint8 RGB in, integers and tables out."""

import dataclasses
from typing import NamedTuple

import numpy as np

from learned_jpeg.jpeg import transform
from learned_jpeg.jpeg.file import QuantizedImage
from learned_jpeg.jpeg.sampling import groups, planes_of
from learned_jpeg.pictures.strips import in_strips


class Quantization(NamedTuple):
    """How a picture becomes integers at encoding."""

    method: str = "round"  # one of jpeg.QUANTIZATIONS
    entropy_coding: str = "optimized"  # whose bits `rdoq` counts
    refine_steps: int = 0  # gradient steps on the picture's coefficients before
    sampling: str | None = None  # one of jpeg.SUBSAMPLINGS; None for the model's
    # What `rdoq` minimises, one of jpeg.TUNES; None for `search.DEFAULT_TUNE`.
    tune: str | None = "model"

    @property
    def is_plain(self):
        """Whether coefficients are rounded as they are."""
        return self.method == "round" and not self.refine_steps

    def of_model(self, settings):
        """With the subsampling that suits a model, where none is asked for.

        Args:
          settings: `ModelSettings`.

        Returns:
          The same with a sampling: the one that the model was trained at, but 4:2:0 for
          a search that was not in its training.
        """
        own = settings.file_subsampling(self.method != "round")
        return self._replace(sampling=self.sampling or own)


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
        self._groups = groups(model.sampling)

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
        if self._quantization.method == "rdoq":
            shown = self.edit(picture, quality)
            quantized = self.searched(shown, quality, lmbda)
        else:
            qtables = self._model.qtables(quality)
            planes, shown = self._round(picture, quality, qtables, edited)
            quantized = self._quantized(planes, qtables, picture)
        return dataclasses.replace(quantized, edited=shown if edited else None)

    def edit(self, picture, quality=0):
        """The picture as the model edits it, uint8 RGB `[h, w, 3]`."""
        if self._model.IS_IDENTITY:
            return picture
        return self._in_strips(lambda s: self._model.code(s, quality, True), picture)[1]

    def searched(self, shown, quality=0, lmbda=None):
        """What the search finds for an edited picture, see `quantize`."""
        planes, qtables = self._searcher(shown, self._model.qtables(quality), lmbda)
        return self._quantized(planes, qtables, shown)

    def _quantized(self, planes, qtables, picture):
        height, width = picture.shape[:2]
        return QuantizedImage(
            planes=tuple(planes),
            sampling=self._quantization.sampling,
            qtables=qtables,
            height=height,
            width=width,
        )

    def _round(self, picture, quality, qtables, edited):
        """Planes of the model's own coefficients, and the edited picture or None."""

        def of_strip(strip):
            dct, shown = self._model.code(strip, quality, edited)
            z = [
                own / transform.of_components(qtables, components).astype(np.float32)
                for own, (components, _) in zip(dct, self._groups, strict=True)
            ]
            if self._searcher:
                z = [self._searcher.refined(strip, *z, qtables)]
            return [transform.round_to_integers(own) for own in z], shown

        integers, shown = self._in_strips(of_strip, picture)
        return [np.ascontiguousarray(plane) for plane in planes_of(integers)], shown

    def _in_strips(self, function, picture):
        return in_strips(function, picture, [8 * v for _, (v, _) in self._groups])

    @property
    def search(self):
        """The `search.Search` of the codec, None where it does not search."""
        return self._searcher if self._quantization.method == "rdoq" else None

    def kept(self, picture):
        """What the model's network keeps of the detail of each block.

        Args:
          picture: uint8 RGB `[h, w, 3]`.

        Returns:
          float `[rows, cols]`, the sum of the absolute AC coefficients of luma after
          the network's edit over that before; 1 for blocks without detail.
        """
        edited, _ = self._in_strips(lambda s: self._model.code(s, 0, False), picture)
        sums = [
            np.abs(dct[..., 0]).sum((2, 3)) - np.abs(dct[:, :, 0, 0, 0])
            for dct, *_ in (edited, transform.picture_to_dct(picture))
        ]
        detailed = sums[1] > 1
        return np.divide(*sums, where=detailed, out=np.ones_like(sums[0]))

    def qtables(self, quality=0):
        """The integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        return self._model.qtables(quality)


class TablesModel:
    """A model that leaves pictures as they are: its tables are all that it has."""

    IS_IDENTITY = True

    def __init__(self, qtables, sampling):
        """Takes a function from a quality to uint8 `[2, 8 (v), 8 (u)]`."""
        self.qtables = qtables
        self.sampling = sampling

    def code(self, picture, quality, edited):
        """Coefficients of a picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          quality: not needed.
          edited: whether the edited picture is wanted.

        Returns:
          A list as from `transform.picture_to_dct`, and the edited picture, uint8
          `[h, w, 3]`, or None.
        """
        del quality
        dct = transform.picture_to_dct(picture, self.sampling)
        return dct, picture if edited else None
