"""Tests of profiles.py and of CMYK and --colour, against Little CMS and formulas."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

import learned_jpeg as lj
from learned_jpeg.commands.arguments import parse_compress, read_options_of
from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import image_files, profiles
from learned_jpeg.pictures.colour import Cicp, icc_profile
from learned_jpeg.pictures.read_options import ReadOptions
from tests.pictures.picture_files import scene, tiff_file

HEIGHT, WIDTH = 40, 60
RGB = np.rint(scene(HEIGHT, WIDTH) * 255).astype(np.uint8)
CMYK = np.rint(scene(HEIGHT, WIDTH, 4, seed=1) * [255, 255, 255, 120]).astype(np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = icc_profile(Cicp(12, 13, 0, 1))
TO_SRGB = ReadOptions(colour="srgb")
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def cmyk_profile():
    """Returns an ICC profile (version 2) of ink, by a table of 5 values an ink.

    Lab of the amounts of ink c, m, y and k, which is not that of Pillow's conversion.
    """
    amounts = np.moveaxis(np.indices((5, 5, 5, 5)) / 4, 0, -1).reshape(-1, 4)
    c, m, y, k = amounts.T
    lightness = 95 * (1 - 0.45 * c) * (1 - 0.5 * m) * (1 - 0.08 * y) * (1 - 0.9 * k)
    a = (70 * m - 35 * c) * (1 - k)
    b = (85 * y - 45 * c) * (1 - k)
    lab = np.stack([lightness / 100 * 65280, (a + 128) * 256, (b + 128) * 256], -1)
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table = (
        b"mft2" + bytes(4) + bytes([4, 3, 5, 0]) + identity + struct.pack(">2H", 2, 2)
    )
    table += struct.pack(">2H", 0, 65535) * 4
    table += np.rint(lab).astype(">u2").tobytes() + struct.pack(">2H", 0, 65535) * 3
    text = b"desc" + bytes(4) + struct.pack(">I", 4) + b"ink\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": text, b"wtpt": white, b"A2B0": table, b"A2B1": table}
    body, places = b"", b""
    for name, content in tags.items():
        start = 128 + 4 + 12 * len(tags) + len(body)
        places += name + struct.pack(">2I", start, len(content))
        body += content + bytes(-len(content) % 4)
    rest = struct.pack(">I", len(tags)) + places + body
    head = struct.pack(">I4sI", 128 + len(rest), bytes(4), 0x02400000) + b"prtrCMYKLab "
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp"
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + rest


INK = cmyk_profile()


def by_little_cms(image, profile):
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(
        image, own, srgb, intent, outputMode="RGB", flags=FLAGS
    )
    return np.asarray(converted)


def saved(path, image, **options):
    image.save(path, **options)
    return str(path)


def read(path, **options):
    return image_files.read_image_file(path, ReadOptions(**options))


# CMYK


@pytest.mark.parametrize("name, options", [("x.jpg", {"quality": 95}), ("x.tif", {})])
def test_cmyk_is_converted_by_its_profile(tmp_path, name, options):
    path = saved(
        tmp_path / name, Image.fromarray(CMYK, "CMYK"), icc_profile=INK, **options
    )
    image = read(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(image.pixels, by_little_cms(opened, INK))
        without = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(image.pixels - without).mean() > 10
    assert image.metadata.icc_profile is None and image.notes == []


def test_paper_and_inks_have_the_colours_of_the_profile(tmp_path):
    """CMYK in a JPEG file is inverted, as Adobe writes it; that in a TIFF is not."""
    inks = np.zeros((32, 64, 4), np.uint8)
    inks[:, 16:32, 1], inks[:, 32:48, 2], inks[:, 48:, 3] = 255, 255, 255
    for name, options in (("x.jpg", {"quality": 100}), ("x.tif", {})):
        image = Image.fromarray(inks, "CMYK")
        pixels = read(saved(tmp_path / name, image, icc_profile=INK, **options)).pixels
        paper, magenta, yellow, black = pixels[16, 8::16].astype(int)
        assert paper.min() >= 253
        assert magenta[0] > magenta[1] + 100 and yellow[2] < yellow.min() + 1
        assert yellow[:2].min() > 180 and black.max() < 40


def test_16_bits_of_cmyk_are_converted_too(tmp_path):
    tags = {
        256: WIDTH,
        257: HEIGHT,
        258: (16,) * 4,
        259: 1,
        262: 5,
        277: 4,
        278: HEIGHT,
    }
    tags |= {273: (257 * CMYK.astype("<u2")).tobytes(), 284: 1, 34675: INK}
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_file("<", tags))
    expected = by_little_cms(Image.fromarray(CMYK, "CMYK"), INK)
    np.testing.assert_array_equal(read(str(path)).pixels, expected)


@pytest.mark.parametrize("profile", [None, SRGB, INK[:300]])
def test_cmyk_without_its_profile_is_converted_with_a_warning(tmp_path, profile):
    path = saved(tmp_path / "x.tif", Image.fromarray(CMYK, "CMYK"), icc_profile=profile)
    image = read(path)
    expected = Image.fromarray(CMYK, "CMYK").convert("RGB")
    np.testing.assert_array_equal(image.pixels, expected)
    wrong = ["its ICC profile does not fit CMYK: left out"] if profile else []
    without = "converted from CMYK without a profile: its colours are approximate"
    assert image.notes == [*wrong, without]


def test_pillow_image_of_cmyk_is_converted_by_its_profile():
    image = Image.fromarray(CMYK, "CMYK")
    image.info["icc_profile"] = INK
    expected = lj.encode(by_little_cms(image, INK), quantization="mozjpeg", quality=90)
    assert lj.encode(image, quantization="mozjpeg", quality=90) == expected


# Colour


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_colours_are_converted_to_srgb_if_asked_for(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(
        tmp_path / f"x.{suffix}", Image.fromarray(RGB), icc_profile=P3, **options
    )
    kept, converted = read(path), read(path, colour="srgb")
    assert kept.metadata.icc_profile == P3 and not kept.is_converted
    np.testing.assert_array_equal(kept.pixels, RGB)
    assert converted.metadata.icc_profile is None and converted.is_converted
    expected = by_little_cms(Image.fromarray(RGB), P3)
    np.testing.assert_array_equal(converted.pixels, expected)
    assert np.abs(expected.astype(int) - RGB).max() > 20


def test_pixels_with_a_profile_of_srgb_stay_as_they_are(tmp_path):
    assert profiles.is_srgb(SRGB) and not profiles.is_srgb(P3)
    assert not profiles.is_srgb(INK) and not profiles.is_srgb(b"damaged")
    path = saved(tmp_path / "x.png", Image.fromarray(RGB), icc_profile=SRGB)
    image = read(path, colour="srgb")
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.metadata.icc_profile is None and image.notes == []


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_gray_stays_gray(tmp_path, mode):
    gray = RGB[..., 0]
    linear = icc_profile(Cicp(12, 8, 0, 1))
    pixels = gray.astype(np.uint16) * 257 if mode == "I;16" else gray
    image = Image.fromarray(pixels)
    image = image.convert("RGB") if mode == "RGB" else image
    path = saved(tmp_path / "x.png", image, icc_profile=linear)
    pixels = read(path, colour="srgb").pixels
    light = gray / 255
    curve = 1.055 * light ** (1 / 2.4) - 0.055
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, curve)
    assert np.abs(pixels[..., 0] - expected).max() <= 1
    np.testing.assert_array_equal(pixels, np.stack([pixels[..., 1]] * 3, -1))


def test_transparent_pixels_are_converted_before_they_are_blended(tmp_path):
    rgba = np.dstack([RGB, np.full((HEIGHT, WIDTH), 128, np.uint8)])
    path = saved(tmp_path / "x.png", Image.fromarray(rgba), icc_profile=P3)
    colour = by_little_cms(Image.fromarray(RGB), P3)
    background = np.array([10, 200, 30])
    expected = (colour * 128.0 + background * 127) / 255
    pixels = read(path, colour="srgb", background=tuple(background)).pixels
    assert np.abs(pixels - expected).max() <= 0.51


def test_background_of_srgb_is_converted_to_the_profile_that_is_kept(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    path = saved(tmp_path / "x.png", Image.fromarray(rgba), icc_profile=P3)
    image = read(path, background=(250, 20, 20))
    assert image.metadata.icc_profile == P3
    shown = by_little_cms(Image.fromarray(image.pixels), P3).astype(int)
    assert np.abs(shown - [250, 20, 20]).max() <= 2
    assert np.all(read(path).pixels == 255)


def test_damaged_profile_is_left_out(tmp_path):
    path = saved(tmp_path / "x.png", Image.fromarray(RGB), icc_profile=P3[:200])
    image = read(path, colour="srgb")
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.notes == ["its ICC profile is damaged: left out"]


def test_unknown_colour_is_refused():
    with pytest.raises(UserError, match="colour 'p3': choose one of keep, srgb"):
        lj.encode(RGB, colour="p3")


def test_flags_tell_how_files_are_read():
    flags = "--raw --lenient --colour srgb --background #ff8000 --max_megapixels 3"
    args = parse_compress(["a.png", "-o", "out", *flags.split()])
    expected = ReadOptions(
        lenient=True,
        max_megapixels=3,
        raw=True,
        colour="srgb",
        background=(255, 128, 0),
    )
    assert read_options_of(args) == expected
    default = parse_compress(["a.png", "-o", "out"])
    assert read_options_of(default) == ReadOptions()


def test_jpeg_input_of_other_colours_is_not_kept(tmp_path):
    """It would be within the target, but has the colours that are not wanted."""
    path = saved(tmp_path / "x.jpg", Image.fromarray(RGB), icc_profile=P3, quality=60)
    options = {"target": lj.Bytes(100_000), "quantization": "mozjpeg"}
    kept = lj.encode(path, **options)
    converted = lj.encode(path, colour="srgb", **options)
    assert P3 in kept and P3 not in converted
    expected = image_files.read_image_file(path, TO_SRGB).pixels.astype(int)
    assert np.abs(lj.decode(converted) - expected).mean() < 3
