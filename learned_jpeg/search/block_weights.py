"""Weights of a block's coefficients: means over passes, and over a block."""

from __future__ import annotations

import functools

import numpy as np

from learned_jpeg.common.compiled import borrowed, from_bits, njit, to_bits

_EXPONENT, _BIAS = 23, 127  # of a float32: its place in the bits, and what 1 has
_FRACTION, _ONE = (1 << _EXPONENT) - 1, _BIAS << _EXPONENT


@njit
def average_weights(weights, added, before, is_first, products, exponents):
    """Completes the weights, and takes their geometric means with those before.

    Args:
      weights: float32 `[blocks, 64]`, positive; changed in place.
      added: float32 `[64]`, summand of each of them.
      before: uint16 `[blocks, 64]`, upper halves of the float32 of the means before;
        replaced by the new ones.
      is_first: whether there are no means before.
      products: float32 `[blocks]`, get the product of each block's fractions, 1 to 2.
      exponents: int32 `[blocks]`, get the sum of each block's powers of 2.
    """
    weights, before = borrowed(weights), borrowed(before)
    for block in range(len(weights)):
        own, own_before = weights[block], before[block]
        if is_first:
            _add(own, added)
        else:
            _average(own, added, own_before)
        _keep(own, own_before)
        products[block], exponents[block] = _split_product(own)


@njit
def _add(weights, added):
    for k in range(64):
        weights[k] += added[k]


@njit
def _average(weights, added, before):
    for k in range(64):
        mean = from_bits(np.int32(before[k] << 16))
        # Roots first: a product of two weights may be out of range.
        weights[k] = np.sqrt(weights[k] + added[k]) * np.sqrt(mean)


@njit
def _keep(weights, before):
    """Writes the upper halves of float32, rounded, within 0.2 %."""
    for k in range(64):
        before[k] = np.uint16((to_bits(weights[k]) + (1 << 15)) >> 16)


@functools.partial(njit, fastmath={"reassoc"})
def _split_product(weights):
    """Returns (product of the fractions, sum of the powers of 2) of 64 weights."""
    product, exponent = np.float32(1), np.int32(0)
    for k in range(64):
        bits = to_bits(weights[k])
        exponent += np.int32((bits >> _EXPONENT) - _BIAS)
        product *= from_bits(np.int32((bits & _FRACTION) | _ONE))
    return product, exponent
