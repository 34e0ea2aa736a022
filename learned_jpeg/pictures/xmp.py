"""Reads the properties of an XMP packet, and changes single ones in their place.

A packet stays byte for byte except for what is edited. Only properties of the image
itself are seen: what a history or an ingredient (xmpMM) says of other images is theirs
(ISO 16684-1). A packet that is no XML has no properties but its orientation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.parsers import expat

LABEL = b"http://ns.adobe.com/xap/1.0/\0"  # of the segment of a JPEG file

# The names that this project uses, whatever prefix a packet declares for them.
_PREFIXES = {
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "hdrgm",
    "http://ns.google.com/photos/1.0/container/": "Container",
    "http://ns.google.com/photos/1.0/container/item/": "Item",
    "http://ns.apple.com/HDRGainMap/1.0/": "HDRGainMap",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
    "adobe:ns:meta/": "x",
}
_USUAL = {"GContainer": "Container", "GContainerItem": "Item"}  # where none is declared
_MAX_BYTES = 1 << 17  # of a packet; a segment of a JPEG file holds half of them
_WRAPPERS = ("x:xmpmeta", "x:xapmeta", "rdf:RDF")
_TAG = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE = re.compile(rb"\s+([^\s=/>]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_TAG_END = re.compile(rb"\s*(/?)>")
_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9])")

Edit = tuple[int, int, bytes]  # start and end of what is replaced, and by what


class Property(NamedTuple):
    """A property, whether it is written as an attribute or as an element.

    Attributes:
      name: such as "tiff:Orientation", with the usual prefix.
      start, end: where it stands, with the space before an attribute.
      value_start, value_end: where its value stands.
    """

    name: str
    start: int
    end: int
    value_start: int
    value_end: int

    @property
    def local_name(self) -> str:
        """The name without its prefix."""
        return self.name.rpartition(":")[2]

    def value(self, packet: bytes) -> bytes:
        """Returns the value as it stands in the packet."""
        return packet[self.value_start : self.value_end].strip()

    def replaced(self, value: object) -> Edit:
        """Returns the edit that writes another value."""
        return self.value_start, self.value_end, str(value).encode()

    def removed(self) -> Edit:
        """Returns the edit that removes the property."""
        return self.start, self.end, b""


class _Element:
    """An element of the tree, with its places in the packet."""

    def __init__(self, name: str, start: int):
        self.name = name
        self.start = self.inner = self.close = self.end = start
        self.attributes: list[Property] = []
        self.children: list[_Element] = []

    def as_property(self) -> Property:
        return Property(self.name, self.start, self.end, self.inner, self.close)

    def below(self) -> Iterator[_Element]:
        """Yields the element and all below it, in the order of the packet."""
        pending: list[_Element] = [self]
        while pending:
            element = pending.pop()
            yield element
            pending.extend(reversed(element.children))


class Item(NamedTuple):
    """An item of a container's directory (Android: Motion Photo format 1.0).

    Attributes:
      start, end: of its `rdf:li` element.
      properties: "Semantic", "Mime", "Length", "Padding" and others by these names.
    """

    start: int
    end: int
    properties: dict[str, Property]


class Packet:
    """An XMP packet.

    Attributes:
      data: its bytes.
      is_xml: whether it could be read, and is not too large.
      properties: `Property` of each one of the image.
      items: `Item` of each one in the directory of the container.
    """

    def __init__(self, data: bytes):
        """Reads a packet."""
        self.data = data
        self.properties: tuple[Property, ...] = ()
        self.items: tuple[Item, ...] = ()
        root = _parsed(data) if len(data) <= _MAX_BYTES else None
        self.is_xml = root is not None
        if root is None:
            self.properties = tuple(_orientations(data))
        else:
            holders = list(_holders(root))
            self.properties = tuple(p for h in holders for p in _properties(h))
            self.items = tuple(item for h in holders for item in _items(h))

    def named(self, name: str) -> Iterator[Property]:
        """Yields the properties of a name."""
        return (found for found in self.properties if found.name == name)

    def text(self, name: str) -> bytes:
        """Returns the value of the first property of a name, b"" without one."""
        return next((p.value(self.data) for p in self.named(name)), b"")

    def number_of(self, item: Item, name: str) -> int | None:
        """Returns a whole number of an item, None where there is none."""
        found = item.properties.get(name)
        return None if found is None else whole_number(found.value(self.data))

    def text_of(self, item: Item, name: str) -> str:
        """Returns a text of an item, "" where there is none."""
        found = item.properties.get(name)
        return "" if found is None else found.value(self.data).decode(errors="replace")


def whole_number(text: bytes) -> int | None:
    """Returns a whole number of up to 18 digits, None for another text."""
    return int(text) if re.fullmatch(rb"[0-9]{1,18}", text) else None


def edited(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Returns a packet after edits that do not overlap."""
    pieces, copied = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [data[copied:start], replacement]
        copied = end
    return b"".join([*pieces, data[copied:]])


def with_values(data: bytes, values: dict[str, int]) -> bytes:
    """Writes whole numbers where a packet has these properties, by their names."""
    packet = Packet(data)
    return edited(
        data,
        [
            found.replaced(value)
            for name, value in values.items()
            for found in packet.named(name)
            if whole_number(found.value(data)) not in (None, value)
        ],
    )


def _orientations(data: bytes) -> Iterator[Property]:
    """Yields what looks like an orientation in a damaged packet."""
    for match in _ORIENTATION.finditer(data):
        yield Property("tiff:Orientation", *match.span(), *match.span(1))


def _holders(root: _Element) -> Iterator[_Element]:
    """Yields the elements whose attributes and children are properties."""
    pending = list(reversed(root.children))
    while pending:
        element = pending.pop()
        if element.name in _WRAPPERS and element.children:
            pending += reversed(element.children)
        else:
            yield element


def _properties(holder: _Element) -> Iterator[Property]:
    yield from holder.attributes
    for child in holder.children:
        yield child.as_property()


def _items(holder: _Element) -> Iterator[Item]:
    for child in holder.children:
        if child.name != "Container:Directory":
            continue
        pending = list(reversed(child.children))
        while pending:
            element = pending.pop()
            if element.name == "rdf:li":
                yield Item(element.start, element.end, _properties_of_item(element))
            else:
                pending += reversed(element.children)


def _properties_of_item(element: _Element) -> dict[str, Property]:
    found: dict[str, Property] = {}
    for inner in element.below():
        own = [] if inner.children else [inner.as_property()]
        for each in (*inner.attributes, *own):
            if each.name.startswith("Item:"):
                found.setdefault(each.local_name, each)
    return found


def _parsed(data: bytes) -> _Element | None:
    """Returns a root above the elements of a packet; None if it is no XML."""
    root = _Element("", 0)
    opened, prefixes = [root], dict(_USUAL)
    parser = expat.ParserCreate()

    def start(_, attributes):
        for name, value in attributes.items():
            if name.startswith("xmlns:") and value in _PREFIXES:
                prefixes[name[6:]] = _PREFIXES[value]
        element = _start_tag(data, parser.CurrentByteIndex, prefixes)
        opened[-1].children.append(element)
        opened.append(element)

    def end(_):
        element = opened.pop()
        if element.end == element.start:  # not closed in its start tag
            element.close = parser.CurrentByteIndex
            element.end = data.index(b">", element.close) + 1

    def refuse(*_):
        raise ValueError("XMP declares no document type")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data.rstrip(b"\0"), True)
    except (expat.ExpatError, ValueError):
        return None
    return root


def _start_tag(data: bytes, at: int, prefixes: dict[str, str]) -> _Element:
    """Returns the element of a start tag; its end is set if the tag is empty.

    Raises:
      ValueError: the bytes are not those that the parser has read (UTF-16).
    """
    tag = _TAG.match(data, at)
    if tag is None:
        raise ValueError("not UTF-8")
    element = _Element(_usual_name(tag[0][1:], prefixes), at)
    position = tag.end()
    while match := _ATTRIBUTE.match(data, position):
        group = 2 if match[2] is not None else 3
        name = _usual_name(match[1], prefixes)
        element.attributes.append(Property(name, *match.span(), *match.span(group)))
        position = match.end()
    tag_end = _TAG_END.match(data, position)
    if tag_end is None:
        raise ValueError("not UTF-8")
    element.inner = element.close = tag_end.end()
    if tag_end[1]:
        element.end = element.inner
    return element


def _usual_name(name: bytes, prefixes: dict[str, str]) -> str:
    prefix, colon, local = name.decode("utf-8", "replace").rpartition(":")
    return prefixes.get(prefix, prefix) + colon + local
