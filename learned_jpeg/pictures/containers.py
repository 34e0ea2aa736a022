"""Data behind the image of a JPEG file: a gain map, a video, further images.

Three indices point there: MPF, the directory of the container in XMP (`GContainer`),
and offsets from the end of the file. Reading follows each of them as far as it leads
to something, and writing makes all of them true.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.segments import (
    APP0,
    APP1,
    APP2,
    EOI,
    MAX_PAYLOAD,
    SOI,
    found_segments,
    segment,
    segments,
)
from learned_jpeg.pictures import gain_map, motion_photo, multi_picture, xmp
from learned_jpeg.pictures.gain_map import GainMap
from learned_jpeg.pictures.motion_photo import Video

_JPEG = b"\xff\xd8\xff"
_FILL = b"\0\n\r "  # some cameras fill the last sector of a file
_VERSION = "hdrgm:Version"  # in the XMP of an image whose map is that of Ultra HDR
_OF_GAIN_MAPS = ("hdrgm:", "HDRGainMap:")
_PRIMARY, _GAIN_MAP, _VIDEO = "Primary", "GainMap", "MotionPhoto"
_POINTERS = (b"hdrgm:", b"Container:Directory", b"MotionPhoto", b"MicroVideo")
_USUAL_PIXELS = 4_000_000  # of a gain map, be its image smaller or not
_MAX_SEGMENTS = 4096  # of an image, with its scans
_MAX_IMAGES = 16  # that are looked at


class Behind(NamedTuple):
    """The data behind the image of a JPEG file.

    Attributes:
      end: where the image itself ends; 0 where it has no end.
      gain_map: `GainMap` or None.
      video: `Video` or None.
      lost: notes to the user on what else there is, or is missing.
    """

    end: int = 0
    gain_map: GainMap | None = None
    video: Video | None = None
    lost: tuple[str, ...] = ()


NOTHING = Behind()

# Reading


class _Place(NamedTuple):
    """Where an image may stand, with its attributes in MPF, None outside of it."""

    start: int
    end: int
    attributes: int | None = None


def read(data: bytes) -> Behind:
    """Reads what stands behind the image of a JPEG file.

    Places that lead nowhere are ignored, so that damaged metadata harm nothing else.
    """
    found = list(found_segments(data))
    if not found or found[-1][0] != EOI:
        return Behind()
    end = found[-1][2]
    head = [(marker, start + 4, stop) for marker, start, stop in found]
    packet = _packet(data, head)
    index = _index(data, head)
    has_claim = _claims_gain_map(data, head, packet)
    if not data[end:].strip(_FILL):
        return Behind(end, lost=_missing(index, has_claim))
    items = list(_items(packet, end, len(data)))
    places = [_Place(*image) for image in index[1:]]
    places += [_Place(a, b) for a, b, name in items if name != _VIDEO]
    images = list(_images(data, end, places))
    named = {start for start, _, name in items if name == _GAIN_MAP}
    maps = [
        place
        for place in images
        if _is_whole_map(data[place.start : place.end], place.start in named)
    ]
    own_map = _map_at(data, maps[0], index) if maps else None
    claims = list(_claims_of_videos(packet, items, len(data)))
    video, rest = _video_and_rest(data, end, images, claims)
    others = [place for place in images if place not in maps[:1]]
    lost = _lost(has_claim and not own_map, others, rest)
    return Behind(end, own_map, video, lost)


def _map_at(data, place, index):
    """Returns the `GainMap` at a place."""
    own = data[place.start : place.end]
    return GainMap(
        own,
        attributes=(index[0].attributes if index else 0, place.attributes or 0),
        is_large=_pixels_of(own) > max(_pixels_of(data), _USUAL_PIXELS),
    )


def _missing(index, has_claim):
    """Returns notes on what a file names that ends with its image."""
    if has_claim:
        return ("names a gain map (HDR) that is not in it: left out",)
    if len(index) > 1:
        return ("names further images (MPF) that are not in it: left out",)
    return ()


def _lost(has_lost_map, others, rest):
    """Returns notes on what stands behind an image and is not kept."""
    in_index = [place for place in others if place.attributes is not None]
    notes = []
    if has_lost_map:
        notes.append("its gain map (HDR) is damaged and lost, the image itself is kept")
    elif in_index:
        notes.append(
            "its further images (MPF: depth or preview) are lost, the first one is kept"
        )
    if not notes:
        rest += sum(place.end - place.start for place in others)
    if rest:
        notes.append(f"{rest} bytes behind its end are lost, the image is kept")
    return tuple(notes)


def _is_whole_map(data, is_named):
    """Returns whether an image is a gain map, and whole."""
    if not (is_named or gain_map.is_gain_map(data)):
        return False
    try:
        return frame.check(data) is not None and bool(list(segments(data)))
    except ValueError:
        return False


def _pixels_of(data):
    """Returns the number of pixels that a JPEG file names."""
    try:
        header = frame.read_frame(io.BytesIO(data))
    except ValueError:
        return 0
    return 0 if header is None else header.height * header.width


def _packet(data, head):
    """Returns the first XMP packet of a file, an empty one without any."""
    for marker, start, end in head:
        if marker == APP1 and data.startswith(xmp.LABEL, start):
            return xmp.Packet(data[start + len(xmp.LABEL) : end])
    return xmp.Packet(b"")


def _index(data, head):
    """Returns the images of MPF, with the first one; none where there is no index."""
    for marker, start, end in head:
        if marker == APP2 and data.startswith(multi_picture.LABEL, start):
            return multi_picture.read(data[start:end], start)
    return []


def _claims_gain_map(data, head, packet):
    """Returns whether a file says that it has a gain map."""
    return any(packet.named(_VERSION)) or any(
        marker == APP2 and data.startswith(gain_map.ISO_LABEL, start)
        for marker, start, _ in head
    )


def _items(packet, end, size):
    """Yields (start, end, semantic) of the items of a container, in the file.

    They follow each other behind the image.
    """
    for number, item in enumerate(packet.items[:_MAX_IMAGES]):
        length = packet.number_of(item, "Length") or 0
        padding = packet.number_of(item, "Padding") or 0
        if number:
            yield end, min(end + length, size), packet.text_of(item, "Semantic")
            end += length
        end += padding


def _images(data, end, places) -> Iterator[_Place]:
    """Yields the images that stand at places behind `end`, and one right behind it."""
    stop = end
    for place in sorted([*places, _Place(end, len(data))], key=_order):
        limit = min(place.end, len(data))
        is_inside = stop <= place.start < limit
        if is_inside and data.startswith(_JPEG, place.start):
            whole = _end_of_image(data[place.start : limit])
            if whole is None and place.attributes is None:
                continue
            stop = place.start + whole if whole else limit
            yield place._replace(end=stop)


def _order(place):
    # Places of MPF first, for their attributes.
    return place.start, place.attributes is None


def _end_of_image(data):
    for marker, _, end in itertools.islice(found_segments(data), _MAX_SEGMENTS):
        if marker == EOI:
            return end
    return None


def _claims_of_videos(packet, items, size):
    """Yields (start, bytes) where metadata say that a video stands."""
    lengths = [packet.number_of(item, "Length") or 0 for item in packet.items]
    for number, (start, _, name) in enumerate(items, start=1):
        if name == _VIDEO:
            yield start, lengths[number]
            yield size - lengths[number], lengths[number]
    for found in packet.properties:
        offset = xmp.whole_number(found.value(packet.data))
        if found.local_name == motion_photo.OFFSET and offset:
            yield size - offset, offset


def _video_and_rest(data, end, images, claims) -> tuple[Video | None, int]:
    """Returns the video between or behind images, and the bytes that are neither."""
    video, rest = None, 0
    for start, stop in zip(
        [end, *(place.end for place in images)],
        [*(place.start for place in images), len(data)],
        strict=True,
    ):
        found = None if video else motion_photo.find(data, start, stop, claims)
        before = stop - start - (len(found.data) if found else 0)
        rest += before if data[start : start + before].strip(_FILL) else 0
        video = video or found
    return video, rest


# Writing


def joined(data: bytes, own_map: GainMap | None, video: Video | None) -> bytes:
    """Puts a gain map and a video behind a JPEG file, and points to them.

    XMP, MPF and the version of ISO 21496-1 in the file name what is there afterwards,
    and nothing else.

    Args:
      data: a JPEG file, to the end of its image.
      own_map: the map, turned like the pixels of the file; None for none.
      video: the video; None for none.
    """
    pieces, copied, size = [], 0, 0
    index_at = 0  # where the segment of the index will stand
    for marker, start, end in segments(data):
        replacement = _true_segment(marker, data[start + 4 : end], own_map, video)
        if replacement is not None:
            pieces += [data[copied:start], replacement]
            size += start - copied + len(replacement)
            copied = end
        if marker in (SOI, APP0, APP1):
            index_at = size + end - copied
    image = b"".join([*pieces, data[copied:]])
    if own_map:
        image = _with_index(image, index_at, own_map)
    behind = [own_map.data if own_map else b"", video.data if video else b""]
    return b"".join([image, *behind])


def _true_segment(
    marker: int, payload: bytes, own_map: GainMap | None, video: Video | None
) -> bytes | None:
    """Returns what replaces a segment, b"" to remove it; None where it stays."""
    if marker == APP1 and payload.startswith(xmp.LABEL):
        packet = payload[len(xmp.LABEL) :]
        true = _true_packet(packet, own_map, video)
        if true == packet:
            return None
        return segment(APP1, xmp.LABEL + true) if true else b""
    is_of_map = payload.startswith(gain_map.ISO_LABEL)
    if marker == APP2 and (is_of_map or payload.startswith(multi_picture.LABEL)):
        return None if is_of_map and own_map else b""
    return None


def _with_index(image: bytes, at: int, own_map: GainMap) -> bytes:
    """Writes the segment of MPF into a file, for a map right behind it."""
    primary, other = own_map.attributes
    size = len(image) + len(segment(APP2, bytes(multi_picture.payload_size(2))))
    images = [
        multi_picture.Image(0, size, primary),
        multi_picture.Image(size, size + len(own_map.data), other),
    ]
    index = segment(APP2, multi_picture.payload_of(images, at + 4))
    return image[:at] + index + image[at:]


def _true_packet(data: bytes, own_map: GainMap | None, video: Video | None) -> bytes:
    """Returns an XMP packet that names a gain map and a video as they are.

    It is empty where that cannot be.
    """
    if misleads(data):
        return b""
    packet = xmp.Packet(data)
    edits = []
    for found in packet.properties:
        is_of_video = motion_photo.PROPERTY.fullmatch(found.local_name)
        is_of_map = found.name.startswith(_OF_GAIN_MAPS)
        if (is_of_map and not own_map) or (is_of_video and not video):
            edits.append(found.removed())
        elif video and found.local_name == motion_photo.OFFSET:
            edits.append(found.replaced(video.offset_from_end))
        elif found.name == "Container:Directory":
            edits.append(_true_directory(packet, found, own_map, video))
    true = xmp.edited(data, edits)
    return true if len(true) <= MAX_PAYLOAD - len(xmp.LABEL) else b""


def _true_directory(
    packet: xmp.Packet,
    directory: xmp.Property,
    own_map: GainMap | None,
    video: Video | None,
) -> xmp.Edit:
    """Returns the edit of a directory: the items that are there, in their order."""
    map_size = len(own_map.data) if own_map else 0
    places = {_PRIMARY: (0, 0)}  # behind the image
    if own_map:
        places[_GAIN_MAP] = (0, map_size)
    if video:
        start = map_size + video.lead
        places[_VIDEO] = (start, start + video.size)
    inside = [i for i in packet.items if directory.start <= i.start < directory.end]
    named = {packet.text_of(item, "Semantic"): item for item in inside[::-1]}
    if inside:
        named.setdefault(_PRIMARY, inside[0])
    kept = [(*place, named[name]) for name, place in places.items() if name in named]
    if len(kept) < 2:
        return directory.removed()
    texts = []
    for number, (start, end, item) in enumerate(kept, start=1):
        following = kept[number][0] if number < len(kept) else end
        texts.append(_true_item(packet, item, end - start, following - end))
    between = packet.data[inside[0].end : inside[1].start]
    return inside[0].start, inside[-1].end, between.join(texts)


def _true_item(packet: xmp.Packet, item: xmp.Item, length: int, padding: int) -> bytes:
    """Returns an item that names its bytes and those between it and the next one.

    Bytes between are named where there are any, or were named before.
    """
    edits = []
    for name, value in (("Length", length), ("Padding", padding)):
        found = item.properties.get(name)
        if found and xmp.whole_number(found.value(packet.data)) != value:
            edits.append(found.replaced(value))
        elif padding and not found and name == "Padding":
            edits += _added(packet, item.properties.get("Semantic"), name, value)
    moved = [(a - item.start, b - item.start, text) for a, b, text in edits]
    return xmp.edited(packet.data[item.start : item.end], moved)


def _added(packet, neighbour, name, value):
    """Returns the edit that adds an attribute behind another one, if it is one."""
    written = neighbour and packet.data[neighbour.start : neighbour.value_start]
    prefix = re.fullmatch(rb"\s+([^\s:=]+):Semantic\s*=\s*[\"']", written or b"")
    if not prefix:
        return []
    added = b' %s:%s="%d"' % (prefix[1], name.encode(), value)
    return [(neighbour.end, neighbour.end, added)]


# What metadata may say


def misleads(packet: bytes) -> bool:
    """Returns whether an XMP packet points behind the image in a way nobody can mend.

    It is damaged, and readers may still search it for single words.
    """
    has_pointer = any(word in packet for word in _POINTERS)
    return has_pointer and not xmp.Packet(packet).is_xml


def packet_of_gain_map(packet: bytes) -> bytes | None:
    """Returns a new XMP packet that names nothing but the gain map of Ultra HDR.

    None where the given packet names none.
    """
    version = xmp.Packet(packet).text(_VERSION)
    return _ULTRA_HDR % version if version else None


_ULTRA_HDR = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="%s">
<Container:Directory><rdf:Seq>
<rdf:li rdf:parseType="Resource">\
<Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>
<rdf:li rdf:parseType="Resource">\
<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="0"/>\
</rdf:li>
</rdf:Seq></Container:Directory>
</rdf:Description></rdf:RDF></x:xmpmeta>
"""
