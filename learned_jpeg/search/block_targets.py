"""Targets of a block's coefficients: the way to the minimum, within reach."""

from learned_jpeg.common.compiled import borrowed, njit


@njit
def write_targets(way, roots, coefficients, originals, reach, part, target):
    """Writes the coefficients of least distortion, not far from the original's.

    Args:
      way: float32 `[blocks, 64]`: how far the minimum is below the coefficients, times
        `roots`.
      roots: float32 `[blocks, 64]`, of the weights.
      coefficients, originals: float32 `[blocks, 64]`, coded and of the original.
      reach: float32 `[64]`, how far a target may be from the original.
      part: factor on how far it moves.
      target: float32 `[blocks, 64]`.
    """
    way, roots, target = borrowed(way), borrowed(roots), borrowed(target)
    coefficients, originals = borrowed(coefficients), borrowed(originals)
    for block in range(len(way)):
        _write_row(
            way[block],
            roots[block],
            coefficients[block],
            originals[block],
            reach,
            part,
            target[block],
        )


@njit
def _write_row(way, roots, coefficients, originals, reach, part, target):
    for k in range(target.size):
        moved = (coefficients[k] - way[k] / roots[k] - originals[k]) * part
        target[k] = originals[k] + min(max(moved, -reach[k]), reach[k])
