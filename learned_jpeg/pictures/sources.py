"""Opens a picture file with Pillow, each format with what Pillow does not see to."""

import contextlib
import dataclasses
import io
import mmap
from collections.abc import Callable

from PIL import Image, UnidentifiedImageError

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures import entropy, metadata, png, tiff
from learned_jpeg.pictures.opening import open_image


@dataclasses.dataclass
class Source:
    """An opened picture file.

    Attributes:
      image: Pillow image, not loaded yet.
      metadata: function to the `metadata.Metadata` of the file, as it stands there.
      has_upright_size: whether `image.size` is that of the upright picture already.
      turns_itself: whether Pillow turns the pixels upright when it loads them.
      gray_scale: as for `pixels.rgb_pixels`.
      notes: what is lost of the file or damaged beside the pixels, in words.
    """

    image: Image.Image
    metadata: Callable
    has_upright_size: bool = False
    turns_itself: bool = False
    gray_scale: tuple[int, bool] = (65535, False)
    notes: list = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def opened(file, path, max_megapixels, headers_only=False, lenient=False):
    """Yields the `Source` of an opened file.

    Args:
      file: open binary file.
      path: its name, for errors.
      max_megapixels: a larger picture is refused before it is decoded.
      headers_only: the pixels will not be loaded.
      lenient: takes a JPEG file whose pixels are damaged.

    Raises:
      UserError: a raw file, a picture that is too large or has damaged pixels.
      Exception: whatever Pillow raises.
    """
    head = file.read(32)
    file.seek(0)
    with contextlib.ExitStack() as stack:
        if head.startswith(png.SIGNATURE):
            source = _png(stack, file, headers_only)
        elif tiff.is_of_this_structure(head):
            source = _tiff(stack, file, path)
        else:
            if tiff.is_raw(head, path):
                raise _raw_file(path)
            if size := _webp_size(head):
                _check_size(*size, path, max_megapixels)
            source = _other(stack, file, headers_only)
        _check_size(*source.image.size, path, max_megapixels)
        if source.image.format in ("JPEG", "MPO") and not headers_only:
            _check_jpeg(stack, source, file, path, lenient)
        yield source


def _open(stack, stream):
    return stack.enter_context(open_image(stream))


def _check_size(width, height, path, max_megapixels):
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise UserError(
            f"{path}: {width}x{height} px are {megapixels:.1f} megapixels, more than "
            f"{max_megapixels:g}: scale it down, or raise --max_megapixels of compress"
        )


def _raw_file(path):
    return UserError(
        f"{path}: a raw file of a camera, of which only a preview could be read: "
        "develop it first, to TIFF, PNG or JPEG"
    )


def _first_of(count, kind):
    return [f"only the first of {count} {kind} is taken"] if count > 1 else []


def _png(stack, file, headers_only):
    chunks = png.Chunks(file)
    image = _open(stack, chunks.pixels_alone(headers_only))
    if image.mode == "L" and isinstance(image.info.get("transparency"), int):
        # Pillow scales samples of 2 and 4 bits to 8, but not this one.
        image.info["transparency"] *= 255 // (2 ** min(chunks.bit_depth(), 8) - 1)
    notes = _first_of(chunks.frame_count(), "frames")
    if chunks.damaged:
        names = ", ".join(chunks.damaged)
        notes.append(f"damaged {names} in it: left out")
    return Source(image, lambda: metadata.of_png(chunks), notes=notes)


def _tiff(stack, file, path):
    block = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if tiff.is_raw(block, path):
        raise _raw_file(path)
    try:
        image = _open(stack, file)
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


def _other(stack, file, headers_only):
    count = 1 if headers_only else _gif_frame_count(file)
    image = _open(stack, file)
    if image.format in ("JPEG", "MPO"):
        lost = metadata.what_is_lost(image)
        notes = [lost] if lost else []
        return Source(image, lambda: metadata.of_jpeg(image), notes=notes)
    if image.format != "GIF":
        count = getattr(image, "n_frames", 1)
    notes = _first_of(count, "frames")
    return Source(image, lambda: metadata.of_other(image), notes=notes)


def _gif_frame_count(file):
    """Frames of a GIF; 1 for another file, or if a later frame is damaged.

    On an image of its own, which is lost where the counting fails.
    """
    count = 1
    with contextlib.suppress(Exception), open_image(file, ["GIF"]) as image:
        count = image.n_frames
    file.seek(0)
    return count


def _check_jpeg(stack, source, file, path, lenient):
    """Refuses damaged pixels; a missing end marker alone is put in its place."""
    file.seek(0)
    data = file.read()
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


def _webp_size(head):
    """(width, height) in a WebP header; Pillow decodes before it tells (RFC 9649)."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    kind, data = head[12:16], head[20:]
    if kind == b"VP8X":
        return tuple(1 + int.from_bytes(data[at : at + 3], "little") for at in (4, 7))
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        sides = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
        return tuple(side & 0x3FFF for side in sides)
    return None
