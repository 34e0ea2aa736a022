"""Tests of png.py: damage outside of the pixels does not affect the image."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import png
from learned_jpeg.pictures.image_files import (
    image_size,
    read_image,
    read_image_and_metadata,
)
from tests.pictures.picture_files import packed, png_chunk, png_file, scene

HEIGHT, WIDTH = 13, 22


def written(path, data):
    path.write_bytes(data)
    return str(path)


def rgb_scene():
    return np.rint(scene(HEIGHT, WIDTH) * 255).astype(np.uint8)


def rgb_file(before=b"", after=b""):
    return png_file([row.tobytes() for row in rgb_scene()], WIDTH, 8, 2, before, after)


def damaged(chunk):
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_gray_of_every_depth_is_white_and_no_other(tmp_path, bits):
    highest = 2**bits - 1
    gray = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % (highest + 1)
    step = 257 * (bits == 16) or 1
    gray = gray * step % (highest + 1)
    data = packed(gray, bits, ">")
    rows = np.frombuffer(data, np.uint8).reshape(HEIGHT, -1)
    for key in {0, 1, highest, 5 * step % (highest + 1)}:
        transparent = png_chunk(b"tRNS", struct.pack(">H", key))
        path = written(tmp_path / "x.png", png_file(rows, WIDTH, bits, 0, transparent))
        expected = np.where(gray == key, 255, np.rint(gray * (255 / highest)))
        np.testing.assert_array_equal(read_image(path), np.stack([expected] * 3, -1))


@pytest.mark.parametrize(
    "name", [b"pHYs", b"gAMA", b"tIME", b"iCCP", b"eXIf", b"tEXt", b"sRGB", b"abCd"]
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_wrong_checksum_of_an_ancillary_chunk_is_said_and_forgiven(
    tmp_path, caplog, name, place
):
    chunk = damaged(png_chunk(name, bytes(9)))
    path = written(tmp_path / "x.png", rgb_file(**{place: chunk}))
    assert image_size(path) == (HEIGHT, WIDTH)
    assert not caplog.records
    pixels, metadata = read_image_and_metadata(path)
    np.testing.assert_array_equal(pixels, rgb_scene())
    assert metadata.density is None and metadata.exif is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"{path}: damaged {name.decode()} in it: left out"


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_wrong_checksum_of_a_critical_chunk_is_refused(tmp_path, name):
    data = rgb_file()
    if name == b"PLTE":
        data = rgb_file(before=damaged(png_chunk(b"PLTE", bytes(12))))
    else:
        data = data[:32] + bytes([data[32] ^ 1]) + data[33:]
    with pytest.raises(UserError, match=r"x\.png: (not an image|damaged)"):
        read_image(written(tmp_path / "x.png", data))


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt"])
def test_megabytes_of_text_are_no_matter(tmp_path, name):
    text = bytes(range(32, 96)) * 40_000
    head = {b"tEXt": b"k\0", b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0"}[name]
    content = head + (text if name == b"tEXt" else zlib.compress(text))
    for where in ("before", "after"):
        chunk = png_chunk(name, content)
        path = written(tmp_path / "x.png", rgb_file(**{where: chunk}))
        np.testing.assert_array_equal(read_image(path), rgb_scene())
        with open(path, "rb") as file:
            assert png.Chunks(file).texts() == {b"k": text}


def test_chunk_that_is_cut_off_behind_the_pixels_does_not_matter(tmp_path):
    data = rgb_file(after=png_chunk(b"tEXt", b"k\0" + bytes(100)))
    path = written(tmp_path / "x.png", data[:-60])
    np.testing.assert_array_equal(read_image(path), rgb_scene())


def test_frames_of_an_animation_that_are_left_out_are_said(tmp_path, caplog):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for suffix in ("png", "gif", "webp"):
        path = tmp_path / f"x.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        caplog.clear()
        assert np.all(read_image_and_metadata(path)[0] == [255, 0, 0])
        assert f"{path}: only the first of 3 frames is taken" in caplog.text
        assert len(caplog.records) == 1


def test_damage_of_a_later_frame_does_not_cost_the_first(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / "x.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    data = path.read_bytes()
    for cut in range(1, len(data) // 2):
        path.write_bytes(data[:-cut])
        assert np.all(read_image_and_metadata(path)[0] == [255, 0, 0])


def test_animation_that_begins_with_a_picture_of_its_own(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / "x.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], default_image=True)
    assert np.all(read_image(path) == [255, 0, 0])


def test_inflated_text_has_a_limit(tmp_path):
    bomb = zlib.compress(bytes(1 << 27))
    chunk = png_chunk(b"zTXt", b"k\0\0" + bomb)
    path = written(tmp_path / "x.png", rgb_file(before=chunk))
    with open(path, "rb") as file:
        assert png.Chunks(file).texts() == {b"k": b""}
