"""Tests of metadata.py: blocks are copied byte for byte, except the orientation."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures import metadata, tiff
from learned_jpeg.pictures.image_files import (
    image_size,
    read_image,
    read_image_and_metadata,
)
from learned_jpeg.pictures.metadata import Metadata, embed
from tests.pictures.hdr_files import index
from tests.pictures.picture_files import page, png_chunk, png_file, scene, tiff_file

HEIGHT, WIDTH = 24, 40
RGB = np.rint(scene(HEIGHT, WIDTH) * 255).astype(np.uint8)
LABEL = b"Exif\0\0"
XMP_LABEL = b"http://ns.adobe.com/xap/1.0/\0"
PACKET = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
    b'dc:title="\xc3\xa9t\xc3\xa9" tiff:Orientation="6"/></x:xmpmeta>'
)


def written(path, data):
    path.write_bytes(data)
    return str(path)


def segment(marker, payload):
    return bytes([255, marker]) + struct.pack(">H", len(payload) + 2) + payload


def jpeg_with(*parts):
    """Returns a JPEG file with segments (marker, payload) after its JFIF header."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    assert data[2:4] == b"\xff\xe0"
    return data[:20] + b"".join(segment(*part) for part in parts) + data[20:]


def segments_of(data):
    """Returns (marker, payload) of the segments before the pixels."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def optimized(pixels):
    return jpeg_file.encode_rgb(pixels, 80, "optimized")


# One writer of each kind of file, since their headers differ.
WRITERS = {
    "standard": lambda pixels: jpeg_file.encode_rgb(pixels, 80),
    "optimized": optimized,
    "mozjpeg": lambda pixels: jpeg_file.encode_mozjpeg_quality(pixels, 80),
}


def through(path, write=optimized):
    """Returns the segments of the file that is written for a file."""
    pixels, found = read_image_and_metadata(path)
    return segments_of(embed(write(pixels), found))


def exif(order, orientation=6, *, before=b"", tags=()):
    """Returns an EXIF block with a maker's name in UTF-8 and the given tags."""
    entries = {271: b"J\xc3\xb6rg\0", 274: orientation, 33432: b"\xc2\xa9 me\0"}
    return LABEL + tiff_file(order, entries | dict(tags)) + before


def with_orientation(block, order, orientation):
    """Returns the block with another orientation (a LONG in these files)."""
    entry = struct.pack(f"{order}HHI", 274, 4, 1)
    at = block.index(entry) + len(entry)
    return block[:at] + struct.pack(f"{order}I", orientation) + block[at + 4 :]


# EXIF


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_kept_byte_for_byte_with_orientation_1(tmp_path, order, orientation):
    note = {37500: bytes(range(256))}  # a maker note, with whatever offsets
    block = exif(order, orientation, before=b"trailing bytes", tags=note.items())
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, block)))
    expected = with_orientation(block, order, 1)
    assert (0xE1, expected) in through(path)
    assert sum(a != b for a, b in zip(block, expected, strict=True)) <= 1
    turned = (WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH)
    assert image_size(path) == read_image(path).shape[:2] == turned


def test_orientation_behind_a_damaged_entry_counts(tmp_path):
    block = exif("<", 6, tags={270: b"a text of some length"}.items())
    at = block.index(struct.pack("<HH", 270, 7)) + 8
    block = block[:at] + struct.pack("<I", 60_000) + block[at + 4 :]
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, block)))
    assert image_size(path) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(
        read_image(path), np.rot90(np.array(Image.open(path)), -1)
    )
    assert (0xE1, with_orientation(block, "<", 1)) in through(path)


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_orientation_of_every_integer_type_is_reset_in_its_place(kind):
    code = {1: "B", 3: "H", 4: "I"}[kind]
    head = LABEL + b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHI", 274, kind, 1)
    before, after = (struct.pack(f">{code}", n).ljust(4, b"\0") for n in (8, 1))
    orientation, found = metadata.upright(Metadata(exif=head + before + bytes(4)))
    assert orientation == 8
    assert found.exif == head + after + bytes(4)


def test_second_exif_segment_is_kept_behind_the_first(tmp_path):
    first, second = exif(">", 1), LABEL + b"more of it"
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, first), (0xE1, second)))
    kept = [part for part in through(path) if part[0] == 0xE1]
    assert kept == [(0xE1, with_orientation(first, ">", 1)), (0xE1, second)]


@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("label", [b"", LABEL])
def test_exif_of_png_and_webp_is_kept_byte_for_byte(tmp_path, suffix, label):
    block = exif(">", 3)
    if suffix == "png":
        chunk = png_chunk(b"eXIf", label + block[6:])
        data = png_file([row.tobytes() for row in RGB], WIDTH, 8, 2, before=chunk)
        path = written(tmp_path / "x.png", data)
    else:
        path = str(tmp_path / "x.webp")
        Image.fromarray(RGB).save(path, lossless=True, exif=label + block[6:])
    np.testing.assert_array_equal(read_image(path), RGB[::-1, ::-1])
    assert (0xE1, with_orientation(block, ">", 1)) in through(path)


# XMP, IPTC, comments


@pytest.mark.parametrize(
    "old, new",
    [
        (b'tiff:Orientation="6"', b'tiff:Orientation="1"'),
        (b"tiff:Orientation='6'", b"tiff:Orientation='1'"),
        (b"<tiff:Orientation>6</tiff", b"<tiff:Orientation>1</tiff"),
        (b'tiff:Orientation = "6"', b'tiff:Orientation = "1"'),
    ],
)
def test_orientation_in_xmp_is_applied_and_reset(tmp_path, old, new):
    packet = PACKET.replace(b'tiff:Orientation="6"', old)
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, XMP_LABEL + packet)))
    assert image_size(path) == read_image(path).shape[:2] == (WIDTH, HEIGHT)
    assert (0xE1, XMP_LABEL + packet.replace(old, new)) in through(path)


def test_orientation_of_exif_stands_above_that_of_xmp(tmp_path):
    parts = [(0xE1, exif("<", 3)), (0xE1, XMP_LABEL + PACKET)]
    path = written(tmp_path / "x.jpg", jpeg_with(*parts))
    upside_down = np.array(Image.open(path))[::-1, ::-1]
    np.testing.assert_array_equal(read_image(path), upside_down)
    reset = PACKET.replace(b'Orientation="6"', b'Orientation="1"')
    assert (0xE1, XMP_LABEL + reset) in through(path)


@pytest.mark.parametrize("writer", WRITERS)
def test_all_kinds_of_metadata_come_out_of_every_writer(tmp_path, writer):
    packet = PACKET.replace(b'"6"', b'"1"')
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    parts = [
        (0xE1, exif("<", 1)),
        (0xE1, XMP_LABEL + packet),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(80)),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\5title\0"),
        (0xE2, b"ICC_PROFILE\0\1\1" + profile),
        (0xFE, b"a comment \xff\xd9 with a marker in it"),
        (0xFE, b"and another"),
    ]
    path = written(tmp_path / "x.jpg", jpeg_with(*parts))
    kept = through(path, WRITERS[writer])
    assert next(marker for marker, _ in kept) == 0xE0
    assert all(part in kept for part in parts)
    assert len([m for m, _ in kept if m > 0xE0]) == len(parts)


def test_xmp_of_png_webp_and_tiff_is_kept(tmp_path):
    reset = (0xE1, XMP_LABEL + PACKET.replace(b'Orientation="6"', b'Orientation="1"'))
    Image.fromarray(RGB).save(tmp_path / "x.webp", lossless=True, xmp=PACKET)
    rows = [row.tobytes() for row in RGB]
    keyword = b"XML:com.adobe.xmp\0"
    for name, content in (
        ("plain", keyword + b"\0\0\0\0" + PACKET),
        ("packed", keyword + b"\1\0en\0\0" + zlib.compress(PACKET)),
    ):
        chunk = png_chunk(b"iTXt", content)
        data = png_file(rows, WIDTH, 8, 2, after=chunk)
        written(tmp_path / f"{name}.png", data)
    for path in tmp_path.iterdir():
        assert image_size(path) == read_image(path).shape[:2] == (WIDTH, HEIGHT), path
        assert reset in through(path), path


def rgb_tiff(tags):
    base = {256: WIDTH, 257: HEIGHT, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3}
    return tiff_file("<", base | {273: RGB.tobytes(), 278: HEIGHT, 284: 1} | tags)


@pytest.mark.parametrize("tagged", [False, True])
def test_xmp_and_photoshop_resources_of_tiff_are_kept(tmp_path, tagged):
    """An orientation in XMP turns the image, unless the tags have one."""
    resources = b"8BIM\4\4\0\0\0\0\0\5title\0"
    tags = {700: PACKET, 34377: resources} | ({274: 8} if tagged else {})
    path = written(tmp_path / "x.tif", rgb_tiff(tags))
    expected = np.rot90(RGB, 1 if tagged else -1)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == (WIDTH, HEIGHT)
    kept = through(path)
    reset = PACKET.replace(b'Orientation="6"', b'Orientation="1"')
    assert (0xE1, XMP_LABEL + reset) in kept
    assert (0xED, b"Photoshop 3.0\0" + resources) in kept
    assert not any(payload.startswith(LABEL) for _, payload in kept)


def test_profiles_of_imagemagick_in_png_texts_are_kept(tmp_path):
    block = exif(">", 6)
    chunks = b""
    for kind, content in ((b"exif", block), (b"iptc", b"8BIM\4\4" + bytes(6))):
        digits = content.hex().encode()
        lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        text = b"\n" + kind + b"\n%8d\n" % len(content) + lines + b"\n"
        keyword = b"Raw profile type " + kind + b"\0\0"
        chunks += png_chunk(b"zTXt", keyword + zlib.compress(text))
    data = png_file([row.tobytes() for row in RGB], WIDTH, 8, 2, after=chunks)
    path = written(tmp_path / "x.png", data)
    np.testing.assert_array_equal(read_image(path), np.rot90(RGB, -1))
    kept = through(path)
    assert (0xE1, with_orientation(block, ">", 1)) in kept
    assert (0xED, b"Photoshop 3.0\x008BIM\4\4" + bytes(6)) in kept


def test_what_is_too_large_is_left_out_and_said(tmp_path, caplog):
    content = b"XML:com.adobe.xmp\0\0\0\0\0" + bytes(70_000)
    chunks = png_chunk(b"iTXt", content) + png_chunk(b"eXIf", exif("<")[6:])
    data = png_file([row.tobytes() for row in RGB], WIDTH, 8, 2, before=chunks)
    path = written(tmp_path / "x.png", data)
    kept = through(path)
    assert (0xE1, with_orientation(exif("<"), "<", 1)) in kept
    assert not any(payload.startswith(XMP_LABEL) for _, payload in kept)
    (record,) = caplog.records
    expected = f"{path}: XMP of 70000 bytes is too large for JPEG: left out"
    assert record.getMessage() == expected


# Embedding


def exif_of(maker):
    block = Image.Exif()
    block[0x010F] = maker
    return block.tobytes()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("size", [128, 65519, 65520, 4_000_000])
def test_pillow_reads_profile_and_exif_back_equal(size, writer):
    profile = np.random.default_rng(size).bytes(size)
    plain = WRITERS[writer](RGB)
    data = embed(plain, Metadata(profile, exif_of("Maker")))
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["exif"] == exif_of("Maker")
        assert image.getexif()[0x010F] == "Maker"
    assert data.startswith(plain[:20]) and data.endswith(plain[20:])
    np.testing.assert_array_equal(jpeg_file.decode(data), jpeg_file.decode(plain))
    parts = [payload for marker, payload in segments_of(data) if marker == 0xE2]
    for number, part in enumerate(parts, start=1):  # ICC.1:2010, annex B.4
        assert part[:14] == b"ICC_PROFILE\0" + bytes([number, len(parts)])
    assert b"".join(part[14:] for part in parts) == profile


def test_coefficients_of_a_file_with_many_segments_read_back():
    """The profile has 62 segments; jpeglib would overrun its 50 slots."""
    plain = optimized(RGB)
    data = embed(plain, Metadata(bytes(4_000_000)))
    found, expected = map(jpeg_file.read_coefficients, (data, plain))
    for plane, own in zip(found.planes, expected.planes, strict=True):
        np.testing.assert_array_equal(plane, own)


def test_exif_without_its_label_is_stored_with_it():
    data = embed(optimized(RGB), Metadata(exif=exif_of("Maker")[6:]))
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["exif"] == exif_of("Maker")


def test_metadata_too_large_for_jpeg_is_left_out():
    plain = optimized(RGB)
    largest = exif_of("Maker").ljust(65533, b"\0")
    with_largest = embed(plain, Metadata(exif=largest))
    assert len(with_largest) == len(plain) + 4 + 65533
    assert (0xE1, largest) in segments_of(with_largest)
    too_large = Metadata(bytes(255 * 65519 + 1), exif_of("M" * 70_000))
    assert embed(plain, too_large) == plain


def test_empty_metadata_changes_nothing():
    plain = optimized(RGB)
    assert embed(plain, Metadata()) == plain


# Density


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("unit", [0, 1, 2])
def test_density_of_a_jpeg_file_is_kept(tmp_path, writer, unit):
    data = bytearray(jpeg_with())
    data[13:18] = struct.pack(">BHH", unit, 300, 150)
    path = written(tmp_path / "x.jpg", bytes(data))
    marker, payload = through(path, WRITERS[writer])[0]
    assert marker == 0xE0 and payload[:5] == b"JFIF\0"
    assert struct.unpack(">BHH", payload[7:12]) == (unit, 300, 150)


def test_density_turns_with_the_picture(tmp_path):
    data = bytearray(jpeg_with((0xE1, exif("<", 6))))
    data[13:18] = struct.pack(">BHH", 1, 300, 150)
    payload = through(written(tmp_path / "x.jpg", bytes(data)))[0][1]
    assert struct.unpack(">BHH", payload[7:12]) == (1, 150, 300)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_density_of_png_and_tiff_is_kept(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RGB).save(path, dpi=(300, 72))
    payload = through(path)[0][1]
    assert struct.unpack(">BHH", payload[7:12]) == (1, 300, 72)


def test_density_that_jpeg_cannot_hold_is_left_out(tmp_path):
    for x, y, unit in ((70_000, 70_000, 0), (0, 0, 1), (1, 1, 0), (5, 5, 77)):
        chunk = png_chunk(b"pHYs", struct.pack(">IIB", x, y, unit))
        data = png_file([row.tobytes() for row in RGB], WIDTH, 8, 2, before=chunk)
        found = read_image_and_metadata(written(tmp_path / "x.png", data))[1]
        assert found.density is None or (unit, found.density) == (77, (0, 5, 5))


# What stands behind the image; test_containers.py has files with gain maps and videos

VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256))


@pytest.mark.parametrize(
    "payload, marker, words",
    [
        (XMP_LABEL + b'<x hdrgm:Version="1.0"/>', 0xE1, "names a gain map (HDR)"),
        (b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4), 0xE2, "names a gain map (HDR)"),
        (index([(0, 900, 0), (0, 900, 900)]), 0xE2, "names further images (MPF)"),
    ],
)
def test_what_is_missing_is_named_once(tmp_path, caplog, payload, marker, words):
    path = written(tmp_path / "x.jpg", jpeg_with((marker, payload)))
    expected = np.array(Image.open(path))
    np.testing.assert_array_equal(read_image_and_metadata(path)[0], expected)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path}: {words}")


def test_pictures_of_an_mpo_file_are_named_as_lost(tmp_path, caplog):
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    path = str(tmp_path / "x.jpg")
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], quality=95)
    pixels, _ = read_image_and_metadata(path)
    assert np.abs(pixels.astype(int) - RGB).mean() < 4
    assert len(caplog.records) == 1 and "further images (MPF" in caplog.text


def test_what_lies_behind_the_end_is_named_as_lost(tmp_path, caplog):
    path = written(tmp_path / "x.jpg", jpeg_with() + b"a trailer of 15")
    np.testing.assert_array_equal(read_image(path), np.array(Image.open(path)))
    assert image_size(path) == (HEIGHT, WIDTH) and not caplog.records
    read_image_and_metadata(path)
    assert caplog.messages == [
        f"{path}: 15 bytes behind its end are lost, the image is kept"
    ]


def test_thumbnails_of_exif_are_no_end_of_the_image(tmp_path, caplog):
    block = exif("<", 1, before=jpeg_with() + VIDEO)
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, block)))
    assert (0xE1, with_orientation(block, "<", 1)) in through(path)
    assert not caplog.records


ITEMS = (
    b"<Container:Directory><rdf:Seq><rdf:li><Container:Item "
    b'Item:Mime="video/mp4" Item:Length="9"/></rdf:li></rdf:Seq></Container:Directory>'
)
POINTERS = [
    b' GCamera:MotionPhoto="1"',
    b"\n  Camera:MotionPhotoPresentationTimestampUs = '-1'",
    b' GCamera:MicroVideoOffset="50032"',
    b' hdrgm:Version="1.0"',
]
ELEMENTS = [
    b"<GCamera:MicroVideo>1</GCamera:MicroVideo>",
    b"<Camera:MotionPhotoVersion />",
    b"<hdrgm:Version>1.0</hdrgm:Version>",
    ITEMS,
]


def packet(attributes, elements):
    head = b'<x:xmpmeta xmlns:GCamera="http://ns.google.com/photos/1.0/camera/">'
    return (
        head + b'<rdf:Description dc:title="MotionPhoto=1"%s dc:source="b">%s<dc:type/>'
        b"</rdf:Description></x:xmpmeta>" % (attributes, elements)
    )


@pytest.mark.parametrize("attribute", POINTERS)
@pytest.mark.parametrize("element", ELEMENTS)
def test_what_points_behind_the_image_goes_with_it(tmp_path, attribute, element):
    xmp = packet(attribute, element)
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, XMP_LABEL + xmp)))
    assert (0xE1, XMP_LABEL + packet(b"", b"")) in through(path)


def test_all_pointers_go_at_once():
    xmp = packet(b"".join(POINTERS), b"".join(ELEMENTS))
    kept = segments_of(embed(optimized(RGB), Metadata(xmp=xmp)))
    assert (0xE1, XMP_LABEL + packet(b"", b"")) in kept


# Thumbnails and sizes


def exif_with_thumbnail(order, orientation, thumbnail, behind=b""):
    """Returns an EXIF block with the sizes of the image and a thumbnail."""
    inner = {40962: WIDTH, 40963: HEIGHT}
    first = {271: b"maker\0", 274: orientation, 34665: [inner]}
    # The offset has to be known to write it.
    for at in (0, len(tiff_file(order, first, {274: 6, 513: 0, 514: 0}))):
        second = {274: 6, 513: at, 514: len(thumbnail)}
        block = LABEL + tiff_file(order, first, second) + thumbnail + behind
    return block


def sizes_of(block):
    exif = Image.Exif()
    exif.load(block)
    inner = exif.get_ifd(34665)
    return exif[271], inner[40962], inner[40963]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_has_no_thumbnail_and_its_own_sizes(
    tmp_path, order, orientation
):
    thumbnail = jpeg_with()
    block = exif_with_thumbnail(order, orientation, thumbnail)
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, block)))
    (kept,) = [payload for marker, payload in through(path) if marker == 0xE1]
    height, width = image_size(path)
    assert sizes_of(kept)[1:] == (width, height)
    if orientation == 1:
        assert kept == block
    else:
        assert len(kept) == len(block) - len(thumbnail)
        assert tiff.directory(kept[6:], tiff.Layout(order, False), 8)[1] == 0


def test_a_thumbnail_in_the_middle_is_overwritten(tmp_path):
    thumbnail, behind = jpeg_with(), b"a maker note"
    block = exif_with_thumbnail("<", 3, thumbnail, behind)
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, block)))
    kept = read_image_and_metadata(path)[1].exif
    assert kept.endswith(bytes(len(thumbnail)) + behind) and len(kept) == len(block)
    assert sizes_of(kept)[1:] == (WIDTH, HEIGHT)


@pytest.mark.parametrize("at, size", [(0, 9), (60_000, 9), (200, 60_000), (4, 20)])
def test_a_thumbnail_outside_of_the_block_harms_nothing(tmp_path, at, size):
    first = {271: b"maker\0", 274: 6}
    block = LABEL + tiff_file("<", first, {513: at, 514: size})
    path = written(tmp_path / "x.jpg", jpeg_with((0xE1, block)))
    kept = read_image_and_metadata(path)[1].exif
    expected = tiff_file("<", first | {274: 1})
    assert len(kept) == len(block) and kept.startswith(LABEL + expected[:-4])


# Gray files


def test_gray_stays_gray_without_a_profile_and_not_with_one():
    gray = np.repeat(RGB[..., :1], 3, axis=2)
    data = optimized(gray)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for found, mode in ((Metadata(exif=LABEL), "L"), (Metadata(profile), "RGB")):
        result = embed(data, found)
        with Image.open(io.BytesIO(result)) as image:
            assert (image.mode, image.info.get("icc_profile")) == (
                mode,
                found.icc_profile,
            )
        np.testing.assert_array_equal(jpeg_file.decode(result), jpeg_file.decode(data))


# Gray profiles


def gray_profile(gamma):
    """Returns a minimal ICC profile of gray with a gamma (ICC.1:2010)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78)
    tags, body = b"", b""
    start = 128 + 4 + 12 * 3
    for name, content in ((b"desc", text), (b"wtpt", white), (b"kTRC", curve)):
        content += b"\0" * (-len(content) % 4)
        tags += name + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    header = struct.pack(">I4sI", size, bytes(4), 0x02400000) + b"mntrGRAYXYZ "
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def srgb_of_linear(light):
    """Converts light in 0..1 to sRGB in 0..255, float64 (IEC 61966-2-1)."""
    low = light <= 0.0031308
    curve = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return 255 * np.where(low, 12.92 * light, curve)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("kind", ["png8", "png16", "tif16", "jpg", "la"])
def test_gray_with_a_gray_profile_becomes_srgb(tmp_path, caplog, gamma, kind):
    gray = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    bits = 16 if kind.endswith("16") else 8
    samples = np.rint(gray * (2**bits - 1)).astype(
        np.uint16 if bits == 16 else np.uint8
    )
    options = {"icc_profile": gray_profile(gamma)}
    image = Image.fromarray(samples)
    if kind == "la":
        image.putalpha(255)
    path = str(tmp_path / f"x.{'png' if kind == 'la' else kind[:3]}")
    image.save(path, **options, **({"quality": 100} if kind == "jpg" else {}))
    pixels, found = read_image_and_metadata(path)
    if kind == "jpg":
        samples = np.asarray(Image.open(path))
    expected = srgb_of_linear((samples / (2**bits - 1)) ** gamma)
    error = pixels - expected[..., np.newaxis]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 55
    assert np.abs(error).max() < 1.1
    assert found.icc_profile is None
    assert not caplog.records


def test_transparent_gray_with_a_profile_is_white(tmp_path):
    gray = Image.fromarray(np.array([[0, 64, 128]], np.uint8))
    path = tmp_path / "x.png"
    gray.save(path, icc_profile=gray_profile(1.0), transparency=64)
    assert read_image(path)[0, :, 0].tolist() == [0, 255, 188]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_gray_with_an_rgb_profile_keeps_it(tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = str(tmp_path / f"x.{suffix}")
    Image.fromarray(gray).save(path, icc_profile=profile)
    pixels, found = read_image_and_metadata(path)
    assert found.icc_profile == profile
    assert np.array_equal(pixels[..., 0], np.asarray(Image.open(path)))


ME = "\u00a9 me"  # programs write UTF-8
DATE = "2024:05:06 07:08:09"


def kept_tags(path):
    """Returns the tags of the EXIF block that is made of a TIFF file."""
    kept = Image.Exif()
    kept.load(read_image_and_metadata(path)[1].exif)
    return kept


@pytest.mark.parametrize("order", "<>")
def test_tags_of_tiff_that_describe_the_photograph_are_kept(tmp_path, order):
    tags = page(6, 8, 8, 1, np.zeros((6, 8), int))
    tags |= {271: "Maker", 306: DATE, 33432: ME}
    tags |= {34665: [{36867: DATE, 37500: b"maker note", 40962: 9}], 34853: [{1: "N"}]}
    (tmp_path / "x.tif").write_bytes(tiff_file(order, tags))
    kept = kept_tags(tmp_path / "x.tif")
    expected = {271: "Maker", 306: DATE, 33432: ME.encode().decode("latin1")}
    assert {t: kept[t] for t in kept if t not in (34665, 34853)} == expected
    assert dict(kept.get_ifd(34665)) == {36867: DATE}
    assert dict(kept.get_ifd(34853)) == {1: "N"}


def test_tags_of_bigtiff_are_kept(tmp_path):
    exif = Image.Exif()
    exif[271], exif[306] = "Maker", DATE
    Image.new("L", (8, 6)).save(tmp_path / "x.tif", exif=exif, big_tiff=True)
    assert dict(kept_tags(tmp_path / "x.tif")) == {271: "Maker", 306: DATE}


def test_tag_that_has_no_room_is_left_out_of_the_others(tmp_path):
    tags = page(6, 8, 8, 1, np.zeros((6, 8), int))
    tags |= {270: "x" * 70_000, 271: "Maker"}
    (tmp_path / "x.tif").write_bytes(tiff_file("<", tags))
    assert dict(kept_tags(tmp_path / "x.tif")) == {271: "Maker"}


def test_tags_of_the_layout_alone_make_no_exif(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "x.tif", dpi=(72, 72))
    assert read_image_and_metadata(tmp_path / "x.tif")[1].exif is None


def test_exif_that_is_too_large_loses_its_maker_note_first(tmp_path, caplog):
    tags = {271: "Maker", 34665: [{36867: DATE, 37500: bytes(70_000)}]}
    block = tiff_file(">", tags)
    Image.new("RGB", (8, 6)).save(tmp_path / "x.png", exif=b"Exif\0\0" + block)
    kept = kept_tags(tmp_path / "x.png")
    assert kept[271] == "Maker" and dict(kept.get_ifd(34665)) == {36867: DATE}
    (message,) = caplog.messages
    assert "too large for JPEG: its maker note and preview are left out" in message
