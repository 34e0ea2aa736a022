"""Energies of a block's basis functions in the bands of CVVDP's pyramid.

A band is the difference of two filtered images, each of them filtered along one axis
after the other. So sums of products of two basis functions are products of one factor
an axis, as in `basis_energies`.
"""

from __future__ import annotations

import functools

import numpy as np

from learned_jpeg.jpeg.standard import BLOCK, ZIGZAG, dct_matrix
from learned_jpeg.search.basis_energies import filtered

_WEIGHTS = (0.05, 0.25, 0.4, 0.25, 0.05)  # of the pyramid, along one axis


@functools.cache
def band_grams(factors: tuple[int, int], bands: tuple[int, ...]) -> np.ndarray:
    """Returns sums over the px of a band of products of two basis functions there.

    Args:
      factors: (v, h), px of the image for a sample of the component: 1 or 2 each, where
        2 stands for the decoder's triangle filter.
      bands: numbers of scales of the pyramid, at most 2: the grid of the next scale is
        then the same for every block.

    Returns:
      float64 `[bands, 64, 64]`, zigzag.
    """
    order = np.ix_(ZIGZAG, ZIGZAG)
    vertical, horizontal = (_axis_products(f, bands) for f in factors)
    # The signs of the products of (fine, coarse) with (fine, coarse).
    joined = np.einsum("xsac,xsbd,x->sabcd", vertical, horizontal, [1, -1, -1, 1])
    return joined.reshape(len(bands), 64, 64)[:, order[0], order[1]]


def _axis_products(factor: int, bands: tuple[int, ...]) -> np.ndarray:
    """Returns products along one axis, `[4, bands, 8, 8]`, see `band_grams`."""
    # Blocks begin at multiples of 8 px, the grid of the scale below the second band.
    signals = np.zeros((BLOCK, 32 * BLOCK))
    middle = signals.shape[1] // 2
    signals[:, middle : middle + BLOCK] = dct_matrix()
    if factor == 2:
        signals = filtered(signals)
    found = []
    for number in range(max(bands) + 1):
        coarser = _blurred(signals)[:, ::2]
        if number in bands:
            spread = np.zeros_like(signals)
            spread[:, ::2] = 2 * coarser
            low = _blurred(spread)
            pairs = [(a, b) for a in (signals, low) for b in (signals, low)]
            found.append([a @ b.T for a, b in pairs])
        signals = coarser
    return np.swapaxes(found, 0, 1)


def _blurred(signals: np.ndarray) -> np.ndarray:
    return np.stack([np.convolve(row, _WEIGHTS, mode="same") for row in signals])
