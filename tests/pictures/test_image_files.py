"""Tests of image_files.py: all kinds of files that a folder may hold, or damage."""

import io
import os
import re
import struct
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from learned_jpeg.common import atomic_files, terminal
from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import image_files, sources
from learned_jpeg.pictures.image_files import (
    find_images,
    image_size,
    read_image,
    read_image_and_metadata,
)
from learned_jpeg.pictures.read_options import ReadOptions
from tests.paths import ROOT

ORIENTATION = 0x0112


def random_rgb(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(path, pixels, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return str(path)


def png_chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_bytes(pixels, bits, colour_type, before=b"", after=b""):
    """Returns a PNG file of samples `[h, w, channels]`, without filter."""
    height, width = pixels.shape[:2]
    samples = pixels.astype(">u2" if bits == 16 else np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(rows))
        + after
        + png_chunk(b"IEND", b"")
    )


def big_endian_tiff(gray, samples_per_pixel=1):
    """Returns a TIFF file with one strip of 16-bit gray `[h, w]`."""
    height, width = gray.shape
    raw = gray.astype(">u2").tobytes()
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8}
    tags |= {277: samples_per_pixel, 278: height, 279: len(raw)}
    entries = [struct.pack(">HHIHH", tag, 3, 1, tags[tag], 0) for tag in tags]
    return (
        b"MM\0*"
        + struct.pack(">I", 8 + len(raw))
        + raw
        + struct.pack(">H", len(tags))
        + b"".join(entries)
        + bytes(4)
    )


def written(path, data):
    path.write_bytes(data)
    return str(path)


def over_white(colour, alpha):
    """Blends with white in float64; alpha is in 0..255."""
    weight = np.asarray(alpha, np.float64)[..., np.newaxis] / 255
    return np.rint(np.asarray(colour) * weight + 255 * (1 - weight))


def assert_refused(path, *words):
    """Checks that both readers raise a UserError of one line that names the file."""
    for read in (read_image, image_size):
        with pytest.raises(UserError) as caught:
            read(path)
        text = str(caught.value)
        assert text.startswith(f"{terminal.one_line(str(path))}: ")
        assert "\n" not in text
        for word in words:
            assert word in text


# Pixel formats


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (1000, 3), (64, 48)])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp", ".PNG"])
def test_8_bit_rgb_is_read_unchanged(tmp_path, size, suffix):
    rgb = random_rgb(*size)
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"x{suffix}", rgb, **options)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, rgb)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable and pixels.flags.c_contiguous
    assert image_size(path) == size


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path):
    path = saved(tmp_path / "x.JPEG", random_rgb(33, 21))
    np.testing.assert_array_equal(read_image(path), np.array(Image.open(path)))


def test_8_bit_gray_becomes_three_equal_channels(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = read_image(saved(tmp_path / "x.png", gray))
    np.testing.assert_array_equal(pixels, np.stack([gray] * 3, -1))


def test_1_bit_becomes_black_and_white(tmp_path):
    bits = random_rgb(9, 11)[..., 0] > 127
    for suffix in ("png", "tif"):
        path = saved(tmp_path / f"x.{suffix}", Image.fromarray(bits))
        expected = np.stack([bits * np.uint8(255)] * 3, -1)
        np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_gray_is_scaled_not_clipped_to_white(tmp_path, suffix):
    gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.stack([np.rint(gray / 257)] * 3, -1)
    path = tmp_path / f"x.{suffix}"
    if suffix == "pgm":
        written(path, b"P5 256 256 65535\n" + gray.astype(">u2").tobytes())
    else:
        saved(path, gray)
    np.testing.assert_array_equal(read_image(path), expected)


def test_big_endian_16_bit_tiff_is_scaled(tmp_path):
    gray = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    path = written(tmp_path / "x.tif", big_endian_tiff(gray))
    expected = np.stack([np.rint(gray / 257)] * 3, -1)
    np.testing.assert_array_equal(read_image(path), expected)


def test_transparent_value_of_16_bit_gray_becomes_white(tmp_path):
    gray = np.array([[0, 1000, 1001, 65535]], np.uint16)
    transparent = png_chunk(b"tRNS", struct.pack(">H", 1000))
    path = written(
        tmp_path / "x.png", png_bytes(gray[..., np.newaxis], 16, 0, transparent)
    )
    assert read_image(path)[0, :, 0].tolist() == [0, 255, 4, 255]


@pytest.mark.parametrize("colour_type, channels", [(2, 3), (6, 4), (4, 2)])
def test_16_bit_colour_png_keeps_its_high_bits(tmp_path, colour_type, channels):
    values = np.random.default_rng(0).integers(0, 65536, (8, 9, channels))
    path = written(tmp_path / "x.png", png_bytes(values, 16, colour_type))
    colour = values[..., :3] if channels > 2 else np.repeat(values[..., :1], 3, -1)
    expected = colour / 257
    if channels != 3:
        alpha = values[..., -1:] / 65535
        expected = expected * alpha + 255 * (1 - alpha)
    assert np.abs(read_image(path) - expected).max() < 2  # the low bytes are cut


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_rgba_is_blended_over_white_in_proportion(tmp_path, suffix):
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    rgba[0, :, 3], rgba[1, :, 3], rgba[2, :, 3] = 0, 255, 128
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"x.{suffix}", rgba, **options)
    expected = over_white(rgba[..., :3], rgba[..., 3])
    np.testing.assert_array_equal(read_image(path), expected)


def bmp_of(rgba):
    """Returns a BMP of 32 bits with masks for all four channels (BITMAPV4HEADER)."""
    height, width = rgba.shape[:2]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, 0, 0, 0, 0, 0)
    header = (header + masks).ljust(108, b"\0")
    pixels = rgba[..., [2, 1, 0, 3]].tobytes()
    size = 14 + len(header)
    start = b"BM" + struct.pack("<IHHI", size + len(pixels), 0, 0, size)
    return start + header + pixels


def test_bmp_of_no_alpha_anywhere_is_opaque_with_a_warning(tmp_path, caplog):
    rgba = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    rgba[..., 3] = 0
    path = written(tmp_path / "x.bmp", bmp_of(rgba))
    np.testing.assert_array_equal(read_image_and_metadata(path)[0], rgba[..., :3])
    assert caplog.messages == [
        f"{path}: is transparent everywhere: taken as opaque, as viewers show it"
    ]
    rgba[3, 3, 3] = 128
    expected = over_white(rgba[..., :3], rgba[..., 3])
    path = written(tmp_path / "y.bmp", bmp_of(rgba))
    np.testing.assert_array_equal(read_image_and_metadata(path)[0], expected)
    assert len(caplog.messages) == 1


def test_gray_with_alpha_is_blended_over_white(tmp_path):
    la = np.random.default_rng(0).integers(0, 256, (20, 30, 2), dtype=np.uint8)
    path = saved(tmp_path / "x.png", Image.fromarray(la, "LA"))
    colour = np.repeat(la[..., :1], 3, -1)
    np.testing.assert_array_equal(read_image(path), over_white(colour, la[..., 1]))


def palette_image():
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colours = random_rgb(12, 1).reshape(12, 3)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    return image, colours.reshape(3, 4, 3)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp"])
def test_palette_is_looked_up(tmp_path, suffix):
    image, colours = palette_image()
    path = saved(tmp_path / f"x.{suffix}", image)
    np.testing.assert_array_equal(read_image(path), colours)


def test_palette_with_alpha_per_entry_is_blended(tmp_path):
    image, colours = palette_image()
    alpha = np.linspace(0, 255, 12).astype(np.uint8)
    path = saved(tmp_path / "x.png", image, transparency=alpha.tobytes())
    expected = over_white(colours, alpha.reshape(3, 4))
    np.testing.assert_array_equal(read_image(path), expected)


def test_transparent_palette_entry_becomes_white(tmp_path):
    image, colours = palette_image()
    colours[1, 3] = 255
    for suffix in ("gif", "png"):
        path = saved(tmp_path / f"x.{suffix}", image, transparency=7)
        np.testing.assert_array_equal(read_image(path), colours)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_transparent_colour_becomes_white(tmp_path, mode):
    pixels = {"1": [[0, 1]], "L": [[5, 6]], "RGB": [[(5, 5, 5), (6, 6, 6)]]}[mode]
    image = Image.fromarray(np.array(pixels, np.uint8))
    if mode == "1":
        image = Image.fromarray(np.array(pixels, bool))
    transparent = {"1": 0, "L": 5, "RGB": (5, 5, 5)}[mode]
    path = saved(tmp_path / "x.png", image, transparency=transparent)
    kept = 255 if mode == "1" else 6
    assert read_image(path).tolist() == [[[255] * 3, [kept] * 3]]


def test_cmyk_jpeg_is_converted(tmp_path):
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[:, 8:] = [0, 255, 255, 0]  # no ink on the left, red on the right
    path = saved(tmp_path / "x.jpg", Image.fromarray(cmyk, "CMYK"), quality=100)
    pixels = read_image(path).astype(int)
    assert np.abs(pixels[:, :8] - 255).max() <= 3
    assert np.abs(pixels[:, 8:] - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"x.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert np.all(read_image(path) == [255, 0, 0])
    assert image_size(path) == (6, 8)


def test_float_pixels_are_refused_by_name(tmp_path):
    path = saved(tmp_path / "x.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(UserError, match=r"x\.tif: holds floating-point pixels"):
        read_image(path)


@pytest.mark.parametrize("value", [65536, -1])
def test_32_bit_pixels_are_refused_by_name(tmp_path, value):
    path = saved(tmp_path / "x.tif", np.full((4, 4), value, np.int32))
    with pytest.raises(UserError, match=r"x\.tif: holds 32-bit integer pixels"):
        read_image(path)


def test_lab_pixels_are_refused_by_name(tmp_path):
    path = saved(tmp_path / "x.tif", Image.new("LAB", (4, 4)))
    with pytest.raises(UserError, match=r"x\.tif: holds Lab pixels"):
        read_image(path)


# Orientation, ICC and EXIF


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once_and_then_gone(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    path = saved(tmp_path / f"x.{suffix}", random_rgb(16, 24), exif=exif)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape[:2] == ((24, 16) if orientation > 4 else (16, 24))
    pixels, metadata = read_image_and_metadata(path)
    np.testing.assert_array_equal(pixels, expected)
    assert image_size(path) == expected.shape[:2]
    assert metadata.exif.startswith(b"Exif\0\0")
    kept = Image.Exif()
    kept.load(metadata.exif)
    # The block of a TIFF file is made of its tags, without the orientation.
    orientation = {} if suffix == "tif" else {ORIENTATION: 1}
    assert dict(kept) == {0x010F: "Maker", **orientation}


def test_turned_pictures_are_the_eight_of_the_exif_standard(tmp_path):
    """EXIF 2.3 says where row 0 and column 0 of the file are on the screen."""
    rgb = random_rgb(4, 6)
    upright = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: rgb[::-1].transpose(1, 0, 2),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: rgb[:, ::-1].transpose(1, 0, 2),
    }
    for orientation, expected in upright.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        path = saved(tmp_path / "x.png", rgb, exif=exif)
        np.testing.assert_array_equal(read_image(path), expected)


def test_16_bit_and_transparent_pictures_are_turned_too(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    gray = np.array([[0, 257, 514]], np.uint16)
    path = saved(tmp_path / "gray.png", gray, exif=exif)
    assert read_image(path)[:, 0, 0].tolist() == [0, 1, 2]
    path = saved(
        tmp_path / "palette.png", palette_image()[0], exif=exif, transparency=7
    )
    colours = palette_image()[1]
    colours[1, 3] = 255
    np.testing.assert_array_equal(read_image(path), np.rot90(colours, -1))


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    chunk = png_chunk(b"eXIf", exif.tobytes()[6:])
    rgb = random_rgb(4, 6)
    path = written(tmp_path / "x.png", png_bytes(rgb, 8, 2, after=chunk))
    assert image_size(path) == (6, 4)
    np.testing.assert_array_equal(read_image(path), np.rot90(rgb, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif"])
def test_size_is_read_without_the_pixels(tmp_path, suffix, monkeypatch):
    path = saved(tmp_path / f"x.{suffix}", random_rgb(5, 9))
    with Image.open(path) as image:
        plugin = type(image)

    def load(image):
        raise AssertionError("decoded")

    monkeypatch.setattr(plugin, "load", load)
    assert image_size(path) == (5, 9)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_meaningless_orientation_is_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    rgb = random_rgb(4, 6)
    path = saved(tmp_path / "x.png", rgb, exif=exif)
    np.testing.assert_array_equal(read_image(path), rgb)
    assert image_size(path) == (4, 6)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_exif_does_not_cost_the_picture(tmp_path, suffix):
    rgb = random_rgb(4, 6)
    exif = b"Exif\0\0" + b"no TIFF header at all"
    path = saved(tmp_path / f"x.{suffix}", rgb, exif=exif)
    pixels, metadata = read_image_and_metadata(path)
    assert pixels.shape == (4, 6, 3)
    assert metadata.exif is None
    assert image_size(path) == (4, 6)


def test_camera_and_place_of_the_exif_are_kept(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    path = saved(tmp_path / "x.jpg", random_rgb(8, 8), exif=exif)
    kept = Image.Exif()
    kept.load(read_image_and_metadata(path)[1].exif)
    assert kept.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
    assert kept.get_ifd(0x8825)[1] == "N"
    assert kept[ORIENTATION] == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_profile_of_an_rgb_picture_is_kept(tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert profile[16:20] == b"RGB "
    path = saved(tmp_path / f"x.{suffix}", random_rgb(8, 8), icc_profile=profile)
    assert read_image_and_metadata(path)[1].icc_profile == profile


def test_profile_that_does_not_fit_the_result_is_dropped_and_said(tmp_path, caplog):
    rgb_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray_profile = rgb_profile[:16] + b"GRAY" + rgb_profile[20:]
    gray = np.zeros((8, 8), np.uint8)
    cmyk = Image.new("CMYK", (8, 8))
    for name, pixels, profile in [
        ("gray.png", gray, gray_profile),
        ("cmyk.jpg", cmyk, rgb_profile),
        ("wrong.png", random_rgb(8, 8), gray_profile),
    ]:
        path = saved(tmp_path / name, pixels, icc_profile=profile)
        caplog.clear()
        assert read_image_and_metadata(path)[1].icc_profile is None, name
        assert f"{path}: its " in caplog.text and "left out" in caplog.text


def test_picture_without_metadata_has_none(tmp_path):
    path = saved(tmp_path / "x.png", random_rgb(8, 8))
    assert read_image_and_metadata(path)[1] == image_files.Metadata(None, None)


# Files that cannot be read


def test_missing_file_is_refused(tmp_path):
    assert_refused(tmp_path / "gone.png", "no such file")
    assert_refused(tmp_path / "no" / "folder.png", "no such file")


def test_folder_is_refused(tmp_path):
    (tmp_path / "x.png").mkdir()
    assert_refused(tmp_path / "x.png", "folder")


def test_dangling_link_is_refused(tmp_path):
    (tmp_path / "x.png").symlink_to("gone.png")
    assert_refused(tmp_path / "x.png", "link", "gone.png")


def test_link_in_a_circle_is_refused(tmp_path):
    (tmp_path / "x.png").symlink_to("x.png")
    assert_refused(tmp_path / "x.png", "cannot be opened")


def test_named_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert_refused(tmp_path / "x.png", "not a regular file")


def test_empty_file_is_refused(tmp_path):
    assert_refused(written(tmp_path / "x.png", b""), "empty")


@pytest.mark.parametrize("content", [b"hello", b"x" * 10_000, b"\x89PNG", b"\0" * 99])
def test_other_content_with_a_picture_suffix_is_refused(tmp_path, content):
    assert_refused(written(tmp_path / "x.png", content), "not an image")


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "x\0.png"])
def test_impossible_name_is_refused(tmp_path, name):
    assert_refused(f"{tmp_path}/{name}", "cannot be opened")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated_file_is_refused(tmp_path, suffix, part):
    whole = saved(tmp_path / f"whole.{suffix}", random_rgb(40, 50))
    with open(whole, "rb") as file:
        data = file.read()
    path = written(tmp_path / f"x.{suffix}", data[: int(part * len(data))])
    with pytest.raises(UserError, match=rf"^{path}: (damaged|not an image)") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_file_without_permission_is_refused(tmp_path):
    path = saved(tmp_path / "x.png", random_rgb(4, 4))
    os.chmod(path, 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        assert_refused(path, "permission")
    finally:
        os.seteuid(user)


def huge_png(side):
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0"))
    )


def huge_file(kind, side):
    """Returns a small file that declares side x side px."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    elif kind == "WEBP":
        at = data.index(b"VP8 ") + 14
        data[at : at + 4] = struct.pack("<HH", side, side)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", side, side)
    return bytes(data)


def test_200_megapixels_are_the_limit_before_anything_is_decoded(tmp_path):
    path = written(tmp_path / "x.png", huge_png(14_142))
    assert image_size(path) == (14_142, 14_142)
    path = written(tmp_path / "y.png", huge_png(14_143))
    assert_refused(path, "14143x14143 px are 200.0 megapixels", "--max_megapixels")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_declared_size_is_refused_in_every_format(tmp_path, kind, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    monkeypatch.setattr("PIL._webp.WebPAnimDecoder", decode)
    monkeypatch.setattr("simplejpeg.decode_jpeg", decode)
    path = written(tmp_path / "x", huge_file(kind, 16_000))
    assert_refused(path, "16000x16000 px are 256.0 megapixels")


def test_the_limit_can_be_raised_or_lowered(tmp_path):
    path = saved(tmp_path / "x.png", random_rgb(50, 50))
    assert read_image_and_metadata(path, ReadOptions(max_megapixels=0.0025))[
        0
    ].shape == (50, 50, 3)
    with pytest.raises(UserError, match="more than 0.0024"):
        read_image_and_metadata(path, ReadOptions(max_megapixels=0.0024))
    path = written(tmp_path / "y.png", huge_png(14_143))
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_image_and_metadata(path, ReadOptions(max_megapixels=201))


@pytest.mark.parametrize("kind", ["VP8 ", "VP8L", "VP8X"])
def test_size_in_a_webp_header_is_that_of_the_picture(tmp_path, kind):
    rgb = random_rgb(300, 517)
    options = {"lossless": kind == "VP8L"}
    if kind == "VP8X":
        options["icc_profile"] = bytes(200)
    path = saved(tmp_path / "x.webp", rgb, **options)
    with open(path, "rb") as file:
        head = file.read(32)
    assert head[12:16] == kind.encode()
    assert sources._webp_size(head) == (517, 300)


def test_lack_of_memory_is_reported(tmp_path, monkeypatch):
    path = saved(tmp_path / "x.png", random_rgb(4, 4))

    def open_image(file):
        raise MemoryError

    monkeypatch.setattr(sources, "open_image", open_image)
    assert_refused(path, "memory")


def result_of(read, path):
    """Returns (the result of `read` or None, the text of its UserError or None)."""
    try:
        return read(path), None
    except UserError as error:
        return None, str(error)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]), st.data())
def test_damaged_bytes_give_a_picture_or_one_line(tmp_path_factory, kind, data):
    buffer = io.BytesIO()
    Image.fromarray(random_rgb(9, 7)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    pixels, refusal = result_of(read_image, path)
    size, refusal_by_header = result_of(image_size, path)
    for message in (refusal, refusal_by_header):
        assert re.fullmatch(f"{path}: .+", message or f"{path}: read")
    if pixels is not None and size is not None:
        assert pixels.shape == (*size, 3)


def test_pillow_warns_no_user_of_a_command(tmp_path):
    """It runs in a subprocess, since pytest sets its own warning filters."""
    image, _ = palette_image()
    saved(tmp_path / "1.png", image, transparency=bytes(12))
    saved(tmp_path / "2.jpg", random_rgb(8, 8), exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0")
    written(tmp_path / "3.png", huge_png(14_000))
    whole = saved(tmp_path / "4.tif", random_rgb(8, 8), compression="tiff_lzw")
    with open(whole, "rb") as file:
        data = file.read()
    written(tmp_path / "5.tif", data[:-20])
    strange = big_endian_tiff(np.zeros((4, 4), np.uint16), samples_per_pixel=99)
    written(tmp_path / "6.tif", strange)
    code = f"""
        import glob
        import learned_jpeg.common.process  # as every command does
        from learned_jpeg.pictures import image_files
        from learned_jpeg.common.errors import UserError
        for path in sorted(glob.glob({str(tmp_path)!r} + "/*")):
            for read in (image_files.image_size, image_files.read_image):
                try:
                    read(path)
                except UserError:
                    pass
        print("done")
    """
    result = subprocess.run(
        [sys.executable, "-W", "default", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("done\n", "")


def test_import_does_not_load_what_few_files_need():
    heavy = {"tensorflow", "pillow_heif", "pillow_jxl", "rawpy", "brotli"}
    code = "import sys, learned_jpeg.pictures.image_files\n"
    code += f"sys.exit(bool({heavy | {'PIL.ImageCms'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Finding


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_found(folder, patterns, **options):
    found = find_images(patterns, **options)
    return [os.path.relpath(path, folder) for path in found]


ODD_NAMES = ["photo[1].png", "-x.png", "ü ñ.png", "a b.png", "*.png", "x.PNG", "pic"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_existing_file_is_taken_literally(tmp_path, name, monkeypatch):
    touch(tmp_path, *ODD_NAMES, "photo1.png")
    assert find_images([f"{tmp_path}/{name}"]) == [f"{tmp_path}/{name}"]
    monkeypatch.chdir(tmp_path)
    assert find_images(name) == [name]


def test_metadata_are_read_without_the_pixels(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[274], exif[315] = 6, "Ansel"
    path = tmp_path / "a.jpg"
    Image.fromarray(random_rgb(6, 8)).save(path, exif=exif, comment=b"mine")
    wanted = image_files.read_image_and_metadata(path)[1]
    monkeypatch.setattr(Image.Image, "load", None)
    found = image_files.read_metadata(path)
    assert (found.exif, found.segments) == (wanted.exif, wanted.segments)
    assert b"Ansel" in found.exif and found.segments


@pytest.mark.parametrize("name", ["photo[1].png", "-x.png", "ü ñ.png", "*.png"])
def test_odd_names_can_be_read_and_written(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(random_rgb(3, 4)).save(buffer, "PNG")
    atomic_files.write_atomically(name, buffer.getvalue())
    assert os.listdir() == [name]
    assert read_image(name).shape == (3, 4, 3)
    assert image_size(name) == (3, 4)


def test_folder_gives_its_pictures_by_suffix_in_any_case(tmp_path):
    pictures = ["a.png", "b.JPG", "c.Jpeg", "d.webp", "e.tif", "f.TIFF", "g.bmp"]
    pictures += ["h.gif", "i.ppm", "j[1].png", "-k.png", "ü.png", "l.jfif", "m.JPE"]
    pictures += ["n.pgm", "o.PBM", "p.pnm"]
    touch(tmp_path, *pictures, "x.txt", "png", ".hidden.png", "sub/deep.png")
    (tmp_path / "folder.png").mkdir()
    assert names_found(tmp_path, [tmp_path]) == sorted(pictures)
    assert names_found(tmp_path, f"{tmp_path}/") == sorted(pictures)
    assert names_found(tmp_path, tmp_path, suffixes=(".txt",)) == ["x.txt"]


@pytest.mark.parametrize(
    "name, data, row",
    [
        ("a.pgm", b"P5 3 1 255\n\x00\x80\xff", [0, 128, 255]),
        ("b.pgm", b"P2 3 1 255\n0 128 255\n", [0, 128, 255]),
        ("c.pbm", b"P4 3 1\n\x40", [255, 0, 255]),
        ("d.pnm", b"P1 3 1\n0 1 0\n", [255, 0, 255]),
        ("e.pnm", b"P6 1 1 255\n\x00\x80\xff", None),
    ],
)
def test_every_kind_of_pnm_is_read(tmp_path, name, data, row):
    pixels = read_image(written(tmp_path / name, data))
    wanted = [[0, 128, 255]] if row is None else np.repeat(row, 3).reshape(3, 3)
    np.testing.assert_array_equal(pixels, [wanted])


def test_folder_with_brackets_in_its_name_is_a_folder(tmp_path):
    touch(tmp_path, "set[1]/a.png", "set1/b.png")
    assert names_found(tmp_path, [tmp_path / "set[1]"]) == ["set[1]/a.png"]


def test_glob_takes_what_it_matches(tmp_path):
    touch(tmp_path, "b.png", "a.png", "c.txt", "sub/d.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("gone")
    found = names_found(tmp_path, [f"{tmp_path}/*.png"])
    assert found == ["a.png", "b.png", "folder.png", "link.png"]
    assert names_found(tmp_path, f"{tmp_path}/[ac].*") == ["a.png", "c.txt"]


def test_two_stars_reach_every_depth(tmp_path):
    touch(tmp_path, "a.png", "x/b.png", "x/y/c.PNG", "x/notes.txt")
    found = names_found(tmp_path, f"{tmp_path}/**/*.png")
    assert found == ["a.png", "x/b.png"]
    found = names_found(tmp_path, f"{tmp_path}/**")
    assert found == ["a.png", "x/b.png", "x/y/c.PNG"]


def test_two_stars_end_where_links_form_a_loop(tmp_path):
    """Through two loops that cross, glob would take 2**40 steps."""
    touch(tmp_path, "a.png", "x/b.png", "x/y/c.png", ".hidden/d.png", "z/e.PNG")
    for name in ("x/one", "x/two", "x/y/three", "z/four"):
        (tmp_path / name).symlink_to(tmp_path)
    expected = ["a.png", "x/b.png", "x/y/c.png"]
    assert names_found(tmp_path, f"{tmp_path}/**/*.png") == expected
    assert names_found(tmp_path, f"{tmp_path}/**") == [*expected, "z/e.PNG"]
    found = names_found(tmp_path, f"{tmp_path}/**/y/**/*.png")
    assert found == ["x/y/c.png", "x/y/three/a.png", "x/y/three/x/b.png"]


def test_two_stars_follow_links_to_folders_elsewhere(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.png", "elsewhere/[b]/c.png")
    (tmp_path / "in/link").symlink_to("../elsewhere")
    assert names_found(tmp_path, f"{tmp_path}/in/**/*.png") == [
        "in/a.png",
        "in/link/[b]/c.png",
    ]
    monkeypatch.chdir(tmp_path / "in")
    assert find_images("**") == ["a.png", "link/[b]/c.png"]
    assert find_images("**/*.png") == ["a.png", "link/[b]/c.png"]
    assert find_images(["li*/**/c*"]) == ["link/[b]/c.png"]


def test_dangling_link_named_explicitly_is_listed_for_the_reader(tmp_path):
    (tmp_path / "link.png").symlink_to("gone")
    assert names_found(tmp_path, [tmp_path / "link.png"]) == ["link.png"]


def test_result_is_sorted_and_without_duplicates(tmp_path, monkeypatch):
    touch(tmp_path, "c.png", "a.png", "b.png")
    monkeypatch.chdir(tmp_path)
    patterns = ["c.png", "*.png", "./a.png", str(tmp_path / "b.png"), "."]
    assert find_images(patterns) == ["a.png", "b.png", "c.png"]


def test_links_to_one_picture_are_two_pictures(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert names_found(tmp_path, [tmp_path]) == ["a.png", "b.png"]


def test_quoted_home_folder_is_found(tmp_path, monkeypatch):
    touch(tmp_path, "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    for pattern in ("~/*.png", "~/a.png", "~"):
        assert names_found(tmp_path, [pattern]) == ["a.png"]


@pytest.mark.parametrize("pattern", ["gone.png", "*.webp", "no/folder/*.png", ""])
def test_pattern_without_a_match_is_repeated_in_the_error(
    tmp_path, pattern, monkeypatch
):
    touch(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        find_images(["a.png", pattern])
    assert str(caught.value).startswith(f"{pattern}: no such file")
    assert "\n" not in str(caught.value)


def test_folder_without_pictures_is_an_error(tmp_path):
    touch(tmp_path, "x.txt", "sub/a.png")
    with pytest.raises(UserError, match="no images in this folder"):
        find_images([tmp_path])
