"""Local energies of a block's basis functions at each scale of a metric.

The basis function of a coefficient, as decoded, is halved from scale to scale and
blurred by the metric's window. All of this works on one axis at a time, so that sums of
products of two basis functions are products of one factor an axis.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from learned_jpeg.jpeg.standard import BLOCK, ZIGZAG, dct_matrix

SCALES = 5


class Grams(NamedTuple):
    """Sums over px of products of two basis functions: `[SCALES, 64, 64]`, zigzag.

    Attributes:
      plain: products of the functions x.
      mean: products of their blurs G x.
      detail: products of x - G x.
    """

    plain: np.ndarray
    mean: np.ndarray
    detail: np.ndarray


@functools.cache
def grams(factors: tuple[int, int], taps: tuple[float, ...]) -> Grams:
    """Returns the `Grams` of a component, float64.

    They are means over the places that a block may have on the scales' grid.

    Args:
      factors: (v, h), px of the image for a sample of the component: 1 or 2 each, where
        2 stands for the decoder's triangle filter.
      taps: the window along one axis.
    """
    order = np.ix_(ZIGZAG, ZIGZAG)
    vertical, horizontal = (_axis_grams(f, taps) for f in factors)
    plain, mixed, blurred = (
        np.einsum("sac,sbd->sabcd", v, h).reshape(SCALES, 64, 64)[:, order[0], order[1]]
        for v, h in zip(vertical, horizontal, strict=True)
    )
    detail = plain - mixed - np.swapaxes(mixed, 1, 2) + blurred
    return Grams(plain, blurred, detail)


def _axis_grams(factor: int, taps: tuple[float, ...]) -> np.ndarray:
    """Returns the products along one axis, `[3, SCALES, 8, 8]`.

    They are those of plain functions, of plain with blurred ones, of blurred ones.
    """
    span = 1 << (SCALES - 1)  # px that a sample of the coarsest scale covers
    shifts = range(0, span, BLOCK * factor)  # of a block against that grid
    middle = 16 * span
    sums = np.zeros((3, SCALES, BLOCK, BLOCK))
    for shift in shifts:
        signals = np.zeros((BLOCK, 2 * middle // factor))
        start = (middle + shift) // factor
        signals[:, start : start + BLOCK] = dct_matrix()
        if factor == 2:
            signals = filtered(signals)
        for scale in range(SCALES):
            if scale:
                signals = (signals[:, ::2] + signals[:, 1::2]) / 2
            blurred = np.stack([np.convolve(s, taps, mode="same") for s in signals])
            sums[0, scale] += signals @ signals.T
            sums[1, scale] += signals @ blurred.T
            sums[2, scale] += blurred @ blurred.T
    return sums / len(shifts)


def filtered(signals: np.ndarray) -> np.ndarray:
    """Returns `[..., 2 n]` by the decoder's triangle filter; the ends are 0."""
    out = np.zeros((*signals.shape[:-1], 2 * signals.shape[-1]))
    out[..., ::2] = 0.75 * signals + 0.25 * np.roll(signals, 1, -1)
    out[..., 1::2] = 0.75 * signals + 0.25 * np.roll(signals, -1, -1)
    return out
