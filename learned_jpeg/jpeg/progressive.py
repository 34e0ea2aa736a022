"""Progressive JPEG: chooses the scans of an image's integers by their bits.

Only spectral selection is used, no successive approximation (ITU-T T.81, annex G): each
coefficient is coded once, in one of these scans:

- DC of Y, one row of blocks after the other. It is not interleaved, because in the
  order of the MCUs of a subsampled image neighbouring blocks differ more.
- DC of Cb and Cr, interleaved.
- AC of each component, in bands of zigzag positions that are chosen by their bits. A
  run of blocks that have no coefficient in the band costs only a few bits.

Each scan has the best Huffman codes for it; scans share codes where that is smaller.
All positions are coded, even if a band is empty: decoders invent the coefficients that
a file has not sent, by smoothing across blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg import huffman
from learned_jpeg.jpeg.huffman import ZERO_RUN, size_of
from learned_jpeg.jpeg.quantized import QuantizedImage
from learned_jpeg.jpeg.scans import (
    AC,
    DC,
    LONGEST_RUN,
    band_symbols,
    coded_bits,
    codes_for_packing,
    headers,
    last_byte,
    pack,
    scan_header,
    zigzag_blocks,
)
from learned_jpeg.jpeg.segments import DHT, EOI, SOF2, SOI, segment

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

BAND_ENDS = (2, 5, 8, 12, 18, 63)  # zigzag positions where a band may end
_BAND_STARTS = (1, *(end + 1 for end in BAND_ENDS[:-1]))
# Bytes of SOS; of a table in DHT without its symbols.
_SCAN_HEADER, _TABLE_HEADER = 10, 17
_TABLES = 4  # of a class that a progressive file holds at a time (T.81, table B.5)


class _Scan(NamedTuple):
    """The symbols of one scan.

    Attributes:
      components: numbers of the components, 0 to 2.
      start, end: first and last zigzag position.
      symbols: uint8 `[n]`.
      extra: uint16 `[n]`, the bits that follow each symbol's code.
    """

    components: tuple[int, ...]
    start: int
    end: int
    symbols: np.ndarray
    extra: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """How often each symbol occurs, int64 `[256]`."""
        return np.bincount(self.symbols, minlength=256)


def encode_progressive(quantized: QuantizedImage) -> bytes:
    """Writes quantized coefficients as a progressive JPEG file.

    Args:
      quantized: an image whose planes and tables are in the range of 8-bit JPEG, as
        `jpeg.file.encode` checks them.

    Returns:
      The bytes, from SOI to EOI.
    """
    blocks = [zigzag_blocks(plane) for plane in quantized.planes]
    dc_scans = [_dc_scan((0,), blocks)]
    if len(blocks) > 1:
        dc_scans.append(_dc_scan((1, 2), blocks))
    ac_scans = [
        _band_scan(component, own, band.start, band.end)
        for component, own in enumerate(blocks)
        for band in choose_bands(own)
    ]
    ac_scans.sort(key=lambda scan: scan.start)  # for what a decoder shows early
    dc_groups, ac_groups = map(_groups_of_one_table, (dc_scans, ac_scans))
    pieces = [bytes([0xFF, SOI]), *headers(quantized, SOF2, joins_tables=True)]
    pieces += _coded(dc_groups, ac_groups[:_TABLES])
    for first in range(_TABLES, len(ac_groups), _TABLES):
        pieces += _coded([], ac_groups[first : first + _TABLES])
    return b"".join([*pieces, bytes([0xFF, EOI])])


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
    counts = _histograms(blocks, np.array(_BAND_STARTS), np.array(BAND_ENDS))
    best: list[tuple[float, list[Band]]] = [(0, [])]  # bits, bands up to each start
    for last, end in enumerate(BAND_ENDS):
        options = []
        for first, (bits, bands) in enumerate(best):
            own = Band(_BAND_STARTS[first], end, counts[first, last])
            own_bits = _bits_with_table(own.counts) + 8 * _SCAN_HEADER
            options.append((bits + own_bits, [*bands, own]))
        # Of equal ones that with the earliest bands.
        best.append(min(options, key=lambda option: (option[0], _limits(option[1]))))
    return best[-1][1]


def _limits(bands: list[Band]) -> list[tuple[int, int]]:
    return [(band.start, band.end) for band in bands]


@njit
def _histograms(blocks, starts, ends):
    """Counts the symbols of all bands from a start to an end, in one pass.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      starts, ends: `[n]`, first and last positions; each start is behind an end.

    Returns:
      int64 `[n, n, 256]`, `Band.counts` by start and end.
    """
    n = starts.size
    piece_of = np.zeros(64, np.int64)  # number of the piece between two ends
    for i in range(n):
        piece_of[starts[i] : ends[i] + 1] = i
    # Of coefficients that follow another one, by the pieces of both; of those that are
    # the first one behind a start, by the start and their piece.
    following = np.zeros((n, n, 256), np.int64)
    leading = np.zeros((n, n, 256), np.int64)
    ended = np.zeros((n, n), np.int64)  # blocks that wait for the symbol of their ends
    runs = np.zeros((n, n, 256), np.int64)
    first_piece = np.empty(n, np.int64)  # with a coefficient, from each start
    for b in range(blocks.shape[0]):
        row = blocks[b]
        before, piece_before = 0, -1
        first_piece[:] = n
        for k in range(1, 64):
            if row[k] == 0:
                continue
            piece, size = piece_of[k], size_of(abs(np.int64(row[k])))
            if piece_before >= 0:
                own = following[piece_before, piece]
                _count_coefficient(k - before - 1, size, own)
            for s in range(piece_before + 1, piece + 1):
                _count_coefficient(k - starts[s], size, leading[s, piece])
                first_piece[s] = piece
            before, piece_before = k, piece
        _count_ends(row, ends, first_piece, ended, runs)
    for s in range(n):
        for e in range(s, n):
            _count_run(ended[s, e], runs[s, e])
            for last in range(s, e + 1):
                runs[s, e] += leading[s, last]
                for first in range(s, last + 1):
                    runs[s, e] += following[first, last]
    return runs


@njit
def _count_coefficient(zeros, size, counts):
    counts[ZERO_RUN] += zeros // 16
    counts[16 * (zeros % 16) + size] += 1


@njit
def _count_ends(row, ends, first_piece, ended, runs):
    """Counts the end of a block in each band, and the runs that it interrupts."""
    n = ends.size
    for s in range(n):
        for e in range(s, n):
            if e >= first_piece[s]:
                _count_run(ended[s, e], runs[s, e])
                ended[s, e] = 0
            ended[s, e] += row[ends[e]] == 0
            if ended[s, e] == LONGEST_RUN:
                _count_run(ended[s, e], runs[s, e])
                ended[s, e] = 0


@njit
def _count_run(ended, counts):
    if ended:
        counts[16 * (size_of(ended) - 1)] += 1


def band_histogram(blocks: np.ndarray, start: int, end: int) -> np.ndarray:
    """Counts how often each symbol occurs in the scan of a band.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end: first and last position of the band, from 1 to 63.

    Returns:
      int64 `[256]`, see `Band.counts`.
    """
    return _band_scan(0, blocks, start, end).counts


def _bits_with_table(counts: np.ndarray) -> np.number:
    """Returns the bits of data in whole bytes, with the DHT segment of its code."""
    data_bytes = -(-coded_bits(counts, huffman.code_lengths(counts)) // 8)
    return 8 * (data_bytes + _TABLE_HEADER + np.count_nonzero(counts))


def _dc_scan(components: tuple[int, ...], blocks: list[np.ndarray]) -> _Scan:
    """Returns the scan of the DC of components, one block of each in an MCU."""
    dc = np.stack([blocks[component][:, 0] for component in components], axis=-1)
    differences = np.diff(dc.astype(np.int32), axis=0, prepend=0).ravel()
    sizes = np.frexp(np.abs(differences))[1]
    extra = np.where(differences < 0, differences + (1 << sizes) - 1, differences)
    return _Scan(components, 0, 0, sizes.astype(np.uint8), extra.astype(np.uint16))


def _band_scan(component: int, blocks: np.ndarray, start: int, end: int) -> _Scan:
    """Returns the scan of a band of one component, `[blocks, 64]`."""
    # At most one symbol for each coefficient, and one for the end of the last run.
    longest = blocks.shape[0] * (end - start + 1) + 1
    symbols, extra = np.empty(longest, np.uint8), np.empty(longest, np.uint16)
    count = band_symbols(blocks, start, end, 0, symbols, extra, 0)
    return _Scan((component,), start, end, symbols[:count].copy(), extra[:count].copy())


def _groups_of_one_table(scans: list[_Scan]) -> list[list[_Scan]]:
    """Returns the scans in groups that share a Huffman table, by the fewest bits.

    The search is greedy: it joins the two groups for which one table saves the most,
    as long as it saves anything.
    """
    groups: dict[tuple[int, ...], np.ndarray]
    groups = {(i,): scan.counts for i, scan in enumerate(scans)}

    def saving(one, other):
        both = groups[one], groups[other]
        return sum(map(_bits_with_table, both)) - _bits_with_table(np.add(*both))

    while len(groups) > 1:
        pair = max(itertools.combinations(groups, 2), key=lambda pair: saving(*pair))
        if saving(*pair) <= 0:
            break
        groups[pair[0] + pair[1]] = groups.pop(pair[0]) + groups.pop(pair[1])
    return [[scans[i] for i in sorted(group)] for group in sorted(groups, key=min)]


def _coded(
    dc_groups: list[list[_Scan]], ac_groups: list[list[_Scan]]
) -> Iterator[bytes]:
    """Yields a segment with a Huffman table for each group, and the groups' scans."""
    tables = {
        (table_class, number): huffman.table(np.sum([scan.counts for scan in group], 0))
        for table_class, groups in ((DC, dc_groups), (AC, ac_groups))
        for number, group in enumerate(groups)
    }
    definitions = [
        bytes([16 * table_class + number]) + table.definition()
        for (table_class, number), table in tables.items()
    ]
    yield segment(DHT, b"".join(definitions))
    for (table_class, number), table in tables.items():
        selector = 16 * number if table_class == DC else number
        for scan in (dc_groups, ac_groups)[table_class][number]:
            components = dict.fromkeys(scan.components, selector)
            yield scan_header(components, start=scan.start, end=scan.end)
            yield from _data(scan, table)


def _data(scan: _Scan, table: huffman.Table) -> Iterator[bytes]:
    """Yields the bytes of a scan's data."""
    bits = coded_bits(scan.counts, table.lengths)
    data = np.empty(2 * -(-bits // 8), np.uint8)  # if each byte is stuffed
    codes = codes_for_packing(table)
    window, waiting, size = pack(scan.symbols, scan.extra, *codes, data, 0, 0)
    yield data[:size].tobytes()
    yield last_byte(window, waiting)
