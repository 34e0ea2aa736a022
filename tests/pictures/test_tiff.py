"""Tests of tiff.py: every layout is read correctly, or refused by name."""

import io

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import tiff
from learned_jpeg.pictures.image_files import (
    image_size,
    read_image,
    read_image_and_metadata,
)
from tests.pictures.picture_files import gray_tiff, packed, page, scene, tiff_file

HEIGHT, WIDTH = 21, 34


def written(path, data):
    path.write_bytes(data)
    return str(path)


def assert_refused(path, *words):
    with pytest.raises(UserError) as caught:
        read_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_gray_of_all_depths_is_scaled_and_inverted_once(
    tmp_path, bits, order, photometric
):
    highest = 2**bits - 1
    gray = np.rint(scene(HEIGHT, WIDTH, 1)[..., 0] * highest).astype(int)
    path = written(tmp_path / "x.tif", gray_tiff(order, gray, bits, photometric))
    expected = np.rint((gray if photometric else highest - gray) * (255 / highest))
    # Pillow has no mode for these.
    big_endian = [(12, 0), (12, 1), (16, 0)] if order == ">" else []
    if (bits, photometric) in [(12, 0), *big_endian]:
        with pytest.raises(UserError, match=f"x.tif: holds pixels of {bits} bits"):
            read_image(path)
        return
    np.testing.assert_array_equal(read_image(path), np.stack([expected] * 3, -1))


def test_packed_12_bits_of_odd_width_are_scaled_by_4095(tmp_path):
    gray = np.array([[0, 1, 8, 2047, 4095], [4095, 4087, 100, 50, 0]])
    path = written(tmp_path / "x.tif", gray_tiff("<", gray, 12))
    assert read_image(path)[..., 0].tolist() == [
        [0, 0, 0, 127, 255],
        [255, 255, 6, 3, 0],
    ]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("alpha", [None, 2], ids=["rgb", "rgba"])
@pytest.mark.parametrize("rows_per_strip", [HEIGHT, 5])
def test_planes_are_put_together(tmp_path, bits, order, alpha, rows_per_strip):
    channels = 3 if alpha is None else 4
    values = scene(HEIGHT, WIDTH, channels)
    samples = np.rint(values * (2**bits - 1)).astype(int)
    strips = [
        packed(samples[top : top + rows_per_strip, :, channel], bits, order)
        for channel in range(channels)
        for top in range(0, HEIGHT, rows_per_strip)
    ]
    tags = {256: WIDTH, 257: HEIGHT, 258: (bits,) * channels, 259: 1, 262: 2, 284: 2}
    tags |= {273: strips, 277: channels, 278: rows_per_strip}
    tags |= {} if alpha is None else {338: alpha}
    path = written(tmp_path / "x.tif", tiff_file(order, tags))
    expected = values[..., :3]
    if alpha == 2:
        expected = expected * values[..., 3:] + 1 - values[..., 3:]
    assert np.abs(read_image(path) - 255 * expected).max() < 2  # the low bytes are cut


@pytest.mark.parametrize("bits", [8, 16])
def test_signed_samples_are_refused(tmp_path, bits):
    gray = np.full((HEIGHT, WIDTH), 100)
    data = gray_tiff("<", gray, bits)
    tags = page(HEIGHT, WIDTH, bits, 1, gray) | {339: 2}
    assert read_image(written(tmp_path / "unsigned.tif", data)).shape[2] == 3
    assert_refused(written(tmp_path / "x.tif", tiff_file("<", tags)), "signed pixels")


def test_uncompressed_ycbcr_is_refused(tmp_path):
    tags = {256: 4, 257: 4, 258: (8, 8, 8), 259: 1, 262: 6, 277: 3, 278: 4, 284: 1}
    path = written(tmp_path / "x.tif", tiff_file("<", tags | {273: bytes(48)}))
    assert_refused(path, "YCbCr")


def test_depth_that_cannot_be_read_is_named(tmp_path):
    gray = np.zeros((4, 8), int)
    assert_refused(written(tmp_path / "x.tif", gray_tiff("<", gray, 10)), "of 10 bits")


# Pages


def pages(*kinds):
    """Returns a TIFF with pages of brightness 0, 1, ...; a kind is a NewSubfileType."""
    directories = [
        page(HEIGHT, WIDTH, 8, 1, np.full((HEIGHT, WIDTH), index)) | {254: kind}
        for index, kind in enumerate(kinds)
    ]
    return tiff_file("<", *directories)


@pytest.mark.parametrize(
    "kinds, count",
    [((0,), 1), ((0, 0, 0), 3), ((2, 2), 2), ((0, 1), 1), ((0, 4), 1)],
)
def test_pages_that_are_left_out_are_said(tmp_path, caplog, kinds, count):
    path = written(tmp_path / "x.tif", pages(*kinds))
    assert np.all(read_image_and_metadata(path)[0] == 0)
    expected = (
        [f"{path}: only the first of {count} pages is taken"] if count > 1 else []
    )
    assert [record.getMessage() for record in caplog.records] == expected


def test_pages_in_a_circle_are_counted_once():
    data = bytearray(pages(0, 0))
    layout, first = tiff.first_directory(data)
    _, second = tiff.directory(data, layout, first)
    link = second + 2 + 12 * len(tiff.directory(data, layout, second)[0])
    data[link : link + 4] = first.to_bytes(4, "little")
    assert tiff.page_count(data) == 2


# Raw files


def preview(**more):
    """Returns the tags of a camera's first directory, of reduced resolution."""
    small = page(8, 12, 8, 1, np.zeros((8, 12), int))
    return small | {254: 1} | {int(tag[1:]): value for tag, value in more.items()}


def full(photometric=1):
    return page(HEIGHT, WIDTH, 8, photometric, np.zeros((HEIGHT, WIDTH), int)) | {
        254: 0
    }


RAW_FILES = {
    "x.nef": tiff_file("<", preview(t330=[full()], t271="NIKON CORPORATION")),
    "x.dng": tiff_file(">", full() | {50706: b"\1\4\0\0"}),
    "cfa.tif": tiff_file("<", full(32803)),
    "linear.tif": tiff_file("<", preview(t330=[full(34892)])),
    "camera.tif": tiff_file("<", full() | {271: "SONY", 33422: b"\0\1\1\2"}),
    "x.arw": tiff_file("<", full()),
    "canon.tif": b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
    "x.rw2": b"IIU\0\x18\0\0\0" + bytes(200),
    "x.orf": b"IIRO\x08\0\0\0" + bytes(200),
    "x.raf": b"FUJIFILMCCD-RAW 0201" + bytes(200),
    "x.crw": b"II\x1a\0\0\0HEAPCCDR" + bytes(200),
    "x.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200),
}


@pytest.mark.parametrize("name", RAW_FILES)
def test_raw_files_are_refused_instead_of_their_preview(tmp_path, name):
    path = written(tmp_path / name, RAW_FILES[name])
    for read in (read_image, image_size):
        with pytest.raises(UserError, match="a raw file of a camera.*develop it first"):
            read(path)


def test_scans_of_a_camera_and_pyramids_are_no_raw_files(tmp_path):
    """A maker, or smaller images below a full one, do not make a raw file."""
    small = page(8, 12, 8, 1, np.zeros((8, 12), int)) | {254: 1}
    for tags in (full() | {271: "Canon"}, full() | {330: [small]}, preview()):
        path = written(tmp_path / "x.tif", tiff_file("<", tags))
        assert read_image(path).shape == (tags[257], tags[256], 3)


# Damaged structure


def test_entries_after_a_damaged_one_are_found():
    data = bytearray(tiff_file(">", {256: 7, 270: "x" * 40, 274: 6, 700: b"y" * 40}))
    form, offset = tiff.first_directory(data)
    entries = {e.tag: e for e in tiff.directory(data, form, offset)[0]}
    assert entries[274].numbers == (6,)
    at = data.index(b"\x01\x0e", offset) + 8
    data[at : at + 4] = b"\xff\xff\xff\xf0"
    assert {e.tag: e for e in tiff.directory(data, form, offset)[0]}[274].numbers == (
        6,
    )


@pytest.mark.parametrize("order", "<>")
def test_directory_that_is_cut_off_gives_what_is_there(order):
    data = tiff_file(order, {256: 7, 257: 8, 274: 6})
    form, offset = tiff.first_directory(data)
    found, following = tiff.directory(data[: offset + 2 + 24 + 5], form, offset)
    assert [entry.numbers for entry in found] == [(7,), (8,)]
    assert following == 0
    assert tiff.directory(data, form, len(data) + 100) == ([], 0)
    assert tiff.directory(data, form, 0) == ([], 0)


def test_bigtiff_has_the_same_tags_as_pillow_reads():
    buffer = io.BytesIO()
    image = Image.new("L", (WIDTH, HEIGHT))
    image.save(buffer, "TIFF", big_tiff=True)
    data = buffer.getvalue()
    form, offset = tiff.first_directory(data)
    assert form.is_big
    found = {e.tag: e.numbers for e in tiff.directory(data, form, offset)[0]}
    assert (found[256], found[257], found[258]) == ((WIDTH,), (HEIGHT,), (8,))
    assert tiff.page_count(data) == 1
