"""The interface of models to a codec: coefficients, tables, the edited image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from learned_jpeg.jpeg import transform


class CodecModel(Protocol):
    """A model without TensorFlow's types; may be called from several threads.

    Attributes:
      is_identity: whether the model leaves images as they are.
      sampling: of the coefficients, one of `learned_jpeg.jpeg.SUBSAMPLINGS`.
    """

    is_identity: bool
    sampling: str

    def code(
        self, image: np.ndarray, quality: int, edited: bool
    ) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Computes the coefficients of an image.

        Args:
          image: uint8 RGB `[h, w, 3]`.
          quality: 1..100, for models that take one, else 0.
          edited: whether the edited image is wanted.

        Returns:
          A list as from `transform.image_to_dct`, and the edited image, uint8
          `[h, w, 3]`, or None.
        """
        ...

    def qtables(self, quality: int) -> np.ndarray:
        """Returns the integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        ...


class TablesModel:
    """A model that leaves images as they are: quantization tables are all it has."""

    is_identity = True

    def __init__(self, qtables: Callable[[int], np.ndarray], sampling: str):
        """Stores a function from a quality to uint8 `[2, 8 (v), 8 (u)]`."""
        self._qtables = qtables
        self.sampling = sampling

    def code(self, image, quality, edited):
        """Computes the coefficients, see `CodecModel.code`."""
        del quality
        dct = transform.image_to_dct(image, self.sampling)
        return dct, image if edited else None

    def qtables(self, quality):
        """Returns the tables, see `CodecModel.qtables`."""
        return self._qtables(quality)
