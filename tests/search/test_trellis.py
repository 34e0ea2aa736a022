"""Tests of trellis: against exhaustive searches and counts in plain Python."""

import itertools

import numpy as np
import pytest

from learned_jpeg.jpeg.bands import band_histogram
from learned_jpeg.jpeg.scans import coded_bits
from learned_jpeg.search import trellis

rng_of = np.random.default_rng
NO_RUNS = np.empty(0, np.float32)  # of a sequential scan


def size(value):
    return abs(int(value)).bit_length()


def random_lengths(rng, count):
    return rng.uniform(1, 9, count).astype(np.float32)


# Counts


def symbols_of_band(integers, first, last):
    """[(symbol, extra bits)] of a progressive scan (T.81, G.1.2.2), in plain words."""
    found, pending = [], 0

    def end_run():
        nonlocal pending
        while pending:
            run = min(pending, 32767)
            found.append((16 * (size(run) - 1), size(run) - 1))
            pending -= run

    for block in integers:
        row = [int(v) for v in block[first : last + 1]]
        nonzero = [i for i, v in enumerate(row) if v]
        place = -1
        for i in nonzero:
            end_run()
            run = i - place - 1
            found += [(0xF0, 0)] * (run // 16)
            found.append((16 * (run % 16) + size(row[i]), size(row[i])))
            place = i
        if not nonzero or nonzero[-1] < last - first:
            pending += 1
    end_run()
    return found


@pytest.mark.parametrize("first, last", [(1, 63), (1, 5), (6, 63), (19, 63), (2, 2)])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
def test_counts_are_those_of_the_symbols(first, last, density):
    rng = rng_of(0)
    integers = rng.integers(-1023, 1024, (40, 64)) >> rng.integers(0, 10, (40, 64))
    integers = (integers * (rng.random((40, 64)) < density)).astype(np.int16)
    counts = band_histogram(integers, first, last)
    expected = symbols_of_band(integers, first, last)
    assert coded_bits(counts, 0) == sum(bits for _, bits in expected)
    symbols = [symbol for symbol, _ in expected]
    np.testing.assert_array_equal(counts, np.bincount(symbols, minlength=256))


def test_runs_of_empty_blocks_beyond_the_longest_take_several_codes():
    integers = np.zeros((2 * 32767 + 5, 64), np.int16)
    counts = band_histogram(integers, 1, 63)
    assert coded_bits(counts, 0) == 14 + 14 + 2
    assert dict(enumerate(counts[counts > 0])) == {0: 1, 1: 2}
    assert counts[16 * 14] == 2 and counts[16 * 2] == 1


def test_dc_counts_follow_the_order_of_the_scan():
    rng = rng_of(1)
    integers = rng.integers(-1020, 1021, (30, 64)).astype(np.int16)
    order = rng.permutation(30)
    counts = np.zeros(16, np.int64)
    extra = trellis.count_dc(integers, order, counts)
    sizes = [size(d) for d in np.diff(integers[order, 0].astype(int), prepend=0)]
    assert extra == sum(sizes)
    np.testing.assert_array_equal(counts, np.bincount(sizes, minlength=16))


# DC


def dc_cost(values, z, weights, order, lengths):
    cost, before = 0.0, 0
    for place, value in zip(order, values, strict=True):
        bits = size(value - before)
        cost += float(lengths[bits]) + bits
        cost += (
            float(weights[place if len(weights) > 1 else 0, 0])
            * (float(z[place, 0]) - value) ** 2
        )
        before = value
    return cost


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_dc_is_the_best_of_all_near_the_coefficients(seed, alike):
    rng = rng_of(seed)
    z = rng.normal(0, 6, (5, 64)).astype(np.float32)
    weights = rng.uniform(0.05, 3, (1 if alike else 5, 64)).astype(np.float32)
    order = rng.permutation(5)
    lengths = random_lengths(rng, 16)
    integers = np.zeros((5, 64), np.int16)
    trellis.search_dc(z, weights, order, lengths, integers)
    near = [np.rint(z[place, 0]).astype(int) + np.arange(-2, 3) for place in order]
    arguments = z, weights, order, lengths
    best = min(dc_cost(values, *arguments) for values in itertools.product(*near))
    found = dc_cost(integers[order, 0].astype(int), *arguments)
    assert found == pytest.approx(best, rel=1e-5)


# AC


def ac_cost(integers, z, weights, first, last, lengths, runs):
    """Error and bits of a band; `runs` of `search_ac`, or None: an end for each."""
    cost = 0.0
    for block, row in enumerate(integers):
        own = weights[block if len(weights) > 1 else 0].astype(float)
        error = own * (z[block] - row.astype(float)) ** 2
        cost += error[first : last + 1].sum()
    if runs is None:
        for row in integers:
            symbols = symbols_of_band(row[np.newaxis], first, last)
            cost += sum(float(lengths[s]) + bits for s, bits in symbols)
        return cost
    for symbol, bits in symbols_of_band(integers, first, last):
        is_end = symbol % 16 == 0 and symbol != 0xF0
        cost += float(runs[symbol // 16]) if is_end else float(lengths[symbol]) + bits
    return cost


def candidates(z, least):
    """Values that one coefficient may take: 0, and up to two steps closer to 0."""
    magnitude = abs(z)
    if magnitude <= least:
        return [0]
    near = int(magnitude + 0.5)
    values = {0, *(v for v in range(max(near - 2, 1), max(near, 1) + 1))}
    return [int(np.copysign(v, z)) for v in values]


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_ac_of_a_sequential_block_is_the_best_of_all(seed, alike):
    rng = rng_of(seed)
    first, last = 3, 8
    z = rng.normal(0, 1.6, (3, 64)).astype(np.float32)
    weights = rng.uniform(0.3, 6, (1 if alike else 3, 64)).astype(np.float32)
    lengths = random_lengths(rng, 256)
    integers = np.full((3, 64), 7, np.int16)
    band = trellis.Band(first, last, lengths, NO_RUNS, lengths[0])
    trellis.search_ac(z, weights, band, integers)
    assert (integers[:, :first] == 7).all() and (integers[:, last + 1 :] == 7).all()
    for block in range(3):
        own = weights[0 if alike else block][np.newaxis]
        choices = [candidates(z[block, k], 0.5) for k in range(first, last + 1)]
        best = np.inf
        for values in itertools.product(*choices):
            row = np.zeros((1, 64), np.int64)
            row[0, first : last + 1] = values
            arguments = z[block][np.newaxis], own, first, last, lengths, None
            best = min(best, ac_cost(row, *arguments))
        row = integers[block][np.newaxis]
        assert ac_cost(row, *arguments) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_empty_blocks_are_the_best_choice_of_all(seed):
    """With the integers of each block that are best for themselves, or none."""
    rng = rng_of(seed)
    blocks, first, last = 9, 4, 7
    z = (rng.normal(0, 1.2, (blocks, 64))).astype(np.float32)
    weights = rng.uniform(0.5, 5, (1, 64)).astype(np.float32)
    lengths = random_lengths(rng, 256)
    runs = np.sort(random_lengths(rng, trellis.RUN_CLASSES))
    end = np.float32(0)
    alone = np.zeros((blocks, 64), np.int16)
    for block in range(blocks):
        # A run of no cost, and errors of zeros out of reach: its own best path.
        row = alone[block : block + 1]
        free = np.zeros(trellis.RUN_CLASSES, np.float32)
        band = trellis.Band(first, last, lengths, free, end)
        trellis.search_ac(z[block : block + 1], weights, band, row)
    integers = np.zeros((blocks, 64), np.int16)
    band = trellis.Band(first, last, lengths, runs, end)
    trellis.search_ac(z, weights, band, integers)
    arguments = z, weights, first, last, lengths, runs
    kept = [b for b in range(blocks) if alone[b].any()]
    best = np.inf
    for subset in itertools.product([False, True], repeat=len(kept)):
        tried = np.zeros_like(alone)
        for block, keep in zip(kept, subset, strict=True):
            if keep:
                tried[block] = alone[block]
        best = min(best, ac_cost(tried, *arguments))
    assert ac_cost(integers, *arguments) <= best * (1 + 1e-5)


def test_long_runs_are_found_across_many_blocks():
    """One weak block in a long empty stretch goes if it breaks the run."""
    z = np.zeros((300, 64), np.float32)
    z[[0, 150, 299], 1] = 3, 0.8, 3
    weights = np.full((1, 64), 12, np.float32)
    lengths = np.full(256, 4, np.float32)
    runs = np.full(trellis.RUN_CLASSES, 5, np.float32)
    integers = np.zeros((300, 64), np.int16)
    band = trellis.Band(1, 63, lengths, runs, np.float32(4))
    trellis.search_ac(z, weights, band, integers)
    # 0.8^2 * 12 = 7.7 bits of error against 5 of its symbol and 5 of another run.
    assert np.flatnonzero(integers.any(1)).tolist() == [0, 299]
    weights *= 2
    trellis.search_ac(z, weights, band, integers)
    assert np.flatnonzero(integers.any(1)).tolist() == [0, 150, 299]


def test_values_beyond_the_format_are_cut():
    z = np.full((1, 64), 5000, np.float32)
    integers = np.zeros((1, 64), np.int16)
    lengths = np.full(256, 1, np.float32)
    weights = np.ones((1, 64), np.float32)
    trellis.search_dc(z, weights, np.arange(1), lengths[:16], integers)
    band = trellis.Band(1, 63, lengths, NO_RUNS, lengths[0])
    trellis.search_ac(z, weights, band, integers)
    assert integers[0, 0] == 1020 + 2 or integers[0, 0] == 1020
    assert (integers[0, 1:] == 1023).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_ends_with_integers_of_the_format(bad):
    """A loop of compiled code that never ends would not even hear SIGTERM."""
    z = np.full((3, 64), 2.2, np.float32)
    z[1] = bad
    lengths = np.ones(256, np.float32)
    for weight in (1, bad):
        weights = np.full((1, 64), weight, np.float32)
        integers = np.zeros((3, 64), np.int16)
        for run_lengths in (NO_RUNS, np.ones(15, np.float32)):
            band = trellis.Band(1, 63, lengths, run_lengths, np.float32(1))
            trellis.search_ac(z, weights, band, integers)
        trellis.search_dc(z, weights, np.arange(3), lengths[:16], integers)
        assert np.abs(integers[:, 0]).max() <= trellis.MAX_DC + 2
        assert np.abs(integers[:, 1:]).max() <= 1023
    assert trellis.size_of(np.iinfo(np.int64).min) == 0


def test_regression_gives_the_factor_of_the_least_error():
    rng = rng_of(2)
    integers = rng.integers(-3, 4, (50, 64)).astype(np.int16)
    weights = rng.uniform(0.5, 2, (50, 64)).astype(np.float32)
    z = (1.3 * integers + rng.normal(0, 0.2, (50, 64))).astype(np.float32)
    products, squares, counts = trellis.regression(z, weights, integers)
    np.testing.assert_array_equal(counts, (integers != 0).sum(0))
    for k in range(64):
        root = np.sqrt(weights[:, k].astype(float))
        design = (root * integers[:, k])[:, np.newaxis]
        expected = np.linalg.lstsq(design, root * z[:, k], rcond=None)[0][0]
        assert products[k] / squares[k] == pytest.approx(expected, rel=1e-5)


# Errors that are coupled


def test_coupled_target_is_the_least_for_each_error_alone():
    rng = rng_of(7)
    blocks = 12
    z = rng.normal(0, 3, (blocks, 64)).astype(np.float32)
    weights = rng.uniform(0.2, 9, (blocks, 64)).astype(np.float32)
    coupling = np.triu(rng.normal(0, 0.3, (64, 64)), 1) + np.eye(64)
    integers = rng.integers(-5, 6, (blocks, 64)).astype(np.int16)
    rounded = coupling.astype(np.float32)
    moved = trellis.coupled_targets(z, weights, rounded, integers)
    dc = np.zeros_like(moved)
    trellis.move_dc(z, weights, rounded, integers, dc)
    np.testing.assert_allclose(dc[:, 0], moved[:, 0], rtol=1e-4)

    def cost_of_row(block, k, value):
        """The k-th square, of which a value of coefficient k is the only free part."""
        errors = np.sqrt(weights[block].astype(float)) * (integers[block] - z[block])
        errors[k] = np.sqrt(weights[block, k]) * (value - z[block, k])
        return np.square(coupling[k] @ errors)

    for block, k in rng.integers(0, (blocks, 64), (40, 2)):
        assert cost_of_row(block, k, moved[block, k]) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(moved[:, 63], z[:, 63])
