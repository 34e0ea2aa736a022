"""Tests of xmp.py: single properties change in their place, and nothing else."""

import time
import xml.etree.ElementTree as ET

import pytest

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.pictures import metadata, xmp
from learned_jpeg.pictures.metadata import Metadata, embed
from tests.pictures import hdr_files

PACKET = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:%(tiff)s="http://ns.adobe.com/tiff/1.0/"
    xmlns:%(exif)s="http://ns.adobe.com/exif/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    %(attributes)s>
   <xmpMM:History><rdf:Seq><rdf:li><rdf:Description tiff:Orientation="8"
     xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:ImageWidth="%(inner)s">
     <exif:PixelXDimension xmlns:exif="http://ns.adobe.com/exif/1.0/">4000\
</exif:PixelXDimension></rdf:Description></rdf:li></rdf:Seq></xmpMM:History>%(elements)s
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>\n   \n<?xpacket end="w"?>"""
NAMES = ("Orientation", "ImageWidth", "ImageLength")


def packet(values, form="attributes", tiff="tiff", exif="exif"):
    """Returns a packet; `values` are those of the orientation and of the sizes."""
    orientation, width, height = values
    own = [(f"{tiff}:Orientation", orientation), (f"{tiff}:ImageWidth", width)]
    own += [(f"{tiff}:ImageLength", height), (f"{exif}:PixelXDimension", width)]
    own += [(f"{exif}:PixelYDimension", height)]
    if form == "attributes":
        text, elements = "\n ".join(f"{n} = '{v}'" for n, v in own), ""
    else:
        text, elements = "", "".join(f"\n<{n}>{v}</{n}>" for n, v in own)
    values = {"attributes": text, "elements": elements, "inner": "4000"}
    values |= {"tiff": tiff, "exif": exif}
    return PACKET % {k.encode(): v.encode() for k, v in values.items()}


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize("prefixes", [("tiff", "exif"), ("t", "e")])
def test_xmp_names_the_image_as_it_is_and_its_history_as_it_was(form, prefixes):
    before = packet((6, 3000, 2000), form, *prefixes)
    orientation, found = metadata.upright(Metadata(xmp=before))
    assert orientation == 6
    data = embed(jpeg_file.encode_rgb(hdr_files.pixels(20, 30), 80), found)
    kept = next(p for m, p in hdr_files.segments_of(data)[0] if m == 0xE1)
    assert kept == hdr_files.XMP_LABEL + packet((1, 30, 20), form, *prefixes)
    ET.fromstring(kept[len(hdr_files.XMP_LABEL) :].decode("utf-8-sig"))


def test_a_packet_that_is_true_is_not_changed():
    before = packet((1, 30, 20))
    assert xmp.with_values(before, {"tiff:Orientation": 1, "tiff:ImageWidth": 30}) == (
        before
    )


def test_words_in_texts_and_comments_are_no_properties():
    text = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:dc="d"><!-- tiff:Orientation="6" '
        b'--><dc:title>tiff:Orientation="6" &lt;tiff:Orientation>6</dc:title>'
        b"<![CDATA[<tiff:Orientation>6</tiff:Orientation>]]></x:xmpmeta>"
    )
    assert metadata.upright(Metadata(xmp=text)) == (1, Metadata(xmp=text))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 100,
        b"<x:xmpmeta><rdf:RDF>" * 2000,
        b"<a " + b"b='" * 5000,
        '<?xml version="1.0"?><x tiff:Orientation="6"/>'.encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x tiff:ImageWidth="&a;"/>',
        b'<?xml version="1.0" encoding="latin-1"?><x \xe9="\xe9"/>',
        b"<Container:Directory>" * 3000,
        b"<x:xmpmeta>" + b"<a/>" * 1_000_000 + b"</x:xmpmeta>",
        b"<x>" + b"<rdf:li>" * 7000 + b"</rdf:li>" * 7000 + b"</x>",
    ],
)
def test_damaged_and_odd_packets_stay_as_they_are(text):
    start = time.process_time()
    assert xmp.with_values(text, {"tiff:Orientation": 1, "tiff:ImageWidth": 5}) == text
    assert list(xmp.Packet(text).items) == []
    assert time.process_time() - start < 2


def test_the_orientation_of_a_damaged_packet_counts():
    text = b'<x:xmpmeta><rdf:Description tiff:Orientation="6">'
    orientation, found = metadata.upright(Metadata(xmp=text))
    assert orientation == 6 and found.xmp == text.replace(b"6", b"1")


def test_a_damaged_packet_that_points_behind_the_image_is_left_out():
    text = b'<x:xmpmeta><rdf:Description hdrgm:Version="1.0">'
    found, notes = metadata.fitting(Metadata(xmp=text))
    assert found.xmp is None and notes == ["its XMP is damaged: left out"]
    other = Metadata(xmp=b"<x:xmpmeta>")
    assert metadata.fitting(other) == (other, [])
