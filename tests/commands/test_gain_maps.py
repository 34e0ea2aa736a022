"""Tests of files with gain maps and videos through the whole encoder."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageCms

import learned_jpeg as lj
from learned_jpeg.commands.keeping import Keeping
from learned_jpeg.pictures import gain_map
from tests.commands.helpers import compress_pil
from tests.pictures import hdr_files
from tests.pictures.hdr_files import (
    APPLE_XMP,
    ISO_NUMBERS,
    ISO_VERSION,
    KINDS,
    ULTRA_HDR_XMP,
    VIDEO,
    follow,
    gain_map_file,
    map_file,
)
from tests.pictures.picture_files import tiff_file

ROUNDED = {"quantization": "round", "quality": 60}
FLAGS = ("--quantization", "round", "--quality", 60)
EXIF_6 = (0xE1, b"Exif\0\0" + tiff_file(">", {274: 6, 271: b"a secret maker\0"}))


def saved(path, data):
    path.write_bytes(data)
    return path


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.array(image.convert("RGB"), float)


def segments_of_map(data):
    return [part for part in hdr_files.segments_of(data)[0] if part[0] in (0xE1, 0xE2)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gain_map_is_smaller_and_close_to_what_it_was(tmp_path, kind):
    data, own_map = gain_map_file(kind)
    result = lj.encode(saved(tmp_path / "a.jpg", data), **ROUNDED)
    parts = follow(result)
    smaller = parts.images[1]
    assert len(smaller) < 0.8 * len(own_map)
    assert segments_of_map(smaller) == segments_of_map(own_map)
    (mode, pixels), (own_mode, own_pixels) = decoded(smaller), decoded(own_map)
    assert mode == own_mode == "L"
    assert 10 * np.log10(255**2 / np.mean((pixels - own_pixels) ** 2)) > 35
    assert not parts.items or parts.items == [("GainMap", smaller)]


def test_a_gain_map_of_three_components_keeps_its_chroma(tmp_path):
    own_map = map_file((0xE2, ISO_NUMBERS), channels=3)
    data, _ = gain_map_file("iso", own_map=own_map)
    result = lj.encode(saved(tmp_path / "a.jpg", data), **ROUNDED)
    smaller = follow(result).images[1]
    assert len(smaller) < len(own_map)
    assert gain_map.GainMap(smaller).subsampling() == "4:2:0"
    (mode, pixels), (_, own_pixels) = decoded(smaller), decoded(own_map)
    assert mode == "RGB" and np.abs(pixels - own_pixels).mean() < 4


def test_the_search_minimises_the_squared_error_of_a_map(tmp_path):
    data, own_map = gain_map_file("both")
    searched = lj.encode(saved(tmp_path / "a.jpg", data), quality=60, tune="psnr")
    rounded = lj.encode(tmp_path / "a.jpg", **ROUNDED)
    sizes = [len(follow(result).images[1]) for result in (searched, rounded)]
    assert sizes[0] < sizes[1] < len(own_map)


@pytest.mark.parametrize("mode", ["keep", "copy", "drop"])
def test_flags_and_python_do_the_same_with_a_gain_map(tmp_path, mode):
    data, _ = gain_map_file("ultra hdr", [EXIF_6], video=VIDEO)
    path, output = saved(tmp_path / "a.jpg", data), tmp_path / "x.jpg"
    assert compress_pil(path, "-o", output, *FLAGS, "--gain_map", mode) == 0
    result = output.read_bytes()
    assert result == lj.encode(path, gain_map=mode, **ROUNDED)
    parts = follow(result)
    assert parts.items[-1] == ("MotionPhoto", VIDEO)
    assert [name for name, _ in parts.items[:-1]] == ["GainMap"] * (mode != "drop")
    sizes = [decoded(image)[1].shape[:2] for image in parts.images]
    height, width = hdr_files.HEIGHT, hdr_files.WIDTH
    turned = [(width, height), (width // 2, height // 2)]
    assert sizes == ([] if mode == "drop" else turned)


def test_a_copied_map_stays_byte_for_byte(tmp_path):
    data, own_map = gain_map_file("apple")
    result = lj.encode(saved(tmp_path / "a.jpg", data), gain_map="copy", **ROUNDED)
    assert follow(result).images[1] == own_map


def test_a_map_that_cannot_be_made_smaller_is_not_made_larger(tmp_path):
    own_map = map_file((0xE2, ISO_NUMBERS), quality=20)
    data, _ = gain_map_file("iso", own_map=own_map)
    kept = follow(lj.encode(saved(tmp_path / "a.jpg", data), **ROUNDED)).images[1]
    assert len(kept) <= len(own_map)
    np.testing.assert_array_equal(decoded(kept)[1], decoded(own_map)[1])


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_result_that_is_compressed_again_stays_as_it_is(tmp_path, orientation):
    exif = (0xE1, b"Exif\0\0" + tiff_file(">", {274: orientation}))
    data, _ = gain_map_file("both", [exif], video=VIDEO)
    first = lj.encode(saved(tmp_path / "a.jpg", data), **ROUNDED)
    assert lj.encode(saved(tmp_path / "b.jpg", first), **ROUNDED) == first


# Inputs that are kept without loss: neither the image nor its map is turned


@pytest.mark.parametrize("mode", ["keep", "copy", "drop"])
def test_an_image_that_is_kept_has_its_map_where_it_was(tmp_path, mode):
    data, own_map = gain_map_file(
        "both", [EXIF_6], video=VIDEO, attributes=' GCamera:MotionPhoto="1"'
    )
    path = saved(tmp_path / "a.jpg", data)
    result = lj.encode(path, quality=98, gain_map=mode)
    assert len(result) < len(data)
    parts = follow(result)
    np.testing.assert_array_equal(decoded(result)[1], decoded(data)[1])
    assert parts.exif() == EXIF_6[1] and parts.items[-1] == ("MotionPhoto", VIDEO)
    if mode == "drop":
        assert parts.images == []
    else:
        kept = parts.images[1]
        np.testing.assert_array_equal(decoded(kept)[1], decoded(own_map)[1])
        assert (kept == own_map) == (mode == "copy")
        assert segments_of_map(kept) == segments_of_map(own_map)


def test_the_video_of_an_image_that_is_kept_goes_on_demand(tmp_path):
    data, _ = gain_map_file("ultra hdr", video=VIDEO)
    path = saved(tmp_path / "a.jpg", data)
    parts = follow(lj.encode(path, quality=98, video="drop"))
    assert [name for name, _ in parts.items] == ["GainMap"]


# What is stripped


@pytest.mark.parametrize("quality", [60, 98])
def test_strip_metadata_keeps_the_look_and_strip_all_nothing(tmp_path, quality):
    own_map = map_file((0xE1, ULTRA_HDR_XMP), (0xE2, ISO_NUMBERS), EXIF_6)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = (0xE2, b"ICC_PROFILE\0\1\1" + profile)
    parts = [EXIF_6, profile, (0xFE, b"secret")]
    data, _ = gain_map_file("both", parts, own_map, VIDEO)
    path, output = saved(tmp_path / "a.jpg", data), tmp_path / "x.jpg"
    options = {**ROUNDED, "quality": quality}
    flags = ("--quantization", "round", "--quality", quality, "-f")
    assert compress_pil(path, "-o", output, *flags, "--strip_metadata") == 0
    look = output.read_bytes()
    assert look == lj.encode(path, metadata="look", **options)
    found = follow(look)
    assert b"secret" not in look and b"ftyp" not in look
    assert profile in found.segments and (0xE2, ISO_VERSION) in found.segments
    assert found.items == [("GainMap", found.images[1])]
    assert compress_pil(path, "-o", output, *flags, "--strip_all") == 0
    bare = output.read_bytes()
    assert bare == lj.encode(path, metadata=False, **options)
    labels = {payload[:4] for marker, payload in follow(bare).segments if marker > 0xE0}
    is_turned = quality == 60  # else its orientation stays
    assert labels <= (set() if is_turned else {b"Exif"}) and b"ICC" not in bare


def test_a_video_that_is_stripped_is_named(tmp_path, caplog):
    data, _ = gain_map_file("ultra hdr", video=VIDEO)
    path = saved(tmp_path / "a.jpg", data)
    lj.encode(path, metadata="look", **ROUNDED)
    assert caplog.messages == [
        f"{path}: its video (motion photo) is left out with the metadata"
    ]
    caplog.clear()
    lj.encode(path, video="drop", **ROUNDED)
    assert not caplog.messages


def maker_note(headroom=(3, 2)):
    """Returns Apple's maker note with tags 1, 33 (headroom) and 48 (gain)."""
    head = b"Apple iOS\0\0\1MM" + (3).to_bytes(2, "big")
    entries = b"\0\1\0\x09\0\0\0\1\0\0\0\x0e"
    for tag, place in ((33, 56), (48, 64)):
        entries += tag.to_bytes(2, "big") + b"\0\x0a\0\0\0\1" + place.to_bytes(4, "big")
    numbers = [*headroom, 0, 1]
    return head + entries + bytes(4) + b"".join(n.to_bytes(4, "big") for n in numbers)


@pytest.mark.parametrize("quality", [60, 98])
@pytest.mark.parametrize("orientation", [1, 8])
def test_the_headroom_of_apples_map_is_part_of_the_look(tmp_path, quality, orientation):
    tags = {271: b"secret\0", 274: orientation, 34665: [{37500: maker_note()}]}
    exif = (0xE1, b"Exif\0\0" + tiff_file(">", tags))
    data, _ = gain_map_file("apple", [exif], map_file((0xE1, APPLE_XMP)))
    options = {**ROUNDED, "quality": quality}
    result = lj.encode(saved(tmp_path / "a.jpg", data), metadata="look", **options)
    assert len(follow(result).images) == 2 and b"secret" not in result
    with Image.open(io.BytesIO(result)) as image:
        exif = image.getexif()
    note = exif.get_ifd(34665)[37500]
    assert exif.get(274, 1) == (orientation if quality == 98 else 1)
    assert note.startswith(b"Apple iOS\0\0\1MM\0\2")
    places = [int.from_bytes(note[at + 8 : at + 12], "big") for at in (16, 28)]
    values = [note[place : place + 8] for place in places]
    assert values == [b"\0\0\0\3\0\0\0\2", b"\0\0\0\0\0\0\0\1"]
    assert [note[at + 1] for at in (16, 28)] == [33, 48]


def test_a_target_that_the_video_alone_exceeds_is_refused_with_the_way_out(tmp_path):
    data, _ = gain_map_file("ultra hdr", video=VIDEO)
    path = saved(tmp_path / "a.jpg", data)
    options = {"quantization": "round", "target": lj.Bytes(500)}
    with pytest.raises(lj.UserError, match="its video has 780 bytes, which --video dr"):
        lj.encode(path, **options)


def test_unknown_words_are_refused():
    for field in dataclasses.fields(Keeping):
        with pytest.raises(lj.UserError, match=f"{field.name} 'no': unknown"):
            Keeping(**{field.name: "no"})
