"""Makes EXIF blocks true again after the image was turned or written anew.

A block is edited in its place: offsets in a maker note may count from its start, so
that nothing may move. What is damaged stays as it is.
"""

from __future__ import annotations

from PIL import Image

from learned_jpeg.pictures import tiff

LABEL = b"Exif\0\0"  # of the segment of a JPEG file

TURNED_BY_90 = (5, 6, 7, 8)  # orientations that swap height and width
# What turns an image of EXIF orientation 2..8 upright (EXIF 2.3, section 4.6.4).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_readable(exif: bytes) -> bool:
    """Returns whether a block has a first directory with an entry."""
    block = exif.removeprefix(LABEL)
    first = tiff.first_directory(block)
    return first is not None and bool(tiff.directory(block, *first)[0])


def without_orientation(exif: bytes | None) -> tuple[bytes | None, int | None]:
    """Returns (the block with orientation 1, the orientation before that or None)."""
    block, found = bytearray((exif or b"")[len(LABEL) :]), None
    first = tiff.first_directory(block)
    if first is None:
        return exif, None
    layout, offset = first
    for entry in tiff.directory(block, layout, offset)[0]:
        if entry.tag == tiff.ORIENTATION and len(entry.numbers) == 1:
            found = entry.numbers[0] if found is None else found
            tiff.set_number(block, layout, entry, 1)
    return LABEL + bytes(block), found


def without_thumbnail(exif: bytes) -> bytes:
    """Returns a block without its thumbnail, which shows the image as it stood."""
    block = bytearray(exif[len(LABEL) :])
    first = tiff.first_directory(block)
    if first is None:
        return exif
    tiff.drop_thumbnail(block, *first)
    return LABEL + bytes(block)


def with_size(exif: bytes, height: int, width: int) -> bytes:
    """Returns a block that names the size of the image wherever it names one.

    Args:
      exif: the block.
      height, width: of the image as it is stored, in px.
    """
    block = bytearray(exif[len(LABEL) :])
    first = tiff.first_directory(block)
    if first is None:
        return exif
    layout, offset = first
    sizes = {tiff.WIDTH: width, tiff.HEIGHT: height}
    sizes |= {tiff.PIXEL_X_DIMENSION: width, tiff.PIXEL_Y_DIMENSION: height}
    inner = tiff.numbers_of(block, layout, offset, tiff.EXIF_IFD)[:1]
    for place in (offset, *inner):
        for entry in tiff.directory(block, layout, place)[0]:
            if entry.tag in sizes and len(entry.numbers) == 1:
                tiff.set_number(block, layout, entry, sizes[entry.tag])
    return LABEL + bytes(block)
