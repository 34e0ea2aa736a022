"""Rate-distortion optimised quantization for JPEG's own entropy coder.

Rounding minimises the distortion of a coefficient alone. Here the integers of a picture
minimise

    sum of weight * (z - integer)^2 + bits of JPEG's entropy coder

by dynamic programming over each block (ITU-T T.81, annex F: run lengths of zeros, size
categories, end of block) and, for the DC differences, over each component. A
coefficient may be rounded, come closer to zero by up to two steps, or become zero. The
search is that of Crouse and Ramchandran, "Joint thresholding and quantizer selection
for transform image coding", 1997, with the size of the levels added as in mozjpeg.

Code lengths are those of the standard's Huffman tables for the `default` coding, else
those that the picture's own symbols would get: found from the rounded integers, then
again from the result.

A file carries its tables, so those may be the picture's own too: with the integers held
fixed, the steps of the least error are those of a linear regression.
"""

import functools
import heapq

import numba
import numpy as np

from jpeg import file as jpeg_file
from jpeg_standard import YCBCR_TO_RGB

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# Bits that a squared error of one quantization step is worth. At high rates the slope
# of a uniform quantizer is dD/dR = -(2 ln 2) step^2 / 12 (Gish and Pierce, 1968), 8.7
# bits a squared step; with the search, whose smaller integers go with finer steps, a
# lower one did best on held-out photographs (see docs/LOG.md).
BITS_PER_SQUARED_STEP = 6.0


# zigzag position -> place in the block, row by row.
_DIAGONALS = [[(i, d - i) for i in range(8) if 0 <= d - i < 8] for d in range(15)]
_ZIGZAG = np.array(
    [
        8 * v + u
        for d, diagonal in enumerate(_DIAGONALS)
        for v, u in (diagonal if d % 2 else diagonal[::-1])
    ]
)
_COMPONENTS = ([0], [1, 2])  # of each table: Cb and Cr share theirs
_ZERO_RUN = 0xF0  # the symbol of 16 zeros

# Tables of a picture, chosen on held-out photographs. Integers chosen for the old step
# hold the regression back, so that each goes too short a way. With 3 and more, steps
# that the integers follow little swing up.
_OVER_RELAXATION = 2
_LEAST_COUNT = 8  # of integers other than 0, for a step to be moved so far

_MAX_LENGTH = 16.0  # bits of the longest Huffman code


def mse_weights(qtables, lmbda):
    """Weights for `quantize` that minimise `lmbda * MSE_255 + bits per pixel`.

    Args:
      qtables: `[8, 8, 2]`, entries of the tables.
      lmbda: bits per pixel that an MSE_255 of 1 is worth.

    Returns:
      float32 `[8, 8, 3]`.
    """
    qtables = np.asarray(qtables, np.float32)[..., [0, 1, 1]]
    # Squared error in RGB, mean of the channels, of an error of 1 in Y, Cb and Cr.
    energy = (YCBCR_TO_RGB**2).mean(0)
    return (lmbda * energy * qtables**2).astype(np.float32)


def quantize(z, weights, entropy_coding, passes=3):
    """Integers of the least cost, for a picture's coefficients.

    Args:
      z: float `[rows, cols, 8 (v), 8 (u), 3 (Y, Cb, Cr)]`, DCT coefficients in units of
        their quantization step.
      weights: bits that a squared error of one step is worth, a number or an array
        that can be broadcast to the shape of `z`.
      entropy_coding: "default" counts the bits of the standard's Huffman tables; any
        other coding those of tables made for the picture.
      passes: how often those are measured; more changed the bytes by less than 0.2 %.

    Returns:
      int16, shaped as `z`, in [-1023, 1023].
    """
    # The standard's code lengths are known: the first pass is the last.
    passes = 1 if entropy_coding == "default" else passes
    return _search(z, weights, entropy_coding, passes)[0]


def quantize_with_tables(z, weights, entropy_coding, qtables, passes=5):
    """Integers as from `quantize`, and quantization tables made for the picture.

    Args:
      z, weights, entropy_coding: as for `quantize`, in units of the steps given.
      qtables: integers `[8, 8, 2 (luma, chroma)]`, 1..255, that the search starts from.
      passes: how often integers and tables are chosen.

    Returns:
      int16, shaped as `z`, and the tables, uint8 `[8, 8, 2]`.
    """
    return _search(z, weights, entropy_coding, passes, np.asarray(qtables))


def _search(z, weights, entropy_coding, passes, qtables=None):
    """Integers, and the tables if any are given: else the steps stay as they are."""
    rows, cols = z.shape[:2]
    ordered = _scan_order(z)
    # The same ones for all blocks are stored once: [component, 1 or blocks, 64].
    weights = np.asarray(weights, np.float32)
    alike = weights.ndim < 4
    weights = np.broadcast_to(weights, (1, 1, 8, 8, 3) if alike else z.shape)
    weights = _scan_order(weights)
    integers = np.rint(ordered).clip(-1023, 1023).astype(np.int16)
    lengths = _standard_lengths() if entropy_coding == "default" else None
    tables = qtables if qtables is None else np.array(qtables, np.uint8)
    for table, components in enumerate(_COMPONENTS):
        own = lengths and lengths[table]
        ratio = np.ones(64, np.float32)  # of the steps to those of z
        for left in range(passes - 1, -1, -1):
            dc, by_component = own or _measured_lengths(integers[components])
            for c, (ac, empty) in zip(components, by_component, strict=True):
                of_component = ordered[c], weights[c], ratio
                _search_dc(*of_component, dc, integers[c])
                _search_ac(*of_component, ac, empty, integers[c])
            if qtables is not None:
                units = qtables[..., table].ravel()[_ZIGZAG]
                sums = sum(
                    _regression(ordered[c], weights[c], integers[c]) for c in components
                )
                steps = _fitted_steps(sums, units * ratio, units, is_last=not left)
                ratio = (steps / units).astype(np.float32)
        if qtables is not None:
            flat = np.empty(64, np.uint8)
            flat[_ZIGZAG] = steps
            tables[..., table] = flat.reshape(8, 8)
    result = np.empty_like(integers)
    result[..., _ZIGZAG] = integers
    return np.moveaxis(result.reshape(3, rows, cols, 8, 8), 0, -1), tables


def _fitted_steps(sums, steps, units, is_last):
    """Steps of the least weighted error for integers; further that way but at last.

    Args:
      sums: as from `_regression`.
      steps: the ones that the integers were chosen for, `[64]`.
      units: of z, `[64]`.
      is_last: whether the integers stay.
    """
    products, squares, counts = sums
    enough = (counts >= (1 if is_last else _LEAST_COUNT)) & (squares > 0)
    fitted = np.where(enough, units * products / np.where(enough, squares, 1), steps)
    if not is_last:
        fitted = steps + _OVER_RELAXATION * (fitted - steps)
    return np.rint(fitted).clip(1, 255)


def estimated_bits(integers):
    """Bits of blocks in JPEG's symbols, with tables as good as their entropy allows.

    Args:
      integers: int16 `[rows, cols, 8, 8, 3]`.
    """
    bits = 0.0
    ordered = _scan_order(integers)
    for components in _COMPONENTS:
        dc, ac = _histograms(ordered[components])
        for counts, sizes in ((dc, np.arange(16)), (ac, np.arange(256) % 16)):
            present = counts > 0
            information = -np.log2(counts[present] / counts.sum())
            bits += np.sum(counts[present] * (information + sizes[present]))
    return bits


def dc_slopes(z):
    """Change of the bits of DC for a change of the logarithm of its step.

    Args:
      z: float `[rows, cols, 8, 8, 3]`, coefficients in units of their step.

    Returns:
      float `[2 (luma, chroma)]`, bits; negative, as coarser steps take fewer.
    """
    dc = np.moveaxis(z[:, :, 0, 0], -1, 0).reshape(3, -1)
    ratio = 1.1
    coarse, fine = (_dc_bits(dc * scale) for scale in (1 / ratio, ratio))
    return (coarse - fine) / (2 * np.log(ratio))


def _dc_bits(dc):
    """Bits of the differences of rounded DC, `[3, blocks]`: for luma and for chroma."""
    differences = np.diff(np.rint(dc), axis=1, prepend=0)
    sizes = np.ceil(np.log2(np.abs(differences) + 1)).astype(int)
    bits = []
    for components in _COMPONENTS:
        own = sizes[components].ravel()
        p = np.bincount(own) / own.size
        bits.append(own.sum() - own.size * np.sum(p[p > 0] * np.log2(p[p > 0])))
    return np.array(bits)


def _scan_order(values):
    """`[rows, cols, 8, 8, 3]` as `[component, block, zigzag position]`."""
    return np.moveaxis(values, -1, 0).reshape(3, -1, 64)[..., _ZIGZAG]


@functools.cache
def _standard_lengths():
    """Those of the standard, for luma and chroma, as from `_measured_lengths`."""
    lengths = []
    for table, components in enumerate(_COMPONENTS):
        dc, ac = map(np.float32, jpeg_file.standard_code_lengths(table))
        empty = np.float32([[0.0, ac[0]]] * 2)
        lengths.append((dc, [(ac, empty)] * len(components)))
    return lengths


def _measured_lengths(integers):
    """Self-information of the symbols of `[components, blocks, 64]`, in bits.

    Returns:
      (DC `[16]`, one (AC `[256]`, empty `[2, 2]`) for each component): progressive JPEG
      has a scan, and tables, for AC of each. `empty` are of a block that has AC
      coefficients and of one that has none, after one with some and one with none.
      Progressive JPEG codes runs of empty blocks, so that they cost less than an end of
      block each, and the less the more of them stand together.
    """
    all_dc, by_component = np.zeros(16), []
    for component in integers:
        dc, ac = _histograms(component[np.newaxis])
        all_dc += dc
        is_empty = ~component[:, 1:].any(-1)
        ac[0] -= is_empty.sum()
        pairs = is_empty.astype(np.int64)
        pairs[1:] += 2 * is_empty[:-1]
        counts = np.bincount(pairs, minlength=4).reshape(2, 2)
        empty = np.stack([_self_information(after) for after in counts])
        by_component.append((_self_information(ac), empty))
    return _huffman_lengths(all_dc), by_component


def _self_information(counts):
    """float32 bits of symbols that occurred so often."""
    counts = counts + 0.1  # One that did not occur so far stays possible.
    information = -np.log2(counts / counts.sum())
    return np.minimum(information, _MAX_LENGTH).astype(np.float32)


def _huffman_lengths(counts):
    """float32 code lengths of symbols that occurred so often.

    DC has few symbols, one of them often likelier than 1/2: far from its entropy.
    """
    lengths = np.zeros(counts.size)
    # JPEG keeps the code of all ones free.
    heap = [(count, [symbol]) for symbol, count in enumerate(counts) if count]
    heap.append((0.5, []))
    heapq.heapify(heap)
    while len(heap) > 1:
        (first, symbols), (second, others) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[symbols + others] += 1
        heapq.heappush(heap, (first + second, symbols + others))
    return np.where(counts > 0, lengths, _MAX_LENGTH).astype(np.float32)


def _histograms(integers):
    """How often each DC `[16]` and AC `[256]` symbol occurs in `[c, blocks, 64]`."""
    dc, ac = np.zeros(16), np.zeros(256)
    for component in integers:
        _count(component, dc, ac)
    return dc, ac


@numba.njit(cache=True, nogil=True)
def _size(magnitude):
    """Number of bits of a magnitude: its category in T.81, tables F.1 and F.2."""
    size = 0
    while magnitude:
        magnitude >>= 1
        size += 1
    return size


@numba.njit(cache=True, nogil=True)
def _count(integers, dc, ac):
    """Adds to histograms the symbols of blocks, int16 `[n, 64]` in zigzag order."""
    previous = 0
    for block in integers:
        dc[_size(abs(block[0] - previous))] += 1
        previous = block[0]
        run = 0
        for k in range(1, 64):
            if block[k] == 0:
                run += 1
                continue
            while run > 15:
                ac[_ZERO_RUN] += 1
                run -= 16
            ac[16 * run + _size(abs(block[k]))] += 1
            run = 0
        if run:
            ac[0] += 1


@numba.njit(cache=True, nogil=True)
def _regression(z, weights, integers):
    """Sums over blocks, `[n, 64]`, of the regression of z on the integers.

    Returns:
      float64 `[3, 64]`: weight * z * integer, weight * integer^2, and the number of
      integers other than 0.
    """
    sums = np.zeros((3, 64))
    for b in range(z.shape[0]):
        own_weights = weights[b % weights.shape[0]]
        for k in range(64):
            value = integers[b, k]
            if value:
                weighted = own_weights[k] * value
                sums[0, k] += weighted * z[b, k]
                sums[1, k] += weighted * value
                sums[2, k] += 1
    return sums


@numba.njit(cache=True, nogil=True)
def _search_dc(z, weights, ratio, lengths, integers):
    """Writes the DC integers of one component: rounded down, to the nearest, or up.

    The Viterbi algorithm over the blocks in the order of the scan; arguments as for
    `_search_ac`.
    """
    n = z.shape[0]
    came_from = np.zeros((n, 3), np.int8)
    cost = np.zeros(3, np.float32)
    before = np.zeros(3, np.int64)  # the DC before the first block is 0
    for i in range(n):
        own = min(max(z[i, 0] / ratio[0], -1023), 1023)
        weight = weights[i % weights.shape[0], 0] * ratio[0] ** 2
        middle = int(np.rint(own))
        integers[i, 0] = middle
        new_cost = np.empty(3, np.float32)
        for j in range(3):
            value = min(max(middle + j - 1, -1023), 1023)
            best = np.float32(np.inf)
            for p in range(3):
                size = _size(abs(value - before[p]))
                total = cost[p] + lengths[size] + size
                if total < best:
                    best = total
                    came_from[i, j] = p
            new_cost[j] = best + weight * (own - value) ** 2
        for j in range(3):
            before[j] = min(max(middle + j - 1, -1023), 1023)
        # Kept small: float32 would lose the bits of one block in those of thousands.
        cost = new_cost - new_cost.min()
    j = np.argmin(cost)
    for i in range(n - 1, -1, -1):
        integers[i, 0] = min(max(integers[i, 0] + j - 1, -1023), 1023)
        j = came_from[i, j]


@numba.njit(cache=True, nogil=True)
def _search_ac(z, weights, ratio, lengths, empty, integers):
    """Writes the AC integers of one component.

    For every block the cheapest path through the coefficients that stay nonzero: the
    cost up to one of them is that up to its predecessor, the error of the zeros between
    them, its symbol and extra bits, and its own error. Then, along the blocks, the
    cheapest sequence of ones that keep these coefficients and of empty ones.

    Args:
      z: `[n, 64]`, blocks in zigzag order.
      weights: `[1, 64]` or `[n, 64]`, of a squared error of 1 in z.
      ratio: `[64]`, of the steps to the units of z.
      lengths: `[256]`, bits of the symbols.
      empty: `[2, 2]`, bits of having coefficients and of having none, after a block
        that has some and after one that has none.
      integers: `[n, 64]`, for the result.
    """
    own = np.zeros(64, np.float32)  # z, in steps
    own_weights = np.zeros(64, np.float32)
    places = np.zeros(64, np.int64)  # zigzag positions that may be nonzero; 0 stands
    costs = np.zeros(64, np.float32)  # for the start of the block
    origins = np.zeros(64, np.int64)
    values = np.zeros(64, np.int64)
    zeros = np.zeros(64, np.float32)  # error of all positions up to one, if zero
    n = z.shape[0]
    block_costs = np.zeros((n, 2), np.float32)  # with its coefficients, and empty
    for b in range(n):
        count = 1
        for k in range(1, 64):
            own[k] = min(max(z[b, k] / ratio[k], -1023), 1023)
            own_weights[k] = weights[b % weights.shape[0], k] * ratio[k] ** 2
            zeros[k] = zeros[k - 1] + own_weights[k] * own[k] ** 2
            if abs(own[k]) > 0.5:
                places[count] = k
                count += 1
        best, last = np.float32(np.inf), 0
        for i in range(1, count):
            k = places[i]
            magnitude = abs(own[k])
            nearest = int(magnitude + 0.5)
            costs[i] = np.inf
            for value in range(nearest, max(nearest - 3, 0), -1):
                size = _size(value)
                error = own_weights[k] * (magnitude - value) ** 2
                step_cost = zeros[k - 1] + size + error
                for j in range(i - 1, -1, -1):
                    run = k - places[j] - 1
                    total = costs[j] - zeros[places[j]] + step_cost
                    total += lengths[_ZERO_RUN] * (run // 16)
                    total += lengths[16 * (run % 16) + size]
                    if total < costs[i]:
                        costs[i], origins[i], values[i] = total, j, value
            end = lengths[0] if k < 63 else 0.0
            total = costs[i] + zeros[63] - zeros[k] + end
            if total < best:
                best, last = total, i
        integers[b, 1:] = 0
        while last:
            k = places[last]
            integers[b, k] = values[last] if own[k] > 0 else -values[last]
            last = origins[last]
        block_costs[b, 0], block_costs[b, 1] = best, zeros[63]
    _empty_blocks(block_costs, empty, integers)


@numba.njit(cache=True, nogil=True)
def _empty_blocks(block_costs, empty, integers):
    """Sets the AC integers of those blocks to 0 for which that costs less.

    The Viterbi algorithm over the blocks in the order of the scan.

    Args:
      block_costs: `[n, 2]`, with the integers that are there, and with none.
      empty: as for `_search_ac`.
      integers: `[n, 64]`, to be changed.
    """
    n = block_costs.shape[0]
    came_from = np.zeros((n, 2), np.int8)
    costs = np.array([0.0, np.inf])  # the first block stands after a full one
    for b in range(n):
        new_costs = np.empty(2)
        for state in range(2):
            totals = costs + empty[:, state]
            came_from[b, state] = np.argmin(totals)
            new_costs[state] = totals.min() + block_costs[b, state]
        costs = new_costs
    state = np.argmin(costs)
    for b in range(n - 1, -1, -1):
        if state:
            integers[b, 1:] = 0
        state = came_from[b, state]
