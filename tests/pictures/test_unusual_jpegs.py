"""Tests of JPEG files of unusual kinds: they are read, or refused in one line."""

import numpy as np
import pytest
from PIL import Image

import learned_jpeg as lj
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.jpeg.segments import SOS
from learned_jpeg.pictures import entropy
from learned_jpeg.pictures.image_files import image_size, read_image
from tests.jpeg.helpers import smooth_picture
from tests.unusual_jpegs import (
    arithmetic_file,
    joined,
    lossless_file,
    mutation,
    parts_of,
    pillow_file,
    read_everywhere,
    usual_files,
    with_frame,
    with_marker,
)

GRAY = pillow_file("L")
COLOUR = pillow_file(subsampling=0)


def with_bytes(data, at, *values):
    """Returns a file with other values in the payload of its frame header."""

    def change(payload):
        payload[at : at + len(values)] = values

    return with_frame(data, change)


def with_components(count):
    def change(payload):
        payload[5:] = [count, *(v for n in range(count) for v in (n + 1, 0x11, 0))]

    return with_frame(COLOUR, change)


def with_scans(count):
    parts = parts_of(pillow_file("L", progressive=True))
    scans = [part for part in parts if part[0] == SOS]
    repeated = scans[-1:] * (count - len(scans))
    return joined([*parts[:-1], *repeated, parts[-1]])


REFUSED = {
    "lossless": (lossless_file(smooth_picture(30, 40)[..., :1]), "lossless JPEG"),
    "lossless RGB": (lossless_file(smooth_picture(9, 7)), "lossless JPEG"),
    "lossless arithmetic": (with_marker(GRAY, 0xCB), "lossless JPEG"),
    "JPEG-LS": (with_marker(GRAY, 0xF7), "lossless JPEG"),
    "12 bits": (with_bytes(with_marker(COLOUR, 0xC1), 0, 12), "JPEG of 12 bits is not"),
    "9 bits": (with_bytes(GRAY, 0, 9), "JPEG of 9 bits is not supported"),
    "hierarchical": (with_marker(COLOUR, 0xC5), "hierarchical JPEG is not"),
    "2 components": (with_components(2), "JPEG of 2 components"),
    "5 components": (with_components(5), "JPEG of 5 components"),
    "255 components": (with_components(255), "JPEG of 255 components"),
    "no components": (with_components(0), "JPEG of 0 components"),
    "cut frame": (with_bytes(COLOUR, 5, 2), "damaged JPEG header"),
    "no height": (with_bytes(COLOUR, 1, 0, 0), "57x0 px, which holds no image"),
    "no width": (with_bytes(COLOUR, 3, 0, 0), "0x43 px, which holds no image"),
    "fractional factors": (
        with_bytes(with_bytes(COLOUR, 7, 0x31), 10, 0x21),
        "sampling factors 3x1, 2x1, 1x1 is not supported",
    ),
    "large factors": (with_bytes(COLOUR, 7, 0x51), "sampling factors 5x1"),
    "no factors": (with_bytes(GRAY, 7, 0), "sampling factors 0x0"),
    "two frames": (joined(parts_of(GRAY)[:4] + parts_of(GRAY)[3:]), "more than one"),
    "501 scans": (with_scans(501), "JPEG of 501 scans"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_is_refused_in_one_line_everywhere(tmp_path, kind):
    data, words = REFUSED[kind]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    ways = {path: lambda: read_image(path), "bytes": lambda: lj.decode(data)}
    if kind != "501 scans":  # all the other ones show in the header
        ways |= {str(path): lambda: image_size(path)}
    for name, read in ways.items():
        with pytest.raises(lj.UserError) as caught:
            read()
        text = str(caught.value)
        assert str(name) in text and words in text and "\n" not in text
    for read in (frame.check, jpeg_file.read_coefficients):
        with pytest.raises(ValueError, match="JPEG"):
            read(data)
    # No library sees it.
    assert entropy.problem(data) is None
    assert optimized(data) == data


READ = {
    "arithmetic": arithmetic_file(pillow_file(subsampling=2)),
    "arithmetic gray": arithmetic_file(pillow_file("L")),
    "extended": with_marker(COLOUR, 0xC1),
    "factors without effect": with_bytes(GRAY, 7, 0x42),
    "4:1:1": pillow_file(subsampling="4:1:1"),
    "CMYK": pillow_file("CMYK"),
    "noise between segments": GRAY[:20] + b"ab" + GRAY[20:],
}


@pytest.mark.parametrize("kind", READ)
def test_other_kinds_are_read_as_pillow_decodes_them(tmp_path, kind):
    data = READ[kind]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    expected = np.array(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(lj.decode(data), expected)
    assert image_size(path) == expected.shape[:2]


def test_bytes_are_refused_as_files_are():
    with pytest.raises(lj.UserError, match="the bytes to decode: damaged JPEG data"):
        lj.decode(COLOUR[:-200])
    huge = with_bytes(GRAY, 1, *(20000).to_bytes(2, "big"), *(20000).to_bytes(2, "big"))
    with pytest.raises(lj.UserError, match="the bytes to decode: .*400.0 megapixels"):
        lj.decode(huge)


def test_scaled_decoding_of_lossless_files_is_not_asked_for(monkeypatch):
    """It writes past the buffer, so that the process dies, now or later."""

    def decode(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr("simplejpeg.decode_jpeg", decode)
    assert entropy.problem(REFUSED["lossless"][0]) is None
    with pytest.raises(AssertionError, match="decoded"):
        entropy.problem(GRAY)


def test_500_scans_are_not_too_many():
    assert frame.check(with_scans(500)).marker == 0xC2


def test_mutated_headers_end_neither_the_process_nor_in_another_error(tmp_path):
    """`python3 -m tests.unusual_jpegs 2000` tries more, under a checking allocator."""
    files = usual_files()
    counts = [read_everywhere(mutation(files, n), tmp_path) for n in range(200)]
    assert counts.count(0) > 80 and counts.count(6) > 5
