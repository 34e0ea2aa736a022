"""The choice of one component's integers, by error and JPEG's bits: Viterbi searches.

These compiled functions work on the coefficients of a component, `[blocks, 64]` in
zigzag order, and on code lengths that are given. `search_ac` chooses the AC integers of
a band in every block (Crouse and Ramchandran, "Joint thresholding and quantizer
selection for transform image coding", 1997, with the size of the levels added as in
mozjpeg), and which blocks of a progressive scan are empty. `search_dc` chooses the DC
integers in the order of their scan. Costs are in bits; `weights` are the bits of a
squared error of one step, `[blocks or 1, 64]`.
"""

from typing import NamedTuple

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.huffman import ZERO_RUN, size_of
from learned_jpeg.jpeg.transform import MAX_INTEGER

MAX_DC = 1020  # differences of it have to fit into 11 bits, with any neighbour
RUN_CLASSES = 15  # of an end-of-band run, by the size of its length in bits
LEAST = np.float32(0.5)  # steps: smaller AC coefficients become zero
_DC_CANDIDATES = 5
_INFINITE = np.float32(1e30)


class Band(NamedTuple):
    """A band of AC coefficients, and the bits of its symbols.

    Attributes:
      first, last: positions in the zigzag order, 1..63.
      lengths: float32 `[256]`, code lengths of the symbols.
      run_lengths: float32 `[15]`, bits of an end-of-band run by the size of its length,
        with those that follow the symbol; empty for a sequential scan, where every
        block has an end of its own.
      end: float32, bits of a block's end while its path is searched.
    """

    first: int
    last: int
    lengths: np.ndarray
    run_lengths: np.ndarray
    end: np.float32


class _Path(NamedTuple):
    """Work space for the paths through one block, `[65]` each.

    Node 0 is the band's start; the others are its coefficients that may be coded.

    Attributes:
      places: int64, zigzag position of each node.
      costs: float32, cost of the best path that ends in the node, over that of zeros.
      origins: int64, the node before on that path.
      values: int64, the absolute value that the node has on that path.
      zeros: float32, cost of zeros from the band's start to each of its positions.
    """

    places: np.ndarray
    costs: np.ndarray
    origins: np.ndarray
    values: np.ndarray
    zeros: np.ndarray


@njit
def count_dc(integers, order, counts):
    """Adds the size categories of the DC differences to `counts` `[16]`.

    Args:
      integers: int16 `[blocks, 64]`.
      order: indices of the blocks in the order of the scan.

    Returns:
      The number of bits that follow the symbols.
    """
    extra, before = 0, 0
    for place in order:
        value = integers[place, 0]
        size = size_of(abs(value - before))
        counts[size] += 1
        extra += size
        before = value
    return extra


@njit
def search_dc(z, weights, order, lengths, integers):
    """Chooses the DC integers, each among five, by the bits of their differences.

    Args:
      z: float32 `[blocks, 64]`, coefficients in units of their step.
      weights: float32 `[blocks or 1, 64]`.
      order: indices of the blocks in the order of the scan.
      lengths: float32 `[16]`, code lengths of the size categories.
      integers: int16 `[blocks, 64]`, whose DC are set.
    """
    blocks = z.shape[0]
    alike = weights.shape[0] == 1
    came = np.zeros((blocks, _DC_CANDIDATES), np.int8)
    middles = np.empty(blocks, np.int64)
    cost = np.zeros(_DC_CANDIDATES, np.float32)
    new = np.empty(_DC_CANDIDATES, np.float32)
    before = np.zeros(_DC_CANDIDATES, np.int64)
    half = _DC_CANDIDATES // 2
    for i in range(blocks):
        block = order[i]
        # In this order nan becomes a number, too.
        own = min(np.float32(MAX_DC), max(np.float32(-MAX_DC), z[block, 0]))
        middles[i] = int(np.rint(own))
        weight = weights[0 if alike else block, 0]
        for j in range(_DC_CANDIDATES):
            value = middles[i] + j - half
            best = _INFINITE
            for p in range(_DC_CANDIDATES):
                size = size_of(abs(value - before[p]))
                total = cost[p] + lengths[size] + size
                if total < best:
                    best = total
                    came[i, j] = p
            new[j] = best + weight * (own - value) ** 2
        least = new.min()
        for j in range(_DC_CANDIDATES):
            before[j] = middles[i] + j - half
            cost[j] = new[j] - least
    j = np.argmin(cost)
    for i in range(blocks - 1, -1, -1):
        integers[order[i], 0] = middles[i] + j - half
        j = came[i, j]


@njit
def search_ac(z, weights, band, integers):
    """Chooses the integers of a band of all blocks.

    Each coefficient is rounded, comes closer to zero by up to two steps, or becomes
    zero.

    Args:
      z: float32 `[blocks, 64]`, coefficients in units of their step.
      weights: float32 `[blocks or 1, 64]`.
      band: `Band`.
      integers: int16 `[blocks, 64]`, whose band is set.
    """
    first, last, run_lengths = band.first, band.last, band.run_lengths
    blocks = z.shape[0]
    alike = weights.shape[0] == 1
    path = _Path(
        np.zeros(65, np.int64),
        np.zeros(65, np.float32),
        np.zeros(65, np.int64),
        np.zeros(65, np.int64),
        np.zeros(65, np.float32),
    )
    # Of the best path of each block with a coefficient: its cost over that of zeros,
    # and whether it ends before the band does.
    gains = np.zeros(blocks, np.float32)
    is_open = np.zeros(blocks, np.int8)
    is_empty = np.ones(blocks, np.bool_)
    for block in range(blocks):
        own_weights = weights[0 if alike else block]
        count = _list_candidates(z[block], own_weights, first, last, path)
        tail, cost = _find_path(z[block], own_weights, band, count, path)
        integers[block, first : last + 1] = 0
        if tail:
            is_empty[block] = False
            is_open[block] = path.places[tail] < last
            gains[block] = cost - path.zeros[last - first + 1]
            if is_open[block] and run_lengths.size:
                gains[block] -= band.end  # runs have their exact costs below
            _write_path(z[block], tail, path, integers[block])
    if run_lengths.size:
        _choose_empty(gains, is_open, is_empty, run_lengths)
    else:
        for block in range(blocks):
            is_empty[block] |= gains[block] >= band.end
    for block in range(blocks):
        if is_empty[block]:
            integers[block, first : last + 1] = 0


@njit
def _list_candidates(z, weights, first, last, path):
    """Sets `places` and `zeros` of a block's `_Path`; returns the number of nodes."""
    base = first - 1
    count = 1
    path.places[0] = base
    for k in range(first, last + 1):
        magnitude = abs(z[k])
        path.zeros[k - base] = path.zeros[k - base - 1] + weights[k] * magnitude**2
        if magnitude > LEAST:
            path.places[count] = k
            count += 1
    return count


@njit
def _find_path(z, weights, band, count, path):
    """Finds the best path with a coefficient; returns its last node and its cost.

    Args:
      z, weights: float32 `[64]`, of one block.
      band: `Band`.
      count: number of nodes.
      path: `_Path` with its `places` and `zeros`; the other attributes are set.

    Returns:
      (node, bits); the node is 0 if there is no candidate.
    """
    places, costs, origins, values, zeros = path
    lengths, last = band.lengths, band.last
    base = band.first - 1
    best, tail = _INFINITE, 0
    for i in range(1, count):
        k = places[i]
        magnitude = min(abs(z[k]), np.float32(MAX_INTEGER))
        near = int(magnitude + np.float32(0.5))
        costs[i] = _INFINITE
        for value in range(max(near, 1), max(near - 2, 1) - 1, -1):
            size = size_of(value)
            own = weights[k] * (magnitude - value) ** 2
            own += zeros[k - base - 1] + size
            for j in range(i - 1, -1, -1):
                run = k - places[j] - 1
                total = costs[j] - zeros[places[j] - base] + own
                total += lengths[16 * (run % 16) + size]
                total += lengths[ZERO_RUN] * (run // 16)
                if total < costs[i]:
                    costs[i] = total
                    origins[i] = j
                    values[i] = value
        total = costs[i] + zeros[last - base] - zeros[k - base]
        if k < last:
            total += band.end
        if total < best:
            best, tail = total, i
    return tail, best


@njit
def _write_path(z, tail, path, integers):
    """Writes the integers of the path that ends in node `tail`."""
    while tail:
        k = path.places[tail]
        sign = 1 if z[k] > 0 else -1
        integers[k] = sign * path.values[tail]
        tail = path.origins[tail]


@njit
def _choose_empty(gains, is_open, is_empty, run_lengths):
    """Chooses which blocks of a progressive scan are empty, by the exact cost of runs.

    A run of ends covers the end of an open block and the empty ones after it. The best
    cost up to a block is the least over the last block before it that is not empty: for
    each size of the run's length the least over a window, kept in a monotone queue.

    Args:
      gains: float32 `[blocks]`, cost of each block's coefficients over zeros, without
        its end; negative where they are worth their bits.
      is_open: int8 `[blocks]`, whether a block needs an end.
      is_empty: bool `[blocks]`, true for blocks without coefficients; the others are
        set.
      run_lengths: as in `Band`.
    """
    blocks = gains.size
    # Candidates for the last block that is not empty; the first stands for none. A run
    # that starts after candidate i begins at block starts[i].
    totals = np.zeros(blocks + 1, np.float64)
    starts = np.zeros(blocks + 1, np.int64)
    owners = np.full(blocks + 1, -1, np.int64)
    origins = np.zeros(blocks + 1, np.int64)
    queues = np.zeros((RUN_CLASSES, blocks + 1), np.int32)
    heads = np.zeros(RUN_CLASSES, np.int64)
    tails = np.zeros(RUN_CLASSES, np.int64)
    entering = np.zeros(RUN_CLASSES, np.int64)
    count = 1
    final = 0
    for block in range(blocks + 1):
        if block < blocks and is_empty[block]:
            continue
        best, origin = 1e300, 0
        i = count - 1
        while i >= 0 and starts[i] == block:  # no run between
            if totals[i] < best:
                best, origin = totals[i], i
            i -= 1
        for size in range(RUN_CLASSES):
            # Runs of 2^size to 2^(size + 1) - 1 blocks.
            nearest, farthest = block - (1 << size), block - (2 << size)
            while entering[size] < count and starts[entering[size]] <= nearest:
                new = entering[size]
                while tails[size] > heads[size] and (
                    totals[queues[size, tails[size] - 1]] >= totals[new]
                ):
                    tails[size] -= 1
                queues[size, tails[size]] = new
                tails[size] += 1
                entering[size] += 1
            # Longer runs take several codes, which cost little more.
            if size < RUN_CLASSES - 1:
                while heads[size] < tails[size] and (
                    starts[queues[size, heads[size]]] <= farthest
                ):
                    heads[size] += 1
            if heads[size] < tails[size]:
                i = queues[size, heads[size]]
                if totals[i] + run_lengths[size] < best:
                    best, origin = totals[i] + run_lengths[size], i
        if block == blocks:
            final = origin
            break
        totals[count] = best + gains[block]
        starts[count] = block + 1 - is_open[block]
        owners[count] = block
        origins[count] = origin
        count += 1
    is_empty[:] = True
    while final:
        is_empty[owners[final]] = False
        final = origins[final]


def coupled_targets(z, weights, coupling, integers, count=64):
    """Returns targets that account for the errors of higher frequencies.

    Args:
      z: float32 `[blocks, 64]`, coefficients in units of their step.
      weights: float32 `[blocks, 64]`.
      coupling: float32 `[64, 64]`, see `distortion.QuadraticModel`.
      integers: int16 `[blocks, 64]`.
      count: number of coefficients that are wanted, from the first one.

    Returns:
      float32 `[blocks, count]`: for each coefficient the value of least error, if the
      errors of the others stay.
    """
    moved = np.empty((len(z), count), np.float32)
    strict = np.ascontiguousarray((coupling - np.eye(64, dtype=np.float32)).T)
    _couple(z, weights, strict, integers, moved)
    return moved


@njit
def _couple(z, weights, strict, integers, moved):
    """Writes `moved` of `coupled_targets`; `strict` is transposed, its diagonal 0."""
    count = moved.shape[1]
    roots = np.empty(64, np.float32)
    sums = np.empty(64, np.float32)
    for block in range(z.shape[0]):
        for k in range(64):
            roots[k] = np.sqrt(weights[block, k])
            sums[k] = np.float32(0)
        for other in range(1, 64):
            error = (integers[block, other] - z[block, other]) * roots[other]
            row = strict[other]
            for k in range(min(other, count)):
                sums[k] += row[k] * error
        for k in range(count):
            moved[block, k] = z[block, k] - sums[k] / roots[k]


@njit
def regression(z, weights, integers):
    """Returns sums over the blocks, `[3, 64]`: w v z, w v v, and how many v are not 0.

    For integers v and coefficients z in units of a step, `sum(w v z) / sum(w v v)` is
    the factor on the step that leaves the least weighted error.
    """
    sums = np.zeros((3, 64))
    alike = weights.shape[0] == 1
    for block in range(z.shape[0]):
        row = 0 if alike else block
        for k in range(64):
            value = integers[block, k]
            if value:
                weighted = weights[row, k] * value
                sums[0, k] += weighted * z[block, k]
                sums[1, k] += weighted * value
                sums[2, k] += 1
    return sums
