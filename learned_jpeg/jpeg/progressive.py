"""Progressive JPEG: which scans a picture's integers take, and the bits of each.

Spectral selection alone, without successive approximation (ITU-T T.81, annex G): every
coefficient is coded once, in one of these scans:

- DC of Y, block row by block row: not interleaved, since in the order of interleaved
  MCUs a subsampled picture's blocks differ more from the ones before them;
- DC of Cb and Cr, interleaved;
- AC of each component in bands of zigzag positions, which are chosen by the bits that
  they take. In a band, runs of blocks without a coefficient cost but a few bits.

Each scan has the Huffman codes that suit it best; scans share them where that is
smaller. All positions are coded, also those of bands that are empty: coefficients that
a file has not sent are made up by decoders, which smooth over blocks then.
"""

import itertools
import struct
from typing import NamedTuple

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg import huffman
from learned_jpeg.jpeg.huffman import ZERO_RUN, size_of
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.jpeg.segments import APP0, DHT, DQT, EOI, SOF2, SOI, SOS, segment
from learned_jpeg.jpeg.standard import ZIGZAG

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

BAND_ENDS = (2, 5, 8, 12, 18, 63)  # zigzag positions where a band may end
LONGEST_RUN = 32767  # blocks of one end-of-band run (T.81, G.1.2.2)

# Bits that follow the code of a symbol. Its low nibble is the size of a value; where
# that is 0, the high one is the size of an end-of-band run but for its leading bit.
_EXTRA_BITS = np.arange(256) & 15
_EXTRA_BITS[0:ZERO_RUN:16] = np.arange(15)

_SCAN_HEADER, _TABLE_HEADER = 10, 21  # bytes of SOS and, without its symbols, of DHT
_DC, _AC = 0, 1  # classes of Huffman tables
# JFIF 1.01, density 1:1 without a unit, no thumbnail: the header that libjpeg writes.
_JFIF_HEADER = b"JFIF\0\1\1\0\0\1\0\1\0\0"


class _Scan(NamedTuple):
    """What one scan codes.

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
    def counts(self):
        """How often each symbol occurs, int64 `[256]`."""
        return np.bincount(self.symbols, minlength=256)


def encode_progressive(quantized):
    """Writes quantized coefficients as a progressive JPEG file.

    Args:
      quantized: `jpeg.file.QuantizedImage` whose planes and tables are in the range of
        8-bit JPEG, as `jpeg.file.encode` checks them.

    Returns:
      The bytes, from SOI to EOI.
    """
    blocks = [zigzag_blocks(plane) for plane in quantized.planes]
    dc_scans = [_dc_scan((0,), blocks), _dc_scan((1, 2), blocks)]
    ac_scans = [
        _band_scan(component, own, *band)
        for component, own in enumerate(blocks)
        for band in choose_bands(own)
    ]
    ac_scans.sort(key=lambda scan: scan.start)  # for what a decoder shows early
    parts = [bytes([0xFF, SOI]), *_headers(quantized)]
    for table_class, scans in ((_DC, dc_scans), (_AC, ac_scans)):
        for group in _groups_of_one_table(scans):
            parts += _coded(group, table_class)
    return b"".join([*parts, bytes([0xFF, EOI])])


def zigzag_blocks(plane):
    """A plane, `[rows, cols, 8, 8]`, as int16 `[blocks, 64]`, row by row, zigzag."""
    # An index in brackets would lay the array out by positions, which is slower.
    return np.take(np.asarray(plane, np.int16).reshape(-1, 64), ZIGZAG, axis=1)


def choose_bands(blocks):
    """The bands of a component's AC scans that take the fewest bits.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.

    Returns:
      List of (start, end), zigzag positions, which together are 1..63.
    """
    starts = (1, *(end + 1 for end in BAND_ENDS[:-1]))
    best = [(0, [])]  # bits and bands up to each start
    for count, end in enumerate(BAND_ENDS, start=1):
        best.append(
            min(
                (bits + _scan_bits(blocks, start, end), [*bands, (start, end)])
                for (bits, bands), start in zip(best, starts[:count], strict=True)
            )
        )
    return best[-1][1]


def band_histogram(blocks, start, end):
    """How often each symbol occurs in the scan of a band.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end: first and last position of the band, from 1 to 63.

    Returns:
      int64 `[256]`. Symbols are 16 * run of zeros + size of the value, 0xF0 for 16
      zeros, and 16 * n for an end of the band in 2^n to 2^(n + 1) - 1 blocks.
    """
    return _band_scan(0, blocks, start, end).counts


def coded_bits(counts, lengths):
    """Bits of symbols that occur so often, with those that follow their codes.

    Args:
      counts: `[256]`, how often each occurs.
      lengths: `[256]`, of their codes.
    """
    return np.dot(counts, lengths + _EXTRA_BITS)


def _scan_bits(blocks, start, end):
    """Bits of a band's scan with its headers and whole bytes of data."""
    return _bits_with_table(band_histogram(blocks, start, end)) + 8 * _SCAN_HEADER


def _bits_with_table(counts):
    """Bits of data in whole bytes, and of the DHT segment of its code."""
    data_bytes = -(-coded_bits(counts, huffman.code_lengths(counts)) // 8)
    return 8 * (data_bytes + _TABLE_HEADER + np.count_nonzero(counts))


def _dc_scan(components, blocks):
    """The scan of DC of components, one block of each in an MCU."""
    dc = np.stack([blocks[component][:, 0] for component in components], axis=-1)
    differences = np.diff(dc.astype(np.int32), axis=0, prepend=0).ravel()
    sizes = np.frexp(np.abs(differences))[1]
    extra = np.where(differences < 0, differences + (1 << sizes) - 1, differences)
    return _Scan(components, 0, 0, sizes.astype(np.uint8), extra.astype(np.uint16))


def _band_scan(component, blocks, start, end):
    """The scan of a band of one component, `[blocks, 64]`."""
    # At most one symbol for every coefficient, and one more for the end of a run.
    longest = blocks.shape[0] * (end - start + 1) + 1
    symbols, extra = np.empty(longest, np.uint8), np.empty(longest, np.uint16)
    count = _band_symbols(blocks, start, end, symbols, extra)
    return _Scan((component,), start, end, symbols[:count].copy(), extra[:count].copy())


@njit
def _band_symbols(blocks, start, end, symbols, extra):
    """Writes symbols and the bits that follow them (T.81, G.1.2.2); returns how many.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end: the band.
      symbols, extra: to be written, long enough.
    """
    count = 0
    ended = 0  # blocks since the last symbol that end without another coefficient
    for b in range(blocks.shape[0]):
        run = 0
        for k in range(start, end + 1):
            value = np.int64(blocks[b, k])
            if value == 0:
                run += 1
                continue
            count = _end_run(ended, symbols, extra, count)
            ended = 0
            while run > 15:
                symbols[count], extra[count] = ZERO_RUN, 0
                count += 1
                run -= 16
            size = size_of(abs(value))
            symbols[count] = 16 * run + size
            extra[count] = value if value > 0 else value + (1 << size) - 1
            count += 1
            run = 0
        if run:
            ended += 1
        if ended == LONGEST_RUN:
            count = _end_run(ended, symbols, extra, count)
            ended = 0
    return _end_run(ended, symbols, extra, count)


@njit
def _end_run(ended, symbols, extra, count):
    """Writes the symbol of an end-of-band run, if there is one; returns the count."""
    if ended == 0:
        return count
    size = size_of(ended) - 1
    symbols[count] = 16 * size
    extra[count] = ended - (1 << size)
    return count + 1


def _groups_of_one_table(scans):
    """Scans in groups that share a Huffman table, so that they take the fewest bits.

    Greedy: as long as one table for two groups is smaller than two, those two are
    joined for which it saves the most.
    """
    groups = {(i,): scan.counts for i, scan in enumerate(scans)}

    def saving(one, other):
        both = groups[one], groups[other]
        return sum(map(_bits_with_table, both)) - _bits_with_table(sum(both))

    while len(groups) > 1:
        pair = max(itertools.combinations(groups, 2), key=lambda pair: saving(*pair))
        if saving(*pair) <= 0:
            break
        groups[pair[0] + pair[1]] = groups.pop(pair[0]) + groups.pop(pair[1])
    return [[scans[i] for i in sorted(group)] for group in sorted(groups, key=min)]


def _coded(group, table_class):
    """Yields the segments and the data of scans that share a table."""
    table = huffman.table(sum(scan.counts for scan in group))
    # One number for all tables: each is needed until the next one is defined.
    number = bytes([16 * table_class])
    yield segment(DHT, number + table.definition())
    for scan in group:
        components = [number for c in scan.components for number in (c + 1, 0)]
        header = [len(scan.components), *components, scan.start, scan.end, 0]
        yield segment(SOS, bytes(header))
        yield _entropy_coded(scan, table)


def _entropy_coded(scan, table):
    """The bytes of a scan's data."""
    bits = coded_bits(scan.counts, table.lengths)
    data = np.empty(2 * -(-bits // 8), np.uint8)  # if each byte is stuffed
    size = _pack(
        scan.symbols, scan.extra, table.codes, table.lengths, _EXTRA_BITS, data
    )
    return data[:size].tobytes()


@njit
def _pack(symbols, extra, codes, lengths, extra_bits, data):
    """Writes codes and extra bits into `data`, uint8; returns the number of bytes.

    The last byte is filled with ones; a 0 follows each byte of ones (T.81, F.1.2.3).
    """
    size, window, waiting = 0, 0, 0  # the window's lowest bits wait for a whole byte
    for i in range(symbols.shape[0]):
        symbol = symbols[i]
        bits = lengths[symbol] + extra_bits[symbol]
        coded = (codes[symbol] << extra_bits[symbol]) | extra[i]
        window = (window << bits) | coded
        waiting += bits
        while waiting >= 8:
            waiting -= 8
            size = _put_byte(window >> waiting, data, size)
            window &= (1 << waiting) - 1
    if waiting:
        fill = 8 - waiting
        size = _put_byte((window << fill) | ((1 << fill) - 1), data, size)
    return size


@njit
def _put_byte(byte, data, size):
    data[size] = byte
    if byte == 0xFF:
        data[size + 1] = 0
        return size + 2
    return size + 1


def _headers(quantized):
    """Segments of the JFIF header, the tables and the frame."""
    tables = np.asarray(quantized.qtables).reshape(2, 64)[:, ZIGZAG].astype(np.uint8)
    v, h = factors(quantized.sampling)
    height, width = quantized.height, quantized.width
    # Precision, size, count; number, factors and table of each component.
    frame = struct.pack(">BHHB", 8, height, width, 3)
    frame += bytes([1, 16 * h + v, 0, 2, 0x11, 1, 3, 0x11, 1])
    return [
        segment(APP0, _JFIF_HEADER),
        *(segment(DQT, bytes([i]) + table.tobytes()) for i, table in enumerate(tables)),
        segment(SOF2, frame),
    ]
