"""Metadata of image files, and how a JPEG file keeps them.

Blocks are copied byte for byte, except for what would be wrong in the result. The
orientation is set to 1 (upright), since it is applied to the pixels; the sizes in EXIF
turn with it, and its thumbnail is dropped. XMP loses what points to a video or a gain
map behind the image.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import struct
from typing import Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from learned_jpeg.jpeg.file import with_chroma
from learned_jpeg.jpeg.segments import (
    APP0,
    APP1,
    APP2,
    APP13,
    COM,
    EOI,
    MAX_PAYLOAD,
    SOI,
    found_segments,
    segment,
    segments,
)
from learned_jpeg.pictures import png, tiff
from learned_jpeg.pictures.colour import icc_profile

logger = logging.getLogger(__name__)

Density = tuple[int, int, int]  # (unit, x, y) of a JFIF header

EXIF_LABEL = b"Exif\0\0"
ICC_LABEL = b"ICC_PROFILE\0"
XMP_LABEL = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION_LABEL = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP_LABEL = b"Photoshop 3.0\0"  # its resources hold IPTC
_GAIN_MAP_LABEL = b"urn:iso:std:iso:ts:21496:-1\0"
_GAIN_MAP_IN_XMP = b"hdrgm:Version"
_JFIF_LABEL = b"JFIF\0"
_MAX_DENSITY = 65535
_ICC_STEP = MAX_PAYLOAD - len(ICC_LABEL) - 2  # bytes of a profile in a segment

TURNED_BY_90 = (5, 6, 7, 8)  # orientations that swap height and width
# Properties of motion photos and of gain maps, and the directory of what lies behind
# the image, under any prefix (Android: Motion Photo format 1.0, Ultra HDR 1.0).
_NAMES = rb"(?:MotionPhoto|MicroVideo)\w*"
_XMP_POINTERS = re.compile(
    rb"\s+[\w.-]+:%(names)s\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|\s+hdrgm:Version\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|<([\w.-]+:%(names)s)\b[^>]*?(?:/>|>.*?</\1\s*>)"
    rb"|<(hdrgm:Version)\b[^>]*?(?:/>|>.*?</\2\s*>)"
    rb"|<(G?Container:Directory)\b[^>]*?(?:/>|>.*?</\3\s*>)" % {b"names": _NAMES},
    re.DOTALL,
)
_VIDEO = re.compile(rb"....ftyp", re.DOTALL)  # the first box of an MP4 file
_FILL = b"\0\n\r "  # some cameras fill the last sector of a file
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)([0-9])")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of an image file, as far as a JPEG file can keep them.

    Attributes:
      icc_profile: bytes of the ICC profile of an RGB image, else None: gray and CMYK
        images are converted, so that their own profile would no longer fit.
      exif: the EXIF block of the file with orientation 1, or None. It begins with
        `EXIF_LABEL`, as in the APP1 segment of a JPEG file. The tags of a TIFF file are
        not copied: most of them describe the layout of that file.
      xmp: the XMP packet with tiff:Orientation 1, or None. That of a JPEG file says
        nothing of a video or a gain map, which the result does not have.
      segments: (marker, payload) of further segments of a JPEG file: extended XMP,
        IPTC (in APP13), comments.
      density: (unit, x, y) of a JFIF header, or None. The unit is 0 for an aspect
        ratio, 1 for dots per inch, 2 for dots per cm.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    segments: tuple[tuple[int, bytes], ...] = ()
    density: Density | None = None


# Reading


def of_jpeg(image: JpegImageFile) -> Metadata:
    """Returns the metadata of a JPEG file, without pointers behind the image."""
    exif, xmp, others = None, None, []
    for name, payload in image.applist:
        if name == "APP1" and payload.startswith(XMP_LABEL) and xmp is None:
            xmp = _XMP_POINTERS.sub(b"", payload[len(XMP_LABEL) :])
        elif name == "APP1" and payload.startswith(EXIF_LABEL) and exif is None:
            exif = payload
        elif name == "APP1" and payload.startswith((EXIF_LABEL, _XMP_EXTENSION_LABEL)):
            others.append((APP1, payload))
        elif name == "APP13":
            others.append((APP13, payload))
        elif name == "COM":
            others.append((COM, payload))
    density = None
    if "jfif_density" in image.info:
        density = (image.info["jfif_unit"], *image.info["jfif_density"])
    return Metadata(
        image.info.get("icc_profile"),
        exif_block(exif),
        xmp,
        tuple(others),
        _checked_density(density),
    )


def of_png(chunks: png.Chunks) -> Metadata:
    """Returns the metadata of a PNG file, as they stand there.

    Colours that cICP names come as a profile.
    """
    texts = chunks.texts()
    exif = chunks.first(b"eXIf")
    for kind in (b"exif", b"APP1"):  # written by ImageMagick
        exif = exif or png.raw_profile(texts.get(b"Raw profile type " + kind, b""))
    xmp = texts.get(b"XML:com.adobe.xmp")
    xmp = xmp or png.raw_profile(texts.get(b"Raw profile type xmp", b""))
    iptc = png.raw_profile(texts.get(b"Raw profile type iptc", b""))
    return Metadata(
        _profile_of_png(chunks),
        exif_block(exif),
        xmp or None,
        _photoshop_segments(iptc),
        _checked_density(chunks.density()),
    )


def _profile_of_png(chunks: png.Chunks) -> bytes | None:
    cicp = chunks.cicp()
    if cicp is None or not cicp.is_known:
        return chunks.icc_profile()
    return None if cicp.is_srgb(chunks.is_gray()) else icc_profile(cicp)


def of_tiff(image: TiffImageFile) -> Metadata:
    """Returns the metadata of a TIFF file, without the tags themselves."""
    tags = image.tag_v2
    density = None
    if tiff.X_RESOLUTION in tags and tiff.Y_RESOLUTION in tags:
        unit = {1: 0, 3: 2}.get(tags.get(tiff.RESOLUTION_UNIT, 2), 1)
        x, y = tags[tiff.X_RESOLUTION], tags[tiff.Y_RESOLUTION]
        density = (unit, _whole(x), _whole(y))
    return Metadata(
        image.info.get("icc_profile"),
        None,
        _bytes_or_none(tags.get(tiff.XMP)),
        _photoshop_segments(_bytes_or_none(tags.get(tiff.PHOTOSHOP))),
        _checked_density(density),
    )


def of_other(image: Image.Image) -> Metadata:
    """Returns the metadata of an image of another format."""
    info = image.info
    return Metadata(
        info.get("icc_profile"),
        exif_block(_bytes_or_none(info.get("exif"))),
        _bytes_or_none(info.get("xmp")),
    )


def lost_behind(image: JpegImageFile, data: bytes) -> list[str]:
    """Returns notes on what lies behind the image of a JPEG file, which is lost.

    Args:
      image: the opened file.
      data: its bytes.
    """
    labels = [payload for _, payload in image.applist]
    notes = []
    if any(p.startswith(_GAIN_MAP_LABEL) or _GAIN_MAP_IN_XMP in p for p in labels):
        notes.append("its gain map (HDR) is lost, the image itself is kept")
    elif any(payload.startswith(b"MPF\0") for payload in labels):
        notes.append(
            "its further images (MPF: gain map, depth or preview) are lost, the "
            "first one is kept"
        )
    rest = _behind_the_end(data)
    if _VIDEO.search(rest):
        notes.append("its video (motion photo) is lost, the image itself is kept")
    elif rest and not notes:
        notes.append(f"{len(rest)} bytes behind its end are lost, the image is kept")
    return notes


def _behind_the_end(data: bytes) -> bytes:
    """Returns what follows a JPEG file, without fill bytes at its end."""
    ends = [end for marker, _, end in found_segments(data) if marker == EOI]
    return data[ends[0] :].rstrip(_FILL) if ends else b""


def exif_block(data: bytes | None) -> bytes | None:
    """Returns an EXIF block with its label; None if it has no TIFF header."""
    block = (data or b"").removeprefix(EXIF_LABEL)
    return EXIF_LABEL + block if tiff.first_directory(block) else None


def _photoshop_segments(resources: bytes | None) -> tuple[tuple[int, bytes], ...]:
    return ((APP13, _PHOTOSHOP_LABEL + resources),) if resources else ()


def _bytes_or_none(value: Any) -> bytes | None:
    if isinstance(value, tuple) and len(value) == 1:  # some tags of a TIFF file
        (value,) = value
    return value if isinstance(value, bytes) and value else None


def _whole(value: Any) -> int:
    try:
        return round(value)
    except (ArithmeticError, ValueError, TypeError):
        return 0


def _checked_density(density: Density | None) -> Density | None:
    """Returns None for a density without meaning, or without room in a JFIF header."""
    if density is None or not 0 <= density[0] <= 2:
        return None
    if density == (0, 1, 1) or not all(0 < n <= _MAX_DENSITY for n in density[1:]):
        return None
    return density


# Orientation


def upright(metadata: Metadata) -> tuple[int, Metadata]:
    """Removes the orientation from metadata.

    Returns:
      (orientation 1..8 as in EXIF, metadata of the image turned upright).
    """
    exif, orientation = _reset_exif(metadata.exif)
    xmp, orientation_in_xmp = metadata.xmp, 1
    if xmp and (match := _XMP_ORIENTATION.search(xmp)):
        orientation_in_xmp = int(match[2])
        xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    orientation = orientation_in_xmp if orientation is None else orientation
    orientation = orientation if 1 <= orientation <= 8 else 1
    density = metadata.density
    if density and orientation in TURNED_BY_90:
        density = (density[0], density[2], density[1])
    if exif and orientation != 1:
        exif = _turned_exif(exif, orientation in TURNED_BY_90)
    return orientation, dataclasses.replace(
        metadata, exif=exif, xmp=xmp, density=density
    )


def _reset_exif(exif: bytes | None) -> tuple[bytes | None, int | None]:
    """Returns (the block with orientation 1, the orientation before that or None)."""
    block, found = bytearray((exif or b"")[len(EXIF_LABEL) :]), None
    first = tiff.first_directory(block)
    if first is None:
        return exif, None
    layout, offset = first
    for entry in tiff.directory(block, layout, offset)[0]:
        if entry.tag == tiff.ORIENTATION and len(entry.numbers) == 1:
            found = entry.numbers[0] if found is None else found
            code = layout.order + tiff.INTEGERS[entry.kind]
            struct.pack_into(code, block, entry.position, 1)
    return EXIF_LABEL + bytes(block), found


def _turned_exif(exif: bytes, swaps_sides: bool) -> bytes:
    """Returns an EXIF block without its thumbnail, for an image that was turned.

    Args:
      exif: the block.
      swaps_sides: whether the width and height in it change places.
    """
    block = bytearray(exif[len(EXIF_LABEL) :])
    first = tiff.first_directory(block)
    if first is None:
        return exif
    layout, offset = first
    if swaps_sides:
        for inner in tiff.numbers_of(block, layout, offset, tiff.EXIF_IFD):
            tiff.swap(block, layout, inner, tiff.PIXEL_X_DIMENSION)
    tiff.drop_thumbnail(block, layout, offset)
    return EXIF_LABEL + bytes(block)


# Writing


def fitting(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """Removes what JPEG has no room for.

    Returns:
      (metadata, names of what was left out).
    """
    changes: dict[str, Any] = {}
    names: list[str] = []
    for name, label in (("exif", b""), ("xmp", XMP_LABEL)):
        value = getattr(metadata, name)
        if value and len(label) + len(value) > MAX_PAYLOAD:
            changes[name] = None
            names.append(f"{name.upper()} of {len(value)} bytes")
    if metadata.icc_profile and len(metadata.icc_profile) > 255 * _ICC_STEP:
        changes["icc_profile"] = None
        names.append(f"ICC profile of {len(metadata.icc_profile)} bytes")
    kept = tuple(s for s in metadata.segments if len(s[1]) <= MAX_PAYLOAD)
    if len(kept) < len(metadata.segments):
        changes["segments"] = kept
        names.append("IPTC")
    return dataclasses.replace(metadata, **changes), names


def embed(data: bytes, metadata: Metadata) -> bytes:
    """Puts metadata into a JPEG file, after SOI and the JFIF header.

    An EXIF block or ICC profile that is too large for JPEG (65533 bytes, 16 MB) is left
    out, with a warning. A gray file becomes one of three components where there is a
    profile, which is one of RGB.
    """
    if metadata.exif and not metadata.exif.startswith(EXIF_LABEL):
        metadata = dataclasses.replace(metadata, exif=EXIF_LABEL + metadata.exif)
    metadata, too_large = fitting(metadata)
    for name in too_large:
        logger.warning("%s is too large for JPEG: left out", name)
    if metadata.icc_profile:
        data = with_chroma(data)
    inserted = [(APP1, metadata.exif)] if metadata.exif else []
    if metadata.xmp:
        inserted.append((APP1, XMP_LABEL + metadata.xmp))
    inserted += metadata.segments
    inserted += _icc_segments(metadata.icc_profile)
    data = _with_density(data, metadata.density)
    position = max(end for marker, _, end in segments(data) if marker in (SOI, APP0))
    added = b"".join(segment(marker, payload) for marker, payload in inserted)
    return data[:position] + added + data[position:]


def _with_density(data: bytes, density: Density | None) -> bytes:
    """Writes the density into the JFIF header, which all of our files have."""
    if density is None:
        return data
    start = next(start for marker, start, _ in segments(data) if marker == APP0)
    at = start + 4 + len(_JFIF_LABEL) + 2  # marker, length, label, version
    return data[:at] + struct.pack(">BHH", *density) + data[at + 5 :]


def _icc_segments(profile: bytes | None) -> list[tuple[int, bytes]]:
    """Returns the segments of an ICC profile, numbered from 1 (ICC.1:2010, B.4)."""
    if not profile:
        return []
    starts = range(0, len(profile), _ICC_STEP)
    return [
        (APP2, ICC_LABEL + bytes([number, len(starts)]) + profile[at : at + _ICC_STEP])
        for number, at in enumerate(starts, start=1)
    ]
