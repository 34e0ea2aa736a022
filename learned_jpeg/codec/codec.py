"""A model and a quantizer: uint8 RGB in, the bytes of a .jpg file out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from learned_jpeg.codec.models import CodecModel
from learned_jpeg.codec.quantizers import Quantizer, Search, SearchSetting
from learned_jpeg.jpeg import transform
from learned_jpeg.jpeg.sampling import groups
from learned_jpeg.pictures.strips import in_strips


class Codec:
    """Encodes images with one model; may be called from several threads."""

    def __init__(self, model: CodecModel, quantizer: Quantizer):
        """Stores a model and a quantizer."""
        self.model = model
        self._quantizer = quantizer

    @property
    def search(self) -> Search | None:
        """The quantizer if it is a `Search`, else None."""
        return self._quantizer if isinstance(self._quantizer, Search) else None

    @property
    def needed_search(self) -> Search:
        """The quantizer, where it has to be a `Search`.

        Raises:
          TypeError: it is none.
        """
        if not isinstance(self._quantizer, Search):
            raise TypeError(f"{type(self._quantizer).__name__} searches for nothing")
        return self._quantizer

    def encode(
        self, image: np.ndarray, quality: int = 0, lmbda: float | None = None
    ) -> bytes:
        """Encodes an image.

        Args:
          image: uint8 RGB `[h, w, 3]`.
          quality: 1..100, of the tables of a model that takes one.
          lmbda: weight of the distortion against bits in a search; None for that of
            the model.

        Returns:
          The bytes of a .jpg file without metadata.

        Raises:
          UserError: the image is too small for the distortion, or too large for JPEG.
        """
        return self.for_image(image, quality)(SearchSetting(lmbda))

    def for_image(
        self, image: np.ndarray, quality: int = 0
    ) -> Callable[[SearchSetting], bytes]:
        """Returns the function from a search's setting to the bytes of an image's file.

        The model's network runs once, however many settings are tried.
        """
        return self._quantizer.for_image(self.model, image, quality)

    def qtables(self, quality: int = 0) -> np.ndarray:
        """Returns the model's tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        return self.model.qtables(quality)

    def kept_detail(self, image: np.ndarray) -> np.ndarray:
        """Measures how much of the detail of each block the model's network keeps.

        Args:
          image: uint8 RGB `[h, w, 3]`.

        Returns:
          float `[rows, cols]`, the sum of the absolute AC coefficients of luma after
          the network's edit over that before; 1 for blocks without detail.
        """
        heights = [8 * v for _, (v, _) in groups(self.model.sampling)]
        edited, _ = in_strips(
            lambda strip: self.model.code(strip, 0, edited=False), image, heights
        )
        after, before = (
            np.abs(dct[..., 0]).sum((2, 3)) - np.abs(dct[:, :, 0, 0, 0])
            for dct, *_ in (edited, transform.image_to_dct(image))
        )
        ones = np.ones_like(after)
        return np.divide(after, before, where=before > 1, out=ones)
