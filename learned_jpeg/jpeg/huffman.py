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
    return code_lengths_of(np.asarray(counts, np.int64))


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
def _tree(counts):
    """Returns the depth of each symbol in Huffman's tree, and the symbols in order.

    Of equal counts the later one is joined first, as T.81 asks. Then no symbol is
    deeper than the last one, if its count is 1.

    Args:
      counts: int64 `[n]`, how often each symbol occurs; all above 0.

    Returns:
      (int64 `[2 n]`, the depths of the symbols and then those of inner nodes; int64
      `[n]`, the symbols, the rarest first and the later of equal ones first).
    """
    n = counts.size
    # Nodes: the symbols, then what they are joined to. Each tree is named by one of its
    # symbols. Those that are joined are behind `first`, the least first.
    order = _by_count(counts)
    joined = np.empty(n, np.int64)
    names, weights = np.empty(2 * n, np.int64), np.zeros(2 * n, np.int64)
    for i in range(n):
        names[i], weights[i] = i, counts[i]
    parents = np.empty(2 * n, np.int64)
    alone = first = 0
    for number in range(n - 1):
        node = n + number
        for turn in range(2):
            is_joined = alone == n
            if first < number and not is_joined:
                is_joined = _is_less(joined[first], order[alone], weights, names)
            if is_joined:
                child = joined[first]
                first += 1
            else:
                child = order[alone]
                alone += 1
            parents[child] = node
            weights[node] += weights[child]
            if turn == 0:
                names[node] = names[child]
        place = number
        while place > first and _is_less(node, joined[place - 1], weights, names):
            joined[place] = joined[place - 1]
            place -= 1
        joined[place] = node
    depths = np.zeros(2 * n, np.int64)
    for node in range(2 * n - 3, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths, order


@njit
def _by_count(counts):
    """Returns the symbols, the rarest first, and the later of equal ones first."""
    order = np.empty(counts.size, np.int64)
    for number in range(counts.size):
        # From the last, because higher sizes and longer runs are rarer.
        symbol = counts.size - 1 - number
        place = number
        while place and counts[symbol] < counts[order[place - 1]]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = symbol
    return order


@njit
def _is_less(one, other, weights, names):
    if weights[one] != weights[other]:
        return weights[one] < weights[other]
    return names[one] > names[other]


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
def code_lengths_of(counts):
    """Returns `code_lengths` of int64 `[n]`, for compiled code."""
    present = np.empty(counts.size, np.int64)
    weights = np.ones(counts.size + 1, np.int64)
    number = 0
    for symbol in range(counts.size):
        if counts[symbol]:
            present[number], weights[number] = symbol, counts[symbol]
            number += 1
    depths, order = _tree(weights[: number + 1])
    # Deepest first; of equally deep symbols the rarest first, which the limit hits.
    for end in range(1, number + 1):
        own, place = order[end], end
        while place and depths[own] > depths[order[place - 1]]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = own
    numbers = _limited(depths[: number + 1])
    lengths = np.zeros(counts.size, np.int64)
    place = number  # The last symbol, which is the first one here, has no code.
    for bits in range(MAX_LENGTH + 1):
        for _ in range(numbers[bits]):
            lengths[present[order[place]]] = bits
            place -= 1
    return lengths


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
