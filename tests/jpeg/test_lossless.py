"""Tests of jpeg/lossless.py: equal pixels in fewer bytes, or the file as it came in."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.jpeg.progressive import encode_progressive
from learned_jpeg.jpeg.segments import APP1, APP2, APPLICATION_DATA, COM, segment
from tests.jpeg.helpers import (
    assert_same_coefficients,
    pillow_jpeg,
    random_quantized,
    smooth_picture,
)
from tests.unusual_jpegs import (
    arithmetic_file,
    lossless_file,
    parts_of,
    with_frame,
)

ADOBE = b"Adobe\0\x64\0\0\0\0"  # the colour transform follows


def saved(mode="RGB", height=43, width=57, **options):
    image = Image.fromarray(smooth_picture(height, width)).convert(mode)
    return pillow_jpeg(image, quality=85, **options)


def with_transform(data, transform):
    """Returns a file whose colour space is told by Adobe's segment alone."""
    kept = [(m, p) for m, p, _ in parts_of(data)[1:] if m in APPLICATION_DATA]
    size = sum(len(payload) + 4 for _, payload in kept)
    return data[:2] + segment(0xEE, ADOBE + bytes([transform])) + data[2 + size :]


def pixels_of(data):
    """Returns (mode, pixels) of Pillow, without a conversion."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.array(image)


FILES = {
    "4:2:0": saved(subsampling=2),
    "4:2:2": saved(subsampling=1),
    "4:4:4": saved(subsampling=0),
    "4:1:1": saved(subsampling="4:1:1"),
    "1 px": saved(height=1, width=1),
    "17 px": saved(height=3, width=17),
    "restarts": saved(subsampling=2, restart_marker_blocks=3),
    "progressive": saved(subsampling=2, progressive=True),
    "gray": saved("L"),
    "CMYK": saved("CMYK", 143, 157),
    "YCCK": with_transform(saved("CMYK", 143, 157), 2),
    "RGB": saved(keep_rgb=True),
    "RGB of Adobe": with_transform(saved(subsampling=0), 0),
    "YCbCr of Adobe": with_transform(saved(subsampling=2), 1),
    "16-bit tables": saved(qtables=[[300] * 64, [17] * 64]),
    "one table": saved(qtables=[[9] * 64]),
}


@pytest.mark.parametrize("kind", FILES)
def test_pixels_are_equal_in_fewer_bytes(kind):
    data = FILES[kind]
    smaller = optimized(data)
    assert len(smaller) < len(data)
    (mode, decoded), (expected_mode, expected) = pixels_of(smaller), pixels_of(data)
    assert mode == expected_mode
    np.testing.assert_array_equal(decoded, expected)
    assert optimized(smaller) == smaller


def test_both_ways_to_write_the_coefficients_are_tried():
    """mozjpeg's file is the smaller one for small images, ours for large ones."""
    for side in (24, 400):
        rgb = np.random.default_rng(0).normal(128, 25, (side, side, 3)).clip(0, 255)
        data = pillow_jpeg(rgb.astype(np.uint8), quality=50, subsampling=2)
        coefficients = jpeg_file.read_coefficients(data)
        smaller = optimized(data)
        assert_same_coefficients(jpeg_file.read_coefficients(smaller), coefficients)
        assert smaller == jpeg_file.encode(coefficients, "optimized")


def test_application_data_and_comments_stay_in_their_order():
    kept = [
        segment(COM, b"first"),
        segment(APP1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        segment(APP2, b"ICC_PROFILE\0\1\1 a profile"),
        segment(COM, b"last"),
        segment(0xE0, b"JFXX\0\x10 a thumbnail"),
    ]
    data = FILES["4:2:0"]
    smaller = optimized(data[:20] + b"".join(kept) + data[20:])
    plain = optimized(data)
    assert smaller == plain[:20] + b"".join(kept) + plain[20:]
    without_jfif = optimized(data[:2] + data[20:])
    assert without_jfif == plain[:2] + plain[20:]


def test_fill_bytes_behind_the_end_are_dropped_but_no_data():
    data = FILES["gray"]
    assert optimized(data + bytes(512)) == optimized(data)
    with_video = data + b"\0\0\0\x18ftypmp42"
    assert optimized(with_video) == with_video


def out_of_range():
    """Returns a file with an integer that mozjpeg reads, and cannot write."""
    quantized = random_quantized(0, 16, 16).without_zero_chroma()
    plane = np.zeros_like(quantized.planes[0])
    plane[0, 0, 0, 1] = 1500
    return encode_progressive(dataclasses.replace(quantized, planes=(plane,)))


def too_large_for_one_scan():
    """Returns a file of scans that mozjpeg would interleave, against the standard."""
    data = encode_progressive(random_quantized(0, 32, 48))

    def change(payload):
        payload[7::3] = b"\x22\x22\x22"

    return with_frame(data, change)


def test_mozjpeg_never_gets_what_it_ends_the_process_for():
    data = FILES["4:2:0"]
    tables = [part for part in parts_of(data) if part[0] == 0xDB]
    (at,) = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    unchanged = {
        "a coefficient out of range": out_of_range(),
        "too many blocks in an MCU": too_large_for_one_scan(),
        "a table that is missing": data.replace(segment(0xDB, tables[1][1]), b""),
        "a second table": data[:-2] + segment(0xDB, tables[0][1]) + data[-2:],
        "a cut file": data[: at + 50],
        "arithmetic coding": arithmetic_file(data),
        "lossless": lossless_file(smooth_picture(9, 9)),
        "no file": b"no file",
    }
    for kind, other in unchanged.items():
        assert optimized(other) == other, kind
    for kind in ("a coefficient out of range", "too many blocks in an MCU"):
        with Image.open(io.BytesIO(unchanged[kind])) as image:
            image.load()  # libjpeg reads it
