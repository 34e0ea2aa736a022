"""Tests of huffman.py against Huffman's algorithm on a heap and libjpeg's tables."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import huffman
from tests.jpeg.helpers import ZIGZAG, file_segments, pillow_jpeg
from tests.paths import EXAMPLE_IMAGES

COUNTS = st.lists(st.one_of(st.just(0), st.integers(0, 10**6)), min_size=1)
FIBONACCI = [1, 1]
while len(FIBONACCI) < 80:
    FIBONACCI.append(sum(FIBONACCI[-2:]))


def huffman_bits(counts):
    """Returns the bits of all symbols in Huffman's code."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


def assert_is_a_jpeg_code(lengths, counts):
    counts = np.asarray(counts)
    assert lengths.shape == counts.shape
    np.testing.assert_array_equal(lengths > 0, counts > 0)
    used = lengths[lengths > 0]
    if used.size:
        assert used.max() <= 16
        # There is room for all codes, and for one more: the longest, of only ones.
        assert np.sum(2.0**-used) <= 1 - 2.0 ** -used.max()


@settings(max_examples=200, deadline=None)
@given(COUNTS)
def test_lengths_are_the_best_that_jpeg_allows(counts):
    lengths = huffman.code_lengths(counts)
    assert_is_a_jpeg_code(lengths, counts)
    bits = np.dot(lengths, counts)
    if 0 < lengths.max() < 16:
        # The code that is kept free is that of a symbol that occurs once.
        with_one_more = huffman_bits([*counts, 1])
        assert huffman_bits(counts) <= bits <= with_one_more - 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_of_equally_frequent_trees_the_later_ones_are_joined(counts):
    """T.81, figure K.1: the symbols of joined trees get a bit more."""
    lengths = [0] * (len(counts) + 1)
    trees = {i: (count, [i]) for i, count in enumerate([*counts, 1]) if count}
    while len(trees) > 1:
        first, second = sorted(trees, key=lambda i: (trees[i][0], -i))[:2]
        count, symbols = trees.pop(second)
        trees[first] = trees[first][0] + count, trees[first][1] + symbols
        for symbol in trees[first][1]:
            lengths[symbol] += 1
    assert huffman.code_lengths(counts).tolist() == lengths[:-1]


@pytest.mark.parametrize("number", [15, 16, 17, 18, 30, 80])
@pytest.mark.parametrize("order", [1, -1])
def test_no_code_is_longer_than_16_bits(number, order):
    """Fibonacci's numbers make Huffman's trees as deep as possible."""
    counts = FIBONACCI[:number][::order]
    lengths = huffman.code_lengths(counts)
    assert_is_a_jpeg_code(lengths, counts)
    # The limit costs little, and a rarer symbol never has the shorter code.
    assert np.dot(lengths, counts) <= 1.006 * huffman_bits(counts)
    by_count = lengths[::order]
    assert (np.diff(by_count[2:]) <= 0).all()  # the first two are equally rare


@pytest.mark.parametrize("present", [0, 1, 2, 255, 256])
def test_any_number_of_symbols_has_a_code(present):
    counts = np.zeros(256, int)
    counts[256 - present :] = 1
    assert_is_a_jpeg_code(huffman.code_lengths(counts), counts)


def test_lengths_do_not_change_the_counts():
    counts = np.arange(256)
    huffman.code_lengths(counts)
    np.testing.assert_array_equal(counts, np.arange(256))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**4), min_size=256, max_size=256))
def test_codes_are_those_that_a_decoder_derives_from_the_definition(counts):
    """A file defines a code only by lengths and symbols (T.81, annex C)."""
    table = huffman.table(np.array(counts))
    definition = table.definition()
    symbols = iter(definition[16:])
    code, seen = 0, []
    for bits, number in enumerate(definition[:16], start=1):
        for symbol in itertools.islice(symbols, number):
            assert (table.lengths[symbol], table.codes[symbol]) == (bits, code)
            seen.append(f"{code:0{bits}b}")
            code += 1
        code *= 2
    assert next(symbols, None) is None
    assert len(seen) == np.count_nonzero(counts)
    assert not any("0" not in one for one in seen)
    ordered = sorted(seen)
    pairs = itertools.pairwise(ordered)
    assert not any(later.startswith(earlier) for earlier, later in pairs)


def baseline_counts(planes):
    """Counts DC and AC symbols of 4:4:4, as T.81, F.1.2 says."""
    dc, ac = np.zeros(256, int), np.zeros(256, int)
    for plane in planes:
        before = 0
        for block in plane.reshape(-1, 8, 8):
            scan = [int(block[place]) for place in ZIGZAG]
            dc[abs(scan[0] - before).bit_length()] += 1
            before, run = scan[0], 0
            for value in scan[1:]:
                if value:
                    ac[0xF0] += run // 16
                    ac[16 * (run % 16) + abs(value).bit_length()] += 1
                run = 0 if value else run + 1
            ac[0] += run > 0
    return dc, ac


@pytest.mark.parametrize("quality", [20, 92])
def test_definitions_are_those_of_libjpeg(quality):
    """Pillow's `optimize` is libjpeg's own search for the best code."""
    photo = Image.open(EXAMPLE_IMAGES / "astronaut.png").crop((120, 40, 290, 180))
    data = pillow_jpeg(np.array(photo), quality=quality, subsampling=0, optimize=True)
    planes = jpeg_file.read_coefficients(data).planes
    expected = {}
    for number, own in ((0, planes[:1]), (1, planes[1:])):
        dc, ac = baseline_counts(own)
        expected[number] = huffman.table(dc).definition()
        expected[16 + number] = huffman.table(ac).definition()
    found = [payload for marker, payload in file_segments(data) if marker == 0xC4]
    assert {payload[0]: payload[1:] for payload in found} == expected


# Huffman tables of the standard


@pytest.mark.parametrize(
    "table, dc, ac",
    [
        # T.81, tables K.3 and K.5: run in the high nibble, size in the low one.
        (
            0,
            [2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9],
            {0x00: 4, 0xF0: 11, 0x01: 2, 0x02: 2, 0x03: 3, 0x04: 4, 0x08: 10}
            | {0x0A: 16, 0x11: 4, 0x12: 5, 0x21: 5, 0x31: 6, 0x82: 15, 0xFA: 16},
        ),
        # Tables K.4 and K.6.
        (
            1,
            [2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            {0x00: 2, 0xF0: 10, 0x01: 2, 0x02: 3, 0x03: 4, 0x04: 5, 0x08: 9}
            | {0x0A: 12, 0x11: 4, 0x12: 6, 0x21: 5, 0x31: 5, 0xE1: 14, 0xFA: 16},
        ),
    ],
)
def test_code_lengths_are_those_of_annex_k(table, dc, ac):
    dc_lengths, ac_lengths = huffman.standard_code_lengths(table)
    assert dc_lengths.tolist() == dc + [16] * 4
    assert len(ac_lengths) == 256
    assert {symbol: ac_lengths[symbol] for symbol in ac} == ac
    coded = [16 * run + size for run in range(16) for size in range(1, 11)]
    coded += [0x00, 0xF0]
    # All codes are used except that of 16 ones, which T.81 reserves.
    assert sum(2 ** (16 - ac_lengths[symbol]) for symbol in coded) == 2**16 - 1
    others = {ac_lengths[symbol] for symbol in set(range(256)) - set(coded)}
    assert others == {16}
