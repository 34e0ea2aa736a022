"""Makes files as phones and cameras write them, by the encoders of the extras."""

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.pictures.picture_files import page, scene, tiff_file

HEIGHT, WIDTH = 64, 96
RGB = np.rint(scene(HEIGHT, WIDTH) * 255).astype(np.uint8)
MAKER, ORIENTATION = 0x010F, 0x0112

# Gray of 16x16 px and 10 bits: columns 0, 64, ..., 960 of 1023. Pillow writes no such
# file; it was made by `avifenc --lossless --depth 10` (libavif 0.11).
TEN_BIT_AVIF = base64.b64decode(
    """
    AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPBtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABw
    aWN0AAAAAAAAAAAAAAAAbGliYXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAA
    AAEAAAEUAAAAOAAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABoaXBy
    cAAAAElpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAOcGl4aQAAAAABCgAAAAxhdjFDgQBcAAAA
    ABNjb2xybmNseAABAA0ABoAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAAEBtZGF0EgAKCBgM/9jg
    IaDUMioQAG3WWSJnzKQGtJvemfo4g2avLXsARonN8X1s4Myy/pTFCfDCpGHuXdg=
    """
)


def exif_of(orientation):
    """Returns an EXIF block with its label, of a maker and an orientation."""
    entries = struct.pack(">HHHI4s", 2, MAKER, 2, 4, b"Cam\0")
    entries += struct.pack(">HHIHHI", ORIENTATION, 3, 1, orientation, 0, 0)
    return b"Exif\0\0MM\0*\0\0\0\x08" + entries


def avif_file(pixels=RGB, **options):
    """Returns an AVIF file, without subsampling."""
    pytest.importorskip("PIL._avif")
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": "4:4:4", "speed": 10, **options}
    Image.fromarray(pixels).save(buffer, "AVIF", **options)
    return buffer.getvalue()


def heic_file(pixels=RGB, mode="RGB", **options):
    """Returns a HEIC file without loss: the components are coded as they are."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    buffer = io.BytesIO()
    options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0, **options}
    height, width = pixels.shape[:2]
    pillow_heif.encode(mode, (width, height), pixels.tobytes(), buffer, **options)
    return buffer.getvalue()


def jxl_file(pixels=RGB, **options):
    """Returns a JPEG XL file without loss."""
    pytest.importorskip("pillow_jxl", reason="needs the extra jxl")
    buffer = io.BytesIO()
    options = {"lossless": True, "effort": 1, **options}
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, "JXL", **options)
    return buffer.getvalue()


def with_colours(data, primaries, transfer):
    """Returns a HEIF or AVIF file with other numbers of its colours."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def dng_file(cfa, orientation=1, more=None):
    """Returns a DNG file (DNG 1.4) of an RGGB mosaic.

    Args:
      cfa: uint16 `[h, w]`; the camera has the colours of sRGB in light of D65.
      orientation: as in EXIF.
      more: further tags, as of `picture_files.tiff_file`.
    """
    height, width = cfa.shape
    of_xyz = (32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572)
    tags = page(height, width, 16, 32803, cfa)
    tags |= {271: "Maker", 272: "Model", 274: orientation, 306: "2024:05:06 07:08:09"}
    tags |= {33421: b"\2\0\2\0", 33422: b"\0\1\1\2"}  # the mosaic
    tags |= {50706: b"\1\4\0\0", 50708: "Maker Model", 50714: 0, 50717: 65535}
    tags |= {50721: tuple((value, 10000) for value in of_xyz)}
    tags |= {50728: ((1, 1),) * 3, 50778: 21}  # neutral, D65
    return tiff_file("<", tags | (more or {}))
