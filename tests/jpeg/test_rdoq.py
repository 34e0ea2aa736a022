"""The search for integers against exhaustive searches, counted files and formulas."""

import io
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn, idctn

from jpeg import file as jpeg_file
from jpeg import rdoq
from jpeg_standard import STD_QTABLES

# Order in which T.81 (figure A.6) stores the 64 entries: (row, column).
ZIGZAG = sorted(
    ((row, column) for row in range(8) for column in range(8)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)
# JFIF 1.02: RGB of an error of 1 in Y, Cb and Cr.
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
TO_YCBCR = np.linalg.inv(TO_RGB)
CODINGS = ("default", "optimized")


# Symbols of JPEG, without a line of rdoq.py


def dc_symbols(values):
    """Size categories of the differences of DC in the order of the scan."""
    differences = np.diff(np.asarray(values, int), prepend=0)
    return [int(abs(difference)).bit_length() for difference in differences]


def ac_symbols(block):
    """Run and size bytes of 64 integers in zigzag order."""
    symbols, run = [], 0
    for value in block[1:]:
        if value == 0:
            run += 1
            continue
        symbols += [0xF0] * (run // 16)
        symbols.append(run % 16 << 4 | int(abs(value)).bit_length())
        run = 0
    return symbols + [0x00] * (run > 0)


def bits_of(symbols, lengths):
    """Bits of symbols with their extra bits, as many as their low nibble says."""
    return sum(lengths[symbol] + symbol % 16 for symbol in symbols)


def zigzag(blocks, component):
    """`[n, 64]` of `[rows, cols, 8, 8, 3]`, blocks in the order of the scan."""
    rows, columns = zip(*ZIGZAG, strict=True)
    return blocks[..., rows, columns, component].reshape(-1, 64)


def all_symbols(integers):
    """[(DC, AC)] symbols of luma and of chroma."""
    found = []
    for components in ([0], [1, 2]):
        ordered = [zigzag(integers, component) for component in components]
        dc = [symbol for blocks in ordered for symbol in dc_symbols(blocks[:, 0])]
        ac = [
            symbol for block in np.concatenate(ordered) for symbol in ac_symbols(block)
        ]
        found.append((dc, ac))
    return found


def default_bits(integers):
    return sum(
        bits_of(symbols, lengths)
        for table, both in enumerate(all_symbols(integers))
        for symbols, lengths in zip(
            both, jpeg_file.standard_code_lengths(table), strict=True
        )
    )


def entropy_bits(symbols):
    """Bits of symbols in codes as long as their self-information."""
    counts = Counter(symbols)
    lengths = {s: math.log2(len(symbols) / count) for s, count in counts.items()}
    return bits_of(symbols, lengths)


def scan_bytes(data):
    """The entropy-coded bytes of a sequential file, without stuffed zeros."""
    start = data.index(b"\xff\xda")
    start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return data[start : data.index(b"\xff\xd9", start)].replace(b"\xff\x00", b"\xff")


# Coefficients


def quotients(picture, qtables):
    """float64 `[rows, cols, 8, 8, 3]` of a picture with sides of multiples of 8."""
    rows, cols = picture.shape[0] // 8, picture.shape[1] // 8
    ycbcr = picture.astype(np.float64) @ TO_YCBCR.T - [128, 0, 0]
    blocks = ycbcr.reshape(rows, 8, cols, 8, 3).swapaxes(1, 2)
    return dctn(blocks, axes=(2, 3), norm="ortho") / qtables[..., [0, 1, 1]]


@pytest.fixture(scope="module")
def natural(smooth_picture):
    """Quotients of a smooth and noisy picture by the tables of quality 75."""
    return quotients(smooth_picture(1, 96, 136), STD_QTABLES / 2)


def sparse(seed, rows, cols):
    """Quotients of which one to five AC ones in a block do not round to 0."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-0.49, 0.49, (rows, cols, 8, 8, 3))
    z[:, :, 0, 0] = rng.normal(0, 6, (rows, cols, 3))
    for *block, component in np.ndindex(rows, cols, 3):
        # Side by side, or far apart with runs of more than 15 zeros, or at the end.
        low, high = [(1, 16), (1, 64), (59, 64)][rng.integers(3)]
        for k in rng.choice(np.arange(low, high), rng.integers(1, 6), replace=False):
            magnitude = np.exp(rng.uniform(np.log(0.51), np.log(20)))
            z[(*block, *ZIGZAG[k], component)] = rng.choice([-1, 1]) * magnitude
    return z.astype(np.float32)


def random_weights(seed, shape=(8, 8, 3)):
    """Such that about half of the coefficients stay as rounded."""
    return np.random.default_rng(seed).uniform(1, 9, shape).astype(np.float32)


def as_picture(integers):
    """`QuantizedImage` of integers, with tables of ones."""
    rows, cols = integers.shape[:2]
    return jpeg_file.QuantizedImage.of_integers(
        integers, np.ones((2, 8, 8), int), 8 * rows, 8 * cols
    )


def error(z, integers, weights):
    return np.sum(weights * (z.astype(np.float64) - integers) ** 2)


# The least cost


def allowed(value):
    """What an AC coefficient may become."""
    magnitude = int(abs(value) + 0.5)
    candidates = {max(magnitude - closer, 0) for closer in range(3)} | {0}
    return [int(math.copysign(candidate, value)) for candidate in candidates]


@pytest.mark.parametrize("seed", range(4))
def test_ac_integers_cost_the_least_of_all_combinations(seed):
    z = sparse(seed, 4, 3)
    # One for all blocks, and one for each.
    weights = random_weights(seed, z.shape if seed else (8, 8, 3))
    integers = rdoq.quantize(z, weights, "default")
    arrays = z.astype(np.float64), integers, np.broadcast_to(weights, z.shape)
    kept, changed = 0, 0
    for component in range(3):
        _, lengths = jpeg_file.standard_code_lengths(min(component, 1))
        blocks = [zigzag(array, component) for array in arrays]
        for values, found, own in zip(*blocks, strict=True):

            def cost(block, values=values, lengths=lengths, own=own):
                squares = (values[1:] - block[1:]) ** 2
                return own[1:] @ squares + bits_of(ac_symbols(block), lengths)

            costs = [
                cost(np.array([0, *block]))
                for block in itertools.product(*map(allowed, values[1:]))
            ]
            assert cost(found) == pytest.approx(min(costs), abs=1e-3)
            kept += np.count_nonzero(found[1:])
            changed += np.count_nonzero(found[1:] != np.rint(values[1:]))
    # Neither plain rounding nor all zeros.
    assert kept > 20 and changed > 20


@pytest.mark.parametrize("seed", range(3))
def test_dc_integers_cost_the_least_of_all_sequences(seed):
    rng = np.random.default_rng(seed)
    z = np.zeros((2, 3, 8, 8, 3), np.float32)
    # Differences around the ends of size categories.
    z[:, :, 0, 0] = rng.choice([-4, 0, 3, 4], (2, 3, 3)) + rng.normal(0, 0.4, (2, 3, 3))
    weights = random_weights(seed, z.shape if seed else (8, 8, 3)) / 2
    integers = rdoq.quantize(z, weights, "default")
    assert not integers[:, :, 1:].any()
    gains = []
    for component in range(3):
        lengths, _ = jpeg_file.standard_code_lengths(min(component, 1))
        values = z[:, :, 0, 0, component].ravel().astype(np.float64)
        own = np.broadcast_to(weights, z.shape)[:, :, 0, 0, component].ravel()

        def cost(sequence, values=values, lengths=lengths, own=own):
            squares = (values - sequence) ** 2
            return own @ squares + bits_of(dc_symbols(sequence), lengths)

        nearest = np.rint(values).astype(int)
        costs = [
            cost(nearest + np.array(steps))
            for steps in itertools.product((-1, 0, 1), repeat=6)
        ]
        found = cost(integers[:, :, 0, 0, component].ravel())
        assert found == pytest.approx(min(costs), abs=1e-3)
        gains.append(cost(nearest) - found)
    assert max(gains) > 1


@pytest.mark.parametrize("seed", range(5))
def test_empty_blocks_are_the_cheapest_sequence(seed):
    rng = np.random.default_rng(seed)
    count = 8
    costs = rng.uniform(0, 6, (count, 2)).astype(np.float32)
    bits = rng.uniform(0, 5, (2, 2)).astype(np.float32)
    integers = rng.integers(1, 9, (count, 64)).astype(np.int16)
    before = integers.copy()

    def cost(states):
        pairs = zip((0, *states), states, strict=False)
        return sum(map(lambda pair: bits[pair], pairs)) + sum(
            costs[block, state] for block, state in enumerate(states)
        )

    best = min(itertools.product((0, 1), repeat=count), key=cost)
    rdoq._empty_blocks(costs, bits, integers)
    assert 0 < sum(best) < count
    for block, is_empty in enumerate(best):
        expected = before[block].copy()
        expected[1:] *= not is_empty
        np.testing.assert_array_equal(integers[block], expected)


@pytest.mark.parametrize("weights", [2.0, rdoq.mse_weights(STD_QTABLES / 2, 0.01)])
def test_search_lowers_the_cost_in_real_files_of_its_coding(natural, weights):
    choices = {"round": np.rint(natural).astype(np.int16)}
    choices |= {coding: rdoq.quantize(natural, weights, coding) for coding in CODINGS}
    errors = {name: error(natural, found, weights) for name, found in choices.items()}
    for coding in CODINGS:
        costs = {
            name: errors[name] + 8 * len(jpeg_file.encode(as_picture(found), coding))
            for name, found in choices.items()
        }
        assert costs[coding] < 0.9 * costs["round"]
        # And less than with the bits of the other coding.
        assert min(costs, key=costs.get) == coding
    bits = {name: rdoq.estimated_bits(found) for name, found in choices.items()}
    for coding in CODINGS:
        assert errors[coding] > errors["round"]
        cost = errors[coding] + bits[coding]
        assert cost < 0.9 * (errors["round"] + bits["round"])


@pytest.mark.parametrize("coding", CODINGS)
def test_integers_of_huge_weights_are_rounded(coding):
    rng = np.random.default_rng(0)
    nearest = np.rint(rng.laplace(0, 2, (3, 4, 8, 8, 3)))
    z = nearest + rng.uniform(-0.45, 0.45, nearest.shape)
    integers = rdoq.quantize(z, 1e4, coding)
    np.testing.assert_array_equal(integers, nearest)


@pytest.mark.parametrize("coding", CODINGS)
def test_no_ac_is_kept_where_an_error_costs_nothing(natural, coding):
    integers = rdoq.quantize(natural, 0.0, coding)
    assert np.count_nonzero(integers) == np.count_nonzero(integers[:, :, 0, 0])
    assert np.abs(integers[:, :, 0, 0] - natural[:, :, 0, 0]).max() <= 1.5


@pytest.mark.parametrize("coding", CODINGS)
def test_negative_coefficients_are_treated_like_positive_ones(natural, coding):
    weights = random_weights(0)
    integers = rdoq.quantize(natural, weights, coding)
    np.testing.assert_array_equal(rdoq.quantize(-natural, weights, coding), -integers)


def test_luma_and_chroma_have_tables_of_their_own(natural):
    weights = random_weights(0)
    integers = rdoq.quantize(natural, weights, "optimized")
    for changed, same in (([0], [1, 2]), ([1, 2], [0])):
        other = natural.copy()
        other[..., changed] = 0
        found = rdoq.quantize(other, weights, "optimized")
        np.testing.assert_array_equal(found[..., same], integers[..., same])


# Layout


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("rows, cols", [(1, 1), (1, 7), (5, 3)])
def test_integers_are_int16_of_the_shape_and_the_range_of_jpeg(rows, cols, coding):
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1000, (rows, cols, 8, 8, 3))
    z[0, 0, 0, 0], z[-1, -1, 7, 7] = 1e4, -1e4
    before = z.copy()
    integers = rdoq.quantize(z, random_weights(0), coding)
    np.testing.assert_array_equal(z, before)
    assert integers.dtype == np.int16 and integers.shape == z.shape
    assert integers.min() >= -1023 and integers.max() <= 1023
    assert np.abs(integers - z.clip(-1023, 1023)).max() <= 2.5
    assert set(integers[-1, -1, 7, 7]) <= {-1023, -1022, -1021}
    data = jpeg_file.encode(as_picture(integers), coding)
    read = jpeg_file.read_coefficients(data)
    np.testing.assert_array_equal(read.integers, integers)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("v, u, component", [(1, 6, 0), (6, 1, 1), (0, 7, 2)])
def test_weights_and_coefficients_keep_their_places(coding, v, u, component):
    z, weights = np.zeros((2, 3, 8, 8, 3)), np.zeros((8, 8, 3))
    z[:, :, v, u, component], weights[v, u, component] = 3.2, 1e4
    weights[0, 0] = 1
    integers = rdoq.quantize(z, weights, coding)
    np.testing.assert_array_equal(integers, np.rint(z))


def test_blocks_are_predicted_along_the_rows():
    """Of a column, each row has a difference up and one down; of a row, all have."""
    z = np.zeros((3, 4, 8, 8, 3))
    z[:, 2, 0, 0, 0] = 0.7
    assert not rdoq.quantize(z, 6.0, "default").any()
    turned = z.swapaxes(0, 1)
    integers = rdoq.quantize(turned, 6.0, "default")
    np.testing.assert_array_equal(integers, np.rint(turned))


# Bits


def test_bits_of_the_default_coding_are_those_of_the_file(natural):
    for integers in (
        np.rint(natural).astype(np.int16),
        rdoq.quantize(natural, random_weights(0), "default"),
        rdoq.quantize(sparse(0, 12, 17), random_weights(0), "default"),
    ):
        bits = 8 * len(scan_bytes(jpeg_file.encode(as_picture(integers))))
        # The last byte is filled up.
        assert bits - 7 <= default_bits(integers) <= bits


@pytest.mark.parametrize("rows, cols", [(1, 1), (12, 17)])
def test_estimated_bits_are_the_entropy_of_the_symbols(natural, rows, cols):
    for z in (natural[:rows, :cols], sparse(1, rows, cols)):
        integers = np.rint(z).astype(np.int16)
        expected = sum(
            entropy_bits(symbols) for both in all_symbols(integers) for symbols in both
        )
        assert rdoq.estimated_bits(integers) == pytest.approx(expected, rel=1e-9)


def test_estimated_bits_are_nearly_those_of_a_file_with_tables_of_its_own(
    smooth_picture,
):
    buffer = io.BytesIO()
    picture = Image.fromarray(smooth_picture(1, 160, 240))
    picture.save(buffer, "JPEG", quality=75, subsampling=0, optimize=True)
    integers = jpeg_file.read_coefficients(buffer.getvalue()).integers
    bits = 8 * len(scan_bytes(buffer.getvalue()))
    # Codes of Huffman have whole bits.
    assert 0.96 * bits < rdoq.estimated_bits(integers) < bits


# Weights


def test_weights_are_squared_errors_in_rgb():
    qtables = np.random.default_rng(0).integers(1, 256, (8, 8, 2))
    weights = rdoq.mse_weights(qtables, 0.03)
    assert weights.dtype == np.float32 and weights.shape == (8, 8, 3)
    for v, u, component in np.ndindex(8, 8, 3):
        coefficients = np.zeros((8, 8, 3))
        coefficients[v, u, component] = qtables[v, u, min(component, 1)]
        rgb = idctn(coefficients, axes=(0, 1), norm="ortho") @ TO_RGB.T
        # Of `lambda * MSE + bits per pixel`, times the pixels of the block.
        expected = 64 * 0.03 * np.mean(rgb**2)
        assert weights[v, u, component] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_weight_stands_for_all_that_it_is_broadcast_to(natural, coding):
    z = natural[:4, :5]
    by_component = np.array([2.0, 5.0, 9.0])
    for weights in (3.0, by_component, random_weights(0)):
        everywhere = np.array(np.broadcast_to(weights, z.shape))
        np.testing.assert_array_equal(
            rdoq.quantize(z, weights, coding), rdoq.quantize(z, everywhere, coding)
        )


# Tables made for the picture


def real_cost(z, qtables, weights, coding):
    """Bits of the file and of its errors; both in units of the steps in `qtables`."""
    integers, tables = rdoq.quantize_with_tables(z, weights, coding, qtables)
    rest = z - integers * (tables / qtables)[..., [0, 1, 1]]
    data = jpeg_file.encode(as_picture(integers), coding)
    return np.sum(weights * rest**2) + 8 * len(data)


@pytest.mark.parametrize("coding", CODINGS)
def test_tables_of_the_picture_lower_its_cost(natural, coding):
    qtables = np.random.default_rng(0).integers(8, 60, (8, 8, 2))
    for weights in (6.0, random_weights(0)):
        integers = rdoq.quantize(natural, weights, coding)
        data = jpeg_file.encode(as_picture(integers), coding)
        cost = error(natural, integers, weights) + 8 * len(data)
        assert real_cost(natural, qtables, weights, coding) < 0.999 * cost


@pytest.mark.parametrize("coding", CODINGS)
def test_tables_are_a_regression_on_the_integers(natural, coding):
    rng = np.random.default_rng(0)
    qtables = rng.integers(8, 250, (8, 8, 2))
    weights = rng.uniform(2, 9, natural.shape)
    integers, tables = rdoq.quantize_with_tables(natural, weights, coding, qtables)
    assert integers.dtype == np.int16 and tables.dtype == np.uint8
    used = 0
    for v, u, table in np.ndindex(8, 8, 2):
        place = (..., v, u, [[0], [1, 2]][table])
        k = integers[place].ravel().astype(np.float64)
        if not k.any():
            continue
        used += 1
        root = np.sqrt(weights[place].ravel())
        dct = natural[place].ravel() * qtables[v, u, table]
        step = np.linalg.lstsq((root * k)[:, np.newaxis], root * dct, rcond=None)[0]
        assert abs(tables[v, u, table] - np.clip(step, 1, 255)) <= 0.5 + 1e-3
    assert used > 30


def test_tables_find_the_lattice_of_the_coefficients():
    rng = np.random.default_rng(0)
    true = rng.permutation(np.arange(20, 148)).reshape(8, 8, 2)
    integers = rng.integers(-2, 3, (12, 13, 8, 8, 3))
    given = np.rint(true * rng.uniform(0.92, 1.08, true.shape)).astype(int)
    z = integers * (true / given)[..., [0, 1, 1]]
    found, tables = rdoq.quantize_with_tables(z, 1e4, "optimized", given)
    np.testing.assert_array_equal(found, integers)
    np.testing.assert_array_equal(tables, true)


def test_a_step_that_no_coefficient_uses_stays(natural):
    qtables = np.random.default_rng(1).integers(1, 256, (8, 8, 2))
    before = qtables.copy()
    z = np.zeros((3, 4, 8, 8, 3))
    z[:, :, 2, 5, 1] = 1.2 * np.resize([1, -1], (3, 4))
    integers, tables = rdoq.quantize_with_tables(z, 1e3, "default", qtables)
    assert np.count_nonzero(integers) == 12
    np.testing.assert_array_equal(qtables, before)
    expected = qtables.copy()
    expected[2, 5, 1] = min(round(1.2 * qtables[2, 5, 1]), 255)
    np.testing.assert_array_equal(tables, expected)


# Slopes of DC


def independent_dc_bits(z, step):
    """Bits of the DC of luma and of chroma, its step so many times larger."""
    integers = np.rint(z[:, :, 0, 0] / step).astype(int)
    symbols = [dc_symbols(integers[..., component].ravel()) for component in range(3)]
    return np.array([entropy_bits(symbols[0]), entropy_bits(symbols[1] + symbols[2])])


def test_dc_slopes_equal_a_finite_difference(natural):
    coarse, fine = (independent_dc_bits(natural, step) for step in (1.1, 1 / 1.1))
    expected = (coarse - fine) / math.log(1.1 / (1 / 1.1))
    np.testing.assert_allclose(rdoq.dc_slopes(natural), expected, rtol=1e-9)


def test_dc_slopes_of_a_broad_density_are_one_bit_a_doubling():
    rng = np.random.default_rng(0)
    z = np.zeros((60, 70, 8, 8, 3))
    z[:, :, 0, 0] = rng.laplace(0, 60, (60, 70, 3))
    expected = -60 * 70 / math.log(2) * np.array([1, 2])
    np.testing.assert_allclose(rdoq.dc_slopes(z), expected, rtol=0.1)
