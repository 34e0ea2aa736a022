"""Motion photos: the short video that phones store behind a JPEG image.

Google's name it in XMP, by its offset from the end of the file (MicroVideo) or in the
container's directory (Android: Motion Photo format 1.0). Samsung's stand in a trailer
whose last bytes, the list SEFH, count backwards from itself. So all bytes from the
video on stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_BOX = b"ftyp"  # the type of the first box of an MP4 file, behind its length
_SAMSUNG = b"SEFT"
_FILL = b"\0\n\r "

# Properties of motion photos have these names, under any prefix.
PROPERTY = re.compile(r"(?:MotionPhoto|MicroVideo)\w*")
OFFSET = "MicroVideoOffset"  # bytes from the start of the video to the end of the file


class Video(NamedTuple):
    """A video behind an image, with all that follows it.

    Attributes:
      data: bytes, to the end of the file.
      lead: how many of them stand before the video itself.
      size: bytes of the video, as the container's directory counts them.
    """

    data: bytes
    lead: int
    size: int

    @property
    def offset_from_end(self) -> int:
        """Bytes from the start of the video to the end of the file."""
        return len(self.data) - self.lead


def find(
    data: bytes, start: int, end: int, claims: Iterable[tuple[int, int]]
) -> Video | None:
    """Finds the video that begins between two places of a file.

    Args:
      data: the bytes of the file.
      start, end: of the bytes between images, or behind the last one.
      claims: (start, size) where metadata say that the video stands.

    Returns:
      `Video`, without the bytes before it unless a trailer refers to them.
    """
    place, size = next(
        (claim for claim in claims if _is_video(data, claim[0], start, end)), (-1, 0)
    )
    if place < 0:
        box = data.find(_BOX, start + 4, end)
        if box < 0:
            return None
        place, size = box - 4, end - box + 4
    is_samsung = data[start:end].rstrip(_FILL).endswith(_SAMSUNG)
    first = start if is_samsung else place
    return Video(data[first:end], place - first, min(size, end - place))


def _is_video(data: bytes, place: int, start: int, end: int) -> bool:
    return start <= place <= end - 8 and data[place + 4 : place + 8] == _BOX
