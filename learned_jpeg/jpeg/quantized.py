"""An image between quantization and entropy coding."""

from __future__ import annotations

import dataclasses

import numpy as np

from learned_jpeg.jpeg.sampling import plane_blocks


@dataclasses.dataclass(frozen=True, eq=False)
class QuantizedImage:
    """An image as the integers that a JPEG file holds.

    Attributes:
      planes: int16 `[rows, cols, 8 (v), 8 (u)]` of Y, Cb and Cr, or of Y alone for a
        gray file: quantized DCT coefficients; rows and cols are those of
        `sampling.plane_blocks`. DC in [-1024, 1023], AC in [-1023, 1023].
      sampling: one of `jpeg.SUBSAMPLINGS`; without effect on a gray file.
      qtables: uint8 or uint16 `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255; a gray file
        holds only that of luma.
      height: true height in px.
      width: true width in px.
    """

    planes: tuple[np.ndarray, ...]
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

    def without_zero_chroma(self) -> QuantizedImage:
        """Returns the image as gray if its chroma is 0 everywhere, else itself.

        The decoded image is the same.
        """
        luma, *chroma = self.planes
        if any(np.any(plane) for plane in chroma):
            return self
        return dataclasses.replace(self, planes=(luma,))

    def with_chroma(self) -> QuantizedImage:
        """Returns the image with three components: a gray one gets a chroma of 0."""
        luma, *others = self.planes
        if others:
            return self
        _, *sizes = plane_blocks(self.height, self.width, self.sampling)
        chroma = [np.zeros((*size, 8, 8), np.int16) for size in sizes]
        return dataclasses.replace(self, planes=(luma, *chroma))

    @property
    def integers(self) -> np.ndarray:
        """`[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`, only of 4:4:4.

        Raises:
          ValueError: chroma is subsampled, or there is none.
        """
        if len(self.planes) == 1:
            raise ValueError("a gray image has one plane only")
        if self.sampling != "4:4:4":
            raise ValueError(f"the planes of {self.sampling} are of different sizes")
        return np.stack(self.planes, axis=-1)
