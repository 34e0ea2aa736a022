"""The lossless pass: the same coefficients of any JPEG file in fewer bytes."""

from __future__ import annotations

from collections.abc import Iterator

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import frame
from learned_jpeg.jpeg.segments import (
    APP0,
    APP14,
    APPLICATION_DATA,
    SOI,
    IncompleteError,
    segments,
    without_segments,
)

_FILL = b"\0\n\r "  # some cameras fill the last sector of a file


def optimized(data: bytes) -> bytes:
    """Returns a JPEG file that decodes to the same pixels, in the fewest bytes.

    Application data and comments stay byte for byte. The coefficients are written again
    by mozjpeg's lossless pass and by our own choice of scans, and the smallest file is
    returned. A second pass changes nothing.

    A file comes back as it came in if it is no smaller in this way, or if it cannot be
    written again with the same meaning: another kind of JPEG, coefficients out of
    range, or data behind its end, such as a video, since offsets may point there.

    Args:
      data: the bytes of a JPEG file whose pixels are not damaged.

    Raises:
      OSError: a temporary file could not be written, e.g. a full disk.
    """
    try:
        found = list(segments(data))
    except IncompleteError:
        return data
    end = found[-1][2]
    if data[end:].strip(_FILL):
        return data
    kept = [data[a:b] for marker, a, b in found if marker in APPLICATION_DATA]
    head = b"".join([bytes([0xFF, SOI]), *kept])
    again = [
        head + without_segments(coded, APPLICATION_DATA)[2:]
        for coded in _coded_again(data[:end])
    ]
    return min([data[:end], *again], key=len)


def _coded_again(data: bytes) -> Iterator[bytes]:
    """Yields files of the coefficients of a file, without its application data."""
    import mozjpeg_lossless_optimization

    from learned_jpeg.jpeg import libjpeg  # takes a third of a second
    from learned_jpeg.jpeg.progressive import encode_progressive  # compiled code

    try:
        header = frame.check(data)
        # mozjpeg ends the process where it cannot write what it has read.
        if header is None or not (header.is_huffman_coded and header.fits_one_scan):
            return
        jpeg = libjpeg.read_dct(data)
        for plane in (jpeg.Y, jpeg.Cb, jpeg.Cr, jpeg.K)[: jpeg.num_components]:
            jpeg_file.check_range(plane)
        # Without what does not name the colour space.
        bare = without_segments(data, {*APPLICATION_DATA} - {APP0, APP14})
        yield mozjpeg_lossless_optimization.optimize(bare)
        quantized = jpeg_file.quantized_image(jpeg, data)
        yield encode_progressive(jpeg_file.checked(quantized))
    except ValueError:  # it cannot be read, or written by this way
        return
