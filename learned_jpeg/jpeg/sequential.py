"""Sequential JPEG: baseline files with the Huffman tables of the standard.

One scan interleaves all components (ITU-T T.81, A.2.3); that of a gray file has only
luma. The bytes are those that
libjpeg writes for the same integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.huffman import STANDARD_TABLES, ZERO_RUN
from learned_jpeg.jpeg.quantized import QuantizedImage
from learned_jpeg.jpeg.sampling import factors
from learned_jpeg.jpeg.scans import (
    AC,
    DC,
    codes_for_packing,
    headers,
    last_byte,
    pack,
    scan_header,
    value_symbol,
    zigzag_blocks,
)
from learned_jpeg.jpeg.segments import DHT, EOI, SOF0, SOI, segment

_BLOCKS_AT_ONCE = 1 << 13  # so that memory is small, and calls are few
# A symbol names its table as well: 256 * (2 * number of the table + class) + symbol.
_TABLES = [table for pair in STANDARD_TABLES for table in pair]
_CODES, _BITS = map(np.concatenate, zip(*map(codes_for_packing, _TABLES), strict=True))


def encode_sequential(quantized: QuantizedImage) -> bytes:
    """Writes quantized coefficients as a baseline JPEG file.

    Args:
      quantized: an image whose planes and tables are in the range of 8-bit JPEG, as
        `jpeg.file.encode` checks them.

    Returns:
      The bytes, from SOI to EOI.
    """
    is_gray = len(quantized.planes) == 1
    selectors = {0: 0} if is_gray else {0: 0, 1: 0x11, 2: 0x11}
    definitions = [
        segment(DHT, bytes([16 * table_class + number]) + table.definition())
        for number, pair in enumerate(STANDARD_TABLES[: 1 if is_gray else 2])
        for table_class, table in zip((DC, AC), pair, strict=True)
    ]
    return b"".join(
        [
            bytes([0xFF, SOI]),
            *headers(quantized, SOF0),
            *definitions,
            scan_header(selectors, start=0, end=63),
            *_scan(quantized),
            bytes([0xFF, EOI]),
        ]
    )


def _scan(quantized: QuantizedImage) -> Iterator[bytes]:
    """Yields the data of the scan, by a few rows of MCUs at a time."""
    count = len(quantized.planes)
    # An MCU has one block of chroma, and of gray.
    v, h = factors(quantized.sampling) if count > 1 else (1, 1)
    rows, cols = quantized.planes[-1].shape[:2]
    step = max(_BLOCKS_AT_ONCE // cols, 1)
    longest = 64 * (v * h + 2) * cols * min(step, rows)  # symbols, one a coefficient
    symbols, extra = np.empty(longest, np.uint16), np.empty(longest, np.uint16)
    data = np.empty(8 * longest, np.uint8)  # at most 27 bits a symbol, all stuffed
    before = np.zeros(3, np.int64)  # DC of the last block of each component
    window = waiting = 0
    for top in range(0, rows, step):
        bottom = top + step
        luma, *chroma = quantized.planes
        strips = luma[v * top : v * bottom], *(own[top:bottom] for own in chroma)
        planes = [zigzag_blocks(own).reshape(*own.shape[:2], 64) for own in strips]
        planes += planes[:1] * (3 - count)  # compiled code is made for three of them
        found = _symbols(tuple(planes), count, v, h, before, symbols, extra)
        window, waiting, size = pack(
            symbols[:found], extra[:found], _CODES, _BITS, data, window, waiting
        )
        yield data[:size].tobytes()
    yield last_byte(window, waiting)


@njit
def _symbols(planes, components, v, h, before, symbols, extra):
    """Finds the symbols of rows of MCUs; returns how many there are.

    Args:
      planes: Y, Cb and Cr, int16 `[rows, cols, 64]`, zigzag.
      components: how many of them the scan has, 1 or 3.
      v, h: blocks of luma in an MCU, down and across.
      before: int64 `[3]`, the last DC of each component; is moved on.
      symbols, extra: get the symbols and the bits that follow their codes.
    """
    count = 0
    rows, cols = planes[components - 1].shape[:2]
    for row in range(rows):
        for col in range(cols):
            for component in range(components):
                down, across = (v, h) if component == 0 else (1, 1)
                for y in range(row * down, (row + 1) * down):
                    for x in range(col * across, (col + 1) * across):
                        count = _block_symbols(
                            planes[component],
                            (y, x),
                            512 * min(component, 1),
                            before[component:],
                            symbols,
                            extra,
                            count,
                        )
    return count


@njit
def _block_symbols(plane, place, offset, before, symbols, extra, count):
    """Appends the symbols of a block; returns their new number.

    A block beyond the edges has the DC of the block before it and no AC, as libjpeg
    writes it.

    Args:
      plane: int16 `[rows, cols, 64]`.
      place: (row, column) of the block.
      offset: what names the tables in a symbol.
      before: the DC of the block before is the first one; is moved on.
      symbols, extra: get each symbol and the bits that follow its code.
      count: number of the symbols that are there.
    """
    y, x = place
    if y >= plane.shape[0] or x >= plane.shape[1]:
        symbols[count], symbols[count + 1] = offset, offset + 256
        extra[count : count + 2] = 0
        return count + 2
    dc = np.int64(plane[y, x, 0])
    count = value_symbol(dc - before[0], offset, symbols, extra, count)
    before[0] = dc
    offset += 256
    zeros = 0
    for k in range(1, 64):
        value = np.int64(plane[y, x, k])
        if value == 0:
            zeros += 1
            continue
        while zeros > 15:
            symbols[count], extra[count] = offset + ZERO_RUN, 0
            count += 1
            zeros -= 16
        count = value_symbol(value, offset + 16 * zeros, symbols, extra, count)
        zeros = 0
    if zeros:  # the end of the block
        symbols[count], extra[count] = offset, 0
        count += 1
    return count
