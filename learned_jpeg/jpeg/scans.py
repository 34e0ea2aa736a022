"""The common parts of sequential and progressive files: headers, symbols, bits.

The data of a scan are symbols. Each symbol is sent as its Huffman code and as some
bits that follow the code (ITU-T T.81, F.1.2 and G.1.2).
"""

from __future__ import annotations

import struct

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.huffman import ZERO_RUN, Table
from learned_jpeg.jpeg.quantized import QuantizedImage
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.jpeg.segments import APP0, DQT, SOS, segment
from learned_jpeg.jpeg.standard import ZIGZAG

DC, AC = 0, 1  # classes of Huffman tables
LONGEST_RUN = 32767  # blocks of one end-of-band run (T.81, G.1.2.2)
SCAN_HEADER = 10  # bytes of SOS of one component

# Bits that follow the code of a symbol. Its low nibble is the size of a value; where
# that is 0, the high one is the size of an end-of-band run without its leading bit.
EXTRA_BITS = np.arange(256) & 15
EXTRA_BITS[0:ZERO_RUN:16] = np.arange(15)

SIZES = np.frexp(np.arange(2048))[1]  # `size_of` each magnitude, differences of DC too

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


def scan_header(
    components: dict[int, int], start: int, end: int, low: int = 0, high: int = 0
) -> bytes:
    """Returns the SOS segment of a scan.

    Args:
      components: number of each component, 0 to 2, and the numbers of its Huffman
        tables: 16 times that of DC plus that of AC.
      start, end: first and last zigzag position.
      low: number of bits that are left to later scans.
      high: as many before this scan, if it is not the first one.
    """
    numbers = [n for i, table in components.items() for n in (i + 1, table)]
    limits = start, end, 16 * high + low
    return segment(SOS, bytes([len(components), *numbers, *limits]))


# Symbols


def zigzag_blocks(plane: np.ndarray) -> np.ndarray:
    """Returns a plane, `[rows, cols, 8, 8]`, as int16 `[blocks, 64]` in zigzag order.

    Blocks are in the order of rows.
    """
    # An index in brackets would lay the array out by positions, which is slower.
    return np.take(np.asarray(plane, np.int16).reshape(-1, 64), ZIGZAG, axis=1)


@njit
def value_symbol(value, offset, symbols, extra, count):
    """Appends the symbol of a value: its size, and as much of its one's complement."""
    size = SIZES[abs(value)]
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
    return np.dot(counts, lengths + EXTRA_BITS)


def codes_for_packing(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `pack` needs of a Huffman table, two arrays int64 `[256]`.

    They are the codes, shifted to make room for the bits that follow, and the number
    of all bits.
    """
    return table.codes << EXTRA_BITS, table.lengths + EXTRA_BITS


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
        window, waiting, size = put(
            codes[symbol] | extra[i], bits[symbol], window, waiting, size, data
        )
    return window, waiting, size


@njit
def put(value, bits, window, waiting, size, data):
    """Writes a value of so many bits behind `size` bytes; other arguments as `pack`.

    Returns:
      (window, waiting, new number of bytes).
    """
    window = (window << bits) | value
    waiting += bits
    while waiting >= 8:
        waiting -= 8
        byte = (window >> waiting) & 0xFF
        data[size] = byte
        size += 1
        if byte == 0xFF:
            data[size] = 0
            size += 1
    return window & ((1 << waiting) - 1), waiting, size


def last_byte(window: int, waiting: int) -> bytes:
    """Returns what `pack` left, filled with ones up to a byte (T.81, F.1.2.3)."""
    if not waiting:
        return b""
    byte = (window << (8 - waiting)) | (0xFF >> waiting)
    return b"\xff\0" if byte == 0xFF else bytes([byte])
