"""PSNR-HVS-M: a PSNR of luma that weighs frequencies as people see them.

N. Ponomarenko, F. Silvestri, K. Egiazarian, M. Carli, J. Astola, V. Lukin, "On
between-coefficient contrast masking of DCT basis functions", 2007. In each 8x8 block
the differences of the DCT coefficients are reduced by what the block's own contrast
masks, and weighted by the contrast sensitivity of the eye. The numbers are those of the
package psnr-hvsm 0.3.0: luma is BT.601 in 16..235, rounded; blocks do not overlap, and
incomplete ones are left out; images without a visible difference have 100 dB.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from learned_jpeg.jpeg.standard import STD_QTABLES
from learned_jpeg.metrics.metric import Metric

_SIDE = 8  # px, of a block
_BEST = 100.0  # dB, where no difference is seen

# Contrast sensitivity and masking follow from the luma table of ITU-T T.81, K.1.
_STEPS = STD_QTABLES[0].astype(np.float32)
_SENSITIVITY = np.float32(25.735088) / _STEPS
_THRESHOLDS = np.square(_STEPS / 10)  # of a visible difference, by the masking
_THRESHOLDS[0, 0] = 0  # A difference of means is never masked,
_MASKING = np.square(10 / _STEPS)
_MASKING[0, 0] = 0  # nor does a mean mask anything.


def _dct_matrix() -> np.ndarray:
    """Returns the orthonormal DCT-II of 8 samples, float32 `[8 (frequency), 8]`."""
    k, n = np.mgrid[:_SIDE, :_SIDE]
    matrix = np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _dct_matrix()


class _Blocks(NamedTuple):
    """The blocks of an image, float32.

    Attributes:
      dct: `[n, 8, 8]`, coefficients.
      masking: `[n]`, how much of a difference each block masks, before the weights.
    """

    dct: np.ndarray
    masking: np.ndarray


def _luma_blocks(image: np.ndarray) -> np.ndarray:
    """Returns the luma of uint8 RGB `[h, w, 3]` in blocks, float32 `[n, 8, 8]`."""
    rows, cols = (side // _SIDE for side in image.shape[:2])
    red, green, blue = np.moveaxis(image[: rows * _SIDE, : cols * _SIDE], 2, 0)
    # In double precision and in this order, by which halves are rounded.
    luma = 16 + 65.481 * red / 255 + 128.553 * green / 255 + 24.966 * blue / 255
    blocks = luma.round().astype(np.float32).reshape(rows, _SIDE, cols, _SIDE)
    return blocks.swapaxes(1, 2).reshape(-1, _SIDE, _SIDE)


def _deviation(blocks: np.ndarray) -> np.ndarray:
    """Returns the number of pixels times the sample variance of each block."""
    count = blocks.shape[-1] * blocks.shape[-2]
    return blocks.var((-2, -1), ddof=1) * count


def _prepare(image: np.ndarray) -> _Blocks:
    pixels = _luma_blocks(image)
    dct = _DCT @ pixels @ _DCT.T
    half = _SIDE // 2
    quarters = pixels.reshape(-1, 2, half, 2, half).swapaxes(2, 3)
    whole = _deviation(pixels)
    parts = _deviation(quarters).sum((1, 2))
    # Edges are in few of the quarters, and mask less than texture does.
    share = np.divide(parts, whole, out=np.zeros_like(whole), where=whole > 0)
    energy = np.square(dct).reshape(-1, _SIDE**2) @ _MASKING.ravel()
    return _Blocks(dct, np.sqrt(energy * share / (half**2 * _SIDE**2)))


def _compare(original: _Blocks, image: np.ndarray) -> float:
    decoded = _prepare(image)
    masking = np.maximum(original.masking, decoded.masking)
    difference = np.abs(original.dct - decoded.dct)
    hidden = masking[:, np.newaxis, np.newaxis] * _THRESHOLDS
    seen = np.maximum(difference - hidden, 0)
    error = float(np.square(seen * _SENSITIVITY).mean(dtype=np.float64))
    return 10 * math.log10(255**2 / error) if error else _BEST


METRIC = Metric(
    key="psnr-hvs-m",
    name="PSNR-HVS-M",
    unit="dB",
    prepare=_prepare,
    compare=_compare,
    min_side=_SIDE,
    higher_is_better=True,
    order=70,
    rank=25,
)
