"""Chooses the AC scans of a component in a progressive file, by their bits.

A scan codes a band of zigzag positions (spectral selection; ITU-T T.81, annex G). Where
that is smaller, it leaves the last bits of the coefficients to later scans, which code
one more bit each (successive approximation).
"""

from __future__ import annotations

import functools
from typing import NamedTuple, TypeAlias

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.huffman import ZERO_RUN, code_lengths_of, size_of
from learned_jpeg.jpeg.scans import EXTRA_BITS, LONGEST_RUN, SCAN_HEADER, SIZES

BAND_ENDS = (2, 5, 8, 12, 18, 63)  # zigzag positions where a band may end
_BAND_STARTS = (1, *(end + 1 for end in BAND_ENDS[:-1]))
_STARTS, _ENDS = np.array(_BAND_STARTS), np.array(BAND_ENDS)
_PIECES = range(len(BAND_ENDS))  # of positions between two ends
_WHOLE = _PIECES[0], _PIECES[-1]
_TABLE_HEADER = 17  # bytes of a table in DHT without its symbols
# Bits of a coefficient: with fewer, leaving bits to later scans saves next to nothing.
_LEAST_BITS = 0.75
_MOST_BITS_LEFT = 13  # T.81, table B.3


class Band(NamedTuple):
    """A scan of a band of AC coefficients, and its symbols.

    Attributes:
      start, end: first and last zigzag position, from 1 to 63.
      counts: how often each symbol occurs, int64 `[256]`. Symbols are 16 * run of zeros
        + size of the value, 0xF0 for 16 zeros, and 16 * n for an end of the band in 2^n
        to 2^(n + 1) - 1 blocks.
      low: number of bits that are left to later scans.
      refines: whether the scan adds one bit to what earlier ones have coded.
      corrections: number of coefficients that get this bit without a symbol, because
        they are not 0 without it.
    """

    start: int
    end: int
    counts: np.ndarray
    low: int = 0
    refines: bool = False
    corrections: int = 0


def choose_bands(blocks: np.ndarray) -> list[Band]:
    """Returns the AC scans of the fewest bits among those that leave no bits to others.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.

    Returns:
      The bands, which together are 1..63.
    """
    scans = BandScans.of(blocks)
    return [scans.band(*step) for step in _cheapest(scans.plans)[_WHOLE].steps]


def choose_scans(blocks: np.ndarray) -> list[Band]:
    """Returns the AC scans of a component that take the fewest bits.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.

    Returns:
      The bands, each before those that refine it.
    """
    scans = {(0, False): BandScans.of(blocks)}
    plans = scans[0, False].plans
    best = _cheapest(plans)[_WHOLE]
    is_cheap = best.bits < _LEAST_BITS * blocks.size
    for low in range(1, 1 if is_cheap else _MOST_BITS_LEFT + 1):
        scans[low - 1, True] = BandScans.of(blocks, low - 1, refines=True)
        scans[low, False] = BandScans.of(blocks, low)
        if low == 1:
            plans = _all_cheapest(plans)
        for limits, plan in _all_cheapest(scans[low, False].plans).items():
            for bit in range(low - 1, -1, -1):
                plan = plan.joined(scans[bit, True].plans[limits])
            plans[limits] = min(plans[limits], plan)
        found = _cheapest(plans)[_WHOLE]
        if found.bits >= best.bits:
            break
        best = found
    return [scans[step[2:]].band(*step) for step in best.steps]


class _Plan(NamedTuple):
    """Scans of neighbouring pieces; less is one of fewer bits, or of earlier bands.

    Attributes:
      bits: of all scans, with their headers.
      steps: of each scan its first and last piece, `Band.low` and `Band.refines`.
    """

    bits: int
    steps: list[tuple[int, int, int, bool]]

    def joined(self, other: _Plan) -> _Plan:
        """Returns the scans of this one and then those of another one."""
        return _Plan(self.bits + other.bits, self.steps + other.steps)


_Plans: TypeAlias = dict[tuple[int, int], _Plan]  # by first and last piece


class BandScans(NamedTuple):
    """The scans of all bands that code the same bits of coefficients.

    Attributes:
      counts: int64 `[6, 6, 256]`, `Band.counts` by first and last piece.
      corrections: int64 `[6, 6]`, `Band.corrections`.
      plans: of one scan each.
    """

    counts: np.ndarray
    corrections: np.ndarray
    plans: _Plans

    @classmethod
    def of(cls, blocks: np.ndarray, low: int = 0, refines: bool = False) -> BandScans:
        """Returns the scans of blocks, int16 `[blocks, 64]`."""
        counts, corrections = _histograms(blocks, _STARTS, _ENDS, low, refines)
        bits = (_bits_of_bands(counts, corrections) + 8 * SCAN_HEADER).tolist()
        plans = {
            (first, last): _Plan(bits[first][last], [(first, last, low, refines)])
            for first in _PIECES
            for last in _PIECES[first:]
        }
        return cls(counts, corrections, plans)

    def band(self, first: int, last: int, low: int, refines: bool) -> Band:
        """Returns the scan of a step of a plan."""
        counts, corrections = self.counts[first, last], self.corrections[first, last]
        limits = _BAND_STARTS[first], BAND_ENDS[last]
        return Band(*limits, counts, low, refines, int(corrections))


def _cheapest(plans: _Plans, first: int = 0) -> _Plans:
    """Returns the plans of the fewest bits from a first piece on, joined of others."""
    found: _Plans = {}
    for last in _PIECES[first:]:
        joined = [
            found[first, cut - 1].joined(plans[cut, last])
            for cut in range(first + 1, last + 1)
        ]
        found[first, last] = min([plans[first, last], *joined])
    return found


def _all_cheapest(plans: _Plans) -> _Plans:
    """Returns the plans of the fewest bits for all first and last pieces."""
    return {
        limits: plan
        for first in _PIECES
        for limits, plan in _cheapest(plans, first).items()
    }


def band_histogram(blocks: np.ndarray, start: int, end: int) -> np.ndarray:
    """Counts how often each symbol occurs in the scan of a band.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end: first and last position of the band, from 1 to 63.

    Returns:
      int64 `[256]`, see `Band.counts`.
    """
    counts, _ = _histograms(blocks, np.array([start]), np.array([end]))
    return counts[0, 0]


def bits_with_table(counts: np.ndarray) -> int:
    """Returns the bits of data in whole bytes, with the definition of its code.

    Args:
      counts: int64 `[256]`, how often each symbol occurs.
    """
    return int(_bits_with_table(counts, 0))


def _histograms(
    blocks: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    low: int = 0,
    refines: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the symbols of all bands from a start to an end.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      starts, ends: int64 `[n]`, first and last positions; each start is behind an end.
      low, refines: see `Band`.

    Returns:
      `Band.counts` and `Band.corrections` by start and end, int64 `[n, n, 256]` and
      `[n, n]`.
    """
    n = len(starts)
    first, last = _triangle(n)
    following, leading = np.zeros((2, n, n, 256), np.int64)
    runs = np.zeros((len(first), 16), np.int64)
    corrected = np.zeros(64, np.int64)
    blocks = np.ascontiguousarray(blocks, np.int16)
    _count(
        blocks,
        blocks.view(np.int64),
        (low, refines),
        starts,
        ends,
        (2 << last) - (1 << first),
        ends[last],
        following,
        leading,
        runs,
        corrected,
    )
    _add_up(following, leading)
    leading[first, last, :ZERO_RUN:16] += runs[:, 1:]
    before = np.concatenate([[0], corrected.cumsum()])
    return leading, before[ends + 1] - before[starts][:, np.newaxis]


@functools.cache
def _triangle(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and last pieces of all bands of n pieces."""
    return np.triu_indices(n)


@njit
def _count(
    blocks,
    quads,
    bit,
    starts,
    ends,
    pieces_of,
    end_of,
    following,
    leading,
    runs,
    corrected,
):
    """Counts symbols in one pass over the blocks, for `_histograms`.

    The ends cut the positions into pieces.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      quads: int64 `[blocks, 16]`, the same bytes.
      bit: (low, refines), see `Band`.
      starts, ends: `[n]`, first and last position of each piece.
      pieces_of: `[bands]`, the pieces of each band, a bit each.
      end_of: `[bands]`, the last position of each band.
      following: int64 `[n, n, 256]`, is added the symbols of coefficients that follow
        another one, by the pieces of both.
      leading: int64 `[n, n, 256]`, the symbols of coefficients that are the first ones
        behind a start, by its piece and their own.
      runs: int64 `[bands, 16]`, the ends of blocks, by the size of their run.
      corrected: int64 `[64]`, the corrections by position.
    """
    low, refines = bit
    piece_of = np.zeros(64, np.int64)
    for i in range(starts.size):
        for k in range(starts[i], ends[i] + 1):
            piece_of[k] = i
    run_start = np.zeros(end_of.size, np.int64)  # block whose end waits for its symbol
    places, ranks = np.empty(64, np.int64), np.arange(64)
    for b in range(blocks.shape[0]):
        last = min(_last_of_quads(quads[b]), ends[-1])
        if refines:
            own = blocks[b, : last + 1]
            count = _places_and_ranks(own, low, starts[0], places, ranks, corrected)
        else:
            count = _places(blocks[b, : last + 1], low, starts[0], places)
        if count == 0:
            continue
        before, piece_before, pieces = 0, -1, 0
        for i in range(count):
            k = places[i]
            piece = piece_of[k]
            # One that JPEG cannot code has some size, too.
            size = SIZES[min(magnitude_of(blocks[b, k], low), SIZES.size - 1)]
            if piece_before >= 0:
                zeros = ranks[k] - ranks[before] - 1
                _count_value(zeros, size, following[piece_before, piece])
            for s in range(piece_before + 1, piece + 1):
                zeros = ranks[k] - ranks[starts[s]]
                _count_value(zeros, size, leading[s, piece])
            before, piece_before = k, piece
            pieces |= 1 << piece
        for i in range(end_of.size):
            if pieces & pieces_of[i]:  # the block interrupts a run of ends
                _count_run(b - run_start[i], runs[i])
                is_closed = is_coded(blocks[b, end_of[i]], low, refines)
                run_start[i] = b + is_closed
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
def _last_of_quads(quads):
    """Returns the last position of the last number that is not 0, or of the first."""
    quad = quads.size - 1
    while quad > 0 and quads[quad] == 0:
        quad -= 1
    return 4 * quad + 3


@njit
def _places(block, low, first, places):
    """Finds the coefficients of a block with a symbol; returns how many there are.

    Args:
      block: int16 `[n]`, the first positions.
      low: see `Band`.
      first: position from which it looks.
      places: int64 `[64]`, gets the positions.
    """
    count = 0
    for k in range(first, block.size):
        places[count] = k  # without a branch, which would be mispredicted
        count += magnitude_of(block[k], low) != 0
    return count


@njit
def _places_and_ranks(block, low, first, places, ranks, corrected):
    """Does what `_places` does, for a scan that refines.

    Args:
      block, low, first, places: as for `_places`.
      ranks: int64 `[64]`, gets each position less the corrections before it.
      corrected: int64 `[64]`, is added the corrections.
    """
    count = corrections = 0
    for k in range(first, block.size):
        magnitude = magnitude_of(block[k], low)
        places[count], ranks[k] = k, k - corrections
        count += magnitude == 1
        corrections += magnitude > 1
        corrected[k] += magnitude > 1
    return count


@njit
def magnitude_of(value, low):
    """Returns the magnitude of an AC coefficient without its last `low` bits."""
    return abs(np.int64(value)) >> low


@njit
def is_coded(value, low, refines):
    """Returns whether a scan, see `Band`, has a symbol for an AC coefficient."""
    magnitude = magnitude_of(value, low)
    return magnitude == 1 or (magnitude > 1 and not refines)


@njit
def _count_run(ended, sizes):
    """Counts a run of so many ends by its size; one of no end as 0."""
    while ended >= SIZES.size:
        own = min(ended, LONGEST_RUN)
        sizes[size_of(own)] += 1
        ended -= own
    sizes[SIZES[ended]] += 1


@njit
def _bits_of_bands(counts, corrections):
    """Returns `_bits_with_table` of `[n, n, 256]` and `[n, n]`, int64 `[n, n]`."""
    n = counts.shape[0]
    bits = np.zeros((n, n), np.int64)
    for s in range(n):
        for e in range(s, n):
            bits[s, e] = _bits_with_table(counts[s, e], corrections[s, e])
    return bits


@njit
def _bits_with_table(counts, others):
    """Returns `bits_with_table`, with other bits that the data have."""
    lengths = code_lengths_of(counts)
    bits, table_bytes = others, _TABLE_HEADER
    for symbol in range(counts.size):
        bits += counts[symbol] * (lengths[symbol] + EXTRA_BITS[symbol])
        table_bytes += counts[symbol] > 0
    return 8 * ((bits + 7) // 8 + table_bytes)
