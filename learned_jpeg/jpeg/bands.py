"""Chooses the bands of a component's AC scans in a progressive file, by their bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.huffman import ZERO_RUN, code_lengths_of, size_of
from learned_jpeg.jpeg.scans import EXTRA_BITS, LONGEST_RUN, SCAN_HEADER, SIZES

BAND_ENDS = (2, 5, 8, 12, 18, 63)  # zigzag positions where a band may end
_BAND_STARTS = (1, *(end + 1 for end in BAND_ENDS[:-1]))
_STARTS, _ENDS = np.array(_BAND_STARTS), np.array(BAND_ENDS)
_TABLE_HEADER = 17  # bytes of a table in DHT without its symbols


class Band(NamedTuple):
    """A band of AC coefficients, and the symbols of its scan.

    Attributes:
      start, end: first and last zigzag position, from 1 to 63.
      counts: how often each symbol occurs, int64 `[256]`. Symbols are 16 * run of zeros
        + size of the value, 0xF0 for 16 zeros, and 16 * n for an end of the band in 2^n
        to 2^(n + 1) - 1 blocks.
    """

    start: int
    end: int
    counts: np.ndarray


def choose_bands(blocks: np.ndarray) -> list[Band]:
    """Returns the bands of a component's AC scans that take the fewest bits.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.

    Returns:
      The bands, which together are 1..63.
    """
    counts = _histograms(blocks, _STARTS, _ENDS)
    bits = _bits_of_bands(counts).tolist()
    # Of bands up to each start: bits, and their limits.
    best: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    for last in range(len(BAND_ENDS)):
        options = [
            (before + bits[first][last] + 8 * SCAN_HEADER, [*limits, (first, last)])
            for first, (before, limits) in enumerate(best)
        ]
        best.append(min(options))  # of equal ones that with the earliest bands
    return [
        Band(_BAND_STARTS[first], BAND_ENDS[last], counts[first, last])
        for first, last in best[-1][1]
    ]


def band_histogram(blocks: np.ndarray, start: int, end: int) -> np.ndarray:
    """Counts how often each symbol occurs in the scan of a band.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end: first and last position of the band, from 1 to 63.

    Returns:
      int64 `[256]`, see `Band.counts`.
    """
    return _histograms(blocks, np.array([start]), np.array([end]))[0, 0]


def bits_with_table(counts: np.ndarray) -> int:
    """Returns the bits of data in whole bytes, with the definition of its code.

    Args:
      counts: int64 `[256]`, how often each symbol occurs.
    """
    return int(_bits_with_table(counts))


def _histograms(blocks: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Counts the symbols of all bands from a start to an end.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      starts, ends: int64 `[n]`, first and last positions; each start is behind an end.

    Returns:
      int64 `[n, n, 256]`, `Band.counts` by start and end.
    """
    n = len(starts)
    first, last = np.triu_indices(n)
    following, leading = np.zeros((2, n, n, 256), np.int64)
    runs = np.zeros((len(first), 16), np.int64)
    blocks = np.ascontiguousarray(blocks, np.int16)
    quads = blocks.view(np.int64)
    pieces = (2 << last) - (1 << first)
    _count(blocks, quads, starts, ends, pieces, ends[last], following, leading, runs)
    _add_up(following, leading)
    leading[first, last, :ZERO_RUN:16] += runs[:, 1:]
    return leading


@njit
def _count(blocks, quads, starts, ends, pieces_of, end_of, following, leading, runs):
    """Counts symbols in one pass over the blocks, for `_histograms`.

    The ends cut the positions into pieces.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      quads: int64 `[blocks, 16]`, the same bytes.
      starts, ends: `[n]`, first and last position of each piece.
      pieces_of: `[bands]`, the pieces of each band, a bit each.
      end_of: `[bands]`, the last position of each band.
      following: int64 `[n, n, 256]`, is added the symbols of coefficients that follow
        another one, by the pieces of both.
      leading: int64 `[n, n, 256]`, the symbols of coefficients that are the first ones
        behind a start, by its piece and their own.
      runs: int64 `[bands, 16]`, the ends of blocks, by the size of their run.
    """
    piece_of = np.zeros(64, np.int64)
    for i in range(starts.size):
        for k in range(starts[i], ends[i] + 1):
            piece_of[k] = i
    run_start = np.zeros(end_of.size, np.int64)  # block whose end waits for its symbol
    places = np.empty(64, np.int64)
    for b in range(blocks.shape[0]):
        count = _places(blocks[b], quads[b], starts[0], ends[-1], places)
        if count == 0:
            continue
        before, piece_before, pieces = 0, -1, 0
        for i in range(count):
            k = places[i]
            piece, size = piece_of[k], _size_of_value(blocks[b, k])
            if piece_before >= 0:
                _count_value(k - before - 1, size, following[piece_before, piece])
            for s in range(piece_before + 1, piece + 1):
                _count_value(k - starts[s], size, leading[s, piece])
            before, piece_before = k, piece
            pieces |= 1 << piece
        for i in range(end_of.size):
            if pieces & pieces_of[i]:  # the block interrupts a run of ends
                _count_run(b - run_start[i], runs[i])
                run_start[i] = b + (blocks[b, end_of[i]] != 0)
    for i in range(end_of.size):
        _count_run(blocks.shape[0] - run_start[i], runs[i])


@njit
def _add_up(following, leading):
    """Adds to `leading` all symbols from a start to an end, see `_count`."""
    n = following.shape[0]
    for s in range(n - 1, -1, -1):
        for e in range(s, n):
            for symbol in range(256):
                if s + 1 < n:
                    following[s, e, symbol] += following[s + 1, e, symbol]
                leading[s, e, symbol] += following[s, e, symbol]
                if e > s:
                    leading[s, e, symbol] += leading[s, e - 1, symbol]


@njit
def _count_value(zeros, size, counts):
    """Counts the symbols of a coefficient behind so many zeros."""
    if zeros > 15:
        counts[ZERO_RUN] += zeros // 16
    counts[16 * (zeros % 16) + size] += 1


@njit
def _places(block, quads, first, last, places):
    """Finds the coefficients of a block other than 0; returns how many there are.

    Args:
      block: int16 `[64]`.
      quads: int64 `[16]`, the same bytes.
      first, last: positions between which it looks.
      places: int64 `[64]`, gets the positions.
    """
    quad = 15
    while quad > 0 and quads[quad] == 0:
        quad -= 1
    count = 0
    for k in range(first, min(last, 4 * quad + 3) + 1):
        places[count] = k  # without a branch, which would be mispredicted
        count += block[k] != 0
    return count


@njit
def _size_of_value(value):
    """Returns the bits of an AC coefficient; of one that has none, those of 2047."""
    return SIZES[min(abs(np.int64(value)), 2047)]


@njit
def _count_run(ended, sizes):
    """Counts a run of so many ends by its size; one of no end as 0."""
    while ended >= SIZES.size:
        own = min(ended, LONGEST_RUN)
        sizes[size_of(own)] += 1
        ended -= own
    sizes[SIZES[ended]] += 1


@njit
def _bits_of_bands(counts):
    """Returns `_bits_with_table` of `[n, n, 256]`, int64 `[n, n]`."""
    n = counts.shape[0]
    bits = np.zeros((n, n), np.int64)
    for s in range(n):
        for e in range(s, n):
            bits[s, e] = _bits_with_table(counts[s, e])
    return bits


@njit
def _bits_with_table(counts):
    lengths = code_lengths_of(counts)
    bits, table_bytes = 0, _TABLE_HEADER
    for symbol in range(counts.size):
        bits += counts[symbol] * (lengths[symbol] + EXTRA_BITS[symbol])
        table_bytes += counts[symbol] > 0
    return 8 * ((bits + 7) // 8 + table_bytes)
