"""The metadata of its input that a result keeps."""

from __future__ import annotations

import argparse
import dataclasses

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures.metadata import Metadata

GAIN_MAPS = ("keep", "copy", "drop")
VIDEOS = ("keep", "drop")

ALL, LOOK, NONE = "all", "look", "none"
_WORDS = {True: ALL, False: NONE, LOOK: LOOK}


def _check(name, value, words):
    if value not in words:
        known = ", ".join(map(str, words))
        raise UserError(f"{name} {value!r}: unknown; choose one of {known}")


@dataclasses.dataclass(frozen=True)
class Keeping:
    """The choice of the metadata that is kept.

    Attributes:
      metadata: True for all, False for nothing, "look" for what changes how the image
        looks: its profile and its gain map.
      gain_map: one of `GAIN_MAPS`. keep: recompressed; copy: as it is; drop: none.
      video: one of `VIDEOS`, for the video of a motion photo.

    Raises:
      UserError: an unknown word.
    """

    metadata: bool | str = True
    gain_map: str = "keep"
    video: str = "keep"

    def __post_init__(self):
        """Checks the values."""
        _check("metadata", self.metadata, tuple(_WORDS))
        _check("gain_map", self.gain_map, GAIN_MAPS)
        _check("video", self.video, VIDEOS)

    @property
    def extent(self) -> str:
        """`ALL`, `LOOK` or `NONE`."""
        return _WORDS[self.metadata]

    def of(self, metadata: Metadata) -> Metadata:
        """Returns what is kept of an input's metadata."""
        if self.extent == NONE:
            return Metadata()
        if self.gain_map == "drop":
            metadata = dataclasses.replace(metadata, gain_map=None)
        if self.extent == LOOK:
            return metadata.look()
        if self.video == "drop":
            metadata = dataclasses.replace(metadata, video=None)
        return metadata

    def notes(self, metadata: Metadata) -> list[str]:
        """Returns notes to the user on what is left out that he may not expect."""
        if metadata.video and self.video == "keep" and self.extent != ALL:
            return ["its video (motion photo) is left out with the metadata"]
        return []


KEEP_ALL = Keeping()


def keeping_of(args: argparse.Namespace) -> Keeping:
    """Returns the `Keeping` of the flags of `compress`."""
    metadata = LOOK if args.strip_metadata else True
    return Keeping(
        metadata=False if args.strip_all else metadata,
        gain_map=args.gain_map,
        video=args.video,
    )
