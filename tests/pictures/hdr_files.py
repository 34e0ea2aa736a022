"""Writes files with gain maps and videos, and reads them by following every offset.

The reader shares no code with the package: it uses struct and ElementTree alone.
"""

import dataclasses
import io
import struct
import xml.etree.ElementTree as ET

import numpy as np
from PIL import Image

from tests.pictures.picture_files import scene

HEIGHT, WIDTH = 96, 128
XMP_LABEL = b"http://ns.adobe.com/xap/1.0/\0"
ISO_LABEL = b"urn:iso:std:iso:ts:21496:-1\0"
ISO_VERSION = ISO_LABEL + bytes(4)
ISO_NUMBERS = ISO_LABEL + bytes(range(60))
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 3
HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
ITEM = CONTAINER + "item/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
APPLE_XMP = XMP_LABEL + (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%s"><rdf:Description '
    b'xmlns:apdi="http://ns.apple.com/pixeldatainfo/1.0/" '
    b'xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/">'
    b"<apdi:AuxiliaryImageType>urn:com:apple:photo:2020:aux:hdrgainmap"
    b"</apdi:AuxiliaryImageType><HDRGainMap:HDRGainMapVersion>131072"
    b"</HDRGainMap:HDRGainMapVersion></rdf:Description></rdf:RDF></x:xmpmeta>"
    % RDF.encode()
)
ULTRA_HDR_XMP = XMP_LABEL + (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%s"><rdf:Description '
    b'xmlns:hdrgm="%s" hdrgm:Version="1.0" hdrgm:GainMapMax="2.5" hdrgm:Gamma="1" '
    b'hdrgm:HDRCapacityMax="2.5"/></rdf:RDF></x:xmpmeta>'
    % (RDF.encode(), HDRGM.encode())
)


# Writing


def segment(marker, payload):
    return bytes([255, marker]) + struct.pack(">H", len(payload) + 2) + payload


def jpeg(pixels, *parts, quality=97, **options):
    """Returns a JPEG file with segments (marker, payload) behind its JFIF header."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, **options)
    data = buffer.getvalue()
    return data[:20] + b"".join(segment(*part) for part in parts) + data[20:]


def pixels(height=HEIGHT, width=WIDTH, channels=3, seed=0):
    """Returns uint8 `[h, w, c]`, or `[h, w]` for one channel."""
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, channels))
    image = np.clip(scene(height, width, channels, seed) * 255 + noise, 0, 255)
    return np.squeeze(np.rint(image).astype(np.uint8))


def map_file(*parts, channels=1, quality=97, size=(HEIGHT // 2, WIDTH // 2)):
    """Returns the JPEG file of a gain map."""
    return jpeg(pixels(*size, channels, seed=5), *parts, quality=quality)


def item(semantic, mime, prefix="Item", form="attributes", **numbers):
    """Returns an item of a directory in one of the forms of RDF."""
    values = {"Semantic": semantic, "Mime": mime, **numbers}
    if form == "attributes":
        text = " ".join(f'{prefix}:{name}="{value}"' for name, value in values.items())
        inner = f"<Container:Item {text}/>"
    else:
        text = "".join(f"<{prefix}:{n}>{v}</{prefix}:{n}>" for n, v in values.items())
        inner = f'<Container:Item rdf:parseType="Resource">{text}</Container:Item>'
    return f'<rdf:li rdf:parseType="Resource">{inner}</rdf:li>\n'


def packet(items=(), attributes="", container="Container", prefix="Item", inner=""):
    """Returns the XMP segment of an image with a directory."""
    text = "".join(items).replace("Container:Item", f"{container}:Item")
    directory = (
        f"<{container}:Directory><rdf:Seq>\n{text}</rdf:Seq></{container}:Directory>"
        if items
        else ""
    )
    return (
        XMP_LABEL
        + (
            f'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
            f'xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:hdrgm="{HDRGM}" '
            f'xmlns:{container}="{CONTAINER}" xmlns:{prefix}="{ITEM}" '
            f'xmlns:GCamera="{CAMERA}" xmlns:dc="http://purl.org/dc/elements/1.1/"'
            f'{attributes} dc:source="&lt;kept&gt;">{directory}{inner}'
            f'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        ).encode()
    )


def index(entries, order=">"):
    """Returns the payload of MPF for (attributes, size, offset) of each image."""
    head = b"MPF\0" + {">": b"MM\0*", "<": b"II*\0"}[order]
    count = len(entries)
    return head + b"".join(
        [
            struct.pack(order + "IH", 8, 3),
            struct.pack(order + "HHI4s", 0xB000, 7, 4, b"0100"),
            struct.pack(order + "HHII", 0xB001, 4, 1, count),
            struct.pack(order + "HHII", 0xB002, 7, 16 * count, 50),
            struct.pack(order + "I", 0),
            *[struct.pack(order + "IIIHH", *entry, 0, 0) for entry in entries],
        ]
    )


def with_images(image, others, attributes=None, order=">", at=20):
    """Returns a file with an MPF segment at a place, and images behind it."""
    length = len(segment(0xE2, index([(0, 0, 0)] * (len(others) + 1))))
    size = len(image) + length
    entries, position = [(0x030000, size, 0)], size
    for number, other in enumerate(others):
        flags = attributes[number] if attributes else 0
        entries.append((flags, len(other), position - at - 8))
        position += len(other)
    found = segment(0xE2, index(entries, order))
    return b"".join([image[:at], found, image[at:], *others])


KINDS = ("ultra hdr", "iso", "apple", "both", "directory alone")


def gain_map_file(kind, parts=(), own_map=None, video=b"", rgb=None, **directory):
    """Returns (a file with a gain map of a kind, the map).

    Args:
      kind: one of `KINDS`.
      parts: further segments (marker, payload) of the image.
      own_map: JPEG file of the map; None for one of the kind.
      video: behind the map; it is named in the directory of Ultra HDR.
      rgb: uint8 pixels of the image.
      **directory: arguments of `packet`, and the form of `item`.
    """
    form = directory.pop("form", "attributes")
    prefix = directory.get("prefix", "Item")
    labels = {
        "apple": [(0xE1, APPLE_XMP)],
        "iso": [(0xE2, ISO_NUMBERS)],
        "ultra hdr": [(0xE1, ULTRA_HDR_XMP)],
    }
    labels["directory alone"] = labels["ultra hdr"]
    labels["both"] = labels["ultra hdr"] + labels["iso"]
    own_map = own_map or map_file(*labels[kind])
    heads = list(parts)
    if kind in ("ultra hdr", "both", "directory alone"):
        items = [
            item("Primary", "image/jpeg", prefix, form),
            item("GainMap", "image/jpeg", prefix, form, Length=len(own_map)),
        ]
        if video:
            length = {"Length": len(video), "Padding": 0}
            items.append(item("MotionPhoto", "video/mp4", prefix, form, **length))
        version = ' hdrgm:Version="1.0"' + directory.pop("attributes", "")
        heads.append((0xE1, packet(items, version, **directory)))
    if kind in ("iso", "both"):
        heads.append((0xE2, ISO_VERSION))
    image = jpeg(pixels() if rgb is None else rgb, *heads)
    if kind == "directory alone":
        return image + own_map + video, own_map
    return with_images(image, [own_map]) + video, own_map


# Reading


@dataclasses.dataclass
class Parts:
    """A file as its offsets say.

    Attributes:
      image: the bytes of the first image.
      segments: (marker, payload) of its segments before the pixels.
      images: bytes of each image that MPF names, the first one, too.
      attributes: of these images.
      items: (semantic, bytes) of each item of the directory behind the image.
      properties: of XMP, by their local name; attributes and simple elements.
      micro_video: bytes from MicroVideoOffset on, None without it.
    """

    image: bytes
    segments: list
    images: list
    attributes: list
    items: list
    properties: dict
    micro_video: bytes | None

    @property
    def xmp(self):
        return next((p for m, p in self.segments if p.startswith(XMP_LABEL)), None)

    def exif(self):
        return next((p for m, p in self.segments if p.startswith(b"Exif\0\0")), None)


def segments_of(data):
    """Returns ((marker, payload) of each segment, the places of the payloads)."""
    found, places, at = [], [], 2
    assert data[:2] == b"\xff\xd8"
    while True:
        assert data[at] == 0xFF, at
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            return found, places
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        places.append(at + 4)
        at += 2 + length


def length_of_image(data):
    """Returns the bytes of the JPEG file that data begins with, to its end marker."""
    found, places = segments_of(data)
    at = places[-1] + len(found[-1][1])
    while True:
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def follow(data):
    """Returns the `Parts` of a file; fails where an offset or a length is wrong."""
    found, places = segments_of(data)
    end = length_of_image(data)
    images, attributes = _images_of_index(data, found, places, end)
    properties, items = {}, []
    for marker, payload in found:
        if marker == 0xE1 and payload.startswith(XMP_LABEL):
            properties, items = _xmp_of(payload[len(XMP_LABEL) :])
    bodies, at = [], end
    for number, values in enumerate(items):
        length, padding = (int(values.get(n, 0)) for n in ("Length", "Padding"))
        if number:
            assert 0 < length <= len(data) - at
            body = data[at : at + length]
            if values["Mime"] == "image/jpeg":
                assert length_of_image(body) == length
            else:
                assert body[4:8] == b"ftyp"
            bodies.append((values["Semantic"], body))
            at += length
        at += padding
    micro_video = None
    if "MicroVideoOffset" in properties:
        micro_video = data[-int(properties["MicroVideoOffset"]) :]
        assert micro_video[4:8] == b"ftyp"
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    return Parts(data[:end], found, images, attributes, bodies, properties, micro_video)


def _images_of_index(data, found, places, end):
    images, attributes = [], []
    for (marker, payload), place in zip(found, places, strict=True):
        if marker != 0xE2 or not payload.startswith(b"MPF\0"):
            continue
        assert not images, "two indices"
        block = payload[4:]
        order = {b"MM": ">", b"II": "<"}[block[:2]]
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        tags = {}
        for number in range(count):
            at = start + 2 + 12 * number
            tag, kind, size, value = struct.unpack_from(order + "HHII", block, at)
            tags[tag] = kind, size, value
        assert block[start + 2 + 8 : start + 2 + 12] == b"0100"
        assert tags[0xB002][1] == 16 * tags[0xB001][2]
        for number in range(tags[0xB001][2]):
            at = tags[0xB002][2] + 16 * number
            flags, size, offset, *_ = struct.unpack_from(order + "IIIHH", block, at)
            first = place + 4 + offset if number else 0
            image = data[first : first + size]
            assert len(image) == size == length_of_image(image)
            images.append(image)
            attributes.append(flags)
        assert len(images[0]) == end
    return images, attributes


def _xmp_of(text):
    """Returns ({local name: value}, attributes of each item of the directory)."""
    properties, items = {}, []
    root = ET.fromstring(text)
    for description in root.iter(f"{{{RDF}}}Description"):
        for name, value in description.attrib.items():
            properties[name.rpartition("}")[2]] = value
        for child in description:
            if not len(child):
                properties[child.tag.rpartition("}")[2]] = child.text
        for directory in description.iter(f"{{{CONTAINER}}}Directory"):
            items += map(_values_of, directory.iter(f"{{{RDF}}}li"))
    return properties, items


def _values_of(line):
    values = {}
    for element in line.iter():
        for name, value in element.attrib.items():
            if name.startswith(f"{{{ITEM}}}"):
                values[name.rpartition("}")[2]] = value
        if element.tag.startswith(f"{{{ITEM}}}"):
            values[element.tag.rpartition("}")[2]] = element.text
    return values
