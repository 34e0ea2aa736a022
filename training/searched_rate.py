"""The encoder's search in place of rounding, for tables that are trained with it.

Blocks of all pictures of a batch are searched as if they were those of one, without
subsampling, for coefficients and tables that stay.
"""

import numpy as np

from jpeg import search, trellis
from jpeg.planes import ENERGIES
from jpeg.progressive import band_histogram, coded_bits
from jpeg.transform import round_to_integers
from jpeg_standard import ZIGZAG

_PASSES = 3
_COMPONENTS = ([0], [1, 2])  # of each table: Cb and Cr share theirs


def searched(z, qtables, lmbda):
    """Integers that minimise `lmbda * MSE_255 + bits per pixel`, and their bits.

    Args:
      z: float32 `[rows, cols, 8 (v), 8 (u), 3]`, coefficients in units of their step.
      qtables: `[8, 8, 2]`, entries of the tables.
      lmbda: bits per pixel that an MSE_255 of 1 is worth.

    Returns:
      int16, shaped as `z`, in -1023..1023; and their bits, a float: symbols by their
      self-information, in a progressive scan for AC of each component.
    """
    ordered = [_in_order(z[..., component]) for component in range(3)]
    integers = [round_to_integers(own) for own in ordered]
    order = np.arange(len(ordered[0]))
    for _ in range(_PASSES):
        dc_counts = _dc_counts(integers, order)
        for component, own in enumerate(ordered):
            table = min(component, 1)
            squares = _in_order(np.float32(qtables[np.newaxis, ..., table]) ** 2)
            weights = np.float32(lmbda * ENERGIES[component]) * squares
            lengths = search.dc_lengths(dc_counts[table])
            trellis.search_dc(own, weights, order, lengths, integers[component])
            counts = band_histogram(integers[component], 1, 63)
            trellis.search_ac(
                *(own, weights, 1, 63, *search.scan_lengths(counts)),
                *(np.float32(search.LEAST), integers[component]),
            )
    found = np.empty((*z.shape[:2], 64, 3), np.int16)
    for component, own in enumerate(integers):
        found[:, :, ZIGZAG, component] = own.reshape(*z.shape[:2], 64)
    return found.reshape(z.shape), _bits(integers, order)


def _in_order(component):
    """`[rows, cols, 8, 8]` or `[1, 8, 8]` as `[blocks, 64]`, zigzag."""
    return np.ascontiguousarray(component.reshape(-1, 64)[:, ZIGZAG])


def _dc_counts(integers, order):
    counts = np.zeros((2, 16), np.int64)
    for component, own in enumerate(integers):
        trellis.count_dc(own, order, counts[min(component, 1)])
    return counts


def _bits(integers, order):
    dc_counts = _dc_counts(integers, order)
    bits = _entropy(dc_counts[0]) + _entropy(dc_counts[1])
    bits += float((dc_counts * np.arange(16)).sum())
    for own in integers:
        counts = band_histogram(own, 1, 63)
        bits += _entropy(counts) + coded_bits(counts, 0)
    return bits


def _entropy(counts):
    present = counts[counts > 0]
    return float(-(present * np.log2(present / present.sum())).sum())


def dc_slopes(z):
    """Change of the bits of DC for a change of the logarithm of its step.

    Args:
      z: float `[rows, cols, 8, 8, 3]`, coefficients in units of their step.

    Returns:
      float `[2 (luma, chroma)]`, bits; negative, as coarser steps take fewer.
    """
    dc = np.moveaxis(z[:, :, 0, 0], -1, 0).reshape(3, -1)
    ratio = 1.1
    coarse, fine = (_dc_bits(dc * scale) for scale in (1 / ratio, ratio))
    return (coarse - fine) / (2 * np.log(ratio))


def _dc_bits(dc):
    """Bits of the differences of rounded DC, `[3, blocks]`: for luma and for chroma."""
    differences = np.diff(np.rint(dc), axis=1, prepend=0)
    sizes = np.ceil(np.log2(np.abs(differences) + 1)).astype(int)
    bits = []
    for components in _COMPONENTS:
        own = sizes[components].ravel()
        p = np.bincount(own) / own.size
        bits.append(own.sum() - own.size * np.sum(p[p > 0] * np.log2(p[p > 0])))
    return np.array(bits)
