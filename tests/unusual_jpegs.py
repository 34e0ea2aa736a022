"""Writes JPEG files of unusual kinds, and mutations of the headers of usual ones.

    MALLOC_CHECK_=3 LD_PRELOAD=libc_malloc_debug.so.0 \\
        python3 -m tests.unusual_jpegs 2000

reads so many mutations on every way into a library, under an allocator that checks.
"""

import contextlib
import io
import itertools
import logging
import os
import sys
import tempfile

import jpeglib
import numpy as np
from PIL import Image

import learned_jpeg as lj
from learned_jpeg.commands.keeping import Keeping
from learned_jpeg.commands.originals import read_original
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.jpeg.segments import EOI, SOI, SOS, segment, segments
from learned_jpeg.pictures.image_files import image_size, read_image_and_metadata
from learned_jpeg.pictures.read_options import ReadOptions
from tests.jpeg.helpers import smooth_picture

FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE)
OTHERS = [  # segments that a file may hold, at most one of them in its place
    (0xDD, b"\0\1"),
    (0xDD, b"\xff\xff"),
    (0xCC, b"\0\x10"),
    (0xDF, b"\x11"),
    (0xDC, b"\0\5"),
    (0xDE, bytes([8, 0, 9, 0, 9, 1, 1, 0x11, 0])),
    (0xFE, b""),
    (0xEE, b"Adobe\0\x64\0\0\0\0\0"),
    (0xEE, b"Adobe\0\x64\0\0\0\0\2"),
    (0xE0, b"JFIF\0"),
    (0xE2, b"MPF\0II*\0\x08\0\0\0"),
    (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
]


def pillow_file(mode="RGB", height=43, width=57, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(smooth_picture(height, width)).convert(mode)
    image.save(buffer, "JPEG", quality=85, **options)
    return buffer.getvalue()


def lossless_file(samples):
    """Returns a lossless JPEG (T.81, annex H) of uint8 `[h, w, c]`, predictor 1."""
    height, width, count = samples.shape
    before = np.empty(samples.shape, int)
    before[0, 0], before[1:, 0], before[:, 1:] = 128, samples[:-1, 0], samples[:, :-1]
    bits = ""
    for difference in (samples - before).ravel().tolist():
        size = abs(difference).bit_length()
        low = difference if difference >= 0 else difference + (1 << size) - 1
        bits += f"{size:04b}" + (f"{low:0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    numbers = range(1, count + 1)
    scan = b"".join(bytes([n, 0]) for n in numbers) + b"\1\0\0"
    frame = bytes([8, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), count])
    return b"".join(
        [
            bytes([0xFF, SOI]),
            segment(0xC3, frame + b"".join(bytes([n, 0x11, 0]) for n in numbers)),
            segment(0xC4, bytes([0, *([0] * 3), 9, *([0] * 12), *range(9)])),
            segment(SOS, bytes([count]) + scan),
            data,
            bytes([0xFF, EOI]),
        ]
    )


def arithmetic_file(data):
    """Returns a file whose coefficients are coded arithmetically (T.81, annex D)."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.jpg")
        with open(path, "wb") as file:
            file.write(data)
        with jpeglib.version("turbo210"):
            jpeglib.read_dct(path).write_dct(path, flags=["+ARITH_CODE"])
        with open(path, "rb") as file:
            return file.read()


def parts_of(data):
    """Returns lists [marker, payload or None, what follows the segment]."""
    found = [*segments(data), (None, len(data), len(data))]
    return [
        [marker, None if end - start == 2 else data[start + 4 : end], data[end:after]]
        for (marker, start, end), (_, after, _) in itertools.pairwise(found)
    ]


def joined(parts):
    """Returns the file of parts; a fourth element of a part is a length that lies."""
    pieces = []
    for marker, payload, rest, *length in parts:
        pieces.append(bytes([0xFF, marker]))
        if payload is not None:
            pieces.append((length or [len(payload) + 2])[0].to_bytes(2, "big"))
            pieces.append(payload)
        pieces.append(rest)
    return b"".join(pieces)


def with_frame(data, change):
    """Returns a file after `change(payload)` of its frame header, a bytearray."""
    parts = parts_of(data)
    (part,) = [part for part in parts if part[0] in FRAMES]
    part[1] = bytearray(part[1])
    change(part[1])
    return joined(parts)


def with_marker(data, marker):
    """Returns a file whose frame header has another marker."""
    parts = parts_of(data)
    (part,) = [part for part in parts if part[0] in FRAMES]
    part[0] = marker
    return joined(parts)


def usual_files():
    """Returns files of the kinds whose headers are mutated."""
    files = [
        pillow_file(subsampling=2),
        pillow_file(subsampling=0, restart_marker_blocks=3),
        pillow_file(subsampling=1, progressive=True),
        pillow_file(keep_rgb=True),
        pillow_file("L"),
        pillow_file("L", progressive=True),
        pillow_file("CMYK"),
        pillow_file("CMYK", progressive=True),
    ]
    files.append(arithmetic_file(files[0]))
    files.append(lossless_file(smooth_picture(43, 57)[..., :1]))
    files.append(lossless_file(smooth_picture(20, 30)))
    return files


def mutation(files, seed):
    """Returns one of the files with one to three changes of its headers."""
    rng = np.random.default_rng(seed)
    parts = parts_of(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 4)):
        MUTATIONS[rng.integers(len(MUTATIONS))](rng, parts)
    data = joined(parts)
    return data[: rng.integers(4, len(data))] if rng.random() < 0.15 else data


def _frame_part(parts):
    return next((part for part in parts if part[0] in FRAMES and part[1]), None)


def _change_frame(change):
    def mutate(rng, parts):
        part = _frame_part(parts)
        if part and len(part[1]) > 8:
            part[1] = bytearray(part[1])
            change(rng, part)

    return mutate


def _precision(rng, part):
    part[1][0] = rng.choice([0, 1, 2, 4, 7, 9, 10, 12, 16, 255])


def _side(rng, part):
    side = int(rng.choice([0, 1, 7, 8, 15, 17, 44, 57, 100, 300, 1000]))
    at = rng.choice([1, 3])
    part[1][at : at + 2] = side.to_bytes(2, "big")


def _factors(rng, part):
    usual = [16 * h + v for h in (1, 2, 3, 4) for v in (1, 2, 4)]
    at = 7 + 3 * rng.integers((len(part[1]) - 6) // 3)
    part[1][at] = rng.choice([*usual, 0x00, 0x01, 0x10, 0x55, 0xFF])


def _number_or_table(rng, part):
    at = 6 + 3 * rng.integers((len(part[1]) - 6) // 3) + rng.choice([0, 2])
    part[1][at] = rng.integers(8)


def _component_count(rng, part):
    count = int(rng.choice([0, 1, 2, 3, 4, 5, 10, 11, 255]))
    part[1][5] = count
    if rng.random() < 0.8:
        own = [[n + 1, rng.choice([0x11, 0x21, 0x22]), n % 2] for n in range(count)]
        part[1][6:] = bytes([int(value) for each in own for value in each])


def _kind(rng, parts):
    part = _frame_part(parts)
    if part:
        part[0] = int(rng.choice([*FRAMES, 0xC8, 0xCF, 0xDE, 0xF7]))


def _any_byte(rng, parts):
    _byte_of(rng, [part for part in parts if part[1]])


def _scan_byte(rng, parts):
    _byte_of(rng, [part for part in parts if part[0] == SOS and part[1]])


def _byte_of(rng, parts):
    if parts:
        part = parts[rng.integers(len(parts))]
        part[1] = bytearray(part[1])
        value = rng.integers(256) if rng.random() < 0.5 else rng.integers(6)
        part[1][rng.integers(len(part[1]))] = value


def _remove(rng, parts):
    if len(parts) > 2:
        parts.pop(rng.integers(1, len(parts)))


def _repeat(rng, parts):
    parts.insert(rng.integers(1, len(parts)), list(parts[rng.integers(1, len(parts))]))


def _length(rng, parts):
    part = parts[rng.integers(1, len(parts))]
    part[3:] = [int(rng.choice([0, 1, 2, 3, 5, 17, 1000, 65535]))]


def _insert(rng, parts):
    marker, payload = OTHERS[rng.integers(len(OTHERS))]
    parts.insert(rng.integers(1, len(parts)), [marker, payload, b""])


MUTATIONS = [
    *map(_change_frame, [_precision, _side, _factors, _number_or_table]),
    _change_frame(_component_count),
    *[_kind, _any_byte, _scan_byte, _remove, _repeat, _length, _insert],
]


def read_everywhere(data, folder):
    """Reads a file on every way into a library; returns how many ways read it.

    Only errors of one line, and `ValueError` of the room of the format, are expected.
    """
    path = os.path.join(folder, "x.jpg")
    with open(path, "wb") as file:
        file.write(data)
    ways = [
        lambda: image_size(path),
        lambda: read_image_and_metadata(path),
        lambda: read_image_and_metadata(path, ReadOptions(lenient=True)),
        lambda: lj.decode(data),
        lambda: jpeg_file.decode(data),
        lambda: jpeg_file.read_coefficients(data),
    ]
    count = 0
    for way in ways:
        with contextlib.suppress(lj.UserError, ValueError):
            way()
            count += 1
    assert len(optimized(data)) <= len(data)
    for metadata in (True, False):
        read_original(path, keeping=Keeping(metadata), is_optimized=True)
    return count


def main(count):
    """Reads mutations, and prints how many ways read them."""
    logging.disable()
    files = usual_files()
    with tempfile.TemporaryDirectory() as folder:
        counts = [read_everywhere(mutation(files, n), folder) for n in range(count)]
    print(
        f"{count} mutations: {np.bincount(counts).tolist()} were read on 0, 1, ... ways"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
