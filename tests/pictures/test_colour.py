"""Tests of colour.py: cICP and gAMA of PNG files, against Little CMS and formulas."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures.colour import Cicp, icc_profile
from learned_jpeg.pictures.image_files import (
    image_size,
    read_image,
    read_image_and_metadata,
)
from tests.pictures.picture_files import png_chunk, png_file, scene

HEIGHT, WIDTH = 12, 20
RGB = np.rint(scene(HEIGHT, WIDTH) * 255).astype(np.uint8)
SRGB = ImageCms.createProfile("sRGB")
P3 = (12, 13, 0, 1)


def with_chunks(path, *chunks, pixels=RGB, bits=8, colour_type=2):
    rows = [row.tobytes() for row in pixels]
    before = b"".join(png_chunk(name, content) for name, content in chunks)
    path.write_bytes(png_file(rows, pixels.shape[1], bits, colour_type, before))
    return str(path)


def gamma(value):
    return b"gAMA", struct.pack(">I", round(100_000 * value))


def srgb_profile_chunk():
    buffer = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", icc_profile=profile)
    data = buffer.getvalue()
    at = data.index(b"iCCP")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    return b"iCCP", data[at + 4 : at + 4 + length]


# cICP


def by_little_cms(profile, rgb):
    """Converts uint8 `[n, 3]` with a profile to sRGB."""
    image = Image.fromarray(rgb[np.newaxis])
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags = ImageCms.Flags.NOOPTIMIZE
    converted = ImageCms.profileToProfile(
        image, own, SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=flags
    )
    return np.asarray(converted)[0].astype(int)


def srgb_curve(light):
    light = np.clip(light, 0, 1)
    low = light <= 0.0031308
    return np.where(low, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def light_of_srgb(values):
    low = values <= 0.04045
    return np.where(low, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


# Light of Display P3 to light of sRGB (CSS Color 4, section 17), both of white D65.
P3_TO_SRGB = np.array(
    [
        [1.2249401763, -0.2249401763, 0],
        [-0.0420569547, 1.0420569547, 0],
        [-0.0196375546, -0.0786360456, 1.0982736001],
    ]
)
# Light of BT.2020 to light of sRGB (ITU-R BT.2087, table 2 inverted).
BT2020_TO_SRGB = np.array(
    [
        [1.6604910021, -0.5876411388, -0.0728498633],
        [-0.1245504745, 1.1328998971, -0.0083494226],
        [-0.0181507634, -0.1005788980, 1.1187296614],
    ]
)
CURVES = {
    13: light_of_srgb,
    4: lambda values: values**2.2,
    8: lambda values: values,
    1: lambda values: np.where(
        values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45)
    ),
}


@pytest.mark.parametrize(
    "primaries, matrix", [(1, np.eye(3)), (12, P3_TO_SRGB), (9, BT2020_TO_SRGB)]
)
@pytest.mark.parametrize("transfer", CURVES)
def test_profiles_mean_what_their_numbers_mean(primaries, matrix, transfer):
    rgb = np.random.default_rng(0).integers(60, 200, (500, 3), np.uint8)
    profile = icc_profile(Cicp(primaries, transfer, 0, 1))
    light = CURVES[transfer](rgb / 255) @ matrix.T
    expected = np.rint(255 * srgb_curve(light))
    inside = np.all((light > 0.001) & (light < 0.999), axis=1)
    assert inside.sum() > 50
    error = by_little_cms(profile, rgb) - expected
    assert np.abs(error[inside]).max() <= 1


def test_colorants_of_display_p3_are_those_of_apples_profile():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile(Cicp(*P3)))).profile
    found = [profile.red_colorant, profile.green_colorant, profile.blue_colorant]
    apple = [
        [0.51512, 0.24120, -0.00105],
        [0.29198, 0.69225, 0.04189],
        [0.15710, 0.06657, 0.78407],
    ]
    np.testing.assert_allclose([own[0] for own in found], apple, atol=2e-5)
    assert profile.profile_description == "CICP 12/13/0/1"


def test_cicp_of_display_p3_becomes_a_profile(tmp_path, caplog):
    # It overrides the other chunks (PNG, third edition, section 4.3).
    chunks = [(b"cICP", bytes(P3)), srgb_profile_chunk(), gamma(1)]
    path = with_chunks(tmp_path / "x.png", *chunks)
    pixels, found = read_image_and_metadata(path)
    np.testing.assert_array_equal(pixels, RGB)
    assert found.icc_profile == icc_profile(Cicp(*P3))
    assert not caplog.records


def test_cicp_of_srgb_needs_no_profile(tmp_path):
    for chunks in ([], [srgb_profile_chunk()], [gamma(1)]):
        path = with_chunks(tmp_path / "x.png", (b"cICP", b"\1\x0d\0\1"), *chunks)
        pixels, found = read_image_and_metadata(path)
        np.testing.assert_array_equal(pixels, RGB)
        assert found.icc_profile is None


def test_gray_has_no_primaries(tmp_path):
    gray = RGB[..., 0]
    path = with_chunks(
        tmp_path / "x.png", (b"cICP", bytes(P3)), pixels=gray, colour_type=0
    )
    assert read_image_and_metadata(path)[1].icc_profile is None
    linear = (b"cICP", bytes([12, 8, 0, 1]))
    path = with_chunks(tmp_path / "x.png", linear, pixels=gray, colour_type=0)
    profile = read_image_and_metadata(path)[1].icc_profile
    assert profile == icc_profile(Cicp(12, 8, 0, 1))


@pytest.mark.parametrize("transfer, name", [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, transfer, name):
    path = with_chunks(tmp_path / "x.png", (b"cICP", bytes([9, transfer, 0, 1])))
    for read in (read_image, image_size):
        with pytest.raises(UserError) as caught:
            read(path)
        text = str(caught.value)
        assert text.startswith(f"{path}: holds HDR colours ({name})")
        assert "\n" not in text


@pytest.mark.parametrize("numbers", [(2, 2, 0, 1), (12, 13, 1, 1), (12, 13, 0, 0)])
def test_unknown_numbers_are_named_and_left_out(tmp_path, caplog, numbers):
    profile = srgb_profile_chunk()
    path = with_chunks(tmp_path / "x.png", (b"cICP", bytes(numbers)), profile)
    pixels, found = read_image_and_metadata(path)
    np.testing.assert_array_equal(pixels, RGB)
    assert found.icc_profile == ImageCms.ImageCmsProfile(SRGB).tobytes()
    (message,) = caplog.messages
    assert f"(CICP {'/'.join(map(str, numbers))}) are not known" in message


# gAMA


def expected_of_gamma(samples, exponent):
    return 255 * srgb_curve(samples ** (1 / exponent))


@pytest.mark.parametrize("exponent", [1.0, 0.55556])
@pytest.mark.parametrize("kind", ["rgb", "rgba", "gray", "gray16", "palette"])
def test_another_gamma_is_converted_to_srgb(tmp_path, exponent, kind):
    pixels, bits, colour_type, before = RGB, 8, 2, []
    samples = pixels / 255
    if kind == "rgba":
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        pixels, colour_type = np.concatenate([RGB, alpha], -1), 6
    elif kind == "gray":
        pixels, colour_type = RGB[..., 0], 0
        samples = pixels[..., np.newaxis] / 255
    elif kind == "gray16":
        values = (257 * RGB[..., 0].astype(int) + 100).clip(0, 65535)
        pixels, bits, colour_type = values.astype(">u2"), 16, 0
        samples = values[..., np.newaxis] / 65535
    elif kind == "palette":
        palette = RGB.reshape(-1, 3)[:200]
        pixels, colour_type = np.arange(200, dtype=np.uint8).reshape(10, 20), 3
        before, samples = [(b"PLTE", palette.tobytes())], palette.reshape(10, 20, 3)
        samples = samples / 255
    options = {"pixels": pixels, "bits": bits, "colour_type": colour_type}
    path = with_chunks(tmp_path / "x.png", gamma(exponent), *before, **options)
    decoded, found = read_image_and_metadata(path)
    error = decoded - expected_of_gamma(samples, exponent)
    assert np.abs(error).max() <= 1
    assert np.abs(decoded - 255 * samples).max() > 10
    assert found.icc_profile is None


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(0.45455)],
        [gamma(0)],
        [gamma(40)],
        [gamma(1), (b"sRGB", b"\0")],
        [gamma(1), srgb_profile_chunk()],
        [(b"gAMA", b"\0")],
    ],
)
def test_a_gamma_that_does_not_count_changes_nothing(tmp_path, chunks):
    path = with_chunks(tmp_path / "x.png", *chunks)
    np.testing.assert_array_equal(read_image(path), RGB)
