"""Targets of a block's coefficients: the way to the minimum, within reach."""

import numpy as np

from learned_jpeg.common.compiled import borrowed, njit


@njit
def divide_by_roots(values, weights, out):
    """Writes values over the square roots of weights, float32 `[blocks, 64]` each."""
    values, weights, out = borrowed(values), borrowed(weights), borrowed(out)
    for block in range(len(out)):
        _divide_row(values[block], weights[block], out[block])


@njit
def _divide_row(values, weights, out):
    for k in range(64):
        out[k] = values[k] / np.sqrt(weights[k])


@njit
def write_targets(way, weights, factors, coefficients, originals, reach, part, target):
    """Writes the coefficients of least distortion, not far from the original's.

    Args:
      way: float32 `[blocks, 64]`: how far the minimum is below the coefficients, times
        the roots of the weights.
      weights: float32 `[blocks, 64]`, which are multiplied by `factors` afterwards.
      factors: float32 `[64]`.
      coefficients, originals: float32 `[blocks, 64]`, coded and of the original.
      reach: float32 `[64]`, how far a target may be from the original.
      part: factor on how far it moves.
      target: float32 `[blocks, 64]`.
    """
    way, weights, target = borrowed(way), borrowed(weights), borrowed(target)
    coefficients, originals = borrowed(coefficients), borrowed(originals)
    for block in range(len(way)):
        _write_row(
            way[block],
            weights[block],
            factors,
            coefficients[block],
            originals[block],
            reach,
            part,
            target[block],
        )


@njit
def _write_row(way, weights, factors, coefficients, originals, reach, part, target):
    for k in range(64):
        moved = coefficients[k] - way[k] / np.sqrt(weights[k]) - originals[k]
        moved *= part
        target[k] = originals[k] + min(max(moved, -reach[k]), reach[k])
        weights[k] *= factors[k]
