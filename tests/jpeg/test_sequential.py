"""Tests of sequential.py: its bytes are those of libjpeg-turbo and Pillow."""

import dataclasses

import jpeglib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learned_jpeg.jpeg import SUBSAMPLINGS, sequential
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.file import QuantizedImage
from learned_jpeg.jpeg.segments import SOF0, SOS, segments
from learned_jpeg.jpeg.sequential import encode_sequential
from tests.jpeg.helpers import FACTORS, SIZES, pillow_jpeg, random_quantized


def libjpeg_file(quantized, folder):
    """Returns libjpeg-turbo's file, with the component numbers that JFIF asks for."""
    path = folder / "a.jpg"
    tables = np.asarray(quantized.qtables, np.uint16)
    jpeg = jpeglib.from_dct(*quantized.planes, qt=tables)
    jpeg.height, jpeg.width = quantized.height, quantized.width
    jpeg.samp_factor = FACTORS[quantized.sampling], (1, 1), (1, 1)
    with jpeglib.version("turbo210"):
        jpeg.write_dct(str(path))
    data = bytearray(path.read_bytes())
    for marker, start, _ in list(segments(bytes(data))):
        if marker in (SOF0, SOS):
            at, stride = (start + 10, 3) if marker == SOF0 else (start + 5, 2)
            for component in range(3):
                assert data[at + component * stride] == component
                data[at + component * stride] += 1
    return bytes(data)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(SUBSAMPLINGS),
)
def test_bytes_are_those_of_libjpeg(tmp_path_factory, seed, height, width, sampling):
    quantized = random_quantized(seed, height, width, sampling)
    expected = libjpeg_file(quantized, tmp_path_factory.getbasetemp())
    assert encode_sequential(quantized) == expected


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_every_size_are_those_of_libjpeg(size, sampling, tmp_path):
    for seed in range(4):
        quantized = random_quantized(seed, *size, sampling)
        assert encode_sequential(quantized) == libjpeg_file(quantized, tmp_path)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_bytes_of_extreme_integers_are_those_of_libjpeg(sampling, tmp_path):
    """They have the longest codes, the largest differences of DC and all runs."""
    rng = np.random.default_rng(0)
    quantized = random_quantized(0, 90, 75, sampling)
    for fraction in (0.0, 0.02, 0.1, 1.0):
        planes = []
        for plane in quantized.planes:
            extreme = rng.choice(np.array([-1023, 1023], np.int16), plane.shape)
            extreme[rng.random(plane.shape) > fraction] = 0
            dc = np.indices(plane.shape[:2]).sum(0) % 2
            extreme[:, :, 0, 0] = np.where(dc, -1024, 1023)
            planes.append(extreme)
        changed = dataclasses.replace(quantized, planes=tuple(planes))
        assert encode_sequential(changed) == libjpeg_file(changed, tmp_path)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 50, 100])
def test_bytes_are_those_of_pillow(quality, sampling):
    for size in SIZES:
        rgb = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
        expected = pillow_jpeg(rgb, quality=quality, subsampling=sampling)
        read = jpeg_file.read_coefficients(expected)
        assert read.sampling == sampling
        assert encode_sequential(read) == expected


@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_gray_are_those_of_pillow(size):
    gray = np.random.default_rng(2).integers(0, 256, size, np.uint8)
    expected = pillow_jpeg(gray, quality=50)
    assert encode_sequential(jpeg_file.read_coefficients(expected)) == expected


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_bytes_do_not_depend_on_how_many_rows_are_written_at_once(
    sampling, monkeypatch
):
    quantized = random_quantized(5, 150, 100, sampling)
    expected = encode_sequential(quantized)
    for blocks in (1, 20, 60):
        monkeypatch.setattr(sequential, "_BLOCKS_AT_ONCE", blocks)
        assert encode_sequential(quantized) == expected


def test_a_last_byte_of_ones_is_stuffed(tmp_path):
    """The bits of these blocks end at any place of a byte, with ones at the end."""
    tables = np.ones((2, 8, 8), np.uint8)
    endings = set()
    for value in range(1, 1024):
        integers = np.zeros((1, 1, 8, 8, 3), np.int16)
        integers[0, 0, 7, 7] = value
        quantized = QuantizedImage.of_integers(integers, tables, 8, 8)
        data = encode_sequential(quantized)
        if value % 16 == 15:
            assert data == libjpeg_file(quantized, tmp_path)
        endings.add(data[-4:-2] == b"\xff\0")
    assert endings == {False, True}
