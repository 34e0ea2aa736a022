"""An image between quantization and entropy coding."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class QuantizedImage:
    """An image as the integers that a JPEG file holds.

    Attributes:
      planes: int16 `[rows, cols, 8 (v), 8 (u)]` of Y, Cb and Cr, quantized DCT
        coefficients; rows and cols are those of `sampling.plane_blocks`. DC in
        [-1024, 1023], AC in [-1023, 1023].
      sampling: one of `jpeg.SUBSAMPLINGS`.
      qtables: uint8 or uint16 `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255.
      height: true height in px.
      width: true width in px.
    """

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    sampling: str
    qtables: np.ndarray
    height: int
    width: int

    @classmethod
    def of_integers(
        cls, integers: np.ndarray, qtables: np.ndarray, height: int, width: int
    ) -> QuantizedImage:
        """Returns an image without subsampling.

        Args:
          integers: `[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`.
          qtables, height, width: the attributes.
        """
        y, cb, cr = np.moveaxis(integers, -1, 0)
        return cls((y, cb, cr), "4:4:4", qtables, height, width)

    @property
    def integers(self) -> np.ndarray:
        """`[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`, only of 4:4:4.

        Raises:
          ValueError: chroma is subsampled.
        """
        if self.sampling != "4:4:4":
            raise ValueError(f"the planes of {self.sampling} are of different sizes")
        return np.stack(self.planes, axis=-1)
