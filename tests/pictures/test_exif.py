"""Tests of exif.py: blocks are edited in their place, and stay whole otherwise."""

import io
import struct
import time

import pytest
from PIL import Image

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures import exif, tiff
from learned_jpeg.pictures.image_files import read_image_and_metadata
from learned_jpeg.pictures.metadata import Metadata, embed
from tests.pictures import hdr_files
from tests.pictures.picture_files import tiff_file

SMALL = jpeg_file.encode_rgb(hdr_files.pixels(20, 30), 80)


def exif_of(data):
    return next(p for _, p in hdr_files.segments_of(data)[0] if p.startswith(b"Exif"))


def full_block(order, width, height, orientation, thumbnail=b"", behind=b""):
    """Returns a block with sizes, a maker note, interoperability and GPS."""
    note = b"Maker\0" + bytes(range(200))
    interoperability = {1: b"R98\0", 4097: 4000, 4098: 3000}
    inner = {37500: note, 40962: width, 40963: height, 40965: [interoperability]}
    first = {256: width, 257: height, 271: b"maker\0", 274: orientation}
    first |= {34665: [inner], 34853: [{1: b"N\0"}]}
    for at in (0, len(tiff_file(order, first, {513: 0, 514: 0}))):
        second = {513: at, 514: len(thumbnail)}
        block = tiff_file(order, first, second) + thumbnail + behind
    return exif.LABEL + block


@pytest.mark.parametrize("order", "<>")
def test_sizes_are_those_of_the_result_and_all_else_stays_in_its_place(order):
    before = full_block(order, 4000, 3000, 1, behind=b"rest")
    after = exif_of(embed(SMALL, Metadata(exif=before)))
    # The interoperability of the input still names 4000 x 3000.
    expected = full_block(order, 30, 20, 1, behind=b"rest")
    assert after == expected and after.index(b"Maker\0") == before.index(b"Maker\0")


@pytest.mark.parametrize("kind", [3, 4])
def test_sizes_of_either_type_are_written(kind):
    code = {3: "H", 4: "I"}[kind]
    head = exif.LABEL + b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHI", 256, kind, 1)
    before, after = (struct.pack(f">{code}", n).ljust(4, b"\0") for n in (999, 30))
    assert exif.with_size(head + before + bytes(4), 20, 30) == head + after + bytes(4)
    single = head[:-6] + struct.pack(">HI", 1, 1) + b"\x09\0\0\0" + bytes(4)
    assert exif.with_size(single, 20, 300) == single  # no room in a byte


def test_a_thumbnail_that_would_overwrite_a_directory_is_only_unlinked():
    block = bytearray(full_block("<", 30, 20, 6)[6:])
    layout, offset = tiff.first_directory(block)
    _, second = tiff.directory(block, layout, offset)
    for entry in tiff.directory(block, layout, second)[0]:
        numbers = {513: 9, 514: len(block) - 20}
        tiff.set_number(block, layout, entry, numbers[entry.tag])
    block[9:11] = b"\xff\xd8"
    before = bytes(block)
    after = exif.without_thumbnail(exif.LABEL + before)[6:]
    assert sum(a != b for a, b in zip(after, before, strict=True)) <= 4
    assert tiff.directory(after, layout, offset)[1] == 0


@pytest.mark.parametrize(
    "block",
    [
        b"II*\0\x08\0\0\0",
        b"no TIFF header at all",
        b"II*\0\xff\xff\xff\x7f" + bytes(40),
        b"II*\0\x08\0\0\0\0\0" + bytes(40),
    ],
)
def test_exif_that_cannot_be_read_is_left_out_with_a_line(tmp_path, caplog, block):
    image = hdr_files.jpeg(hdr_files.pixels(20, 30), (0xE1, exif.LABEL + block))
    (tmp_path / "x.jpg").write_bytes(image)
    pixels, found = read_image_and_metadata(tmp_path / "x.jpg")
    assert pixels.shape == (20, 30, 3) and found.exif is None
    assert caplog.messages == [f"{tmp_path / 'x.jpg'}: its EXIF is damaged: left out"]


def test_huge_counts_and_circles_take_no_time_and_no_memory():
    count = 4000
    entries = b"".join(struct.pack("<HHII", 34665, 3, 4096, 10) for _ in range(count))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + b"\x08\0\0\0"
    start = time.process_time()
    for change in (
        lambda: exif.with_size(exif.LABEL + block, 20, 30),
        lambda: exif.without_thumbnail(exif.LABEL + block),
        lambda: exif.without_orientation(exif.LABEL + block),
        lambda: exif.is_readable(exif.LABEL + block),
    ):
        assert change()
    assert time.process_time() - start < 2
    assert not any(
        e.numbers for e in tiff.directory(block, tiff.Layout("<", False), 8)[0]
    )


def test_a_turned_image_has_true_exif_for_pillow():
    thumbnail = hdr_files.jpeg(hdr_files.pixels(8, 8))
    block = full_block(">", 40, 30, 6, thumbnail)
    buffer = io.BytesIO(hdr_files.jpeg(hdr_files.pixels(30, 40), (0xE1, block)))
    import learned_jpeg as lj

    data = lj.encode(Image.open(buffer), quantization="round", quality=50)
    with Image.open(io.BytesIO(data)) as image:
        found = image.getexif()
        inner = found.get_ifd(34665)
    assert (found[256], found[257], found[274]) == (30, 40, 1)
    assert (inner[40962], inner[40963]) == (30, 40)
    assert found.get_ifd(1) == {} and len(inner[37500]) == 206
