"""Gain maps: images in JPEG files by which HDR screens show other images brighter.

Known are those of Ultra HDR (Android: Ultra HDR Image Format 1.1, `hdrgm` in XMP), of
ISO 21496-1, and of Apple. The map is a JPEG file of its own behind the image, and names
its numbers in its own segments, which stay byte for byte.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np

from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.file import open_jpeg
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.jpeg.segments import (
    APP0,
    APP1,
    APP2,
    APP14,
    APPLICATION_DATA,
    SOI,
    header_segments,
    segment,
    segments,
    without_segments,
)
from learned_jpeg.pictures import entropy, exif, xmp

ISO_LABEL = b"urn:iso:std:iso:ts:21496:-1\0"
_ICC_LABEL = b"ICC_PROFILE\0"
_APPLES_VERSION = b"HDRGainMapVersion"
_IN_XMP = (b"http://ns.adobe.com/hdr-gain-map/1.0/", b"hdrgm:Version")
_IN_XMP += (b"urn:com:apple:photo:2020:aux:hdrgainmap", _APPLES_VERSION)


@dataclasses.dataclass(frozen=True)
class GainMap:
    """A gain map.

    Attributes:
      data: the bytes of a JPEG file, as it is stored: it is turned like the image.
      orientation: 1..8 as in EXIF, by which it is still to be turned.
      attributes: flags of the image and of the map in the index of a file, see
        `multi_picture.Image`.
      is_large: whether it has far more pixels than its image; they are not decoded.
    """

    data: bytes
    orientation: int = 1
    attributes: tuple[int, int] = (0, 0)
    is_large: bool = False

    @property
    def is_apples(self) -> bool:
        """Whether the map may need a number of the maker note of its image."""
        return any(
            marker == APP1 and _APPLES_VERSION in payload
            for marker, payload in header_segments(io.BytesIO(self.data))
        )

    def subsampling(self) -> str:
        """Returns the resolution of chroma, see `frame.Frame`."""
        header = frame.read_frame(io.BytesIO(self.data))
        return "gray" if header is None else header.subsampling

    def upright(self) -> GainMap | None:
        """Returns the map turned upright, with its own quantization tables.

        None where its pixels cannot be decoded. A map that is upright comes back as it
        is, whatever it holds.
        """
        if self.orientation == 1:
            return self
        if not self._is_readable():
            return None
        try:
            data = _turned(self.data, self.orientation)
        except (OSError, SyntaxError, ValueError):
            return None
        return dataclasses.replace(self, data=data, orientation=1)

    def _is_readable(self) -> bool:
        return not self.is_large and entropy.problem(self.data) is None

    def smaller_without_loss(self) -> GainMap:
        """Returns the map after the lossless pass."""
        if not self._is_readable():
            return self
        return dataclasses.replace(self, data=optimized(self.data))

    def pixels(self) -> np.ndarray | None:
        """Returns the pixels turned upright, uint8 RGB `[h, w, 3]`.

        None where they cannot be decoded: they are damaged, too many, or neither gray
        nor of three components.
        """
        if not self._is_readable():
            return None
        try:
            with open_jpeg(self.data) as image:
                return np.array(_upright(image, self.orientation).convert("RGB"))
        except (OSError, SyntaxError, ValueError):
            return None

    def coded_as(self, data: bytes) -> GainMap:
        """Returns the map with other pixels, and its own application data.

        Args:
          data: a gray or YCbCr JPEG file of the same size.
        """
        kept = _application_data(self.data, APPLICATION_DATA, but={APP14})
        head = b"".join([bytes([0xFF, SOI]), *kept])
        bare = without_segments(data, APPLICATION_DATA)
        return dataclasses.replace(self, data=head + bare[2:])

    def without_other_metadata(self) -> GainMap:
        """Returns the map with those segments only that say how it looks."""
        dropped = [
            (start, end)
            for marker, start, end in segments(self.data)
            if marker in APPLICATION_DATA
            and not _matters(marker, self.data[start + 4 : end])
        ]
        data = self.data
        for start, end in reversed(dropped):
            data = data[:start] + data[end:]
        return dataclasses.replace(self, data=data)


def is_gain_map(data: bytes) -> bool:
    """Returns whether a JPEG file that stands behind another one is a gain map."""
    return any(
        (marker == APP1 and any(word in payload for word in _IN_XMP))
        or (marker == APP2 and payload.startswith(ISO_LABEL))
        for marker, payload in header_segments(io.BytesIO(data))
    )


def _matters(marker: int, payload: bytes) -> bool:
    if marker == APP1:
        return payload.startswith(xmp.LABEL) and any(w in payload for w in _IN_XMP)
    if marker == APP2:
        return payload.startswith((ISO_LABEL, _ICC_LABEL))
    return marker in (APP0, APP14)


def _application_data(data, markers, but=()):
    """Returns the segments of these markers as they stand."""
    return [
        data[start:end]
        for marker, start, end in segments(data)
        if marker in markers and marker not in but
    ]


def _upright(image, orientation):
    """Returns a Pillow image turned upright, without its metadata."""
    if image.mode not in ("L", "RGB"):
        raise ValueError("neither gray nor of three components")
    image.load()
    turned = image.copy() if orientation == 1 else None
    turned = turned or image.transpose(exif.UPRIGHT[orientation])
    turned.info = {}
    return turned


def _turned(data: bytes, orientation: int) -> bytes:
    """Returns a JPEG file turned upright, quantized by its own tables.

    Blocks that stay whole keep their integers but for rounding.
    """
    image = open_jpeg(data)
    with image:
        tables = [image.quantization[n] for n in sorted(image.quantization)]
        pixels = _upright(image, orientation)
    if orientation in exif.TURNED_BY_90:
        tables = [np.reshape(table, (8, 8)).T.ravel().tolist() for table in tables]
    buffer = io.BytesIO()
    options = {} if pixels.mode == "L" else {"subsampling": "4:4:4"}
    pixels.save(buffer, "JPEG", qtables=tables[:2], optimize=True, **options)
    kept = [
        _true_exif(payload, pixels.size)
        for payload in _application_data(data, APPLICATION_DATA, but={APP14})
    ]
    bare = without_segments(buffer.getvalue(), APPLICATION_DATA)
    return b"".join([bytes([0xFF, SOI]), *kept, bare[2:]])


def _true_exif(raw: bytes, size: tuple[int, int]) -> bytes:
    """Returns a segment; an EXIF block among them names the turned image."""
    payload = raw[4:]
    if raw[1] != APP1 or not payload.startswith(exif.LABEL):
        return raw
    width, height = size
    block, _ = exif.without_orientation(payload)
    block = exif.with_size(exif.without_thumbnail(block or payload), height, width)
    return segment(APP1, block)
