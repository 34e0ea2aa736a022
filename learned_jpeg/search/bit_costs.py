"""Code lengths by which the trellis counts bits, for both kinds of files.

Before a scan is coded its Huffman code is unknown. So the code lengths of a pass follow
from the integers of the pass before, unless the file has the standard's tables.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from learned_jpeg.jpeg.bands import band_histogram, choose_bands
from learned_jpeg.jpeg.huffman import MAX_LENGTH, code_lengths, standard_code_lengths
from learned_jpeg.jpeg.sampling import blocks_of, factors
from learned_jpeg.search import trellis

_UNSEEN = 0.3  # count of a symbol that did not occur so far
_LONGEST_END = 6.0  # bits of a block's end while its path is searched


class SequentialCosts:
    """Bits in the interleaved scan of a sequential file, by the standard's tables."""

    def __init__(self, height: int, width: int, sampling: str):
        """Stores the size of the image, in px, and one of `jpeg.SUBSAMPLINGS`."""
        self._luma_order = interleaved_order(height, width, sampling)

    def dc_order(self, component: int, num_blocks: int) -> np.ndarray:
        """Returns the indices of a component's blocks in the order of the scan."""
        return np.arange(num_blocks) if component else self._luma_order

    def dc_lengths(self, table: int, integers: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the code lengths of the sizes of DC differences, float32 `[16]`.

        Args:
          table: 0 for luma, 1 for chroma.
          integers: of the components that share the table, int16 `[blocks, 64]` each.
        """
        del integers
        return _standard_lengths(table)[0]

    def bands(
        self, table: int, integers: np.ndarray, is_first_pass: bool
    ) -> list[trellis.Band]:
        """Returns the only band, all AC coefficients; arguments as `dc_lengths`."""
        del integers, is_first_pass
        _, lengths = _standard_lengths(table)
        no_runs = np.empty(0, np.float32)
        return [trellis.Band(1, 63, lengths, no_runs, lengths[0])]


class ProgressiveCosts:
    """Bits in the scans of a progressive file, by Huffman codes made for the image.

    The methods are those of `SequentialCosts`.
    """

    def dc_order(self, component: int, num_blocks: int) -> np.ndarray:
        """Returns the indices of the blocks, row by row."""
        del component
        return np.arange(num_blocks)

    def dc_lengths(self, table: int, integers: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the code lengths of the integers' DC differences, float32 `[16]`.

        They are those of a Huffman code; symbols that do not occur have an estimate.
        """
        del table
        counts = np.zeros(16, np.int64)
        for own in integers:
            trellis.count_dc(own, np.arange(len(own)), counts)
        lengths = np.where(counts > 0, code_lengths(counts), _self_information(counts))
        return lengths.astype(np.float32)

    def bands(
        self, table: int, integers: np.ndarray, is_first_pass: bool
    ) -> list[trellis.Band]:
        """Returns the bands that take the fewest bits; in the first pass only one."""
        del table
        if is_first_pass:
            return [_scan_band(1, 63, band_histogram(integers, 1, 63))]
        bands = choose_bands(integers)
        return [_scan_band(band.start, band.end, band.counts) for band in bands]


def bit_costs(
    entropy_coding: str, height: int, width: int, sampling: str
) -> SequentialCosts | ProgressiveCosts:
    """Returns the costs of an entropy coding, see `passes.search`."""
    if entropy_coding == "standard":
        return SequentialCosts(height, width, sampling)
    return ProgressiveCosts()


def interleaved_order(height: int, width: int, sampling: str) -> np.ndarray:
    """Returns the indices of luma's blocks in the order of an interleaved scan."""
    v, h = factors(sampling)
    rows, cols = blocks_of(height, width)
    row, col = np.divmod(np.arange(rows * cols), cols)
    return np.lexsort((col % h, row % v, col // h, row // v))


@functools.cache
def _standard_lengths(table: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (DC `[16]`, AC `[256]`): code lengths of the standard's, float32."""
    dc, ac = standard_code_lengths(table)
    return np.array(dc, np.float32), np.array(ac, np.float32)


def _scan_band(first: int, last: int, counts: np.ndarray) -> trellis.Band:
    """Returns a band whose symbols occurred so often, int64 `[256]`.

    Its lengths are midway between a Huffman code and self-information: the code fits
    the integers before, self-information changes less with them.
    """
    information = _self_information(counts)
    mixed = (information + code_lengths(counts)) / 2
    lengths = np.where(counts > 0, mixed, information).astype(np.float32)
    sizes = np.arange(trellis.RUN_CLASSES)
    run_lengths = lengths[16 * sizes] + sizes.astype(np.float32)
    end = min(lengths[0], np.float32(_LONGEST_END))
    return trellis.Band(first, last, lengths, run_lengths, end)


def _self_information(counts: np.ndarray) -> np.ndarray:
    """Returns the bits of each symbol by its relative frequency."""
    total = counts.sum() or 1
    information = -np.log2((counts + _UNSEEN) / (total + _UNSEEN))
    return np.minimum(information, MAX_LENGTH)
