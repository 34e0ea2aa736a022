"""Opens an image file by its content, and does what its decoder leaves out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import mmap
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.jpeg import frame
from learned_jpeg.pictures import (
    containers,
    entropy,
    heif,
    heif_boxes,
    jxl,
    metadata,
    png,
    raw,
    tiff,
)
from learned_jpeg.pictures.colour import Cicp, profile_of_cicp, srgb_of_gamma
from learned_jpeg.pictures.exif_tags import exif_of_tags
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.opening import open_image
from learned_jpeg.pictures.pixels import FULL_GRAY, GrayScale
from learned_jpeg.pictures.read_options import ReadOptions

_HEAD = 256  # first bytes of a file, which tell its format


@dataclasses.dataclass
class Source:
    """An opened image file.

    Attributes:
      size: (width, height) in px, as it stands in the file.
      decode: returns the Pillow image, loaded.
      metadata: reads the metadata as they stand in the file.
      has_upright_size: whether `size` is already that of the upright image.
      turns_itself: whether `decode` turns the pixels upright.
      gray_scale: what gray values of more than 8 bits mean.
      to_srgb: uint8 `[256, 3]`, sRGB for the values of an image; None for sRGB itself.
      notes: notes to the user on what is lost, or damaged outside of the pixels.
    """

    size: tuple[int, int]
    decode: Callable[[], Image.Image]
    metadata: Callable[[], Metadata]
    has_upright_size: bool = False
    turns_itself: bool = False
    gray_scale: GrayScale = FULL_GRAY
    to_srgb: np.ndarray | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def opened(
    file: BinaryIO, path: PathLike, options: ReadOptions, headers_only: bool = False
) -> Iterator[Source]:
    """Yields the `Source` of an opened file.

    Args:
      file: the file, opened for reading.
      path: path of the file, for errors.
      options: `ReadOptions`; an image that is too large is refused before it is
        decoded.
      headers_only: whether the pixels will not be decoded.

    Raises:
      UserError: a raw file that is not to be developed, an image that is too large or
        has damaged pixels, or a package that is missing.
      frame.UnsupportedError: JPEG of a kind that is not read.
      Exception: whatever Pillow and the other decoders raise.
    """
    with contextlib.ExitStack() as stack:
        yield _Opening(stack, file, path, options, headers_only).source()


@dataclasses.dataclass
class _Opening:
    """Opens one file; the fields are the arguments of `opened`.

    Attributes:
      stack: closes what is opened.
    """

    stack: contextlib.ExitStack
    file: BinaryIO
    path: PathLike
    options: ReadOptions
    headers_only: bool

    def source(self) -> Source:
        """Opens the file as what its first bytes say; checks the size."""
        head = self.file.read(_HEAD)
        source = self._open_as(head)()
        self._check_size(source.size)
        return source

    def _open_as(self, head: bytes) -> Callable[[], Source]:
        if head.startswith(png.SIGNATURE):
            return self._png
        if tiff.has_tiff_header(head):
            return self._tiff
        if tiff.is_raw(head, self.path):
            return self._raw
        if jxl.is_jxl(head):
            return self._jxl
        if heif_boxes.is_heif(head):
            return self._heif
        if size := _webp_size(head):
            self._check_size(size)
        return self._other

    def _open(self, stream: BinaryIO) -> ImageFile:
        return self.stack.enter_context(open_image(stream))

    def _content(self) -> bytes:
        self.file.seek(0)
        return self.file.read()

    def _check_size(self, size: tuple[int, int]) -> None:
        width, height = size
        megapixels, most = width * height / 1e6, self.options.max_megapixels
        number = f"{megapixels:.1f}" if megapixels >= 10 else f"{megapixels:.3g}"
        if megapixels > most:
            raise UserError(
                f"{self.path}: {width}x{height} px are {number} megapixels, "
                f"more than {most:g}: scale it down, or raise --max_megapixels of "
                "compress"
            )

    # Formats that Pillow reads

    def _png(self) -> Source:
        chunks = png.Chunks(self.file)
        cicp, gamma = chunks.cicp(), chunks.gamma()
        notes = self._notes_on_colours(cicp)
        image = self._open(chunks.only_pixels(self.headers_only))
        if image.mode == "L" and isinstance(image.info.get("transparency"), int):
            # Pillow scales samples of 2 and 4 bits to 8, but not the transparent one.
            image.info["transparency"] *= 255 // (2 ** min(chunks.bit_depth(), 8) - 1)
        notes += _first_of(chunks.frame_count(), "frames")
        if chunks.damaged:
            names = ", ".join(chunks.damaged)
            notes.append(f"damaged {names} in it: left out")
        return Source(
            image.size,
            functools.partial(_loaded, image),
            lambda: metadata.of_png(chunks),
            to_srgb=None if cicp or gamma is None else srgb_of_gamma(gamma),
            notes=notes,
        )

    def _notes_on_colours(self, cicp: Cicp | None) -> list[str]:
        """Returns notes on colours that are named by numbers.

        Raises:
          UserError: they are HDR colours.
        """
        if cicp and cicp.hdr_name:
            raise self._hdr(cicp.hdr_name)
        if cicp and not cicp.is_known:
            numbers = "/".join(map(str, cicp))
            return [f"its colours (CICP {numbers}) are not known: left out"]
        return []

    def _hdr(self, name: str) -> UserError:
        return UserError(
            f"{self.path}: holds HDR colours ({name}), which JPEG does not show: "
            "convert it to sRGB or Display P3"
        )

    def _tiff(self) -> Source:
        block = self.stack.enter_context(
            mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        )
        if tiff.is_raw(block, self.path):
            return self._raw()
        try:
            image = cast(TiffImageFile, self._open(self.file))
        except UnidentifiedImageError:
            reason = tiff.describe(block)
            if reason is None:
                raise
            raise UserError(f"{self.path}: {reason}") from None
        reason = tiff.refusal(image.tag_v2)
        if reason:
            raise UserError(f"{self.path}: {reason}")
        tiff.prepare(image)
        return Source(
            image.size,
            functools.partial(_loaded, image),
            lambda: metadata.of_tiff(image, exif_of_tags(block)),
            has_upright_size=tiff.ORIENTATION in image.tag_v2,
            turns_itself=True,
            gray_scale=tiff.gray_scale(image.tag_v2),
            notes=_first_of(tiff.page_count(block), "pages"),
        )

    def _other(self) -> Source:
        count = 1 if self.headers_only else _gif_frame_count(self.file)
        image = self._open(self.file)
        if isinstance(image, JpegImageFile):
            return self._jpeg(image, self.file)
        if isinstance(image, WebPImageFile):
            count = image.n_frames
        return Source(
            image.size,
            functools.partial(_loaded, image),
            lambda: metadata.of_other(image),
            notes=_first_of(count, "frames"),
        )

    def _jpeg(self, image: JpegImageFile, file: BinaryIO) -> Source:
        """Refuses damaged pixels; if only the end marker is missing, adds it."""
        self._check_size(image.size)
        decoded, notes, behind = image, [], containers.NOTHING
        if not self.headers_only:
            file.seek(0)
            data = file.read()
            frame.check(data)
            behind = containers.read(data)
            notes += behind.lost
            if problem := entropy.problem(data):
                ended = data + entropy.END
                notes.append(self._note_on_damage(problem, ended))
                decoded = self._open(io.BytesIO(ended))
        return Source(
            image.size,
            functools.partial(_loaded, decoded),
            lambda: metadata.of_jpeg(image, behind),
            notes=notes,
        )

    def _note_on_damage(self, problem: str, ended: bytes) -> str:
        if entropy.problem(ended) is None:
            return "has no end marker, may be cut off: taken as it is"
        if self.options.lenient:
            return f"damaged pixels ({problem}): taken as they are"
        raise UserError(
            f"{self.path}: damaged JPEG data ({problem}): replace it by a good copy, "
            "or take what there is of it by --lenient of compress"
        )

    # Formats of phones and cameras

    def _heif(self) -> Source:
        data = self._content()
        items = heif_boxes.HeifBoxes(data)
        self._check_size(items.size)
        notes = self._notes_on_colours(items.cicp)
        opened_by = heif.open_avif if items.is_av1 else heif.open_heic
        image = opened_by(items, self.path)
        self.stack.callback(image.close)
        if image.count > 1:
            notes.append(f"only the primary one of {image.count} images is taken")
        notes += [
            f"its {kind} is lost, the image itself is kept" for kind in items.lost
        ]
        profile = items.icc_profile
        if profile is None and items.cicp:
            profile = profile_of_cicp(items.cicp, image.is_gray)
        return Source(
            image.size,
            image.decode,
            lambda: Metadata(profile, metadata.labelled(items.exif), items.xmp),
            has_upright_size=True,
            turns_itself=True,
            notes=notes,
        )

    def _jxl(self) -> Source:
        data = self._content()
        header, texts = jxl.header(data), jxl.texts(data)
        self._check_size(header.size)
        if header.is_animated:
            raise UserError(
                f"{self.path}: is an animation, of which no frame can be taken: "
                "convert the wanted one to PNG"
            )
        image, profile = None, None
        if not self.headers_only:
            image, profile = jxl.decode(data, self.path)
        if isinstance(image, bytes):  # a JPEG file that was packed without loss
            file = io.BytesIO(image)
            return self._jpeg(cast(JpegImageFile, self._open(file)), file)
        cicp = jxl.colours(profile) if profile else None
        if cicp and cicp.hdr_name:
            raise self._hdr(cicp.hdr_name)
        if cicp and cicp.is_srgb(is_gray=False):
            profile = None
        size = image.size if image else header.upright_size
        return Source(
            size,
            lambda: cast(Image.Image, image),
            lambda: Metadata(profile, metadata.labelled(texts.exif), texts.xmp),
            has_upright_size=True,
            turns_itself=True,
            notes=[f"its {name} cannot be read: left out" for name in texts.unread],
        )

    def _raw(self) -> Source:
        if not self.options.raw:
            raise UserError(
                f"{self.path}: a raw file of a camera, of which only a preview could "
                "be read: develop it first, to TIFF, PNG or JPEG, or pass --raw"
            )
        photo = raw.RawPhoto(self._content(), self.path)
        self.stack.callback(photo.close)
        return Source(
            photo.size,
            photo.develop,
            photo.metadata,
            has_upright_size=True,
            turns_itself=True,
        )


def _loaded(image: ImageFile) -> ImageFile:
    image.load()
    return image


def _first_of(count: int, kind: str) -> list[str]:
    return [f"only the first of {count} {kind} is taken"] if count > 1 else []


def _gif_frame_count(file: BinaryIO) -> int:
    """Returns the frames of a GIF; 1 for another file, or if a later one is damaged.

    It opens the image by itself, since a failed count leaves the image unusable.
    """
    count = 1
    with contextlib.suppress(Exception), open_image(file, ["GIF"]) as image:
        count = cast(GifImageFile, image).n_frames
    file.seek(0)
    return count


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Returns (width, height) of a WebP header (RFC 9649), None for another file.

    Pillow would decode the pixels first.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    kind, data = head[12:16], head[20:]
    if kind == b"VP8X":
        width, height = data[4:7], data[7:10]
        return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None
