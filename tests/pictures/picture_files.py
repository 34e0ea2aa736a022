"""Writes PNG and TIFF files byte by byte, as the standards say."""

import struct
import zlib

import numpy as np


def scene(height, width, channels=3, seed=0):
    """Returns float64 `[h, w, channels]` in 0..1, smooth, with different channels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phases, slopes = rng.uniform(0, 6, channels), rng.uniform(0.05, 0.3, (2, channels))
    waves = np.sin(x[..., None] * slopes[0] + y[..., None] * slopes[1] + phases)
    return (waves + 1) / 2


def png_chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_file(rows, width, bits, colour_type, before=b"", after=b""):
    """Returns a PNG of packed rows `[h, bytes]`, with chunks around the pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(r) for r in rows)))
        + after
        + png_chunk(b"IEND", b"")
    )


def packed(samples, bits, order="<"):
    """Returns the bytes of `[h, n]` samples: up to 12 bits packed, 16 in `order`."""
    if bits == 16:
        return samples.astype(f"{order}u2").tobytes()
    shifts = np.arange(bits - 1, -1, -1)
    as_bits = (samples[..., np.newaxis] >> shifts & 1).reshape(len(samples), -1)
    return np.packbits(as_bits.astype(np.uint8), axis=1).tobytes()


def tiff_file(order, *directories):
    """Returns a TIFF of directories, dicts from tags to values, in `order` "<" or ">".

    A value is an integer or a tuple of them (type LONG), a tuple of pairs (SRATIONAL),
    bytes (UNDEFINED), a str (ASCII), or a list of dicts: directories of their own
    (SUB_IFDS). Bytes at tag 273 are the pixels, a list of them strips.
    """
    data = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4))
    link = 4
    for tags in directories:
        offset, end = _write_directory(data, order, tags)
        struct.pack_into(f"{order}I", data, link, offset)
        link = end
    return bytes(data)


def _write_directory(data, order, tags):
    """Appends a directory; returns its offset and the place of the next offset."""
    entries = []
    tags = dict(tags)
    if isinstance(tags.get(273), (bytes, list)):
        strips = [tags[273]] if isinstance(tags[273], bytes) else tags[273]
        tags[273], tags[279] = (), tuple(map(len, strips))
        for strip in strips:
            tags[273] += (len(data),)
            data += strip + b"\0" * (len(strip) % 2)
    for tag, value in sorted(tags.items()):
        if isinstance(value, list):
            value = tuple(_write_directory(data, order, inner)[0] for inner in value)
        if isinstance(value, str):
            kind, content = 2, value.encode() + b"\0"
            count = len(content)
        elif isinstance(value, bytes):
            kind, content, count = 7, value, len(value)
        elif isinstance(value, tuple) and isinstance(value[0], tuple):
            kind, count = 10, len(value)
            content = b"".join(struct.pack(f"{order}ii", *pair) for pair in value)
        else:
            value = value if isinstance(value, tuple) else (value,)
            kind, count = 4, len(value)
            content = struct.pack(f"{order}{count}I", *value)
        if len(content) > 4:
            field = struct.pack(f"{order}I", len(data))
            data += content + b"\0" * (len(content) % 2)
        else:
            field = content.ljust(4, b"\0")
        entries.append(struct.pack(f"{order}HHI", tag, kind, count) + field)
    offset = len(data)
    data += struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return offset, len(data) - 4


def gray_tiff(order, gray, bits, photometric=1, **more):
    """Returns a TIFF with a page of gray samples `[h, w]` in one strip."""
    height, width = gray.shape
    return tiff_file(order, page(height, width, bits, photometric, gray, order) | more)


def page(height, width, bits, photometric, gray, order="<"):
    """Returns the tags of a page of gray."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1}
    return tags | {273: packed(gray, bits, order), 278: height, 284: 1}
