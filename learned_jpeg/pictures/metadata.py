"""Metadata of image files, and how a JPEG file keeps them.

Blocks are copied byte for byte, except for what would be wrong in the result. The
orientation is set to 1 (upright), since it is applied to the pixels; the thumbnail in
EXIF is then dropped. EXIF and XMP name the size of the result. Gain maps and videos
behind the image are kept, and what points to them is true again (containers.py).
"""

from __future__ import annotations

import dataclasses
import io
import logging
import struct
from typing import Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.file import with_chroma
from learned_jpeg.jpeg.segments import (
    APP0,
    APP1,
    APP2,
    APP13,
    COM,
    MAX_PAYLOAD,
    SOI,
    segment,
    segments,
)
from learned_jpeg.pictures import apple, containers, exif, gain_map, png, tiff, xmp
from learned_jpeg.pictures.colour import profile_of_cicp
from learned_jpeg.pictures.containers import NOTHING, Behind
from learned_jpeg.pictures.exif import TURNED_BY_90
from learned_jpeg.pictures.exif_tags import exif_of_tags
from learned_jpeg.pictures.gain_map import GainMap
from learned_jpeg.pictures.motion_photo import Video

logger = logging.getLogger(__name__)

Density = tuple[int, int, int]  # (unit, x, y) of a JFIF header

EXIF_LABEL = exif.LABEL
ICC_LABEL = b"ICC_PROFILE\0"
XMP_LABEL = xmp.LABEL
_XMP_EXTENSION_LABEL = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP_LABEL = b"Photoshop 3.0\0"  # its resources hold IPTC
_JFIF_LABEL = b"JFIF\0"
_MAX_DENSITY = 65535
_ICC_STEP = MAX_PAYLOAD - len(ICC_LABEL) - 2  # bytes of a profile in a segment
_XMP_ORIENTATION = "tiff:Orientation"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of an image file, as far as a JPEG file can keep them.

    Attributes:
      icc_profile: bytes of the ICC profile of an RGB image, else None: gray and CMYK
        images are converted, so that their own profile would no longer fit.
      exif: the EXIF block of the file with orientation 1, or None. It begins with
        `EXIF_LABEL`, as in the APP1 segment of a JPEG file. That of a TIFF file is
        made of its tags.
      xmp: the XMP packet with tiff:Orientation 1, or None.
      segments: (marker, payload) of further segments of a JPEG file: extended XMP,
        IPTC (in APP13), comments, the version of ISO 21496-1.
      density: (unit, x, y) of a JFIF header, or None. The unit is 0 for an aspect
        ratio, 1 for dots per inch, 2 for dots per cm.
      gain_map: the `GainMap` behind the image of a JPEG file, or None.
      video: the `Video` behind it, or None.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    segments: tuple[tuple[int, bytes], ...] = ()
    density: Density | None = None
    gain_map: GainMap | None = None
    video: Video | None = None

    @property
    def bytes_behind(self) -> int:
        """Bytes that stand behind the image."""
        own_map = len(self.gain_map.data) if self.gain_map else 0
        return own_map + (len(self.video.data) if self.video else 0)

    def look(self) -> Metadata:
        """Returns what changes how the image looks: the profile and the gain map."""
        if self.gain_map is None:
            return Metadata(self.icc_profile)
        return Metadata(
            self.icc_profile,
            exif=apple.headroom(self.exif) if self.gain_map.is_apples else None,
            xmp=containers.packet_of_gain_map(self.xmp or b""),
            segments=tuple(s for s in self.segments if _is_of_gain_map(*s)),
            gain_map=self.gain_map.without_other_metadata(),
        )


def _is_of_gain_map(marker: int, payload: bytes) -> bool:
    return marker == APP2 and payload.startswith(gain_map.ISO_LABEL)


# Reading


def of_jpeg(image: JpegImageFile, behind: Behind = NOTHING) -> Metadata:
    """Returns the metadata of a JPEG file.

    Args:
      image: the opened file.
      behind: what stands behind its image.
    """
    found_exif, found_xmp, others = None, None, []
    for name, payload in image.applist:
        if name == "APP1" and payload.startswith(XMP_LABEL) and found_xmp is None:
            found_xmp = payload[len(XMP_LABEL) :]
        elif name == "APP1" and payload.startswith(EXIF_LABEL) and found_exif is None:
            found_exif = payload
        elif name == "APP1" and payload.startswith((EXIF_LABEL, _XMP_EXTENSION_LABEL)):
            others.append((APP1, payload))
        elif name == "APP2" and _is_of_gain_map(APP2, payload):
            others.append((APP2, payload))
        elif name == "APP13":
            others.append((APP13, payload))
        elif name == "COM":
            others.append((COM, payload))
    density = None
    if "jfif_density" in image.info:
        density = (image.info["jfif_unit"], *image.info["jfif_density"])
    return Metadata(
        image.info.get("icc_profile"),
        found_exif,
        found_xmp,
        tuple(others),
        _checked_density(density),
        behind.gain_map,
        behind.video,
    )


def of_png(chunks: png.Chunks) -> Metadata:
    """Returns the metadata of a PNG file, as they stand there.

    Colours that cICP names come as a profile.
    """
    texts = chunks.texts()
    block = chunks.first(b"eXIf")
    for kind in (b"exif", b"APP1"):  # written by ImageMagick
        block = block or png.raw_profile(texts.get(b"Raw profile type " + kind, b""))
    packet = texts.get(b"XML:com.adobe.xmp")
    packet = packet or png.raw_profile(texts.get(b"Raw profile type xmp", b""))
    iptc = png.raw_profile(texts.get(b"Raw profile type iptc", b""))
    return Metadata(
        _profile_of_png(chunks),
        labelled(block),
        packet or None,
        _photoshop_segments(iptc),
        _checked_density(chunks.density()),
    )


def _profile_of_png(chunks: png.Chunks) -> bytes | None:
    cicp = chunks.cicp()
    if cicp is None or not cicp.is_known:
        return chunks.icc_profile()
    return profile_of_cicp(cicp, chunks.is_gray())


def of_tiff(image: TiffImageFile, block: bytes | None = None) -> Metadata:
    """Returns the metadata of a TIFF file.

    Args:
      image: the opened file.
      block: EXIF block that was made of its tags, see `exif_tags`.
    """
    tags = image.tag_v2
    density = None
    if tiff.X_RESOLUTION in tags and tiff.Y_RESOLUTION in tags:
        unit = {1: 0, 3: 2}.get(tags.get(tiff.RESOLUTION_UNIT, 2), 1)
        x, y = tags[tiff.X_RESOLUTION], tags[tiff.Y_RESOLUTION]
        density = (unit, _whole(x), _whole(y))
    return Metadata(
        image.info.get("icc_profile"),
        block,
        _bytes_or_none(tags.get(tiff.XMP)),
        _photoshop_segments(_bytes_or_none(tags.get(tiff.PHOTOSHOP))),
        _checked_density(density),
    )


def of_other(image: Image.Image) -> Metadata:
    """Returns the metadata of an image of another format."""
    info = image.info
    return Metadata(
        info.get("icc_profile"),
        labelled(_bytes_or_none(info.get("exif"))),
        _bytes_or_none(info.get("xmp")),
    )


def labelled(block: bytes | None) -> bytes | None:
    """Returns an EXIF block with its label, which it may have already."""
    return EXIF_LABEL + block.removeprefix(EXIF_LABEL) if block else None


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
    block, orientation = exif.without_orientation(metadata.exif)
    packet, orientation_in_xmp = _without_orientation(metadata.xmp)
    orientation = orientation_in_xmp if orientation is None else orientation
    orientation = orientation if 1 <= orientation <= 8 else 1
    density, own_map = metadata.density, metadata.gain_map
    if density and orientation in TURNED_BY_90:
        density = (density[0], density[2], density[1])
    if block and orientation != 1:
        block = exif.without_thumbnail(block)
    if own_map:
        own_map = dataclasses.replace(own_map, orientation=orientation)
    return orientation, dataclasses.replace(
        metadata, exif=block, xmp=packet, density=density, gain_map=own_map
    )


def _without_orientation(packet: bytes | None) -> tuple[bytes | None, int]:
    """Returns (an XMP packet with orientation 1, the orientation before that)."""
    numbers = []
    if packet:
        parsed = xmp.Packet(packet)
        texts = [p.value(packet) for p in parsed.named(_XMP_ORIENTATION)]
        numbers = [n for n in map(xmp.whole_number, texts) if n is not None]
        packet = xmp.with_values(packet, {_XMP_ORIENTATION: 1})
    return packet, numbers[0] if numbers else 1


# Writing


def fitting(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """Removes what JPEG has no room for, and EXIF that cannot be read.

    Returns:
      (metadata, notes on what was left out).
    """
    changes: dict[str, Any] = {}
    names: list[str] = []
    notes: list[str] = []
    if smaller := _smaller_exif(metadata.exif):
        notes.append(
            f"EXIF of {len(metadata.exif or b'')} bytes is too large for JPEG: its "
            "maker note and preview are left out"
        )
        metadata = dataclasses.replace(metadata, exif=smaller)
    for name, label in (("exif", b""), ("xmp", XMP_LABEL)):
        value = getattr(metadata, name)
        if value and len(label) + len(value) > MAX_PAYLOAD:
            changes[name] = None
            names.append(f"{name.upper()} of {len(value)} bytes")
    if metadata.exif and "exif" not in changes and not exif.is_readable(metadata.exif):
        changes["exif"] = None
        notes.append("its EXIF is damaged: left out")
    if metadata.xmp and "xmp" not in changes and containers.misleads(metadata.xmp):
        changes["xmp"] = None
        notes.append("its XMP is damaged: left out")
    if metadata.icc_profile and len(metadata.icc_profile) > 255 * _ICC_STEP:
        changes["icc_profile"] = None
        names.append(f"ICC profile of {len(metadata.icc_profile)} bytes")
    kept = tuple(s for s in metadata.segments if len(s[1]) <= MAX_PAYLOAD)
    if len(kept) < len(metadata.segments):
        changes["segments"] = kept
        names.append("IPTC")
    notes += [f"{name} is too large for JPEG: left out" for name in names]
    return dataclasses.replace(metadata, **changes), notes


def _smaller_exif(block: bytes | None) -> bytes | None:
    """Returns what fits of an EXIF block that is too large; None for others."""
    if block is None or len(block) <= MAX_PAYLOAD:
        return None
    smaller = exif_of_tags(block[len(EXIF_LABEL) :])
    return smaller if smaller and len(smaller) <= MAX_PAYLOAD else None


def embed(data: bytes, metadata: Metadata) -> bytes:
    """Puts metadata into a JPEG file, after SOI and the JFIF header.

    An EXIF block or ICC profile that is too large for JPEG (65533 bytes, 16 MB) is left
    out, with a warning. A gray file becomes one of three components where there is a
    profile, which is one of RGB. EXIF and XMP name the size of the file. A gain map and
    a video follow the image.
    """
    if metadata.exif and not metadata.exif.startswith(EXIF_LABEL):
        metadata = dataclasses.replace(metadata, exif=EXIF_LABEL + metadata.exif)
    metadata, notes = fitting(metadata)
    for note in notes:
        logger.warning(note)
    if metadata.icc_profile:
        data = with_chroma(data)
    metadata = _with_size(metadata, data)
    data = inserted(_with_density(data, metadata.density), metadata)
    own_map = metadata.gain_map and metadata.gain_map.upright()
    return containers.joined(data, own_map, metadata.video)


def inserted(data: bytes, metadata: Metadata) -> bytes:
    """Puts blocks of metadata into a JPEG file as they are, behind its first ones."""
    blocks = [(APP1, metadata.exif)] if metadata.exif else []
    if metadata.xmp:
        blocks.append((APP1, XMP_LABEL + metadata.xmp))
    blocks += metadata.segments
    blocks += _icc_segments(metadata.icc_profile)
    position = max(
        end
        for marker, start, end in segments(data)
        if marker in (SOI, APP0) or data.startswith(EXIF_LABEL, start + 4)
    )
    added = b"".join(segment(marker, payload) for marker, payload in blocks)
    return data[:position] + added + data[position:]


def _with_size(metadata: Metadata, data: bytes) -> Metadata:
    """Writes the size of a JPEG file where EXIF and XMP name one."""
    header = frame.read_frame(io.BytesIO(data))
    if header is None:
        return metadata
    width, height = header.width, header.height
    block, packet = metadata.exif, metadata.xmp
    if block:
        block = exif.with_size(block, height, width)
    if packet:
        sizes = {"tiff:ImageWidth": width, "tiff:ImageLength": height}
        sizes |= {"exif:PixelXDimension": width, "exif:PixelYDimension": height}
        packet = xmp.with_values(packet, sizes)
    return dataclasses.replace(metadata, exif=block, xmp=packet)


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
