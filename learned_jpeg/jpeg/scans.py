"""The common parts of sequential and progressive files: headers, symbols, bits.

The data of a scan are symbols. Each symbol is sent as its Huffman code and as some
bits that follow the code (ITU-T T.81, F.1.2 and G.1.2).
"""

from __future__ import annotations

import struct

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.huffman import ZERO_RUN, Table, size_of
from learned_jpeg.jpeg.quantized import QuantizedImage
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.jpeg.segments import APP0, DQT, SOS, segment
from learned_jpeg.jpeg.standard import ZIGZAG

DC, AC = 0, 1  # classes of Huffman tables
LONGEST_RUN = 32767  # blocks of one end-of-band run (T.81, G.1.2.2)

# Bits that follow the code of a symbol. Its low nibble is the size of a value; where
# that is 0, the high one is the size of an end-of-band run without its leading bit.
_EXTRA_BITS = np.arange(256) & 15
_EXTRA_BITS[0:ZERO_RUN:16] = np.arange(15)

_SIZES = np.frexp(np.arange(2048))[1]  # `size_of` each magnitude, differences of DC too

# JFIF 1.01, density 1:1 without a unit, no thumbnail: the header that libjpeg writes.
_JFIF_HEADER = b"JFIF\0\1\1\0\0\1\0\1\0\0"


# Segments


def headers(
    quantized: QuantizedImage, frame_marker: int, joins_tables: bool = False
) -> list[bytes]:
    """Returns the segments of the JFIF header, the quantization tables and the frame.

    Args:
      quantized: the image, with tables of 1..255.
      frame_marker: `segments.SOF0` or `segments.SOF2`.
      joins_tables: whether one segment holds all quantization tables, which takes fewer
        bytes than libjpeg's segments.
    """
    tables = np.asarray(quantized.qtables).reshape(2, 64)[:, ZIGZAG].astype(np.uint8)
    count = len(quantized.planes)
    v, h = factors(quantized.sampling)
    # Number, factors and table of each component.
    components = bytes([1, 16 * h + v, 0, 2, 0x11, 1, 3, 0x11, 1])
    if count == 1:
        tables, components = tables[:1], bytes([1, 0x11, 0])
    # Precision, size and count come first.
    frame = struct.pack(">BHHB", 8, quantized.height, quantized.width, count)
    frame += components
    definitions = [bytes([i]) + table.tobytes() for i, table in enumerate(tables)]
    if joins_tables:
        definitions = [b"".join(definitions)]
    return [
        segment(APP0, _JFIF_HEADER),
        *(segment(DQT, definition) for definition in definitions),
        segment(frame_marker, frame),
    ]


def scan_header(components: dict[int, int], start: int, end: int) -> bytes:
    """Returns the SOS segment of a scan without successive approximation.

    Args:
      components: number of each component, 0 to 2, and the numbers of its Huffman
        tables: 16 times that of DC plus that of AC.
      start, end: first and last zigzag position.
    """
    numbers = [n for i, table in components.items() for n in (i + 1, table)]
    return segment(SOS, bytes([len(components), *numbers, start, end, 0]))


# Symbols


def zigzag_blocks(plane: np.ndarray) -> np.ndarray:
    """Returns a plane, `[rows, cols, 8, 8]`, as int16 `[blocks, 64]` in zigzag order.

    Blocks are in the order of rows.
    """
    # An index in brackets would lay the array out by positions, which is slower.
    return np.take(np.asarray(plane, np.int16).reshape(-1, 64), ZIGZAG, axis=1)


@njit
def band_symbols(blocks, start, end, offset, symbols, extra, count):
    """Appends the symbols of a band of AC (T.81, G.1.2.2); returns their new number.

    The symbols of a single block and the band 1..63 are those of a sequential scan.

    Args:
      blocks: int16 `[blocks, 64]`, zigzag.
      start, end: first and last zigzag position of the band, from 1 to 63.
      offset: number that is added to each symbol.
      symbols, extra: get each symbol and the bits that follow its code; long enough.
      count: number of the symbols that are there.
    """
    ended = 0  # blocks since the last symbol that end without another coefficient
    for b in range(blocks.shape[0]):
        run = 0
        for k in range(start, end + 1):
            value = np.int64(blocks[b, k])
            if value == 0:
                run += 1
                continue
            count = _end_run(ended, offset, symbols, extra, count)
            ended = 0
            while run > 15:
                symbols[count], extra[count] = offset + ZERO_RUN, 0
                count += 1
                run -= 16
            count = value_symbol(value, offset + 16 * run, symbols, extra, count)
            run = 0
        if run:
            ended += 1
        if ended == LONGEST_RUN:
            count = _end_run(ended, offset, symbols, extra, count)
            ended = 0
    return _end_run(ended, offset, symbols, extra, count)


@njit
def _end_run(ended, offset, symbols, extra, count):
    """Appends the symbol of an end-of-band run, if there is one."""
    if ended == 0:
        return count
    size = size_of(ended) - 1
    symbols[count] = offset + 16 * size
    extra[count] = ended - (1 << size)
    return count + 1


@njit
def value_symbol(value, offset, symbols, extra, count):
    """Appends the symbol of a value: its size, and as much of its one's complement."""
    size = _SIZES[abs(value)]
    symbols[count] = offset + size
    extra[count] = (value + (value >> 63)) & ((1 << size) - 1)
    return count + 1


# Bits


def coded_bits(counts: np.ndarray, lengths: np.ndarray) -> np.number:
    """Returns the bits of symbols that occur so often, with those after their codes.

    Args:
      counts: `[256]`, how often each symbol occurs.
      lengths: `[256]`, bits of their codes.
    """
    return np.dot(counts, lengths + _EXTRA_BITS)


def codes_for_packing(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `pack` needs of a Huffman table, two arrays int64 `[256]`.

    They are the codes, shifted to make room for the bits that follow, and the number
    of all bits.
    """
    return table.codes << _EXTRA_BITS, table.lengths + _EXTRA_BITS


@njit
def pack(symbols, extra, codes, bits, data, window, waiting):
    """Writes codes and the bits that follow them as bytes.

    A 0 is put after each byte of ones (T.81, F.1.2.3).

    Args:
      symbols, extra: `[n]`, the symbols and the bits that follow their codes.
      codes, bits: of each symbol, as `codes_for_packing` returns them.
      data: uint8, gets the bytes; long enough.
      window, waiting: bits that wait for a whole byte, and how many there are.

    Returns:
      (window, waiting, number of bytes).
    """
    size = 0
    for i in range(symbols.shape[0]):
        symbol = symbols[i]
        window = (window << bits[symbol]) | codes[symbol] | extra[i]
        waiting += bits[symbol]
        while waiting >= 8:
            waiting -= 8
            size = _put_byte(window >> waiting, data, size)
            window &= (1 << waiting) - 1
    return window, waiting, size


@njit
def _put_byte(byte, data, size):
    data[size] = byte
    if byte == 0xFF:
        data[size + 1] = 0
        return size + 2
    return size + 1


def last_byte(window: int, waiting: int) -> bytes:
    """Returns what `pack` left, filled with ones up to a byte (T.81, F.1.2.3)."""
    if not waiting:
        return b""
    byte = (window << (8 - waiting)) | (0xFF >> waiting)
    return b"\xff\0" if byte == 0xFF else bytes([byte])
