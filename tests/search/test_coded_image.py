"""Tests of coded_image: against a real decoder, differences and whole images."""

import jpeglib
import numpy as np
import pytest
from PIL import Image

from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg.sampling import blocks_of
from learned_jpeg.jpeg.standard import RGB_TO_YCBCR, YCBCR_TO_RGB, ZIGZAG
from learned_jpeg.search import coded_image, planes
from learned_jpeg.search.coded_image import CodedImage

SIZES = [(1, 1), (2, 2), (9, 3), (1000, 3), (3, 50), (5, 4), (16, 32), (33, 47)]
PILLOW = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def image_of(height, width, seed=0):
    """uint8 RGB, with strong colours that change slowly."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(image)


def pillow_file(folder, image, sampling, quality=90):
    path = folder / "a.jpg"
    options = {"quality": quality, "subsampling": PILLOW[sampling]}
    Image.fromarray(image).save(path, **options)
    return path


def error_slope(coded, component, factor=1):
    """The slope of the squared error in a component's coefficients."""
    gradient = coded.new_gradient(component)
    coded.add_error_slope(gradient, component, factor)
    return gradient.coefficients()


def whole_gradient(coded, component, gradient):
    """A gradient in a decoded component, `[h, w]`, in its coefficients, at once."""
    if component and coded.sampling != "4:4:4":
        shape = coded.sizes[component]
        gradient = planes.upsample_adjoint(gradient, coded.sampling, shape)
    return planes.gradient_to_coefficients(gradient.copy())


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_decoded_image_is_that_of_pillow(size, sampling, tmp_path):
    """To the rounding of the decoder's integers: of its DCT, filter and colours."""
    path = pillow_file(tmp_path, image_of(*size), sampling)
    coefficients = jpeglib.read_dct(str(path))
    coded = CodedImage(np.zeros((*size, 3), np.uint8), sampling)
    components = (coefficients.Y, coefficients.Cb, coefficients.Cr)
    for component, blocks in enumerate(components):
        table = coefficients.get_component_qt(component).ravel()[ZIGZAG]
        rows, cols = blocks_of(*coded.sizes[component])
        zigzag = blocks[:rows, :cols].reshape(-1, 64)[:, ZIGZAG]
        coded.replace(component, (zigzag * table).astype(np.float32))
    decoded = np.moveaxis(np.asarray(Image.open(path)).astype(float) - 128, -1, 0)
    error = coded.decoded_rgb() - decoded
    assert np.abs(error).max() < 3.5
    assert np.abs(error).mean() < 0.7


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_slope_is_that_of_the_squared_error(sampling, component):
    """Against differences, where nothing is clipped."""
    image = (image_of(19, 30) // 4 + 96).astype(np.uint8)
    coded = CodedImage(image, sampling)
    rng = np.random.default_rng(3)
    for c in range(3):
        noise = rng.normal(0, 3, coded.original(c).shape).astype(np.float32)
        coded.replace(c, coded.original(c) + noise)

    def error():
        rgb = np.moveaxis(coded.decoded_rgb(), 0, -1).astype(float) + 128
        return np.square(rgb - image).sum() / 3

    slope = error_slope(coded, component)
    way = rng.normal(0, 1, slope.shape).astype(np.float32)
    start = coded.coefficients(component)
    values = []
    for step in (0.5, -0.5):
        coded.replace(component, start + np.float32(step) * way)
        values.append(error())
    expected = (values[0] - values[1]) / 2
    assert (slope.astype(float) * way).sum() == pytest.approx(expected, rel=1e-3)


def test_clipped_pixels_pull_no_further():
    white = np.full((8, 8, 3), 255, np.uint8)
    coded = CodedImage(white, "4:4:4")
    brighter = coded.original(0).copy()
    brighter[:, 0] += 200
    coded.replace(0, brighter)
    assert np.abs(error_slope(coded, 0)).max() < 1e-2
    darker = coded.original(0).copy()
    darker[:, 0] -= 80  # 10 levels
    coded.replace(0, darker)
    slope = 8 * YCBCR_TO_RGB[:, 0].sum() * -10 / 3
    assert error_slope(coded, 0)[0, 0] == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_originals_decode_to_the_image(sampling):
    image = image_of(40, 56)
    coded = CodedImage(image, sampling)
    error = coded.decoded_rgb() + 128 - np.moveaxis(image.astype(float), -1, 0)
    limit = 1e-3 if sampling == "4:4:4" else 2.0
    assert np.sqrt(np.mean(error**2)) < limit


@pytest.mark.parametrize("component", [0, 1])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("height, width", [(33, 46), (40, 24), (18, 5)])
def test_gradient_by_regions_is_that_of_the_whole(sampling, component, height, width):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    coded = CodedImage(image, sampling)
    gradient = rng.normal(size=(height, width)).astype(np.float32)
    total = coded.new_gradient(component)
    for rows in (slice(0, 16), slice(16, height)):
        total.add(rows, gradient[rows])
    wanted = whole_gradient(coded, component, gradient)
    found = total.coefficients()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    other = coded.new_gradient(component)
    for rows in (slice(16, height), slice(0, 16)):
        other.add(rows, gradient[rows])
    np.testing.assert_array_equal(other.coefficients(), found)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_chunks_and_regions_are_those_of_the_whole(sampling, monkeypatch):
    """For decoded pixels, slopes and transforms."""
    image = image_of(37, 46)
    whole = CodedImage(image, sampling)
    whole.replace(1, np.rint(whole.original(1) / 9).astype(np.int16), 9.0)
    decoded = whole.decoded_rgb()
    slopes = [error_slope(whole, component, 3) for component in range(3)]
    monkeypatch.setattr(planes, "_CHUNK", 4)
    monkeypatch.setattr(coded_image, "_CHUNK", 4)
    monkeypatch.setattr(coded_image, "_ROWS", 3)
    monkeypatch.setattr(coded_image, "_KEPT_PIXELS", 0)
    coded = CodedImage(image, sampling)
    for component in range(3):
        wanted = whole.original(component)
        np.testing.assert_allclose(coded.original(component), wanted, atol=1e-4)
        for rows, blocks in coded.chunks_of_rows(component, 12):
            found = coded.original(component, rows)
            np.testing.assert_allclose(found, wanted[blocks], atol=1e-4)
    coded.replace(1, np.rint(whole.original(1) / 9).astype(np.int16), 9.0)
    rows = slice(5, 18)
    found = coded.decoded_rgb(rows)
    np.testing.assert_allclose(found, decoded[:, rows], atol=1e-4)
    for component, wanted in enumerate(slopes):
        found = error_slope(coded, component, 3)
        np.testing.assert_allclose(found, wanted, atol=1e-2)
    way = np.random.default_rng(0).normal(size=whole.original(1).shape)
    wanted = whole.coefficients(1) - way.astype(np.float32)
    found = coded.moved(1, way.astype(np.float32))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_rows_of_a_large_original_are_not_all_computed_for_each_chunk(monkeypatch):
    monkeypatch.setattr(coded_image, "_KEPT_PIXELS", 0)
    monkeypatch.setattr(coded_image, "_CHUNK", 10)
    image = image_of(80, 90)
    coded = CodedImage(image, "4:2:0")
    sizes, to_coefficients = [], planes.to_coefficients

    def counted(samples):
        sizes.append(len(samples))
        return to_coefficients(samples)

    monkeypatch.setattr(planes, "to_coefficients", counted)
    whole = coded.original(0)
    found = coded.moved(0, np.zeros(whole.shape, np.float32))
    np.testing.assert_allclose(found, whole, atol=1e-4)
    assert sizes[0] == 80 and max(sizes[1:]) == 16


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("width", [34, 263])  # 263 px are three segments
def test_what_decoders_clip_of_white_and_black_is_excess(sampling, component, width):
    """Against float64, on a black, a nearly white and a white part, with noise."""
    image = np.zeros((21, width, 3), np.uint8)
    image[:, 8:20], image[:, 20:] = 245, 255
    if width > 200:
        image[:, 128:256] = 200  # a segment of which nothing is near
    coded = CodedImage(image, sampling)
    block_rows = blocks_of(*coded.sizes[component])[0]
    parts = [slice(row, row + 1) for row in range(block_rows)]
    assert all(coded.clipped_excess(component, part) is None for part in parts)
    rng = np.random.default_rng(5)
    for c in range(3):
        noise = rng.normal(0, 25, coded.original(c).shape).astype(np.float32)
        coded.replace(c, coded.original(c) + noise)
    size = image.shape[:2]
    full = [
        samples
        if coded.factors(c) == (1, 1)
        else planes.upsample(samples, sampling, *size)
        for c, samples in enumerate(coded._samples)
    ]
    decoded = np.stack(full, -1).astype(float) @ YCBCR_TO_RGB.T
    beyond = decoded - decoded.clip(-128, 127)
    assert np.abs(beyond[:, 8:20]).max() > 5  # but there it is an error
    beyond[:, 8:20] = 0
    if width > 200:
        beyond[:, 128:256] = 0
    plane = beyond @ RGB_TO_YCBCR[component]
    v, h = coded.factors(component)
    padded = np.pad(plane, [(0, -21 % v), (0, -width % h)])
    means = padded.reshape(padded.shape[0] // v, v, -1, h).mean((1, 3))
    wanted = planes.to_coefficients(means.astype(np.float32))
    found = [coded.clipped_excess(component, part) for part in parts]
    found = np.concatenate([own for own in found if own is not None])
    np.testing.assert_allclose(found, wanted, atol=0.01)
