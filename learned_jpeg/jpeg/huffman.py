"""Huffman codes, built for the symbols of a scan or given by the standard.

ITU-T T.81, annexes C, K.2 and K.3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.standard import STD_CODE_LENGTHS

ZERO_RUN = 0xF0  # the symbol of 16 zeros in AC
MAX_LENGTH = 16  # bits of the longest code that a JPEG file can define


class Table(NamedTuple):
    """A Huffman table: the code of each symbol.

    Attributes:
      lengths: int64 `[256]`, bits of the codes; 0 for a symbol that has no code.
      codes: int64 `[256]`.
    """

    lengths: np.ndarray
    codes: np.ndarray

    def definition(self) -> bytes:
        """Returns what a DHT segment holds after the table's class and number."""
        counts = np.bincount(self.lengths, minlength=MAX_LENGTH + 1)[1:]
        return bytes(counts.tolist() + _in_code_order(self.lengths).tolist())


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Returns the lengths of the best codes of at most 16 bits for some symbols.

    This is the procedure of T.81, K.2, as in libjpeg: Huffman's algorithm with one more
    symbol, so that no code consists only of ones; then the longest codes are shortened
    at the expense of others.

    Args:
      counts: `[n]`, n up to 256, how often each of the symbols 0..n - 1 occurs.

    Returns:
      int64 `[n]`, bits; 0 for symbols that do not occur.
    """
    return _code_lengths(np.asarray(counts, np.int64))


def table(counts: np.ndarray) -> Table:
    """Returns the table of the best codes for symbols that occur `[256]` counts."""
    return _table_of(code_lengths(counts))


def _table_of(lengths: np.ndarray) -> Table:
    codes = np.zeros_like(lengths)
    code, before = 0, 0
    for symbol in _in_code_order(lengths):  # T.81, C.2
        code <<= lengths[symbol] - before
        codes[symbol], before = code, lengths[symbol]
        code += 1
    return Table(lengths, codes)


@njit
def size_of(magnitude):
    """Returns the bits of a magnitude: its category in T.81, tables F.1 and F.2."""
    size = 0
    # Not `while magnitude`: the least integer, which nan becomes, has no magnitude, and
    # a loop of compiled code that never ends cannot be interrupted.
    while magnitude > 0:
        magnitude >>= 1
        size += 1
    return size


def _in_code_order(lengths: np.ndarray) -> np.ndarray:
    """Returns the symbols that have a code, by its length and then by their number."""
    return np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :]


@njit
def _tree_depths(counts):
    """Returns the depth of each symbol in Huffman's tree.

    Of equal counts the later one is joined first, as T.81 asks. Then no symbol is
    deeper than the last one, if its count is 1.

    Args:
      counts: int64 `[n]`, how often each symbol occurs; all above 0.
    """
    weights = counts.copy()
    tree = np.arange(counts.size)  # each symbol's tree, named by one of its symbols
    depths = np.zeros(counts.size, np.int64)
    for _ in range(counts.size - 1):
        least = second = -1
        for i in range(counts.size):
            if weights[i] == 0:
                continue
            if least < 0 or weights[i] <= weights[least]:
                least, second = i, least
            elif second < 0 or weights[i] <= weights[second]:
                second = i
        weights[least] += weights[second]
        weights[second] = 0
        for i in range(counts.size):
            if tree[i] == least or tree[i] == second:
                tree[i] = least
                depths[i] += 1
    return depths


@njit
def _limited(depths):
    """Returns how many codes have 0..16 bits, without the code that is only ones.

    T.81, figure K.3: of two codes that are too long, one takes the place of their
    common prefix. The other one shares the place of a shorter code, which grows by a
    bit.
    """
    numbers = np.zeros(max(depths.max(), MAX_LENGTH) + 1, np.int64)
    for depth in depths:
        numbers[depth] += 1
    for bits in range(numbers.size - 1, MAX_LENGTH, -1):
        while numbers[bits]:
            shorter = bits - 2
            while not numbers[shorter]:
                shorter -= 1
            numbers[bits] -= 2
            numbers[bits - 1] += 1
            numbers[shorter + 1] += 2
            numbers[shorter] -= 1
    longest = MAX_LENGTH
    while not numbers[longest]:
        longest -= 1
    numbers[longest] -= 1
    return numbers[: MAX_LENGTH + 1]


@njit
def _code_lengths(counts):
    """Returns `code_lengths` of int64 `[n]`."""
    present = np.nonzero(counts)[0]
    weights = np.ones(present.size + 1, np.int64)
    weights[:-1] = counts[present]
    depths = _tree_depths(weights)
    # Deepest last; of equally deep symbols the rarest last, which the limit hits.
    order = np.arange(present.size)
    for end in range(1, order.size):
        own, place = order[end], end
        while place and _is_before(own, order[place - 1], depths, weights):
            order[place] = order[place - 1]
            place -= 1
        order[place] = own
    lengths = np.zeros(counts.size, np.int64)
    place = 0
    for bits, number in enumerate(_limited(depths)):
        for _ in range(number):
            lengths[present[order[place]]] = bits
            place += 1
    return lengths


@njit
def _is_before(one, other, depths, weights):
    if depths[one] != depths[other]:
        return depths[one] < depths[other]
    return weights[one] > weights[other]


# (DC, AC) of luma and of chroma, as the standard has them.
STANDARD_TABLES = tuple(
    tuple(_table_of(lengths) for lengths in pair) for pair in STD_CODE_LENGTHS
)


def standard_code_lengths(table: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the code lengths of the standard's Huffman tables (T.81, annex K.3).

    Args:
      table: 0 for luma, 1 for chroma.

    Returns:
      (DC `[16]`, AC `[256]`), int64, the bits of each symbol's code. Symbols that no
      block of 8-bit samples needs have no code and get 16.
    """
    lengths = np.where(STD_CODE_LENGTHS[table], STD_CODE_LENGTHS[table], MAX_LENGTH)
    return lengths[0, :16], lengths[1]
