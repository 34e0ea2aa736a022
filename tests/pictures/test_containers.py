"""Tests of what stands behind an image: gain maps and videos, and their offsets."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures import containers, gain_map
from learned_jpeg.pictures.image_files import read_image_and_metadata
from learned_jpeg.pictures.metadata import Metadata, embed
from tests.pictures import hdr_files
from tests.pictures.hdr_files import (
    ISO_NUMBERS,
    ISO_VERSION,
    KINDS,
    ULTRA_HDR_XMP,
    VIDEO,
    XMP_LABEL,
    follow,
    gain_map_file,
    item,
    jpeg,
    map_file,
    packet,
    with_images,
)
from tests.pictures.picture_files import tiff_file

SAMSUNG_HEAD = b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data"


def through(path, data, kept=lambda metadata: metadata):
    """Returns the file that is written for a file, without a search."""
    path.write_bytes(data)
    pixels, found = read_image_and_metadata(path)
    return embed(jpeg_file.encode_rgb(pixels, 60), kept(found))


def samsung(video):
    """Returns a trailer of Samsung: a block with a video, and the list of blocks."""
    block = SAMSUNG_HEAD + video
    entry = b"\0\0\x30\x0a" + (len(block)).to_bytes(4, "little")
    entry += len(block).to_bytes(4, "little")
    index = b"SEFH" + (106).to_bytes(4, "little") + (1).to_bytes(4, "little") + entry
    return block + index + len(index).to_bytes(4, "little") + b"SEFT"


def block_of_samsung(data):
    """Returns the block that the list at the end of a file names."""
    assert data.endswith(b"SEFT")
    size = int.from_bytes(data[-8:-4], "little")
    start = len(data) - 8 - size
    assert data[start : start + 4] == b"SEFH"
    back, length = (
        int.from_bytes(data[start + at : start + at + 4], "little") for at in (16, 20)
    )
    return data[start - back : start - back + length]


# Gain maps


@pytest.mark.parametrize("kind", KINDS)
def test_a_gain_map_of_every_kind_stays_where_everybody_looks_for_it(tmp_path, kind):
    data, own_map = gain_map_file(kind)
    assert containers.read(data).gain_map.data == own_map
    result = through(tmp_path / "x.jpg", data)
    parts = follow(result)
    assert parts.images == [parts.image, own_map]
    assert parts.attributes == [0x030000, 0]
    assert len(result) == len(parts.image) + len(own_map)
    is_named = kind not in ("iso", "apple")
    assert parts.items == ([("GainMap", own_map)] if is_named else [])
    assert parts.properties.get("Version") == ("1.0" if is_named else None)
    versions = [p for m, p in parts.segments if p.startswith(hdr_files.ISO_LABEL)]
    assert versions == ([ISO_VERSION] if kind in ("iso", "both") else [])


def test_pillow_opens_the_result_as_an_image_and_as_two(tmp_path):
    data, own_map = gain_map_file("both")
    result = through(tmp_path / "x.jpg", data)
    with Image.open(io.BytesIO(result)) as image:
        assert image.size == (hdr_files.WIDTH, hdr_files.HEIGHT)
    with MpoImageFile(io.BytesIO(result)) as image:
        assert image.n_frames == 2
        image.seek(1)
        with Image.open(io.BytesIO(own_map)) as expected:
            np.testing.assert_array_equal(np.array(image), np.array(expected))


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize(
    "names", [{}, {"container": "GContainer", "prefix": "GContainerItem"}]
)
def test_every_form_of_the_directory_gets_the_new_length(tmp_path, form, names):
    data, own_map = gain_map_file("directory alone", form=form, **names)
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    pixels, found = read_image_and_metadata(path)
    shorter = map_file((0xE1, ULTRA_HDR_XMP), quality=30)
    assert len(shorter) < len(own_map)
    kept = containers.joined(
        jpeg(pixels, (0xE1, XMP_LABEL + found.xmp)),
        gain_map.GainMap(shorter),
        None,
    )
    parts = follow(kept)
    assert parts.items == [("GainMap", shorter)]
    assert parts.properties["source"] == "<kept>"
    assert parts.images[1] == shorter


def test_a_directory_is_written_as_it_was_if_nothing_changes():
    data, own_map = gain_map_file("ultra hdr")
    behind = containers.read(data)
    own = containers.joined(data[: behind.end], behind.gain_map, None)
    assert follow(own).xmp == follow(data).xmp
    assert containers.joined(own[: -len(own_map)], behind.gain_map, None) == own


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_map_a_file_names_none(tmp_path, kind):
    data, _ = gain_map_file(kind)
    path = tmp_path / "x.jpg"
    result = through(
        path, data, lambda found: Metadata(xmp=found.xmp, segments=found.segments)
    )
    parts = follow(result)
    assert result == parts.image and not parts.images and not parts.items
    for word in (b"hdrgm:V", b"Directory", b"MPF\0", b"21496"):
        assert word not in result
    if kind not in ("iso", "apple"):
        assert parts.properties["source"] == "<kept>"


def test_only_the_look_is_kept(tmp_path):
    secret = (0xE1, b"Exif\0\0" + tiff_file("<", {271: b"a secret maker\0"}))
    own_map = map_file((0xE1, ULTRA_HDR_XMP), (0xE2, ISO_NUMBERS), secret)
    data, _ = gain_map_file("both", [secret, (0xFE, b"secret")], own_map, VIDEO)
    result = through(tmp_path / "x.jpg", data, lambda found: found.look())
    parts = follow(result)
    assert b"secret" not in result and b"ftyp" not in result and b"kept" not in result
    assert [name for name, _ in parts.items] == ["GainMap"]
    assert parts.properties["Version"] == "1.0"
    assert parts.items[0][1] == parts.images[1]
    bare = map_file((0xE1, ULTRA_HDR_XMP), (0xE2, ISO_NUMBERS))
    assert parts.images[1] == bare
    assert ISO_VERSION in [payload for _, payload in parts.segments]


@pytest.mark.parametrize("order", "<>")
def test_other_images_go_with_a_warning_and_the_map_stays(tmp_path, caplog, order):
    own_map = map_file((0xE2, ISO_NUMBERS))
    depth = map_file(size=(24, 32))
    image = jpeg(hdr_files.pixels(), (0xE2, ISO_VERSION))
    data = with_images(image, [depth, own_map, depth], [2, 5, 2], order)
    result = through(tmp_path / "x.jpg", data)
    parts = follow(result)
    assert parts.images == [parts.image, own_map]
    assert parts.attributes == [0x030000, 5]
    (message,) = caplog.messages
    assert "its further images (MPF: depth or preview) are lost" in message


def test_a_map_that_only_the_directory_names_is_kept(tmp_path):
    data, own_map = gain_map_file("directory alone", own_map=map_file())
    assert follow(through(tmp_path / "x.jpg", data)).images[1] == own_map


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_map_of_far_more_pixels_than_its_image_is_not_decoded(tmp_path, orientation):
    exif = b"Exif\0\0" + tiff_file(">", {274: orientation})
    own_map = bytearray(map_file((0xE1, ULTRA_HDR_XMP)))
    at = own_map.index(b"\xff\xc0") + 5
    own_map[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    data, own_map = gain_map_file("both", [(0xE1, exif)], bytes(own_map))
    result = through(tmp_path / "x.jpg", data)
    assert follow(result).images[1:] == ([own_map] if orientation == 1 else [])
    found = containers.read(data).gain_map
    assert found.is_large and found.pixels() is None
    assert found.smaller_without_loss() == found


def test_a_map_that_is_cut_off_is_named_as_lost(tmp_path, caplog):
    data, own_map = gain_map_file("both")
    result = through(tmp_path / "x.jpg", data[: -len(own_map) // 2])
    assert b"hdrgm" not in result.replace(hdr_files.HDRGM.encode(), b"").replace(
        b"xmlns:hdrgm", b""
    )
    assert follow(result).images == []
    assert "its gain map (HDR) is damaged and lost" in caplog.messages[0]


def test_a_map_that_is_not_in_the_file_is_not_named_any_more(tmp_path, caplog):
    data, own_map = gain_map_file("both")
    result = through(tmp_path / "x.jpg", data[: -len(own_map)])
    assert follow(result).images == [] == follow(result).items
    assert "names a gain map (HDR) that is not in it" in caplog.messages[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_map_is_turned_like_its_image(tmp_path, orientation, channels):
    exif = b"Exif\0\0" + tiff_file(">", {274: orientation})
    own_map = map_file((0xE1, exif), (0xE1, ULTRA_HDR_XMP), channels=channels)
    data, _ = gain_map_file("both", [(0xE1, exif)], own_map)
    parts = follow(through(tmp_path / "x.jpg", data))
    turned = parts.images[1]
    if orientation == 1:
        assert turned == own_map
        return
    with Image.open(io.BytesIO(turned)) as image, Image.open(io.BytesIO(own_map)) as o:
        assert image.mode == o.mode
        before, after = (np.array(x.convert("RGB"), float) for x in (o, image))
        assert image.getexif()[274] == 1
    reference = np.array(
        _upright(Image.fromarray(before.astype(np.uint8)), orientation)
    )
    assert np.abs(after - reference).mean() < 1.5
    assert ULTRA_HDR_XMP in [p for _, p in hdr_files.segments_of(turned)[0]]


def _upright(image, orientation):
    """Turns an image as EXIF 2.3 describes: where row 0 and column 0 are."""
    array = np.asarray(image)
    array = array.swapaxes(0, 1) if orientation > 4 else array
    flips = {
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }
    down, across = flips[orientation]
    array = array[::-1] if down else array
    return array[:, ::-1] if across else array


# Videos


def test_a_micro_video_stays_at_its_offset(tmp_path):
    attributes = f' GCamera:MicroVideo="1" GCamera:MicroVideoOffset="{len(VIDEO)}"'
    data = jpeg(hdr_files.pixels(), (0xE1, packet((), attributes))) + VIDEO
    result = through(tmp_path / "x.jpg", data)
    parts = follow(result)
    assert parts.micro_video == VIDEO and parts.properties["MicroVideo"] == "1"
    assert parts.xmp == packet((), attributes)


def test_a_wrong_offset_of_a_video_is_corrected(tmp_path):
    attributes = ' GCamera:MicroVideo="1" GCamera:MicroVideoOffset="99999"'
    data = jpeg(hdr_files.pixels(), (0xE1, packet((), attributes))) + VIDEO
    assert follow(through(tmp_path / "x.jpg", data)).micro_video == VIDEO


@pytest.mark.parametrize("form", ["attributes", "elements"])
def test_a_motion_photo_with_a_gain_map_keeps_both(tmp_path, caplog, form):
    attributes = f' GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="{len(VIDEO)}"'
    data, own_map = gain_map_file(
        "ultra hdr", video=VIDEO, form=form, attributes=attributes
    )
    parts = follow(through(tmp_path / "x.jpg", data))
    assert parts.items == [("GainMap", own_map), ("MotionPhoto", VIDEO)]
    assert parts.micro_video == VIDEO and parts.images[1] == own_map
    assert parts.properties["MotionPhoto"] == "1" and not caplog.messages


def test_a_video_before_the_map_comes_behind_it(tmp_path):
    own_map = map_file((0xE2, ISO_NUMBERS))
    items = [
        item("Primary", "image/jpeg"),
        item("MotionPhoto", "video/mp4", Length=len(VIDEO)),
        item("GainMap", "image/jpeg", Length=len(own_map)),
    ]
    parts = [(0xE1, packet(items, ' hdrgm:Version="1.0"'))]
    data = jpeg(hdr_files.pixels(), *parts) + VIDEO + own_map
    parts = follow(through(tmp_path / "x.jpg", data))
    assert parts.items == [("GainMap", own_map), ("MotionPhoto", VIDEO)]


def test_without_its_video_a_file_names_none(tmp_path):
    attributes = f' GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="{len(VIDEO)}"'
    data, own_map = gain_map_file("both", video=VIDEO, attributes=attributes)

    def kept(found):
        return Metadata(xmp=found.xmp, gain_map=found.gain_map)

    parts = follow(through(tmp_path / "x.jpg", data, kept))
    assert parts.items == [("GainMap", own_map)]
    assert not {"MotionPhoto", "MicroVideoOffset"} & set(parts.properties)


@pytest.mark.parametrize("has_map", [False, True])
def test_a_trailer_of_samsung_stays_whole(tmp_path, caplog, has_map):
    trailer = samsung(VIDEO)
    length = len(trailer) - len(SAMSUNG_HEAD)
    own_map = map_file((0xE1, ULTRA_HDR_XMP)) if has_map else b""
    items = [item("Primary", "image/jpeg", Length=0, Padding=len(SAMSUNG_HEAD))]
    if has_map:
        items = [
            item("Primary", "image/jpeg", Length=0, Padding=0),
            item("GainMap", "image/jpeg", Length=len(own_map)),
        ]
    items.append(item("MotionPhoto", "video/mp4", Length=length, Padding=0))
    head = packet(items, ' GCamera:MotionPhoto="1"')
    data = jpeg(hdr_files.pixels(), (0xE1, head)) + own_map + trailer
    result = through(tmp_path / "x.jpg", data)
    assert block_of_samsung(result) == SAMSUNG_HEAD + VIDEO
    parts = follow(result)
    assert parts.items[-1] == ("MotionPhoto", trailer[len(SAMSUNG_HEAD) :])
    assert not caplog.messages


def test_a_video_that_nothing_names_stays(tmp_path, caplog):
    data = jpeg(hdr_files.pixels()) + VIDEO
    result = through(tmp_path / "x.jpg", data)
    assert result == follow(result).image + VIDEO and not caplog.messages


def test_what_stands_between_image_and_video_is_named_as_lost(tmp_path, caplog):
    rest = b"\xff\xd8 no image \xff\xd9"
    result = through(tmp_path / "x.jpg", jpeg(hdr_files.pixels()) + rest + VIDEO)
    assert result.endswith(b"\xff\xd9" + VIDEO) and rest not in result
    (message,) = caplog.messages
    assert f"{len(rest)} bytes behind its end are lost" in message


# Damage


def mutations(count):
    """Yields damaged files of every kind, always the same."""
    attributes = f' GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="{len(VIDEO)}"'
    exif = (0xE1, b"Exif\0\0" + tiff_file(">", {274: 6, 34665: [{40962: 9, 40963: 7}]}))
    files = [
        gain_map_file("both", [exif], video=VIDEO, attributes=attributes)[0],
        gain_map_file("apple", [exif])[0],
        gain_map_file("directory alone", [exif])[0] + samsung(VIDEO),
    ]
    for seed in range(count):
        rng = np.random.default_rng(seed)
        data = bytearray(files[seed % len(files)])
        head = data.index(b"\xff\xdb")
        words = [b"MPF\0", b"Length=", b"Offset=", b"Exif\0\0", b"ISO", b"Directory"]
        places = [data.find(word) for word in words if word in data] + [20, head]
        for _ in range(rng.integers(1, 6)):
            at = int(rng.choice(places)) + int(rng.integers(0, 100))
            value = rng.choice([0, 1, 7, 9, 48, 57, 127, 128, 255, rng.integers(256)])
            data[min(at, len(data) - 1)] = value
        if rng.random() < 0.2:
            del data[int(rng.integers(head, len(data))) :]
        yield bytes(data)


def test_damaged_files_end_in_a_line_or_in_a_file_that_is_true(tmp_path, caplog):
    results = []
    for data in mutations(60):
        with contextlib.suppress(UserError):
            results.append(through(tmp_path / "x.jpg", data))
            follow(results[-1])
    assert len(results) > 40
