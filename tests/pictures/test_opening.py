"""Tests of opening.py: images open as by Pillow, but without the host's limit."""

import io

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from learned_jpeg.commands.originals import without_metadata
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures.image_files import image_size, read_image
from learned_jpeg.pictures.opening import FORMATS, open_image

RGB = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6
FILES = {
    "a.png": {},
    "a.jpg": {},
    "a.webp": {"lossless": True},
    "a.bmp": {},
    "a.ppm": {},
    "a.gif": {},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg"},
    "turned.tif": {"exif": TURNED},
    "turned_lzw.tif": {"compression": "tiff_lzw", "exif": TURNED},
}


@pytest.fixture
def low_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FILES)
def test_the_limit_of_the_host_is_ignored_and_kept(tmp_path, name, monkeypatch):
    path = tmp_path / name
    Image.fromarray(RGB).save(path, **FILES[name])
    size, pixels = image_size(path), read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert image_size(path) == size == pixels.shape[:2]
    np.testing.assert_array_equal(read_image(path), pixels)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


@pytest.mark.filterwarnings("error")
def test_files_of_ours_are_decoded_whatever_the_limit_is(low_limit):
    data = jpeg_file.encode_rgb(RGB, 90)
    assert jpeg_file.decode(data).shape == RGB.shape
    assert len(without_metadata(data)) == len(data)


def test_a_first_frame_beyond_the_screen_of_a_gif_is_refused_by_name(
    tmp_path, low_limit
):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "GIF")
    data = bytearray(buffer.getvalue())
    data[6:10] = bytes([5, 0, 5, 0])
    path = tmp_path / "a.gif"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.gif: .*first frame is too large"):
        read_image(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_images_are_those_of_pillow(kind):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, kind)
    buffer.seek(7)
    with Image.open(buffer, formats=FORMATS) as expected, open_image(buffer) as found:
        assert (found.format, found.mode, found.size) == (kind, expected.mode, (31, 20))
        assert found.info == expected.info
        assert found.tobytes() == expected.tobytes()
    assert not buffer.closed
    others = [name for name in FORMATS if name != kind]
    with pytest.raises(UnidentifiedImageError):
        open_image(buffer, others)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"P9", b"GIF89a"]
)
def test_what_pillow_does_not_know_is_unidentified(data):
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data), formats=FORMATS)
    with pytest.raises(UnidentifiedImageError):
        open_image(io.BytesIO(data))


def test_a_plugin_without_its_library_is_left_out(monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "WEBP")
    factory, _ = Image.OPEN["WEBP"]
    monkeypatch.setitem(Image.OPEN, "WEBP", (factory, lambda prefix: "not installed"))
    with pytest.raises(UnidentifiedImageError):
        open_image(buffer)
