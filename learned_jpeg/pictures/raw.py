"""Develops raw files of cameras by LibRaw, and reads their metadata.

The development uses the white balance of the camera and LibRaw's defaults: AHD
interpolation, clipped highlights, and a brightness at which one percent of the pixels
is white. The result has the colours of sRGB.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import cast

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.pictures import metadata, tiff
from learned_jpeg.pictures.exif_tags import exif_of_tags, tag_content
from learned_jpeg.pictures.extras import needs_extra
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.opening import open_image

_SRGB_CURVE = (2.4, 12.92)  # exponent and slope near black
_TURNED_BY_90 = 4  # bit of LibRaw's flip


class RawPhoto:
    """An opened raw file.

    Attributes:
      size: (width, height) in px of the developed image.
    """

    def __init__(self, data: bytes, path: PathLike):
        """Opens a raw file without decoding it.

        Args:
          data: bytes of the file.
          path: path of the file, for errors.

        Raises:
          UserError: rawpy is not installed, or LibRaw does not read the file.
        """
        with needs_extra(path, "developing a raw file", "rawpy", "raw"):
            import rawpy

        self._data = data
        self._path = path
        self._error = rawpy.LibRawError
        with self._readable():
            self._raw = rawpy.imread(io.BytesIO(data))
        sizes = self._raw.sizes
        is_turned = sizes.flip & _TURNED_BY_90
        width, height = sizes.iwidth, sizes.iheight
        self.size = (height, width) if is_turned else (width, height)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Context of what LibRaw does; its errors come out as a UserError."""
        try:
            yield
        except self._error as error:
            reason = error.args[0] if error.args else ""
            if isinstance(reason, bytes):
                reason = reason.decode("latin1")
            raise UserError(
                f"{self._path}: LibRaw cannot develop it ({reason}): develop it by "
                "another program, to TIFF, PNG or JPEG"
            ) from None

    def close(self) -> None:
        """Frees the memory of LibRaw."""
        self._raw.close()

    def develop(self) -> Image.Image:
        """Returns the developed image, RGB, turned upright.

        Raises:
          UserError: LibRaw does not read the pixels.
        """
        with self._readable():
            pixels = self._raw.postprocess(use_camera_wb=True, gamma=_SRGB_CURVE)
        return Image.fromarray(pixels)

    def metadata(self) -> Metadata:
        """Returns the metadata.

        A raw file that is built as TIFF has them in its tags. Others have them in the
        JPEG file that is their preview.
        """
        if tiff.has_tiff_header(self._data[:16]):
            xmp = tag_content(self._data, tiff.XMP)
            return Metadata(exif=exif_of_tags(self._data), xmp=xmp)
        with contextlib.suppress(Exception):  # LibRaw too, if there is no preview
            preview = bytes(self._raw.extract_thumb().data)
            with open_image(io.BytesIO(preview), ["JPEG"]) as image:
                found = metadata.of_jpeg(cast(JpegImageFile, image))
                return Metadata(exif=found.exif, xmp=found.xmp)
        return Metadata()
