"""Opens an image file with Pillow, and does what Pillow leaves out in each format."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import mmap
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import numpy as np
from PIL import ImageFile, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike
from learned_jpeg.jpeg import frame
from learned_jpeg.pictures import containers, entropy, metadata, png, tiff
from learned_jpeg.pictures.colour import srgb_of_gamma
from learned_jpeg.pictures.metadata import Metadata
from learned_jpeg.pictures.opening import open_image
from learned_jpeg.pictures.pixels import FULL_GRAY, GrayScale


@dataclasses.dataclass
class Source:
    """An opened image file.

    Attributes:
      image: Pillow image, not loaded yet.
      metadata: reads the metadata as they stand in the file.
      has_upright_size: whether `image.size` is already that of the upright image.
      turns_itself: whether Pillow turns the pixels upright when it loads them.
      gray_scale: what gray values of more than 8 bits mean.
      to_srgb: uint8 `[256, 3]`, sRGB for the values of an image; None for sRGB itself.
      notes: notes to the user on what is lost, or damaged outside of the pixels.
    """

    image: ImageFile.ImageFile
    metadata: Callable[[], Metadata]
    has_upright_size: bool = False
    turns_itself: bool = False
    gray_scale: GrayScale = FULL_GRAY
    to_srgb: np.ndarray | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def opened(
    file: BinaryIO,
    path: PathLike,
    max_megapixels: float,
    headers_only: bool = False,
    lenient: bool = False,
) -> Iterator[Source]:
    """Yields the `Source` of an opened file.

    Args:
      file: the file, opened for reading.
      path: path of the file, for errors.
      max_megapixels: a larger image is refused before it is decoded.
      headers_only: whether the pixels will not be loaded.
      lenient: whether a JPEG file with damaged pixels is accepted.

    Raises:
      UserError: a raw file, or an image that is too large or has damaged pixels.
      frame.UnsupportedError: JPEG of a kind that is not read.
      Exception: whatever Pillow raises.
    """
    head = file.read(32)
    file.seek(0)
    with contextlib.ExitStack() as stack:
        if head.startswith(png.SIGNATURE):
            source = _png(stack, file, path, headers_only)
        elif tiff.has_tiff_header(head):
            source = _tiff(stack, file, path)
        else:
            if tiff.is_raw(head, path):
                raise _raw_file(path)
            if size := _webp_size(head):
                _check_size(size, path, max_megapixels)
            source = _other(stack, file, headers_only)
        _check_size(source.image.size, path, max_megapixels)
        if isinstance(source.image, JpegImageFile) and not headers_only:
            _check_jpeg(stack, source, file, path, lenient)
        yield source


def _open(stack: contextlib.ExitStack, stream: BinaryIO) -> ImageFile.ImageFile:
    return stack.enter_context(open_image(stream))


def _check_size(size: tuple[int, int], path: PathLike, max_megapixels: float) -> None:
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        number = f"{megapixels:.1f}" if megapixels >= 10 else f"{megapixels:.3g}"
        raise UserError(
            f"{path}: {width}x{height} px are {number} megapixels, more than "
            f"{max_megapixels:g}: scale it down, or raise --max_megapixels of compress"
        )


def _raw_file(path: PathLike) -> UserError:
    return UserError(
        f"{path}: a raw file of a camera, of which only a preview could be read: "
        "develop it first, to TIFF, PNG or JPEG"
    )


def _first_of(count: int, kind: str) -> list[str]:
    return [f"only the first of {count} {kind} is taken"] if count > 1 else []


def _png(
    stack: contextlib.ExitStack, file: BinaryIO, path: PathLike, headers_only: bool
) -> Source:
    chunks = png.Chunks(file)
    cicp, gamma = chunks.cicp(), chunks.gamma()
    if cicp and cicp.hdr_name:
        raise UserError(
            f"{path}: holds HDR colours ({cicp.hdr_name}), which JPEG does not show: "
            "convert it to sRGB or Display P3"
        )
    image = _open(stack, chunks.only_pixels(headers_only))
    if image.mode == "L" and isinstance(image.info.get("transparency"), int):
        # Pillow scales samples of 2 and 4 bits to 8, but not the transparent one.
        image.info["transparency"] *= 255 // (2 ** min(chunks.bit_depth(), 8) - 1)
    notes = _first_of(chunks.frame_count(), "frames")
    if chunks.damaged:
        names = ", ".join(chunks.damaged)
        notes.append(f"damaged {names} in it: left out")
    if cicp and not cicp.is_known:
        numbers = "/".join(map(str, cicp))
        notes.append(f"its colours (cICP {numbers}) are not known: left out")
    return Source(
        image,
        lambda: metadata.of_png(chunks),
        to_srgb=None if cicp or gamma is None else srgb_of_gamma(gamma),
        notes=notes,
    )


def _tiff(stack: contextlib.ExitStack, file: BinaryIO, path: PathLike) -> Source:
    block = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if tiff.is_raw(block, path):
        raise _raw_file(path)
    try:
        image = cast(TiffImageFile, _open(stack, file))
    except UnidentifiedImageError:
        reason = tiff.describe(block)
        if reason is None:
            raise
        raise UserError(f"{path}: {reason}") from None
    reason = tiff.refusal(image.tag_v2)
    if reason:
        raise UserError(f"{path}: {reason}")
    tiff.prepare(image)
    return Source(
        image,
        lambda: metadata.of_tiff(image),
        has_upright_size=tiff.ORIENTATION in image.tag_v2,
        turns_itself=True,
        gray_scale=tiff.gray_scale(image.tag_v2),
        notes=_first_of(tiff.page_count(block), "pages"),
    )


def _other(stack: contextlib.ExitStack, file: BinaryIO, headers_only: bool) -> Source:
    count = 1 if headers_only else _gif_frame_count(file)
    image = _open(stack, file)
    if isinstance(image, JpegImageFile):
        return Source(image, lambda: metadata.of_jpeg(image))
    if isinstance(image, WebPImageFile):
        count = image.n_frames
    notes = _first_of(count, "frames")
    return Source(image, lambda: metadata.of_other(image), notes=notes)


def _gif_frame_count(file: BinaryIO) -> int:
    """Returns the frames of a GIF; 1 for another file, or if a later one is damaged.

    It opens the image by itself, since a failed count leaves the image unusable.
    """
    count = 1
    with contextlib.suppress(Exception), open_image(file, ["GIF"]) as image:
        count = cast(GifImageFile, image).n_frames
    file.seek(0)
    return count


def _check_jpeg(
    stack: contextlib.ExitStack,
    source: Source,
    file: BinaryIO,
    path: PathLike,
    lenient: bool,
) -> None:
    """Refuses damaged pixels; if only the end marker is missing, adds it."""
    file.seek(0)
    data = file.read()
    frame.check(data)
    image, behind = cast(JpegImageFile, source.image), containers.read(data)
    source.metadata = lambda: metadata.of_jpeg(image, behind)
    source.notes += behind.lost
    problem = entropy.problem(data)
    if problem is None:
        return
    ended = data + entropy.END
    if entropy.problem(ended) is None:
        source.notes.append("has no end marker, may be cut off: taken as it is")
    elif lenient:
        source.notes.append(f"damaged pixels ({problem}): taken as they are")
    else:
        raise UserError(
            f"{path}: damaged JPEG data ({problem}): replace it by a good copy, or "
            "take what there is of it by --lenient of compress"
        )
    source.image = _open(stack, io.BytesIO(ended))


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
