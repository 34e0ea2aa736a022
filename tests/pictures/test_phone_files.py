"""Tests of AVIF, HEIC, JPEG XL and raw files: right, or refused in one line."""

import builtins
import io
import re
import struct
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

import learned_jpeg as lj
from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import heif_boxes, image_files, jxl, metadata
from learned_jpeg.pictures.colour import Cicp, icc_profile
from learned_jpeg.pictures.image_files import image_size, read_image, read_metadata
from learned_jpeg.pictures.read_options import DEFAULT, ReadOptions
from tests.pictures import phone_files
from tests.pictures.phone_files import (
    HEIGHT,
    MAKER,
    ORIENTATION,
    RGB,
    WIDTH,
    avif_file,
    dng_file,
    exif_of,
    heic_file,
    jxl_file,
    with_colours,
)

GRAY = RGB[..., 1].copy()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>caption</x:xmpmeta>"
P3 = Cicp(12, 13, 0, 1)
P3_PROFILE = icc_profile(P3)
RAW = ReadOptions(raw=True)
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}
# By format: a writer of files and the largest error of its pixels.
WRITERS = {"avif": (avif_file, 12), "heic": (heic_file, 0), "jxl": (jxl_file, 0)}
FORMATS = list(WRITERS)


def written(tmp_path, data, name="x"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def read(path, options=DEFAULT):
    return image_files.read_image_file(path, options)


def refusal(path, reader=read_image):
    with pytest.raises(UserError) as caught:
        reader(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


# All formats


@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_are_those_that_were_put_in(tmp_path, kind):
    write, error = WRITERS[kind]
    path = written(tmp_path, write())
    image = read(path)
    assert np.abs(image.pixels.astype(int) - RGB).max() <= error
    assert image.pixels.dtype == np.uint8 and image.notes == []
    assert image.metadata == metadata.Metadata()  # sRGB needs no profile
    assert image_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", FORMATS)
def test_gray_gives_a_file_of_one_component(tmp_path, kind):
    write, error = WRITERS[kind]
    options = {"mode": "L", "matrix_coefficients": 6} if kind == "heic" else {}
    path = written(tmp_path, write(GRAY, **options))
    pixels = read(path).pixels
    assert np.array_equal(pixels, np.repeat(pixels[..., :1], 3, -1))
    assert np.abs(pixels[..., 0].astype(int) - GRAY).max() <= error
    data = lj.encode(path, quantization="mozjpeg", quality=80)
    assert Image.open(io.BytesIO(data)).mode == "L"


@pytest.mark.parametrize("kind", FORMATS)
def test_transparency_is_blended_over_the_background(tmp_path, kind):
    write, error = WRITERS[kind]
    alpha = np.repeat(np.array([[0, 255]], np.uint8), HEIGHT, 0).repeat(WIDTH // 2, 1)
    options = {"mode": "RGBA"} if kind == "heic" else {}
    path = written(tmp_path, write(np.dstack([RGB, alpha]), **options))
    for background in ((255, 255, 255), (10, 200, 30)):
        pixels = read(path, ReadOptions(background=background)).pixels
        left, right = np.split(pixels.astype(int), 2, axis=1)
        assert np.abs(left - background).max() <= error
        assert np.abs(right - RGB[:, WIDTH // 2 :]).max() <= error


@pytest.mark.parametrize("kind", FORMATS)
def test_metadata_are_kept_byte_for_byte(tmp_path, kind):
    exif = exif_of(1)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": exif, "xmp": XMP}
    if kind != "jxl":  # its profile is part of the codestream
        options["icc_profile"] = profile
    path = written(tmp_path, WRITERS[kind][0](**options))
    found = read(path).metadata
    assert (found.xmp, found.icc_profile) == (XMP, options.get("icc_profile"))
    if kind == "avif":  # Pillow's encoder takes the orientation out
        assert b"Cam\0" in found.exif
    else:
        assert found.exif == exif
    without_pixels = read_metadata(path)
    assert (without_pixels.exif, without_pixels.xmp) == (found.exif, found.xmp)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_orientation_is_applied_once(tmp_path, kind, orientation):
    """The encoders write it both into the boxes and into EXIF, as phones do."""
    write, error = WRITERS[kind]
    path = written(tmp_path, write(exif=exif_of(orientation)))
    expected = TURNS[orientation](RGB).astype(int)
    image = read(path)
    assert image.pixels.shape == expected.shape
    assert np.abs(image.pixels - expected).max() <= error
    assert image_size(path) == expected.shape[:2]
    kept = Image.Exif()
    kept.load(image.metadata.exif)
    assert kept.get(ORIENTATION, 1) == 1
    assert kept[MAKER] == "Cam"


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_orientation_in_exif_alone_is_ignored(tmp_path, kind):
    """ISO/IEC 23008-12 says so; the boxes tell how the image is shown."""
    write, error = WRITERS[kind]
    data = write(exif=exif_of(1))
    # Pillow's encoder leaves out the orientation, so the maker becomes one.
    orientation = struct.pack(">HHIHH", ORIENTATION, 3, 1, 6, 0)
    data = data.replace(struct.pack(">HHI4s", MAKER, 2, 4, b"Cam\0"), orientation)
    image = read(written(tmp_path, data))
    assert np.abs(image.pixels.astype(int) - RGB).max() <= error


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_numbers_of_display_p3_become_a_profile(tmp_path, kind):
    write, error = WRITERS[kind]
    image = read(written(tmp_path, with_colours(write(), 12, 13)))
    assert np.abs(image.pixels.astype(int) - RGB).max() <= error
    assert image.metadata.icc_profile == P3_PROFILE and image.notes == []


@pytest.mark.parametrize("kind", ["avif", "heic"])
@pytest.mark.parametrize("transfer, name", [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, kind, transfer, name):
    path = written(tmp_path, with_colours(WRITERS[kind][0](), 9, transfer))
    for reader in (read_image, image_size):
        assert f"holds HDR colours ({name})" in refusal(path, reader)


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_unspecified_colours_are_srgb_and_unknown_ones_are_said(tmp_path, kind):
    data = WRITERS[kind][0]()
    image = read(written(tmp_path, with_colours(data, 2, 2)))
    assert image.metadata.icc_profile is None and image.notes == []
    image = read(written(tmp_path, with_colours(data, 10, 17)))
    assert image.metadata.icc_profile is None
    assert image.notes == ["its colours (CICP 10/17/0/1) are not known: left out"]


@pytest.mark.parametrize("kind", FORMATS)
def test_size_is_refused_before_anything_is_decoded(tmp_path, kind, monkeypatch):
    data = bytearray(WRITERS[kind][0]())
    if kind == "jxl":
        data = bytearray(b"\xff\x0a") + jxl_header(20_000, 20_000)
        monkeypatch.setattr(jxl, "decode", None)
    else:
        at = data.index(b"ispe") + 8
        data[at : at + 8] = struct.pack(">II", 20_000, 20_000)
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    path = written(tmp_path, bytes(data))
    for reader in (read_image, image_size):
        assert "20000x20000 px are 400.0 megapixels" in refusal(path, reader)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_file_that_is_cut_off_is_refused(tmp_path, kind, part):
    data = WRITERS[kind][0]()
    refusal(written(tmp_path, data[: int(part * len(data))]))


def damaged(data, seed):
    """Returns a file with some bytes of its first half changed, or cut off."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        value = rng.choice([0, 1, 127, 255, rng.integers(256)])
        changed[rng.integers(len(data) // 2)] = value
    is_cut = rng.random() < 0.1
    return bytes(changed[: rng.integers(8, len(data))] if is_cut else changed)


def message_of(reader, path):
    """Returns the text of the UserError of a reader, or None."""
    try:
        reader(path)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_give_a_picture_or_one_line(tmp_path, kind):
    data = WRITERS[kind][0](exif=exif_of(6), xmp=XMP)
    path = tmp_path / "x"
    for seed in range(40):
        path.write_bytes(damaged(data, seed))
        for reader in (read_image, image_size):
            message = message_of(reader, path)
            assert message is None or re.fullmatch(f"{path}: .+", message)


@pytest.mark.parametrize(
    "kind, package, extra",
    [
        ("heic", "pillow_heif", "heic"),
        ("jxl", "pillow_jxl", "jxl"),
        ("dng", "rawpy", "raw"),
    ],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, kind, package, extra):
    writers = {**{k: w for k, (w, _) in WRITERS.items()}, "dng": lambda: dng_file(CFA)}
    path = written(tmp_path, writers[kind]())
    whole_import = builtins.__import__

    def without(name, *args, **options):
        if name == package:
            raise ModuleNotFoundError(name)
        return whole_import(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    text = refusal(path, lambda path: read(path, RAW))
    assert "run pip install " in text and f'".[{extra}]"' in text


# HEIF and AVIF


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("mode", ["RGB;16", "I;16"])
def test_more_than_8_bits_are_rounded(tmp_path, bits, mode):
    pytest.importorskip("pillow_heif", reason="needs the extra heic")
    brightest = (1 << bits) - 1
    shape = (64, 64) if mode == "I;16" else (64, 64, 3)
    values = np.random.default_rng(0).integers(0, brightest + 1, shape)
    pixels = (values << (16 - bits)).astype(np.uint16)
    options = {"matrix_coefficients": 6} if mode == "I;16" else {}
    if bits == 12:
        options["bit_depth"] = 12
    path = written(tmp_path, heic_file(pixels, mode, **options))
    expected = np.rint(values * (255 / brightest))
    if mode == "I;16":
        expected = np.stack([expected] * 3, -1)
    np.testing.assert_array_equal(read_image(path), expected)


def test_10_bits_of_avif_are_rounded(tmp_path):
    path = written(tmp_path, phone_files.TEN_BIT_AVIF)
    expected = np.rint(np.arange(0, 1024, 64) * (255 / 1023))
    np.testing.assert_array_equal(read_image(path)[3, :, 1], expected)


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    data = avif_file(exif=exif_of(1)).replace(b"MM\0*", b"????")
    image = read(written(tmp_path, data))
    assert image.pixels.shape == RGB.shape and image.metadata.exif is None


def test_brands_tell_the_format_whatever_the_name_is(tmp_path):
    for kind in FORMATS:
        path = written(tmp_path, WRITERS[kind][0](), "x.png")
        assert image_size(path) == (HEIGHT, WIDTH)
    path = written(tmp_path, b"\0\0\0\x14ftypisom\0\0\0\0mp42" + bytes(200), "x.heic")
    assert "not an image" in refusal(path)


def test_further_images_and_a_video_are_said_to_be_lost(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    buffer = io.BytesIO()
    file = pillow_heif.from_bytes("RGB", (WIDTH, HEIGHT), RGB.tobytes())
    file.add_frombytes("RGB", (WIDTH, HEIGHT), RGB[::-1].tobytes())
    file.save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    video = b"\0\0\0\x10mpvd" + bytes(8)
    image = read(written(tmp_path, buffer.getvalue() + video))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.notes == [
        "only the primary one of 2 images is taken",
        "its video (motion photo) is lost, the image itself is kept",
    ]


@pytest.mark.parametrize(
    "name, lost",
    [
        (b"urn:com:apple:photo:2020:aux:hdrgainmap", "gain map (HDR)"),
        (b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth", "depth map"),
        (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", None),
    ],
)
def test_auxiliary_images_are_named(name, lost):
    alpha = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
    data = avif_file(np.dstack([RGB, GRAY]))
    assert heif_boxes.HeifBoxes(data).lost == ()
    changed = data.replace(alpha, name.ljust(len(alpha), b"\0"))
    assert heif_boxes.HeifBoxes(changed).lost == ((lost,) if lost else ())


def test_places_of_items_cannot_take_all_memory():
    """A table of places that says the whole file so many times."""
    exif = b"\0\0\0\0" + exif_of(1)[6:]
    entry = struct.pack(">I4sIHH4s", 21, b"infe", 2 << 24, 1, 0, b"Exif") + b"\0"
    items = struct.pack(">I4sIH", 14 + len(entry), b"iinf", 0, 1) + entry
    places = struct.pack(">HHHHH", 0x4400, 1, 1, 0, 60_000)
    places += struct.pack(">II", 0, 200_000) * 60_000
    places = struct.pack(">I4sI", 12 + len(places), b"iloc", 0) + places
    meta = struct.pack(">I4sI", 12 + len(items + places), b"meta", 0) + items + places
    head = struct.pack(">I4s4sI", 16, b"ftyp", b"avif", 0)
    found = heif_boxes.HeifBoxes(head + meta + exif)
    assert found.exif is None


# JPEG XL


def jxl_header(width, height, orientation=1, is_animated=False):
    """Returns the first bytes of a codestream, behind its signature (18181-1)."""
    bits = []

    def put(value, count):
        bits.extend(value >> place & 1 for place in range(count))

    def side(value):
        put(3, 2)
        put(value - 1, 30)

    put(0, 1)  # not small
    side(height)
    put(0, 3)  # no ratio
    side(width)
    put(0, 1)  # not all by default
    put(1, 1)  # extra fields
    put(orientation - 1, 3)
    put(0, 2)  # no intrinsic size, no preview
    put(is_animated, 1)
    bits += [0] * (-len(bits) % 8)
    return np.packbits(bits, bitorder="little").tobytes()


@pytest.mark.parametrize("size", [(1, 1), (8, 256), (64, 64), (300, 200), (1000, 3)])
def test_header_of_jpeg_xl_tells_the_size(size):
    width, height = size
    data = jxl_file(np.zeros((height, width, 3), np.uint8))
    assert jxl.header(data) == ((width, height), 1, False)


def test_header_tells_orientation_and_animation(tmp_path):
    for orientation in (1, 3, 6, 8):
        data = b"\xff\x0a" + jxl_header(300, 200, orientation) + bytes(40)
        size = (200, 300) if orientation < 5 else (300, 200)
        assert image_size(written(tmp_path, data)) == size
    data = b"\xff\x0a" + jxl_header(300, 200, is_animated=True) + bytes(40)
    assert "an animation" in refusal(written(tmp_path, data))


@pytest.mark.parametrize("is_packed", [False, True])
def test_texts_of_jpeg_xl_are_read_packed_or_not(tmp_path, is_packed):
    if is_packed:
        pytest.importorskip("brotli", reason="needs the extra jxl")
    options = {"use_container": True, "compress_metadata": is_packed}
    data = jxl_file(exif=exif_of(6), xmp=XMP * 100, **options)
    assert (b"brob" in data) == is_packed
    image = read(written(tmp_path, data))
    assert image.metadata.exif == exif_of(1) and image.metadata.xmp == XMP * 100
    np.testing.assert_array_equal(image.pixels, RGB)  # the codestream is upright


def test_packed_texts_without_brotli_are_said_to_be_left_out(tmp_path, monkeypatch):
    data = jxl_file(exif=exif_of(1), use_container=True, compress_metadata=True)
    monkeypatch.setitem(sys.modules, "brotli", None)
    image = read(written(tmp_path, data))
    assert image.metadata.exif is None
    assert image.notes == ["its EXIF cannot be read: left out"]


def test_packed_jpeg_file_is_read_as_that_file(tmp_path):
    exif = exif_of(6)
    Image.fromarray(RGB).save(tmp_path / "x.jpg", quality=90, exif=exif)
    with (
        Image.open(tmp_path / "x.jpg") as image,
        pytest.warns(match="JPEG reconstruction"),
    ):
        data = jxl_file(image, lossless_jpeg=None)
    packed, plain = read(written(tmp_path, data)), read(tmp_path / "x.jpg")
    np.testing.assert_array_equal(packed.pixels, plain.pixels)
    assert packed.metadata == plain.metadata and plain.metadata.exif == exif_of(1)


def test_colours_of_jpeg_xl(tmp_path, monkeypatch):
    """Those of libjxl's own profiles are known by a tag, or by the name of gray."""
    data = jxl_file()
    (profile,) = {jxl.decode(data, "x")[1]}
    assert jxl.colours(profile)[:2] == (1, 13)
    tag = b"cicp" + bytes(4)
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        at = profile.index(tag) + len(tag) + 1
        changed = profile[:at] + bytes([transfer]) + profile[at + 1 :]
        assert jxl.colours(changed).hdr_name == name
        monkeypatch.setattr(jxl, "decode", lambda *_, own=changed: (GRAY, own))
        assert f"HDR colours ({name})" in refusal(written(tmp_path, data))
    assert jxl.colours("Gra_D65_Rel_PeQ".encode("utf-16-be")).hdr_name == "PQ"
    assert jxl.colours(P3_PROFILE) is None


# Raw files


ROWS, COLUMNS = np.mgrid[:1:120j, :1:160j]
LIGHT = 0.2 + 0.6 * np.stack([COLUMNS, ROWS, 0 * ROWS + 0.5], -1)
CFA = np.empty((120, 160))
CFA[::2, ::2], CFA[1::2, 1::2] = LIGHT[::2, ::2, 0], LIGHT[1::2, 1::2, 2]
CFA[::2, 1::2], CFA[1::2, ::2] = LIGHT[::2, 1::2, 1], LIGHT[1::2, ::2, 1]
CFA = np.rint(65535 * CFA).astype(int)
EXIF_TAGS = {36867: "2024:05:06 07:08:09", 37500: b"maker note"}


def light_of_srgb(values):
    low = values <= 0.04045
    return np.where(low, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_raw_file_is_developed(tmp_path, orientation):
    pytest.importorskip("rawpy", reason="needs the extra raw")
    path = written(tmp_path, dng_file(CFA, orientation), "x.dng")
    image = read(path, RAW)
    expected = TURNS[orientation](LIGHT)
    assert image.pixels.shape == expected.shape
    assert image_size(path, RAW) == expected.shape[:2]
    assert image.metadata.icc_profile is None
    # Up to one gain, which LibRaw chooses, it is the scene in sRGB.
    light = light_of_srgb(image.pixels / 255)
    inside = np.all(image.pixels < 250, axis=-1)
    inside[[0, 1, -1, -2]] = inside[:, [0, 1, -1, -2]] = False  # of interpolation
    gains = light[inside] / expected[inside]
    assert inside.mean() > 0.3
    assert np.percentile(np.abs(gains / np.median(gains) - 1), 95) < 0.05


def test_raw_file_keeps_camera_and_time(tmp_path):
    pytest.importorskip("rawpy", reason="needs the extra raw")
    data = dng_file(CFA, 6, {34665: [EXIF_TAGS], 700: XMP})
    found = read(written(tmp_path, data, "x.dng"), RAW).metadata
    kept = Image.Exif()
    kept.load(found.exif)
    assert dict(kept) | {34665: 0} == {
        271: "Maker",
        272: "Model",
        306: "2024:05:06 07:08:09",
        34665: 0,
    }
    assert dict(kept.get_ifd(34665)) == {36867: "2024:05:06 07:08:09"}
    assert found.xmp == XMP


def test_raw_file_is_refused_unless_it_is_to_be_developed(tmp_path):
    path = written(tmp_path, dng_file(CFA), "x.dng")
    for reader in (read_image, image_size):
        assert refusal(path, reader).endswith(", or pass --raw")


def test_raw_file_that_libraw_does_not_read_is_refused(tmp_path):
    pytest.importorskip("rawpy", reason="needs the extra raw")
    path = written(tmp_path, b"FUJIFILMCCD-RAW 0201" + bytes(2000), "x.raf")
    assert "LibRaw cannot develop it (" in refusal(path, lambda p: read(p, RAW))
