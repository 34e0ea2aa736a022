"""Tests of files that earlier versions read wrongly, one for each kind of fault.

Expected pixels are taken from the bytes of the files, by separate readers.
"""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures.image_files import (
    find_images,
    image_size,
    read_image_and_metadata,
)
from tests.paths import SHARED

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="the files of ../shared/cases are not there"
)
HEIGHT, WIDTH = 128, 192


def png_rows(name, channels, depth=8):
    """Returns the samples of a PNG without interlace, by undoing the filters."""
    data = (CASES / name).read_bytes()
    at, packed = 8, b""
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    size = -(-WIDTH * channels * depth // 8)
    raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(HEIGHT, size + 1)
    rows, above = [], np.zeros(size, int)
    step = max(channels * depth // 8, 1)
    for kind, *row in raw.astype(int):
        row = unfiltered(kind, np.array(row), above, step)
        rows.append(row)
        above = row
    return np.array(rows)


def unfiltered(kind, row, above, step):
    """Undoes the filter of a row (PNG, third edition, section 9.2)."""
    for i in range(len(row)):
        left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
        guess = left + above[i] - corner
        nearest = min((left, above[i], corner), key=lambda value: abs(guess - value))
        added = (0, left, above[i], (left + above[i]) // 2, nearest)[kind]
        row[i] = (row[i] + added) % 256
    return row


def assert_close(name, expected, decibels=45):
    pixels, _ = read_image_and_metadata(CASES / name)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert image_size(CASES / name) == (HEIGHT, WIDTH)
    error = np.mean((pixels - np.asarray(expected, np.float64)) ** 2)
    assert error == 0 or 10 * np.log10(255**2 / error) > decibels


def samples_at(name, start, shape):
    data = (CASES / name).read_bytes()
    count = int(np.prod(shape))
    return np.frombuffer(data, "<u2", count, start).reshape(shape) / 65535


def test_planes_of_16_bits():
    planes = samples_at("rgb16_planar.tif", 8, (3, HEIGHT, WIDTH))
    assert_close("rgb16_planar.tif", 255 * np.moveaxis(planes, 0, -1))


def test_16_bits_where_0_is_white():
    gray = 1 - samples_at("gray16_miniswhite.tif", 8, (HEIGHT, WIDTH, 1))
    assert_close("gray16_miniswhite.tif", 255 * gray)


def test_two_bits_with_a_transparent_value():
    packed = png_rows("two_bit_trns.png", 1, 2).astype(np.uint8)
    bits = np.unpackbits(packed, axis=1).reshape(HEIGHT, WIDTH, 2)
    gray = 2 * bits[..., 0] + bits[..., 1]
    assert np.any(gray == 1) and np.any(gray != 1)
    expected = np.where(gray == 1, 255, gray * 85)
    assert_close("two_bit_trns.png", expected[..., np.newaxis])


def test_gray_profile_of_gamma_1():
    light = png_rows("gray_profile_linear.png", 1)[..., np.newaxis] / 255
    curve = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    srgb = 255 * np.where(light <= 0.0031308, 12.92 * light, curve)
    assert_close("gray_profile_linear.png", srgb)


def test_raw_file():
    with pytest.raises(UserError, match="raw file of a camera.*develop it first"):
        read_image_and_metadata(CASES / "raw_like.NEF")


@pytest.mark.parametrize("name", ["exif_copyright_utf8.jpg", "exif_makernote.jpg"])
def test_exif_that_comes_out_as_it_went_in(name):
    data = (CASES / name).read_bytes()
    (length,) = struct.unpack_from(">H", data, 4)
    assert read_image_and_metadata(CASES / name)[1].exif == data[6 : 4 + length]


def test_orientation_behind_a_bad_entry():
    name = "exif_bad_entry_then_turned.jpg"
    data = (CASES / name).read_bytes()
    (length,) = struct.unpack_from(">H", data, 4)
    block = data[6 : 4 + length]
    pixels, metadata = read_image_and_metadata(CASES / name)
    with Image.open(CASES / name) as image:
        np.testing.assert_array_equal(pixels, np.rot90(np.array(image), -1))
    entry = struct.pack("<HHIH", 274, 3, 1, 6)
    assert block.count(entry) == 1
    wanted = block.replace(entry, struct.pack("<HHIH", 274, 3, 1, 1))
    assert metadata.exif == wanted


@pytest.mark.parametrize(
    "name, words",
    [
        ("text_over_1mb.png", "is too large for JPEG"),
        ("bad_crc_phys.png", "damaged pHYs in it"),
    ],
)
def test_chunks_that_do_not_matter(caplog, name, words):
    expected = png_rows(name, 3).reshape(HEIGHT, WIDTH, 3)
    assert_close(name, expected, np.inf)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{CASES / name}: ")
    assert words in record.getMessage()


def test_jfif_in_a_folder():
    assert str(CASES / "photo.jfif") in find_images(CASES)
    with Image.open(CASES / "photo.jfif") as image:
        assert_close("photo.jfif", np.array(image), np.inf)


@pytest.mark.parametrize(
    "name, words",
    [
        ("eps.png", "not an image in a format that can be read"),
        ("declared_31000.jpg", "31000x31000 px are 961.0 megapixels, more than 200"),
    ],
)
def test_what_is_refused_before_it_is_decoded(name, words, monkeypatch):
    def decode(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", decode)
    monkeypatch.setattr("simplejpeg.decode_jpeg", decode)
    with pytest.raises(UserError) as caught:
        read_image_and_metadata(CASES / name)
    assert str(caught.value).startswith(f"{CASES / name}: {words}")
