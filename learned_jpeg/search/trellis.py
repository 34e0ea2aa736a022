"""The choice of one component's integers, by error and JPEG's bits: Viterbi searches.

These compiled functions work on the coefficients of a component, `[blocks, 64]` in
zigzag order, and on code lengths that are given. `search_ac` chooses the AC integers of
a band in every block (Crouse and Ramchandran, "Joint thresholding and quantizer
selection for transform image coding", 1997, with the size of the levels added as in
mozjpeg), and which blocks of a progressive scan are empty. `search_dc` chooses the DC
integers in the order of their scan. Costs are in bits; `weights` are the bits of a
squared error of one step, `[blocks or 1, 64]`.
"""

import functools
from typing import NamedTuple

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import borrowed, njit, trailing_zeros
from learned_jpeg.jpeg.huffman import ZERO_RUN, size_of
from learned_jpeg.jpeg.transform import MAX_INTEGER
from learned_jpeg.search.chunks import chunks

MAX_DC = 1020  # differences of it have to fit into 11 bits, with any neighbour
RUN_CLASSES = 15  # of an end-of-band run, by the size of its length in bits
LEAST = np.float32(0.5)  # steps: smaller AC coefficients become zero
_MAX_SIZE = 10  # bits of the largest AC integers
_DC_CANDIDATES = 5
_SIZES = np.frexp(np.arange(2048))[1]  # `size_of` each difference of DC
_PART = 2048  # blocks of a task
_CHUNK = 512  # blocks whose errors are coupled at a time: they fit into a cache
_INFINITE = np.float32(1e30)
_MOST = np.float32(MAX_INTEGER)
_BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)  # by place


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
      places: int64, zigzag position of each node; of node 0 that before the band.
      costs: float32, cost of the best path that ends in the node, over that of zeros.
      origins: int64, the node before on that path.
      values: int64, the absolute value that the node has on that path.
    """

    places: np.ndarray
    costs: np.ndarray
    origins: np.ndarray
    values: np.ndarray


class _Paths(NamedTuple):
    """The best path with a coefficient in each block, `[blocks]` each.

    Attributes:
      gains: float32, its cost over that of zeros, without its end in a progressive
        scan; negative where it is worth its bits.
      is_open: int8, whether it ends before the band does.
      is_empty: bool, whether there is none.
    """

    gains: np.ndarray
    is_open: np.ndarray
    is_empty: np.ndarray


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


def search_dc(
    z: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    lengths: np.ndarray,
    integers: np.ndarray,
) -> None:
    """Chooses the DC integers, each among five, by the bits of their differences.

    Args:
      z: float32 `[blocks, 64]`, coefficients in units of their step.
      weights: float32 `[blocks or 1, 64]`.
      order: indices of the blocks in the order of the scan.
      lengths: float32 `[16]`, code lengths of the size categories.
      integers: int16 `[blocks, 64]`, whose DC are set.
    """
    bits = (lengths + np.arange(16, dtype=np.float32))[_SIZES]
    _search_dc(z, weights, order, bits, integers)


@njit
def _search_dc(z, weights, order, bits, integers):
    """Does `search_dc`; `bits` are those of the differences 0..2047."""
    blocks = z.shape[0]
    alike = weights.shape[0] == 1
    came = np.zeros((blocks, _DC_CANDIDATES), np.int8)
    middles = np.empty(blocks, np.int64)
    # The first difference is that to 0.
    cost = np.full(_DC_CANDIDATES, _INFINITE, np.float32)
    cost[0], before = 0, _DC_CANDIDATES // 2
    new = np.empty(_DC_CANDIDATES, np.float32)
    half = _DC_CANDIDATES // 2
    for i in range(blocks):
        block = order[i]
        # In this order nan becomes a number, too.
        own = min(np.float32(MAX_DC), max(np.float32(-MAX_DC), z[block, 0]))
        middle = int(np.rint(own))
        middles[i] = middle
        weight = weights[0 if alike else block, 0]
        for j in range(_DC_CANDIDATES):
            best, origin = _INFINITE, 0
            for p in range(_DC_CANDIDATES):
                total = cost[p] + bits[abs(middle + j - before - p)]
                if total < best:
                    best, origin = total, p
            came[i, j] = origin
            error = own - np.float32(middle + j - half)
            new[j] = best + weight * error * error
        least = new.min()
        for j in range(_DC_CANDIDATES):
            cost[j] = new[j] - least
        before = middle
    j = np.argmin(cost)
    for i in range(blocks - 1, -1, -1):
        integers[order[i], 0] = middles[i] + j - half
        j = came[i, j]


def search_ac(
    z: np.ndarray, weights: np.ndarray, band: Band, integers: np.ndarray
) -> None:
    """Chooses the integers of a band of all blocks.

    Each coefficient is rounded, comes closer to zero by up to two steps, or becomes
    zero.

    Args:
      z: float32 `[blocks, 64]`, coefficients in units of their step.
      weights: float32 `[blocks or 1, 64]`.
      band: `Band`.
      integers: int16 `[blocks, 64]`, whose band is set.
    """
    blocks = len(z)
    paths = _Paths(
        np.zeros(blocks, np.float32), np.zeros(blocks, np.int8), np.ones(blocks, bool)
    )
    bits = _symbol_bits(band.lengths)

    def search_part(part: slice) -> None:
        own_weights = weights if len(weights) == 1 else weights[part]
        own_paths = _Paths(*(values[part] for values in paths))
        _search_paths(z[part], own_weights, band, bits, integers[part], own_paths)

    threads.run(search_part, chunks(blocks, _PART))
    if band.run_lengths.size:
        _choose_empty(*paths, band.run_lengths)
    else:
        paths.is_empty[paths.gains >= band.end] = True
    _clear(paths.is_empty, band.first, band.last, integers)


def _symbol_bits(lengths: np.ndarray) -> np.ndarray:
    """Returns the bits of a coefficient, float32 `[11 (size), 64 (zeros before it)]`.

    They are those of its symbol, of symbols of 16 zeros, and of its value.
    """
    sizes, runs = np.arange(_MAX_SIZE + 1), np.arange(64)
    own = lengths[16 * (runs % 16) + sizes[:, np.newaxis]]
    bits = own + lengths[ZERO_RUN] * (runs // 16) + sizes[:, np.newaxis]
    return bits.astype(np.float32)


@njit
def _search_paths(z, weights, band, bits, integers, paths):
    """Writes the best path of each block, also where zeros are better, and `paths`."""
    z, weights, integers = borrowed(z), borrowed(weights), borrowed(integers)
    first, last = band.first, band.last
    path = _Path(
        np.full(65, first - 1, np.int64),
        np.zeros(65, np.float32),
        np.zeros(65, np.int64),
        np.zeros(65, np.int64),
    )
    # Runs of ends get their exact costs later.
    later = band.end if band.run_lengths.size else np.float32(0)
    for block in range(z.shape[0]):
        own, out = z[block], integers[block]
        row = weights[block if weights.shape[0] > 1 else 0]
        out[first : last + 1] = 0
        count = _list_candidates(own, first, last, path.places)
        if count == 1:
            continue
        tail, cost = _find_path(own, row, last, bits, band.end, count, path)
        if tail == 0:  # no cost is finite
            continue
        paths.is_empty[block] = False
        paths.is_open[block] = path.places[tail] < last
        paths.gains[block] = cost - later if paths.is_open[block] else cost
        _write_path(own, tail, path, out)


@njit
def _list_candidates(z, first, last, places):
    """Sets `_Path.places` of a block's band; returns the number of nodes."""
    found = np.uint64(0)
    for k in range(64):
        found |= _BITS[k] if abs(z[k]) > LEAST else np.uint64(0)
    found &= (_BITS[last] << np.uint64(1)) - _BITS[first]
    count = 1
    while found:
        places[count] = trailing_zeros(found)
        found &= found - np.uint64(1)
        count += 1
    return count


@njit
def _find_path(z, weights, last, bits, end, count, path):
    """Finds the best path with a coefficient; returns its last node and its cost.

    Args:
      z, weights: float32 `[64]`, of one block.
      last: place of the band's last coefficient.
      bits: as from `_symbol_bits`.
      end: bits of the block's end.
      count: number of nodes, at least 2.
      path: `_Path` with its `places`; the other attributes are set.
    """
    z, weights, bits = borrowed(z), borrowed(weights), borrowed(bits)
    places, costs = borrowed(path.places), borrowed(path.costs)
    origins, values = borrowed(path.origins), borrowed(path.values)
    best, tail = _INFINITE, 0
    for i in range(1, count):
        k = places[i]
        magnitude = min(abs(z[k]), _MOST)
        near = int(magnitude + np.float32(0.5))
        cost, known, rate, origin = _INFINITE, -1, _INFINITE, 0
        for value in range(near, max(near - 2, 1) - 1, -1):
            size = _SIZES[value]
            if size != known:
                known = size
                rate, origin = _best_origin(places, costs, i, bits[size])
            # The error of the value less that of 0.
            level = np.float32(value)
            total = weights[k] * level * (level - 2 * magnitude) + rate
            if total < cost:
                cost = np.float32(total)
                origins[i] = origin
                values[i] = value
        costs[i] = cost
        total = cost + (end if k < last else np.float32(0))
        if total < best:
            best, tail = total, i
    return tail, best


@njit
def _best_origin(places, costs, i, bits):
    """Returns (cost, node) of the best node before node i, for a size's `bits`."""
    place = places[i] - 1
    best, origin = _INFINITE, 0
    for j in range(i):
        total = costs[j] + bits[place - places[j]]
        is_less = total < best
        best = total if is_less else best
        origin = j if is_less else origin
    return best, origin


@njit
def _write_path(z, tail, path, integers):
    """Writes the integers of the path that ends in node `tail`."""
    while tail:
        k, value = path.places[tail], path.values[tail]
        integers[k] = value if z[k] > 0 else -value
        tail = path.origins[tail]


@njit
def _clear(is_empty, first, last, integers):
    """Sets the band of some blocks to 0."""
    for block in range(len(integers)):
        if is_empty[block]:
            integers[block, first : last + 1] = 0


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
    # Least total of each candidate and those before, and least length of longer runs.
    floors = np.zeros(blocks + 1, np.float64)
    longer = np.full(RUN_CLASSES, np.inf, np.float32)
    for size in range(RUN_CLASSES - 1, 0, -1):
        longer[size - 1] = min(longer[size], run_lengths[size])
    queues = np.empty((RUN_CLASSES, blocks + 1), np.int32)
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
            # Longer runs start after candidates that are here by now.
            here = entering[size] - 1
            if here < 0 or floors[here] + longer[size] >= best:
                break
        if block == blocks:
            final = origin
            break
        totals[count] = best + gains[block]
        floors[count] = min(floors[count - 1], totals[count])
        starts[count] = block + 1 - is_open[block]
        owners[count] = block
        origins[count] = origin
        count += 1
    is_empty[:] = True
    while final:
        is_empty[owners[final]] = False
        final = origins[final]


def coupled_targets(z, weights, coupling, integers):
    """Returns targets that account for the errors of higher frequencies.

    Args:
      z: float32 `[blocks, 64]`, coefficients in units of their step.
      weights: float32 `[blocks, 64]`.
      coupling: float32 `[64, 64]`, see `distortion.QuadraticModel`.
      integers: int16 `[blocks, 64]`.

    Returns:
      float32 `[blocks, 64]`: for each coefficient the value of least error, if the
      errors of the others stay.
    """
    moved = kept_memory.empty(z.shape)
    strict = (coupling - np.eye(64, dtype=np.float32)).T

    def move_part(part: slice) -> None:
        own = moved[part]
        _write_errors(z[part], weights[part], integers[part], own)
        _move(z[part], weights[part], own @ strict, own)

    threads.run(move_part, chunks(len(z), _CHUNK))
    return moved


@njit
def _write_errors(z, weights, integers, errors):
    z, weights = borrowed(z), borrowed(weights)
    integers, errors = borrowed(integers), borrowed(errors)
    for block in range(len(z)):
        _write_errors_of_block(z[block], weights[block], integers[block], errors[block])


@njit
def _write_errors_of_block(z, weights, integers, errors):
    for k in range(64):
        errors[k] = (np.float32(integers[k]) - z[k]) * np.sqrt(weights[k])


@njit
def _move(z, weights, sums, moved):
    z, weights = borrowed(z), borrowed(weights)
    sums, moved = borrowed(sums), borrowed(moved)
    for block in range(len(z)):
        _move_block(z[block], weights[block], sums[block], moved[block])


@njit
def _move_block(z, weights, sums, moved):
    for k in range(64):
        moved[k] = z[k] - sums[k] / np.sqrt(weights[k])


@njit
def move_dc(z, weights, coupling, integers, moved):
    """Writes the DC of `coupled_targets`, `[:, 0]` of `moved`, but for its rounding."""
    z, weights = borrowed(z), borrowed(weights)
    integers, row = borrowed(integers), coupling[0]
    for block in range(len(z)):
        own_weights = weights[block]
        total = _coupled_error(z[block], own_weights, row, integers[block])
        moved[block, 0] = z[block, 0] - total / np.sqrt(own_weights[0])


@functools.partial(njit, fastmath={"reassoc"})
def _coupled_error(z, weights, coupling, integers):
    total = np.float32(0)
    for k in range(1, 64):
        error = (np.float32(integers[k]) - z[k]) * np.sqrt(weights[k])
        total += coupling[k] * error
    return total


@njit
def rescale(z, weights, factors):
    """Changes the unit of coefficients, and of their errors, by float32 `[64]`."""
    for row in range(len(z)):
        _divide_row(z[row], factors)
    for row in range(len(weights)):
        _multiply_row(weights[row], factors)


@njit
def _divide_row(row, factors):
    for k in range(row.size):
        row[k] /= factors[k]


@njit
def _multiply_row(row, factors):
    for k in range(row.size):
        row[k] *= factors[k] * factors[k]


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
