"""Tests of searched_rate: cost against rounding, entropies, gradients in the tables."""

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.jpeg.file import QuantizedImage, decode, encode
from learned_jpeg.jpeg.sampling import plane_blocks
from learned_jpeg.metrics.image_metrics import measure
from learned_jpeg.metrics.ssimulacra2 import loss as ssimulacra2_loss
from learned_jpeg.models.settings import LossWeights, ModelSettings
from tests.metrics.helpers import shown, value_of
from training import differentiable, losses, searched_rate

QTABLES = np.random.default_rng(7).integers(8, 40, (8, 8, 2)).astype(np.float32)
TABLES = QTABLES.transpose(2, 0, 1)
LMBDA = 0.02
SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0"]


def settings(sampling, **weights):
    return ModelSettings(
        "ljpeg",
        lmbda=LMBDA,
        subsampling=sampling,
        rate_model="search",
        weights=LossWeights(**weights),
    )


# One picture


def bits_of(planes):
    """By plain counting: self-information of symbols, and the bits that follow."""
    diagonals = [[(i, d - i) for i in range(8) if 0 <= d - i < 8] for d in range(15)]
    zigzag = [
        8 * v + u
        for d, diagonal in enumerate(diagonals)
        for v, u in (diagonal if d % 2 else diagonal[::-1])
    ]
    symbols = {}
    bits = 0
    for component, plane in enumerate(planes):
        before, pending = 0, 0
        own = symbols.setdefault(("ac", component), [])
        for block in plane.reshape(-1, 64)[:, zigzag].tolist():
            size = abs(block[0] - before).bit_length()
            symbols.setdefault(("dc", min(component, 1)), []).append(size)
            bits += size
            before, run = block[0], 0
            for value in block[1:]:
                if not value:
                    run += 1
                    continue
                if pending:
                    own.append(("end", pending.bit_length() - 1))
                    bits += pending.bit_length() - 1
                    pending = 0
                own += [("zeros",)] * (run // 16)
                own.append((run % 16, abs(value).bit_length()))
                bits += abs(value).bit_length()
                run = 0
            pending += run > 0
        if pending:
            own.append(("end", pending.bit_length() - 1))
            bits += pending.bit_length() - 1
    for found in symbols.values():
        for symbol in set(found):
            count = found.count(symbol)
            bits -= count * math.log2(count / len(found))
    return bits


def cost(picture, planes, sampling, ms_ssim=0.0, ssimulacra2=0.0):
    """Returns lambda * distortion + bits per pixel of a file with these integers."""
    tables = TABLES.astype(int)
    coded = QuantizedImage(planes, sampling, tables, *picture.shape[:2])
    decoded = decode(encode(coded))
    values = measure(picture, decoded)
    distortion = values["mse"] + ms_ssim * (1 - values["ms-ssim"])
    points = 5 * value_of(picture, shown(decoded), ssimulacra2_loss.WEIGHTS)
    distortion += ssimulacra2 * points
    return LMBDA * distortion + bits_of(planes) / (picture.size / 3)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_bits_are_those_of_the_symbols(smooth_picture, sampling):
    picture = smooth_picture(0, 45, 70)
    planes, bits = searched_rate.searched(picture, TABLES, settings(sampling))
    shapes = [plane.shape[:2] for plane in planes]
    assert shapes == list(plane_blocks(45, 70, sampling))
    assert bits == pytest.approx(bits_of(planes), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("weights", [{}, {"ms_ssim": 500.0}, {"ssimulacra2": 3.0}])
def test_cost_is_below_that_of_rounding(smooth_picture, sampling, weights):
    picture = smooth_picture(0, 168, 180)
    found, _ = searched_rate.searched(picture, TABLES, settings(sampling, **weights))
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.constant(picture[np.newaxis] / np.float32(255))
        dct = differentiable.rgb_to_dct(x, sampling)
        coded = differentiable.code(dct, tf.constant(QTABLES), 168, 180, sampling)
        rounded = session.run(coded.integers)
    rounded = searched_rate.planes_of([own[0].astype(np.int16) for own in rounded])
    costs = [cost(picture, p, sampling, **weights) for p in (found, rounded)]
    assert costs[0] < 0.93 * costs[1]


# A batch


class Search:
    """A batch's search, its loss and the gradient in the tables."""

    def __init__(self, session, pictures, sampling):
        self.sampling = sampling
        self.pictures = pictures
        self.x = pictures / np.float32(255)
        # Entries that are no whole numbers, as in a training.
        self.q = (QTABLES + 0.3).astype(np.float32)
        size = pictures.shape[1:3]
        x, q = tf.constant(self.x), tf.constant(self.q)
        jpeg = differentiable.Pipeline(x, sampling)
        z = differentiable.divide(jpeg.dct(x), q)
        integers, bpp = searched_rate.searched_integers(jpeg, z, q, settings(sampling))
        assert [i.shape for i in integers] == [own.shape for own in z]
        x_tilde = differentiable.reconstruct(integers, q, *size, sampling)
        loss = LMBDA * losses.mse_255(x, x_tilde) + bpp
        fetches = [z, integers, bpp, loss, tf.gradients(loss, q)[0]]
        values = session.run(fetches)
        self.z, self.integers, self.bpp, self.loss, self.gradient = values

    def mse(self, q):
        """Returns the MSE of the integers decoded with other tables."""
        with tf.Graph().as_default(), tf.Session() as session:
            size = self.pictures.shape[1:3]
            integers = [tf.constant(own) for own in self.integers]
            q = tf.constant(q, tf.float32)
            shown = differentiable.reconstruct(integers, q, *size, self.sampling)
            shown = session.run(shown).astype(np.float64)
        return np.mean(np.square(255 * (shown - self.x)))


@pytest.fixture(params=["4:4:4", "4:2:0"])
def search(session, smooth_picture, request):
    pictures = [smooth_picture(seed, 40, 64, contrast=25) for seed in range(2)]
    return Search(session, np.stack(pictures), request.param)


def test_integers_and_rate_are_those_of_the_search(search):
    bits = 0
    for index, picture in enumerate(search.pictures):
        how = settings(search.sampling)
        tables = search.q.transpose(2, 0, 1)
        wanted, own_bits = searched_rate.searched(picture, tables, how)
        bits += own_bits
        found = searched_rate.planes_of([own[index] for own in search.integers])
        rounded = searched_rate.planes_of([own[index] for own in search.z])
        for plane, other, z in zip(found, wanted, rounded, strict=True):
            np.testing.assert_array_equal(plane, other)
            assert np.count_nonzero(plane != np.rint(z)) > 20
    assert search.bpp == pytest.approx(bits / (2 * 40 * 64), rel=1e-5)


def test_loss_of_the_search_is_lambda_mse_and_bits_per_pixel(search):
    wanted = LMBDA * search.mse(search.q) + search.bpp
    assert search.loss == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_gradient_in_ac_entries_is_that_of_the_distortion_of_fixed_integers(search):
    places = [(0, 1, 0), (1, 0, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1), (1, 0, 1)]
    scale = np.abs(search.gradient).max()
    for place in places:
        change = np.zeros(search.q.shape)
        change[place] = 0.5
        # A squared error is a parabola in each entry, but for what is clipped.
        slope = search.mse(search.q + change) - search.mse(search.q - change)
        wanted = LMBDA * slope
        assert search.gradient[place] == pytest.approx(
            wanted, rel=0.01, abs=float(1e-3 * scale)
        )


@pytest.mark.slow
def test_gradient_in_dc_entries_is_that_of_fixed_phases_and_of_the_bits(search):
    slopes = searched_rate.dc_slopes(search.z) / (2 * 40 * 64)
    # A coarser step takes fewer bits.
    assert (slopes < 0).all()
    step = 0.05
    for table in (0, 1):
        # (z - phase) q of a fixed phase and a fixed z q.
        values = []
        for sign in (1, -1):
            moved = search.q.astype(np.float64)
            moved[0, 0, table] += sign * step
            integers = [own.copy() for own in search.integers]
            for own, z in zip(integers, search.z, strict=True):
                chosen = [c for c in range(own.shape[-1]) if _table(own, c) == table]
                ratio = search.q[0, 0, table] / moved[0, 0, table] - 1
                own[..., 0, 0, chosen] += z[..., 0, 0, chosen] * ratio
            kept, search.integers = search.integers, integers
            values.append(search.mse(moved))
            search.integers = kept
        wanted = LMBDA * (values[0] - values[1]) / (2 * step)
        wanted += slopes[table] / search.q[0, 0, table]
        assert search.gradient[0, 0, table] == pytest.approx(wanted, rel=0.01)


def _table(integers, index):
    """0 for the luma of a group of components, 1 for chroma."""
    components = {3: [0, 1, 1], 1: [0], 2: [1, 1]}[integers.shape[-1]]
    return components[index]


# Bits of DC


def independent_dc_bits(z, step):
    """Bits of DC of luma and of chroma, its step so many times larger."""
    bits = np.zeros(2)
    for table, planes in enumerate((z[:1], z[1:])):
        sizes = []
        for plane in planes:
            dc = np.rint(plane[..., 0, 0] / step).astype(int).ravel()
            sizes += [abs(int(d)).bit_length() for d in np.diff(dc, prepend=0)]
        bits[table] = sum(sizes)
        for size in set(sizes):
            count = sizes.count(size)
            bits[table] -= count * math.log2(count / len(sizes))
    return bits


def test_dc_slopes_equal_a_finite_difference(search):
    planes = searched_rate.planes_of(search.z)
    coarse, fine = (independent_dc_bits(planes, step) for step in (1.1, 1 / 1.1))
    expected = (coarse - fine) / math.log(1.1 / (1 / 1.1))
    found = searched_rate.dc_slopes(search.z)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_dc_slopes_of_a_broad_density_are_one_bit_a_doubling():
    rng = np.random.default_rng(0)
    z = np.zeros((1, 60, 70, 8, 8, 3))
    z[..., 0, 0, :] = rng.laplace(0, 60, (1, 60, 70, 3))
    expected = -60 * 70 / math.log(2) * np.array([1, 2])
    np.testing.assert_allclose(searched_rate.dc_slopes([z]), expected, rtol=0.1)
