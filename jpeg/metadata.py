"""What a picture file holds beside its pixels, and how a JPEG file keeps it."""

import dataclasses
import logging

from jpeg.segments import APP0, APP1, APP2, MAX_PAYLOAD, SOI, segment, segments

logger = logging.getLogger(__name__)

EXIF_LABEL = b"Exif\0\0"
ICC_LABEL = b"ICC_PROFILE\0"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a picture file holds beside its pixels and ought to keep.

    Attributes:
      icc_profile: bytes of the ICC profile of an RGB picture, else None (gray and
        CMYK pictures are converted, their profile would no longer fit).
      exif: the EXIF block without the orientation tag, which is applied to the
        pixels; begins with b"Exif\\0\\0", as in the APP1 segment of a JPEG file.
        None if there is none. The tags of a TIFF file are not taken over: most
        describe how that file is laid out.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None


def with_metadata(data, metadata):
    """Inserts the segments of `Metadata` (or None) after SOI and the JFIF header."""
    if metadata is None:
        return data
    inserted = _exif_segments(metadata.exif) + _icc_segments(metadata.icc_profile)
    headers = (end for marker, _, end in segments(data) if marker in (SOI, APP0))
    position = max(headers)
    return data[:position] + inserted + data[position:]


def _exif_segments(exif):
    """APP1 segment of an EXIF block, which JPEG cannot split over several."""
    if not exif:
        return b""
    payload = exif if exif.startswith(EXIF_LABEL) else EXIF_LABEL + exif
    if len(payload) > MAX_PAYLOAD:
        logger.warning("EXIF of %d bytes is too large for JPEG: left out", len(exif))
        return b""
    return segment(APP1, payload)


def _icc_segments(profile):
    """APP2 segments of an ICC profile, numbered from 1 (ICC.1:2010, annex B.4)."""
    if not profile:
        return b""
    step = MAX_PAYLOAD - len(ICC_LABEL) - 2
    chunks = [profile[start : start + step] for start in range(0, len(profile), step)]
    if len(chunks) > 255:
        return b""
    return b"".join(
        segment(APP2, ICC_LABEL + bytes([number, len(chunks)]) + chunk)
        for number, chunk in enumerate(chunks, start=1)
    )
