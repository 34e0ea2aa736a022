"""Opens images with Pillow as `Image.open` does, without its limit of the size.

Pillow's limit, `Image.MAX_IMAGE_PIXELS`, is one for the whole process and belongs to
the host. Ours is checked for each file, see sources.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from learned_jpeg.jpeg import frame

# The only formats that are tried: Pillow knows others, of which one runs programs.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")


class _TiffImage(TiffImagePlugin.TiffImageFile):
    """A TIFF image whose tiles may be of any size."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)
        super().load_prepare()


def open_image(
    stream: BinaryIO, formats: Sequence[str] = FORMATS
) -> ImageFile.ImageFile:
    """Opens an image of one of the formats; its pixels are not decoded yet.

    A GIF image whose first frame is larger than its screen still meets Pillow's limit.

    Args:
      stream: a seekable file, which stays open.
      formats: names of formats, in the order in which they are tried.

    Raises:
      UnidentifiedImageError: the file is of none of the formats.
      frame.UnsupportedError: JPEG of a kind that is not read.
      Exception: whatever Pillow raises for a damaged file.
    """
    stream.seek(0)
    prefix = stream.read(16)
    Image.preinit()
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN[name]
        # A plugin that lacks its library answers with a text.
        if accept is not None and accept(prefix) is not True:
            continue
        if name == "JPEG":
            frame.read_frame(stream)
        stream.seek(0)
        try:
            return _TiffImage(stream) if name == "TIFF" else factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError("cannot identify the image")
