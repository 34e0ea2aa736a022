"""The two numbers of Apple's maker note without which its older gain maps say little.

Apple: "Applying Apple HDR effect to your photos" (tags 33 and 48, signed rationals).
"""

from __future__ import annotations

import struct

from learned_jpeg.pictures import exif, tiff

_LABEL = b"Apple iOS\0\0\1MM"
_HEADROOM = 33, 48
_SHORT, _LONG, _UNDEFINED, _SIGNED_RATIONAL = 3, 4, 7, 10
_SIZE = 8  # bytes of a rational number
_NOTE_LAYOUT = tiff.Layout(">", False)


def headroom(block: bytes | None, orientation: int = 1) -> bytes | None:
    """Returns an EXIF block that holds nothing but the headroom of a gain map.

    Args:
      block: the EXIF block of a file.
      orientation: that the result names.

    Returns:
      The block; None where the file has none of Apple's maker notes.
    """
    data = (block or b"").removeprefix(exif.LABEL)
    first = tiff.first_directory(data)
    if first is None:
        return None
    layout, offset = first
    inner = tiff.numbers_of(data, layout, offset, tiff.EXIF_IFD)[:1] or (0,)
    entries, _ = tiff.directory(data, layout, *inner)
    notes = [data[e.position :] for e in entries if e.tag == tiff.MAKER_NOTE]
    if not notes or not notes[0].startswith(_LABEL):
        return None
    own, _ = tiff.directory(notes[0], _NOTE_LAYOUT, len(_LABEL))
    values = {
        entry.tag: notes[0][entry.position : entry.position + _SIZE]
        for entry in own
        if entry.tag in _HEADROOM and entry.kind == _SIGNED_RATIONAL
    }
    return exif.LABEL + _written(values, orientation) if values else None


def _written(values: dict[int, bytes], orientation: int) -> bytes:
    """Returns a TIFF block with an orientation, and a maker note of these tags."""
    start = len(_LABEL) + _size_of_directory(len(values))  # of values, in the note
    entries = [
        (tag, _SIGNED_RATIONAL, 1, start + _SIZE * number)
        for number, tag in enumerate(values)
    ]
    note = _LABEL + _directory(entries) + b"".join(values.values())
    inner = 8 + _size_of_directory(2)
    at = inner + _size_of_directory(1)
    return b"".join(
        [
            struct.pack(">2sHI", b"MM", 42, 8),
            _directory(
                [
                    (tiff.ORIENTATION, _SHORT, 1, orientation << 16),
                    (tiff.EXIF_IFD, _LONG, 1, inner),
                ]
            ),
            _directory([(tiff.MAKER_NOTE, _UNDEFINED, len(note), at)]),
            note,
        ]
    )


def _size_of_directory(count: int) -> int:
    return 2 + 12 * count + 4


def _directory(entries: list[tuple[int, int, int, int]]) -> bytes:
    """Returns the last directory of a block: (tag, type, count, value) of each tag."""
    packed = [struct.pack(">HHII", *entry) for entry in entries]
    return b"".join([struct.pack(">H", len(entries)), *packed, bytes(4)])
