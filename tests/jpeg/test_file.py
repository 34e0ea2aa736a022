"""Tests of jpeg/file.py: decoders read back exactly what is written."""

import concurrent.futures
import dataclasses
import functools
import io
import os
import subprocess
import sys
import tempfile
import textwrap

import jpeglib
import mozjpeg_lossless_optimization
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn, idctn

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.file import QuantizedImage
from learned_jpeg.jpeg.segments import APP14, segment
from tests.jpeg.helpers import (
    FACTORS,
    SIZES,
    ZIGZAG,
    assert_same_coefficients,
    file_segments,
    pillow_jpeg,
    random_quantized,
    smooth_picture,
)
from tests.paths import EXAMPLE_IMAGES, ROOT

WRITERS = (*ENTROPY_CODINGS, "mozjpeg")
PIXEL_WRITERS = (
    jpeg_file.encode_rgb,
    functools.partial(jpeg_file.encode_rgb, entropy_coding="optimized"),
    lambda rgb, quality, sampling="4:4:4": jpeg_file.encode_mozjpeg(
        rgb, ijg_qtables(quality), sampling
    ),
)
FEW = settings(max_examples=25, deadline=None)


def reference_quantized(rgb, qtables):
    """Quantizes with scipy's DCT, JFIF colours and float64, without our code."""
    height, width, _ = rgb.shape
    padded = np.pad(rgb, ((0, -height % 8), (0, -width % 8), (0, 0)), "edge")
    y, cb, cr = np.moveaxis(
        padded.astype(np.float64)
        @ np.array(
            [
                [0.299, 0.587, 0.114],
                [-0.168735892, -0.331264108, 0.5],
                [0.5, -0.418687589, -0.081312411],
            ]
        ).T,
        -1,
        0,
    )
    shifted = np.stack([y - 128, cb, cr], -1)
    rows, cols = shifted.shape[0] // 8, shifted.shape[1] // 8
    blocks = shifted.reshape(rows, 8, cols, 8, 3).transpose(0, 2, 1, 3, 4)
    steps = np.stack([qtables[0], qtables[1], qtables[1]], -1)
    integers = np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / steps)
    return QuantizedImage.of_integers(
        integers.astype(np.int16), qtables.astype(np.uint8), height, width
    )


def written(writer, rgb, qtables, sampling="4:4:4"):
    """Returns the file of one of `WRITERS`; our own get the integers of scipy's DCT."""
    if writer == "mozjpeg":
        return jpeg_file.encode_mozjpeg(rgb, qtables, sampling)
    quantized = reference_quantized(rgb, qtables)
    return jpeg_file.encode(dataclasses.replace(quantized, sampling=sampling), writer)


def reference_ycbcr(quantized):
    """Decodes by scipy to float64 `[h, w, 3]` in 0..255, not rounded or clipped."""
    luma, chroma = quantized.qtables.astype(np.float64)
    blocks = quantized.integers * np.stack([luma, chroma, chroma], -1)
    samples = idctn(blocks, axes=(2, 3), norm="ortho") + 128
    rows, cols = samples.shape[:2]
    planes = samples.transpose(0, 2, 1, 3, 4).reshape(rows * 8, cols * 8, 3)
    return planes[: quantized.height, : quantized.width]


def jfif_rgb(ycbcr):
    y, cb, cr = np.moveaxis(ycbcr.astype(np.float64), -1, 0)
    rgb = [
        y + 1.402 * (cr - 128),
        y - 0.344136286 * (cb - 128) - 0.714136286 * (cr - 128),
        y + 1.772 * (cb - 128),
    ]
    return np.clip(np.stack(rgb, -1), 0, 255)


def decoded_ycbcr(data):
    """Decodes by Pillow without its colour conversion."""
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    assert image.mode == "YCbCr"
    return np.array(image)


def file_qtables(data):
    """Returns {number: `[8, 8]`} of the DQT segments, all of 8-bit precision."""
    tables = {}
    for marker, payload in file_segments(data):
        while marker == 0xDB and payload:
            assert payload[0] >> 4 == 0, "16-bit tables are not baseline JPEG"
            table = np.zeros((8, 8), int)
            for (row, column), entry in zip(ZIGZAG, payload[1:65], strict=True):
                table[row, column] = entry
            tables[payload[0] & 15] = table
            payload = payload[65:]
    return tables


def ijg_qtables(quality):
    """Returns the tables of T.81, annex K, scaled by libjpeg's integer formula."""
    luma = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55
              14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
              18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92
              49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
    chroma = np.full((8, 8), 99)
    chroma[:4, :4] = [
        [17, 18, 24, 47],
        [18, 21, 26, 66],
        [24, 26, 56, 99],
        [47, 66, 99, 99],
    ]
    base = np.stack([np.array(luma.split(), int).reshape(8, 8), chroma])
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((base * scale + 50) // 100, 1, 255)


# Coefficients


def assert_reads_back(quantized):
    for entropy_coding in ENTROPY_CODINGS:
        data = jpeg_file.encode(quantized, entropy_coding)
        read = jpeg_file.read_coefficients(data)
        assert_same_coefficients(read, quantized)
        assert {plane.dtype for plane in read.planes} == {np.dtype(np.int16)}


@FEW
@given(
    st.integers(0, 2**32),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(SUBSAMPLINGS),
)
def test_every_integer_and_table_reads_back_equal(seed, height, width, sampling):
    assert_reads_back(random_quantized(seed, height, width, sampling))


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_reads_back_equal(size, sampling):
    assert_reads_back(random_quantized(7, *size, sampling))


def test_integers_of_full_resolution_are_one_array():
    integers = random_quantized(0, 20, 30).integers
    assert integers.shape == (3, 4, 8, 8, 3)
    qtables = np.ones((2, 8, 8), np.uint8)
    again = QuantizedImage.of_integers(integers, qtables, 20, 30)
    np.testing.assert_array_equal(again.integers, integers)
    np.testing.assert_array_equal(again.planes[2], integers[..., 2])
    assert again.sampling == "4:4:4"
    with pytest.raises(ValueError, match="4:2:0"):
        _ = random_quantized(0, 20, 30, "4:2:0").integers


@FEW
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
def test_pillow_decodes_what_a_float_idct_gives(seed, height, width):
    """Compares Pillow's planes with scipy's, and its colours with JFIF's formulas.

    The integers come from a picture whose samples the rounding moves by no more
    than 8 * 30 / 2 = 120, so all stay within -384..639: beyond, the range table of
    libjpeg's decoder wraps and decoders disagree. Its fixed-point inverse DCT keeps
    two extra bits between its passes, off by at most 0.2 in the end: away from
    halves the rounded samples must be equal, near a half they may differ by 1.
    """
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    quantized = reference_quantized(rgb, rng.integers(1, 31, (2, 8, 8)))
    data = jpeg_file.encode(quantized)

    exact = reference_ycbcr(quantized)
    ycbcr = decoded_ycbcr(data)
    difference = np.abs(ycbcr - np.clip(np.rint(exact), 0, 255))
    away_from_half = np.abs(exact - np.floor(exact) - 0.5) > 0.2
    assert difference.max() <= 1
    assert difference[away_from_half].max(initial=0) == 0

    colours = np.abs(jpeg_file.decode(data) - jfif_rgb(ycbcr))
    assert colours.max() <= 0.51  # rounding, and fixed-point factors of 16 bits


def test_transposed_tables_would_be_noticed():
    quantized = reference_quantized(
        smooth_picture(40, 48), np.arange(1, 129).reshape(2, 8, 8)
    )
    data = jpeg_file.encode(quantized)
    swapped = dataclasses.replace(
        quantized, qtables=quantized.qtables.transpose(0, 2, 1)
    )
    right = np.abs(decoded_ycbcr(data) - np.clip(reference_ycbcr(quantized), 0, 255))
    wrong = np.abs(decoded_ycbcr(data) - np.clip(reference_ycbcr(swapped), 0, 255))
    assert right.max() <= 1 < wrong.max()


@pytest.mark.parametrize("writer", WRITERS)
def test_tables_stand_in_the_file_in_zigzag_order(writer):
    qtables = np.stack([np.arange(1, 65), np.arange(255, 191, -1)]).reshape(2, 8, 8)
    tables = file_qtables(written(writer, smooth_picture(20, 30), qtables))
    assert sorted(tables) == [0, 1]
    np.testing.assert_array_equal(tables[0], qtables[0])
    np.testing.assert_array_equal(tables[1], qtables[1])


def test_zigzag_of_these_tests_is_that_of_the_standard():
    assert ZIGZAG[:6] == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2)]
    assert ZIGZAG[-3:] == [(6, 7), (7, 6), (7, 7)]


@pytest.mark.parametrize("layout", ["transposed", "sliced", "int64", "fortran"])
def test_memory_layout_of_the_arrays_does_not_matter(layout):
    quantized = random_quantized(3, 24, 40, "4:2:2")
    other = {
        "transposed": lambda plane: np.ascontiguousarray(plane.transpose()).T,
        "sliced": lambda plane: np.repeat(plane, 2, axis=1)[:, ::2],
        "int64": lambda plane: plane.astype(np.int64),
        "fortran": np.asfortranarray,
    }[layout]
    same = dataclasses.replace(
        quantized,
        planes=[other(plane) for plane in quantized.planes],
        qtables=np.asfortranarray(quantized.qtables),
    )
    assert jpeg_file.encode(same) == jpeg_file.encode(quantized)


def test_arguments_are_left_unchanged():
    rgb = smooth_picture(17, 9)
    quantized = reference_quantized(rgb, ijg_qtables(30))
    arrays = [*quantized.planes, quantized.qtables, rgb]
    copies = [array.copy() for array in arrays]
    for entropy_coding in ENTROPY_CODINGS:
        jpeg_file.encode(quantized, entropy_coding)
    jpeg_file.encode_mozjpeg(rgb, quantized.qtables)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# Codings


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 10, 49, 50, 90, 100])
def test_standard_bytes_equal_those_of_pillow(quality, sampling):
    rgb = smooth_picture(50, 67)
    expected = pillow_jpeg(rgb, quality=quality, subsampling=sampling)
    assert jpeg_file.encode_rgb(rgb, quality, sampling=sampling) == expected
    # Our own writer has the same Huffman tables and headers.
    assert jpeg_file.encode(jpeg_file.read_coefficients(expected)) == expected


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_standard_bytes_of_every_size_equal_those_of_pillow(size, sampling):
    rgb = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    expected = pillow_jpeg(rgb, subsampling=sampling)
    read = jpeg_file.read_coefficients(expected)
    assert read.sampling == sampling
    assert jpeg_file.encode(read) == expected


@pytest.mark.parametrize("entropy_coding", ENTROPY_CODINGS)
@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95, 100])
def test_plain_jpeg_holds_the_ijg_tables(quality, entropy_coding):
    data = jpeg_file.encode_rgb(smooth_picture(16, 24), quality, entropy_coding)
    tables = file_qtables(data)
    np.testing.assert_array_equal([tables[0], tables[1]], ijg_qtables(quality))


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_optimized_keeps_every_pixel_in_fewer_bytes(sampling):
    rgb = smooth_picture(120, 90)
    plain = jpeg_file.encode_rgb(rgb, 40, sampling=sampling)
    optimized = jpeg_file.encode_rgb(rgb, 40, "optimized", sampling=sampling)
    assert len(optimized) < len(plain)
    np.testing.assert_array_equal(jpeg_file.decode(optimized), jpeg_file.decode(plain))
    read = jpeg_file.read_coefficients(plain)
    assert_same_coefficients(jpeg_file.read_coefficients(optimized), read)
    assert jpeg_file.encode(read, "optimized") == optimized


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_optimized_is_smaller_than_the_file_of_mozjpegs_lossless_pass(quality):
    photo = Image.open(EXAMPLE_IMAGES / "astronaut.png").crop((100, 100, 356, 356))
    data = pillow_jpeg(np.array(photo), quality=quality, subsampling="4:2:0")
    optimized = jpeg_file.encode(jpeg_file.read_coefficients(data), "optimized")
    assert len(optimized) < len(mozjpeg_lossless_optimization.optimize(data))


def test_mozjpeg_quantizes_the_image_with_the_given_tables():
    rng = np.random.default_rng(1)
    rgb = smooth_picture(96, 104) // 2 + rng.integers(0, 90, (96, 104, 3), np.uint8)
    quantized = reference_quantized(rgb, ijg_qtables(50))
    rounded = jpeg_file.encode(quantized, "optimized")
    trellis = jpeg_file.encode_mozjpeg(rgb, quantized.qtables)
    assert len(trellis) < 0.95 * len(rounded)

    luma = rgb @ [0.299, 0.587, 0.114]

    def error(data):
        return np.mean((decoded_ycbcr(data)[..., 0] - luma) ** 2)

    assert error(rounded) < error(trellis) < 1.5 * error(rounded)
    np.testing.assert_array_equal(
        jpeg_file.read_coefficients(trellis).qtables, quantized.qtables
    )


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_mozjpeg_subsamples_the_image(sampling):
    rgb = smooth_picture(75, 101)
    data = jpeg_file.encode_mozjpeg(rgb, ijg_qtables(50), sampling)
    read = jpeg_file.read_coefficients(data)
    assert read.sampling == sampling
    np.testing.assert_array_equal(read.qtables, ijg_qtables(50))
    plain = pillow_jpeg(rgb, quality=50, subsampling=sampling)

    def error(coded):
        difference = jpeg_file.decode(coded) - rgb.astype(np.float64)
        return np.mean(difference**2)

    assert error(data) < 1.7 * error(plain)


def test_mozjpeg_has_tables_of_its_own_for_a_quality():
    rgb = smooth_picture(75, 101)
    data = jpeg_file.encode_mozjpeg_quality(rgb, 90)
    read = jpeg_file.read_coefficients(data)
    assert read.sampling == "4:2:0"
    assert not np.array_equal(read.qtables, ijg_qtables(90))
    same = jpeg_file.encode_mozjpeg(rgb, read.qtables, "4:2:0")
    assert_same_coefficients(jpeg_file.read_coefficients(same), read)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("write", PIXEL_WRITERS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 8), (1, 33), (1000, 3)])
def test_every_size_is_jfif_of_that_size(size, write, sampling):
    data = write(smooth_picture(*size), 30, sampling=sampling)
    assert jpeg_file.decode(data).shape == (*size, 3)
    assert data.startswith(b"\xff\xd8\xff\xe0") and data.endswith(b"\xff\xd9")
    segments = file_segments(data)
    # version 1.01, density 1:1 without a unit, no thumbnail
    assert segments[0] == (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    (frame,) = [payload for marker, payload in segments if marker in (0xC0, 0xC2)]
    # precision, height, width, then number, sampling, table of each component
    assert frame[0] == 8 and frame[5] == 3
    assert int.from_bytes(frame[1:3], "big") == size[0]
    assert int.from_bytes(frame[3:5], "big") == size[1]
    assert frame[6::3] == b"\1\2\3"
    v, h = FACTORS[sampling]
    assert frame[7::3] == bytes([16 * h + v, 0x11, 0x11])
    assert frame[8::3] == b"\0\1\1"


@pytest.mark.parametrize("writer", WRITERS)
def test_threads_write_and_read_the_same_as_serial_calls(writer):
    pictures = [smooth_picture(40 + n, 70 - n, n) for n in range(12)]

    def round_trip(rgb):
        data = written(writer, rgb, ijg_qtables(rgb.shape[0] - 20))
        read = jpeg_file.read_coefficients(data)
        planes = [plane.tobytes() for plane in read.planes]
        return data, planes, jpeg_file.decode(data).tobytes()

    serial = [round_trip(rgb) for rgb in pictures]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(round_trip, pictures * 3)) == serial * 3


@pytest.mark.parametrize("writer", WRITERS)
def test_jpeglib_keeps_its_version_and_no_file_is_left(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with jpeglib.version("9f"):
        data = written(writer, smooth_picture(9, 9), ijg_qtables(50))
        jpeg_file.read_coefficients(data)
        assert jpeglib.version.get() == "9f"
    assert os.listdir(tmp_path) == []
    assert jpeglib.dct_jpeg.tempfile is tempfile


# Refusals


@pytest.mark.parametrize("entry", [0, 256, -1, 1000])
def test_tables_outside_8_bits_are_refused(entry):
    qtables = np.full((2, 8, 8), 16, np.int64)
    qtables[1, 7, 7] = entry
    quantized = dataclasses.replace(random_quantized(0, 8, 8), qtables=qtables)
    with pytest.raises(ValueError, match=r"1\.\.255"):
        jpeg_file.encode(quantized)


@pytest.mark.parametrize("entropy_coding", ENTROPY_CODINGS)
@pytest.mark.parametrize(
    "position, value",
    [((0, 0), 1024), ((0, 0), -1025), ((0, 1), 1024), ((7, 7), -1024)],
)
def test_integers_beyond_8_bit_jpeg_are_refused(position, value, entropy_coding):
    integers = np.zeros((1, 1, 8, 8, 3), np.int16)
    integers[0, 0, position[0], position[1], 2] = value
    qtables = np.ones((2, 8, 8), np.uint8)
    quantized = QuantizedImage.of_integers(integers, qtables, 8, 8)
    with pytest.raises(ValueError, match="integers must lie"):
        jpeg_file.encode(quantized, entropy_coding)


def test_extreme_integers_side_by_side_read_back():
    integers = np.full((1, 2, 8, 8, 3), -1023, np.int16)
    integers[0, 1] = 1023
    integers[0, 0, 0, 0] = -1024
    qtables = np.ones((2, 8, 8), np.uint8)
    assert_reads_back(QuantizedImage.of_integers(integers, qtables, 8, 16))


@pytest.mark.parametrize("size", [(9, 8), (8, 17), (16, 8), (0, 8)])
def test_blocks_that_do_not_cover_the_size_are_refused(size):
    quantized = dataclasses.replace(
        random_quantized(0, 8, 16), height=size[0], width=size[1]
    )
    with pytest.raises(ValueError, match="px"):
        jpeg_file.encode(quantized)


@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
def test_planes_of_another_sampling_are_refused(sampling):
    quantized = random_quantized(0, 20, 40)
    with pytest.raises(ValueError, match=f"40x20 px, {sampling}, not"):
        jpeg_file.encode(dataclasses.replace(quantized, sampling=sampling))


def test_another_number_of_planes_is_refused():
    quantized = random_quantized(0, 8, 8)
    for planes in (quantized.planes[:2], quantized.planes * 2, ()):
        with pytest.raises(ValueError, match="Y, Cb and Cr, or of Y alone"):
            jpeg_file.encode(dataclasses.replace(quantized, planes=planes))


@pytest.mark.parametrize("sampling", ["4:1:1", "4:4:0", "", None, 0])
def test_unknown_samplings_are_refused(sampling):
    rgb = smooth_picture(16, 16)
    for write in PIXEL_WRITERS:
        with pytest.raises(ValueError, match="sampling must be one of"):
            write(rgb, 50, sampling=sampling)
    for writer in WRITERS:
        with pytest.raises(ValueError, match="sampling must be one of"):
            written(writer, rgb, ijg_qtables(50), sampling)


def test_float_arrays_are_refused():
    quantized = random_quantized(0, 8, 8)
    floats = [plane.astype(np.float32) for plane in quantized.planes]
    with pytest.raises(ValueError, match="planes must be an integer array"):
        jpeg_file.encode(dataclasses.replace(quantized, planes=floats))
    qtables = quantized.qtables.astype(np.float32)
    with pytest.raises(ValueError, match="qtables must be an integer array"):
        jpeg_file.encode(dataclasses.replace(quantized, qtables=qtables))


@pytest.mark.parametrize("quality", [0, 101, -5, 50.5])
def test_quality_outside_1_to_100_is_refused(quality):
    for write in (jpeg_file.encode_rgb, jpeg_file.encode_mozjpeg_quality):
        with pytest.raises(ValueError, match="quality"):
            write(smooth_picture(8, 8), quality)


def test_unknown_coding_is_refused():
    with pytest.raises(ValueError, match="entropy_coding"):
        jpeg_file.encode(random_quantized(0, 8, 8), "arithmetic")
    with pytest.raises(ValueError, match="entropy_coding"):
        jpeg_file.encode_rgb(smooth_picture(8, 8), 50, "optimised")


@pytest.mark.parametrize("write", PIXEL_WRITERS)
def test_a_side_that_jpeg_cannot_hold_is_the_users_error(write):
    with pytest.raises(UserError, match="65500"):
        write(np.zeros((1, 65501, 3), np.uint8), 50)


@pytest.mark.parametrize("write", PIXEL_WRITERS)
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (3, 8, 8)])
def test_pixels_that_are_not_rgb_are_refused(shape, write):
    with pytest.raises(ValueError, match="RGB"):
        write(np.zeros(shape, np.uint8), 50)
    with pytest.raises(ValueError, match="uint8"):
        write(np.zeros((8, 8, 3), np.float32), 50)


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 30, 300, 700, -2, -1])
def test_coefficients_of_cut_files_are_refused(kept):
    data = jpeg_file.encode_rgb(smooth_picture(60, 60), 50)
    with pytest.raises(ValueError, match="complete"):
        jpeg_file.read_coefficients(data[:kept])


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 30, 300, 700])
def test_pixels_of_cut_files_are_refused(kept):
    data = jpeg_file.encode_rgb(smooth_picture(60, 60), 50)
    with pytest.raises(ValueError, match="readable"):
        jpeg_file.decode(data[:kept])


def jpeg_of_factors(folder, *factors):
    """Returns a JPEG of 40x50 px whose components have these factors, (v, h) each."""
    jpeg = jpeglib.from_spatial(smooth_picture(40, 50))
    jpeg.samp_factor = factors
    jpeg.write_spatial(str(folder / "a.jpg"))
    return (folder / "a.jpg").read_bytes()


@pytest.mark.parametrize(
    "factors",
    [
        [(1, 4), (1, 1), (1, 1)],
        [(2, 1), (1, 1), (1, 1)],
        [(2, 2), (1, 1), (2, 1)],
        [(1, 1), (1, 2), (1, 2)],
    ],
)
def test_coefficients_of_other_samplings_are_refused(factors, tmp_path):
    with pytest.raises(ValueError, match="4:4:4, 4:2:2, 4:2:0"):
        jpeg_file.read_coefficients(jpeg_of_factors(tmp_path, *factors))


def test_larger_factors_of_the_same_ratio_are_the_same_sampling(tmp_path):
    data = jpeg_of_factors(tmp_path, (2, 2), (2, 1), (2, 1))
    read = jpeg_file.read_coefficients(data)
    assert read.sampling == "4:2:2"
    assert [plane.shape[:2] for plane in read.planes] == [(5, 7), (5, 4), (5, 4)]
    np.testing.assert_array_equal(
        jpeg_file.decode(jpeg_file.encode(read)), jpeg_file.decode(data)
    )


def adobe_rgb_file():
    """Returns a file that only its Adobe segment tells to be RGB."""
    data = pillow_jpeg(smooth_picture(32, 32), subsampling=0)
    adobe = segment(APP14, b"Adobe\0\x64\0\0\0\0\0")
    return data[:2] + adobe + data[20:]  # in the place of JFIF


@pytest.mark.parametrize("kind", ["CMYK", "RGB", "RGB of Adobe"])
def test_coefficients_of_other_colour_spaces_are_refused(kind):
    image = Image.fromarray(smooth_picture(32, 32))
    data = {
        "CMYK": pillow_jpeg(image.convert("CMYK")),
        "RGB": pillow_jpeg(image, keep_rgb=True),
        "RGB of Adobe": adobe_rgb_file(),
    }[kind]
    with pytest.raises(ValueError, match="not a YCbCr JPEG file"):
        jpeg_file.read_coefficients(data)
    assert jpeg_file.decode(data).shape == (32, 32, 3)


# Gray


def gray_and_colour(height, width, sampling="4:4:4"):
    """Returns random gray, and the same image with chroma of 0."""
    quantized = random_quantized(3, height, width, sampling)
    zeros = [np.zeros_like(plane) for plane in quantized.planes[1:]]
    colour = dataclasses.replace(quantized, planes=(quantized.planes[0], *zeros))
    return dataclasses.replace(quantized, planes=quantized.planes[:1]), colour


@pytest.mark.parametrize("entropy_coding", ENTROPY_CODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_gray_reads_back_equal_and_decodes_as_with_zero_chroma(size, entropy_coding):
    gray, colour = gray_and_colour(*size)
    data = jpeg_file.encode(gray, entropy_coding)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.size) == ("L", size[::-1])
    read = jpeg_file.read_coefficients(data)
    (plane,) = read.planes
    np.testing.assert_array_equal(plane, gray.planes[0])
    np.testing.assert_array_equal(read.qtables, gray.qtables[[0, 0]])
    in_colour = jpeg_file.encode(colour, entropy_coding)
    assert len(data) < len(in_colour)
    decoded = jpeg_file.decode(in_colour)
    np.testing.assert_array_equal(jpeg_file.decode(data), decoded)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_zero_chroma_is_dropped_and_put_back(sampling):
    gray, colour = gray_and_colour(33, 50, sampling)
    (plane,) = colour.without_zero_chroma().planes
    assert plane is colour.planes[0]
    assert_same_coefficients(gray.with_chroma(), colour)
    for quantized in (random_quantized(3, 33, 50, sampling), colour):
        assert quantized.with_chroma() is quantized
    almost = [plane.copy() for plane in colour.planes]
    almost[2][-1, -1, 7, 7] = 1
    almost = dataclasses.replace(colour, planes=tuple(almost))
    assert almost.without_zero_chroma() is almost
    with pytest.raises(ValueError, match="one plane only"):
        _ = gray.integers


@pytest.mark.parametrize("writer", range(len(PIXEL_WRITERS)))
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_gray_pixels_become_a_gray_file(writer, sampling):
    write = functools.partial(PIXEL_WRITERS[writer], quality=50, sampling=sampling)
    rgb = np.repeat(smooth_picture(33, 50)[..., :1], 3, axis=2)
    data = write(rgb)
    assert Image.open(io.BytesIO(data)).mode == "L"
    rgb[0, 0, 2] ^= 1  # no longer gray: what it decodes to is the same elsewhere
    in_colour = write(rgb)
    assert Image.open(io.BytesIO(in_colour)).mode == "RGB"
    rows = slice(16, None)
    decoded = jpeg_file.decode(data)[rows], jpeg_file.decode(in_colour)[rows]
    assert np.abs(np.subtract(*decoded, dtype=int)).max() <= (2 if writer == 2 else 0)


@pytest.mark.parametrize("entropy_coding", ENTROPY_CODINGS)
def test_a_gray_file_gets_chroma_in_the_same_coding(entropy_coding):
    gray, colour = gray_and_colour(33, 50)
    data = jpeg_file.encode(gray, entropy_coding)
    again = jpeg_file.with_chroma(data)
    same = dataclasses.replace(colour, qtables=colour.qtables[[0, 0]])
    assert again == jpeg_file.encode(same, entropy_coding)
    assert jpeg_file.with_chroma(again) is again


# Full disks


@pytest.mark.slow
@pytest.mark.parametrize("action", ["mozjpeg", "read"])
@pytest.mark.parametrize("limit", [0, 100, 2000])
def test_full_disk_is_an_os_error_and_leaves_no_file(action, limit, tmp_path):
    code = f"""
        import numpy as np, resource, signal
        from learned_jpeg.jpeg import file as jpeg_file
        rng = np.random.default_rng(0)
        rgb = rng.integers(0, 256, (64, 64, 3), np.uint8)
        data = jpeg_file.encode_rgb(rgb, 50)
        quantized = jpeg_file.read_coefficients(data)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            if {action!r} == "read":
                jpeg_file.read_coefficients(data)
            else:
                jpeg_file.encode_mozjpeg(rgb, quantized.qtables)
        except OSError as error:
            print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = "File too large" if action == "read" else f"{tmp_path}: is the disk full"
    assert expected in result.stdout
    assert os.listdir(tmp_path) == []


def test_our_own_writers_need_no_disk(tmp_path, monkeypatch):
    """For jpeglib, which needs it, a missing folder is an error of the system."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    quantized = random_quantized(0, 8, 8)
    for entropy_coding in ENTROPY_CODINGS:
        data = jpeg_file.encode(quantized, entropy_coding)
    with pytest.raises(FileNotFoundError, match="gone"):
        jpeg_file.read_coefficients(data)


def test_import_loads_no_heavy_module():
    code = """
        import sys
        import learned_jpeg.jpeg.file
        heavy = {"tensorflow", "numba", "jpeglib", "scipy"}
        print(*(heavy & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "\n"
