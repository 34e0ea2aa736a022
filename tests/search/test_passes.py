"""Tests of passes: the cost of real files, every sampling, size and coding."""

import numpy as np
import pytest

from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg.bands import band_histogram, choose_bands
from learned_jpeg.jpeg.huffman import code_lengths
from learned_jpeg.jpeg.sampling import blocks_of, plane_sizes
from learned_jpeg.jpeg.scans import coded_bits
from learned_jpeg.jpeg.standard import ZIGZAG, ijg_qtables
from learned_jpeg.search import bit_costs, trellis
from learned_jpeg.search.bit_costs import interleaved_order
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.fixed_step_error import FixedStepError
from learned_jpeg.search.passes import first_steps, search
from learned_jpeg.search.squared_error import SquaredError

LMBDA = 0.01


def image_of(height, width, seed=0):
    """uint8 RGB, smooth and with some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 12
    waves = [np.sin(y * a + x * b + c) for a, b, c in rng.uniform(0.2, 3, (6, 3))]
    mixed = np.tensordot(rng.normal(0, 25, (3, 6)), waves, 1)
    image = 128 + np.moveaxis(mixed, 0, -1) + rng.normal(0, 4, (height, width, 3))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def zigzag(plane):
    return plane.reshape(-1, 64)[:, ZIGZAG]


def decoded_of(image, sampling, found, tables):
    """RGB of integers and tables, float64 `[h, w, 3]`."""
    coded = CodedImage(image, sampling)
    for component, plane in enumerate(found):
        steps = tables[min(component, 1)].ravel()[ZIGZAG]
        coded.replace(component, (zigzag(plane) * steps).astype(np.float32))
    return np.moveaxis(coded.decoded_rgb(), 0, -1).astype(float) + 128


def bits_of(found, sampling, image, coding):
    """Bits of the scans, with the codes that the coding takes."""
    height, width = image.shape[:2]
    dc, total = np.zeros((2, 16), np.int64), 0.0
    for component, plane in enumerate(found):
        own, table = np.ascontiguousarray(zigzag(plane)), min(component, 1)
        order = np.arange(len(own))
        if coding == "standard":
            if component == 0:
                order = interleaved_order(height, width, sampling)
            lengths = bit_costs._standard_lengths(table)[1]
            counts = sum(band_histogram(block[np.newaxis], 1, 63) for block in own)
            total += coded_bits(counts, lengths)
        else:
            for band in choose_bands(own):
                total += coded_bits(band.counts, code_lengths(band.counts))
        total += trellis.count_dc(own, order, dc[table])
    for table in (0, 1):
        lengths = code_lengths(dc[table])
        if coding == "standard":
            lengths = bit_costs._standard_lengths(table)[0]
        total += dc[table] @ lengths
    return float(total)


def cost_of(image, sampling, coding, found, tables):
    error = np.square(decoded_of(image, sampling, found, tables) - image).sum() / 3
    return LMBDA * error + bits_of(found, sampling, image, coding)


def rounded(image, sampling, tables):
    coded = CodedImage(image, sampling)
    found = []
    for component in range(3):
        own = coded.original(component)
        steps = tables[min(component, 1)].ravel()[ZIGZAG]
        natural = np.empty(own.shape, np.int16)
        natural[:, ZIGZAG] = np.rint(own / steps)
        shape = blocks_of(*coded.sizes[component])
        found.append(natural.reshape(*shape, 8, 8))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["standard", "optimized"])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_cost_is_far_below_that_of_rounding(sampling, coding):
    """By any tables of a quality; the files at equal lambda."""
    image = image_of(120, 136)
    found, tables = search(
        image, SquaredError(LMBDA), sampling=sampling, entropy_coding=coding
    )
    cost = cost_of(image, sampling, coding, found, tables)
    plain = []
    for quality in range(20, 96, 5):
        given = ijg_qtables(quality)
        integers = rounded(image, sampling, given)
        plain.append(cost_of(image, sampling, coding, integers, given))
    assert cost < 0.92 * min(plain)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_hardly_any_single_change_lowers_the_cost(sampling):
    """The search is a local one: what is left in single steps is little."""
    image = image_of(48, 64, seed=1)
    found, tables = search(
        image, SquaredError(LMBDA), sampling=sampling, entropy_coding="standard"
    )
    cost = cost_of(image, sampling, "standard", found, tables)
    rng = np.random.default_rng(0)
    better = 0
    for _ in range(150):
        plane = found[rng.integers(3)]
        place = tuple(rng.integers(0, n) for n in plane.shape[:2])
        place += divmod(int(ZIGZAG[rng.integers(12)]), 8)
        kept = plane[place]
        plane[place] += rng.choice([-1, 1])
        better += cost_of(image, sampling, "standard", found, tables) < cost - 0.5
        plane[place] = kept
    assert better <= 3


@pytest.mark.parametrize("coding", ["standard", "optimized"])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (17, 16), (100, 3), (3, 100)])
def test_every_size_can_be_searched(size, sampling, coding):
    image = image_of(*size)
    found, tables = search(
        image, SquaredError(0.1), sampling=sampling, entropy_coding=coding
    )
    for component, plane in enumerate(found):
        size_of = plane_sizes(*size, sampling)[component]
        assert plane.shape == (*blocks_of(*size_of), 8, 8)
        assert plane.dtype == np.int16
        assert np.abs(plane).max() <= 1023
    assert tables.dtype == np.uint8 and tables.min() >= 1
    error = decoded_of(image, sampling, found, tables) - image
    assert np.sqrt(np.mean(error**2)) < (12 if sampling == "4:4:4" else 25)


def test_more_lambda_gives_less_error_and_more_bits():
    image = image_of(96, 96)
    last = np.inf, 0
    for lmbda in (0.001, 0.004, 0.016, 0.064):
        found, tables = search(
            image, SquaredError(lmbda), sampling="4:2:0", entropy_coding="optimized"
        )
        error = np.square(decoded_of(image, "4:2:0", found, tables) - image).mean()
        bits = bits_of(found, "4:2:0", image, "optimized")
        assert error < last[0] and bits > last[1]
        last = error, bits


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_gains_of_blocks_lower_the_error_there(sampling):
    image = image_of(68, 100)
    gains = np.ones((9, 13), np.float32)
    gains[:4, 8:] = 16
    errors = []
    for given in (None, gains, np.ones_like(gains)):
        found, tables = search(
            image,
            SquaredError(0.002),
            sampling=sampling,
            entropy_coding="optimized",
            block_gains=given,
        )
        error = np.square(decoded_of(image, sampling, found, tables) - image)
        errors.append((error[:32, 64:].mean(), error.mean()))
    assert errors[0] == errors[2]
    assert errors[1][0] < 0.85 * errors[0][0]
    assert errors[1][1] > 0.8 * errors[0][1]


@pytest.mark.parametrize(
    "distortion, moves_tables, are_kept",
    [
        (FixedStepError, True, True),
        (FixedStepError, False, True),
        (SquaredError, True, False),
        (SquaredError, False, True),
    ],
)
def test_given_tables_are_kept_where_they_may_not_move(
    distortion, moves_tables, are_kept
):
    given = np.random.default_rng(0).integers(5, 60, (2, 8, 8))
    arguments = (given, 6.0) if distortion is FixedStepError else (LMBDA,)
    _, tables = search(
        image_of(40, 40),
        distortion(*arguments),
        sampling="4:4:4",
        entropy_coding="optimized",
        qtables=given,
        moves_tables=moves_tables,
    )
    assert (tables == given).all() == are_kept


def test_a_distortion_without_first_steps_needs_tables():
    distortion = FixedStepError(ijg_qtables(50), 6.0)
    with pytest.raises(ValueError, match="FixedStepError needs qtables"):
        search(image_of(9, 9), distortion, sampling="4:4:4", entropy_coding="optimized")


def test_integers_of_fixed_steps_are_at_most_two_steps_from_rounding():
    image = image_of(64, 72)
    given = np.random.default_rng(0).integers(5, 60, (2, 8, 8))
    found, _ = search(
        image,
        FixedStepError(given, 6.0),
        sampling="4:4:4",
        entropy_coding="standard",
        qtables=given,
    )
    plain = rounded(image, "4:4:4", given)
    for own, nearest in zip(found, plain, strict=True):
        assert (np.abs(own[..., 1:]) <= np.abs(nearest[..., 1:])).all()
        assert (own != nearest).any()


def test_first_steps_follow_from_the_weights():
    coded = CodedImage(image_of(16, 16), "4:2:0")
    steps = first_steps(coded, SquaredError(0.0015))
    energy = (1 + 0.71414**2 + 1.402**2) / 3  # not of Y
    luma = 1 / np.sqrt(0.0015 * 1.0)
    assert energy > 1
    assert steps[0, 0] == pytest.approx(2.8 * luma)
    assert steps[0, 1] == pytest.approx(3.6 * (1 + 0.4 / 14) * luma)
    assert steps[0, 63] == pytest.approx(3.6 * 1.4 * luma)
    assert steps[1, 0] < steps[0, 0]
    scaled = first_steps(coded, SquaredError(0.0015), scale=0.5)
    assert scaled[0, 0] == pytest.approx(0.5 * 2.8 * luma)


def test_first_steps_of_ac_are_finer_at_high_rates():
    coded = CodedImage(image_of(16, 16), "4:2:0")
    steps = first_steps(coded, SquaredError(0.2))
    luma = 1 / np.sqrt(0.2)
    assert steps[0, 0] == pytest.approx(2.8 * luma)
    assert steps[0, 63] == pytest.approx(3.6 * 100**-0.08 * 1.4 * luma)


def test_more_effort_costs_less_by_what_is_minimised():
    image, costs = image_of(96, 96), []
    for effort in (1, 2, 3):
        found, tables = search(
            image,
            SquaredError(LMBDA),
            sampling="4:2:0",
            entropy_coding="optimized",
            effort=effort,
        )
        costs.append(cost_of(image, "4:2:0", "optimized", found, tables))
    assert costs[0] > 1.002 * costs[1]
    assert costs[2] < 1.001 * costs[1]


def test_a_search_that_is_steered_goes_on_with_another_lambda():
    """The squared error, whose weights do not depend on what is coded."""
    image = image_of(64, 72)
    shown = []

    def steer(first):
        shown.append(first)
        return 4.0 if len(shown) == 1 else None

    def searched(lmbda, **options):
        return search(
            image,
            SquaredError(lmbda),
            sampling="4:2:0",
            entropy_coding="optimized",
            **options,
        )

    found, wanted = searched(0.0004, steer=steer), searched(0.0016)
    np.testing.assert_array_equal(found.qtables, wanted.qtables)
    for own, other in zip(found.planes, wanted.planes, strict=True):
        np.testing.assert_array_equal(own, other)
    steps = [first.qtables[0, 0, 0] for first in shown]
    assert steps[0] == pytest.approx(2 * steps[1], abs=1)


def test_given_tables_are_not_steered():
    image = image_of(16, 24)
    search(
        image,
        SquaredError(0.004),
        sampling="4:4:4",
        entropy_coding="standard",
        qtables=np.full((2, 8, 8), 9),
        steer=lambda first: pytest.fail("it was asked"),
    )
