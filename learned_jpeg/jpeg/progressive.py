"""Progressive JPEG: chooses the scans of an image's integers by their bits.

These are the scans (ITU-T T.81, annex G):

- DC of Y, one row of blocks after the other. It is not interleaved, because in the
  order of the MCUs of a subsampled image neighbouring blocks differ more.
- DC of Cb and Cr, interleaved.
- AC of each component, in bands of zigzag positions that are chosen by their bits. A
  run of blocks that have no coefficient in the band costs only a few bits.
- The last bits of AC, one bit a scan, where that takes fewer bits (bands.py). DC is
  coded at once: its last bits look like noise, and a scan of them saves nothing.

Each scan has the best Huffman codes for it; scans share codes where that is smaller.
All positions are coded, even if a band is empty: decoders invent the coefficients that
a file has not sent, by smoothing across blocks.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg import huffman
from learned_jpeg.jpeg.bands import (
    Band,
    bits_with_table,
    choose_scans,
    is_coded,
    magnitude_of,
)
from learned_jpeg.jpeg.huffman import size_of
from learned_jpeg.jpeg.quantized import QuantizedImage
from learned_jpeg.jpeg.scans import (
    AC,
    DC,
    LONGEST_RUN,
    SIZES,
    coded_bits,
    codes_for_packing,
    headers,
    last_byte,
    pack,
    put,
    scan_header,
    zigzag_blocks,
)
from learned_jpeg.jpeg.segments import DHT, EOI, SOF2, SOI, segment

NUMBERS_VERSION = 3  # see evaluation/fingerprint.py

_TABLES = 4  # of a class that a progressive file holds at a time (T.81, table B.5)


class _DcScan(NamedTuple):
    """The scan of the DC of components.

    Attributes:
      components: numbers of the components, 0 to 2.
      symbols: uint8 `[n]`.
      extra: uint16 `[n]`, the bits that follow each symbol's code.
      counts: how often each symbol occurs, int64 `[256]`.
    """

    components: tuple[int, ...]
    symbols: np.ndarray
    extra: np.ndarray
    counts: np.ndarray
    corrections = 0

    def header(self, table: int) -> bytes:
        """Returns SOS, with the number of the Huffman table."""
        return scan_header(dict.fromkeys(self.components, 16 * table), start=0, end=0)

    def write(self, codes: np.ndarray, bits: np.ndarray, data: np.ndarray):
        """Writes the data of the scan; returns what `scans.pack` does."""
        return pack(self.symbols, self.extra, codes, bits, data, 0, 0)


class _BandScan(NamedTuple):
    """The scan of a band of a component.

    Attributes:
      component: its number, 0 to 2.
      blocks: int16 `[blocks, 64]`, zigzag.
      band: `Band`.
    """

    component: int
    blocks: np.ndarray
    band: Band

    @property
    def counts(self) -> np.ndarray:
        """How often each symbol occurs, int64 `[256]`."""
        return self.band.counts

    @property
    def corrections(self) -> int:
        """Number of bits that belong to no symbol."""
        return self.band.corrections

    def header(self, table: int) -> bytes:
        """Returns SOS, with the number of the Huffman table."""
        start, end, _, low, refines, _ = self.band
        high = low + 1 if refines else 0
        return scan_header({self.component: table}, start, end, low, high)

    def write(self, codes: np.ndarray, bits: np.ndarray, data: np.ndarray):
        """Writes the data of the scan; returns what `scans.pack` does."""
        start, end, _, low, refines, _ = self.band
        limits = start, end, low, refines
        return _write_band(self.blocks, *limits, codes, bits, data)


_Scan: TypeAlias = _DcScan | _BandScan


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
        _BandScan(component, own, band)
        for component, own in enumerate(blocks)
        for band in choose_scans(own)
    ]
    pieces = [bytes([0xFF, SOI]), *headers(quantized, SOF2, joins_tables=True)]
    dc_groups = _groups_of_one_table(dc_scans)
    for scans in _stages(ac_scans):
        groups = _groups_of_one_table(scans)
        for first in range(0, len(groups), _TABLES):
            pieces += _coded(dc_groups, groups[first : first + _TABLES])
            dc_groups = []
    return b"".join([*pieces, bytes([0xFF, EOI])])


def _stages(scans: list[_BandScan]) -> list[list[_BandScan]]:
    """Returns the scans in the order in which they can be coded, and share tables.

    Those of the lowest frequencies come first, for what a decoder shows early.
    """

    def stage(scan):
        return -scan.band.low if scan.band.refines else -math.inf

    ordered = sorted(scans, key=lambda scan: (stage(scan), scan.band.start))
    return [list(group) for _, group in itertools.groupby(ordered, stage)]


def _dc_scan(components: tuple[int, ...], blocks: list[np.ndarray]) -> _DcScan:
    """Returns the scan of the DC of components, one block of each in an MCU."""
    dc = np.stack([blocks[component][:, 0] for component in components], axis=-1)
    differences = np.diff(dc.astype(np.int32), axis=0, prepend=0).ravel()
    sizes = np.frexp(np.abs(differences))[1]
    extra = np.where(differences < 0, differences + (1 << sizes) - 1, differences)
    counts = np.bincount(sizes, minlength=256)
    return _DcScan(components, sizes.astype(np.uint8), extra.astype(np.uint16), counts)


def _groups_of_one_table(scans: Sequence[_Scan]) -> list[list[_Scan]]:
    """Returns the scans in groups that share a Huffman table, by the fewest bits.

    The search is greedy: it joins the two groups for which one table saves the most,
    as long as it saves anything.
    """
    groups: dict[tuple[int, ...], np.ndarray]
    groups = {(i,): scan.counts for i, scan in enumerate(scans)}

    @functools.cache
    def bits(group):
        return bits_with_table(groups[group])

    @functools.cache
    def saving(one, other):
        joined = bits_with_table(groups[one] + groups[other])
        return bits(one) + bits(other) - joined

    while len(groups) > 1:
        pair = max(itertools.combinations(groups, 2), key=lambda pair: saving(*pair))
        if saving(*pair) <= 0:
            break
        groups[pair[0] + pair[1]] = groups.pop(pair[0]) + groups.pop(pair[1])
    return [[scans[i] for i in sorted(group)] for group in sorted(groups, key=min)]


def _coded(
    dc_groups: Sequence[list[_Scan]], ac_groups: Sequence[list[_Scan]]
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
        for scan in (dc_groups, ac_groups)[table_class][number]:
            yield scan.header(number)
            yield from _data(scan, table)


def _data(scan: _Scan, table: huffman.Table) -> Iterator[bytes]:
    """Yields the bytes of a scan's data."""
    bits = coded_bits(scan.counts, table.lengths) + scan.corrections
    data = np.empty(2 * -(-bits // 8), np.uint8)  # if each byte is stuffed
    window, waiting, size = scan.write(*codes_for_packing(table), data)
    yield data[:size].tobytes()
    yield last_byte(window, waiting)


@njit
def _write_band(blocks, start, end, low, refines, codes, bits, data):
    """Writes the data of a band's scan (T.81, G.1.2.2 and G.1.2.3).

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end, low, refines: see `Band`.
      codes, bits, data: as for `pack`.

    Returns:
      (window, waiting, number of bytes), as `pack`.
    """
    number = blocks.shape[0]
    lasts = _last_places(blocks, start, end, low, refines)
    output = (0, 0, 0)
    covered = 0  # blocks before this one are in a run of ends
    for b in range(number):
        block = blocks[b]
        zeros, corrected = 0, start  # corrections before this position are written
        for k in range(start, lasts[b] + 1):
            magnitude = magnitude_of(block[k], low)
            if magnitude == 0 and zeros < 15:
                zeros += 1
                continue
            if refines and magnitude > 1:
                continue
            size = SIZES[magnitude]
            symbol, zeros = 16 * zeros + size, 0  # of a 0, the one of 16 zeros
            extra = magnitude if block[k] > 0 else (1 << size) - 1 - magnitude
            output = put(codes[symbol] | extra, bits[symbol], *output, data)
            if refines:
                output = _put_corrections(block, corrected, k, low, output, data)
                corrected = k + 1
        if lasts[b] < end and b >= covered:
            run = 1
            while run < LONGEST_RUN and b + run < number and lasts[b + run] < start:
                run += 1
            covered = b + run
            size = size_of(run) - 1
            output = put(
                codes[16 * size] | (run - (1 << size)), bits[16 * size], *output, data
            )
        if refines:
            output = _put_corrections(block, corrected, end + 1, low, output, data)
    return output


@njit
def _put_corrections(block, first, stop, low, output, data):
    """Writes a bit of each coefficient that is not 0 without it, from first to stop."""
    for k in range(first, stop):
        magnitude = magnitude_of(block[k], low)
        if magnitude > 1:
            output = put(magnitude & 1, 1, *output, data)
    return output


@njit
def _last_places(blocks, start, end, low, refines):
    """Returns the last position with a symbol in each block; `start - 1` if none."""
    places = np.empty(blocks.shape[0], np.int8)
    for b in range(blocks.shape[0]):
        k = end
        while k >= start and not is_coded(blocks[b, k], low, refines):
            k -= 1
        places[b] = k
    return places
