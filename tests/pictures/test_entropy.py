"""Tests of JPEG files whose pixels are damaged."""

import io

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import entropy
from learned_jpeg.pictures.image_files import (
    image_size,
    read_image,
    read_image_and_metadata,
)
from learned_jpeg.pictures.read_options import ReadOptions
from tests.pictures.picture_files import scene

HEIGHT, WIDTH = 93, 121
KINDS = {
    "sequential": {},
    "progressive": {"progressive": True},
    "subsampled": {"subsampling": 2},
    "restarts": {"restart_marker_blocks": 5},
    "gray": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
    "rgb": {"keep_rgb": True},
}


def jpeg_file(mode="RGB", **options):
    rgb = np.rint(scene(HEIGHT, WIDTH) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).convert(mode).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def messages_on_damage(caplog):
    return [text for text in caplog.messages if "converted from CMYK" not in text]


def written(path, data):
    path.write_bytes(data)
    return str(path)


def scan_start(data):
    """Returns the place where the entropy-coded data of the first scan begin."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def with_broken_codes(data):
    """Overwrites some entropy-coded data with ones, a code that no table has."""
    at = (scan_start(data) + len(data)) // 2
    return data[:at] + b"\xff\0" * 20 + data[at + 40 :]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_have_no_problem(tmp_path, caplog, kind):
    data = jpeg_file(**KINDS[kind])
    assert entropy.problem(data) is None
    path = written(tmp_path / "x.jpg", data + bytes(512))
    expected = np.array(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read_image_and_metadata(path)[0], expected)
    assert not messages_on_damage(caplog)


@pytest.mark.parametrize("kind", KINDS)
def test_broken_codes_are_refused_in_one_line_unless_lenient(tmp_path, caplog, kind):
    path = written(tmp_path / "x.jpg", with_broken_codes(jpeg_file(**KINDS[kind])))
    assert np.array(Image.open(path)).shape[:2] == (HEIGHT, WIDTH)  # and no complaint
    with pytest.raises(UserError) as caught:
        read_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: damaged JPEG data (Corrupt JPEG data")
    assert "--lenient" in text and "\n" not in text
    assert image_size(path) == (HEIGHT, WIDTH)
    pixels, _ = read_image_and_metadata(path, ReadOptions(lenient=True))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    (message,) = messages_on_damage(caplog)
    assert message.startswith(f"{path}: damaged pixels (Corrupt JPEG data")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [1, 2])
def test_lone_missing_end_marker_is_read_with_a_warning(
    tmp_path, caplog, kind, missing
):
    data = jpeg_file(**KINDS[kind])
    path = written(tmp_path / "x.jpg", data[:-missing])
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    pixels, _ = read_image_and_metadata(path)
    np.testing.assert_array_equal(pixels, expected)
    (message,) = messages_on_damage(caplog)
    assert message.startswith(f"{path}: has no end marker")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.7, 0.95])
def test_cut_off_pixels_are_refused_unless_lenient(tmp_path, kind, part):
    data = jpeg_file(**KINDS[kind])
    start = scan_start(data)
    cut = data[: start + int(part * (len(data) - start))]
    path = written(tmp_path / "x.jpg", cut)
    with pytest.raises(UserError, match=r"x\.jpg: damaged"):
        read_image(path)
    whole = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    pixels, _ = read_image_and_metadata(path, ReadOptions(lenient=True))
    assert pixels.shape == whole.shape
    if kind == "sequential":  # the upper part is there
        np.testing.assert_array_equal(pixels[:8], whole[:8])


def test_odd_headers_are_no_damage_of_the_pixels():
    data = jpeg_file()
    odd = data.replace(b"JFIF\0\1\1", b"JFIF\0\7\7")
    assert odd != data
    assert entropy.problem(odd) is None
    comment = b"\xff\xfe\0\6text"
    assert entropy.problem(data[:2] + comment + data[2:]) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no JPEG at all", bytes(1000)])
def test_what_is_no_jpeg_is_left_to_pillow(data):
    assert entropy.problem(data) is None
