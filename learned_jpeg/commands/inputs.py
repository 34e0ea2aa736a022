"""Finds the inputs of a call: each image once, and no result of an earlier call."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from learned_jpeg.commands.marks import read_mark
from learned_jpeg.commands.outputs import without_earlier_outputs
from learned_jpeg.pictures.image_files import SUFFIXES, find_images, location

logger = logging.getLogger(__name__)

# Images of a folder that are named where they cannot be read, not passed over.
_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".iiq", ".kdc"),
    *(".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl"),
    *(".sr2", ".srf", ".srw", ".x3f"),
)
_OTHER_SUFFIXES = (
    *(".exr", ".j2k", ".jp2", ".jpf", ".jpx", ".jxr", ".psb", ".psd", ".tga"),
)
_ALL_SUFFIXES = tuple(dict.fromkeys((*SUFFIXES, *_RAW_SUFFIXES, *_OTHER_SUFFIXES)))

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")

_SHOWN = 3  # names in a line
_TWO_STARS = "**"


def find_inputs(args) -> Sequence[str]:
    """Returns the sorted paths that the flags of `compress` name, each once.

    Backups and what lies in a folder of results below a folder of inputs are left out.

    Raises:
      UserError: see `find_images`.
    """
    # A link and its file have results of their own, but one place.
    key_of = os.path.realpath if args.in_place else location
    found: dict[str, str] = {}
    again = []
    for pattern in args.inputs:
        for path in find_images(pattern, _ALL_SUFFIXES, args.recursive):
            key = key_of(path)
            if key in found:
                again.append(path)
            found.setdefault(key, path)
    if again:
        say_what_is_left_out(again, "input", " named more than once")
    inputs = sorted(found.values())
    if tops := _tops(args):
        inputs = without_earlier_outputs(inputs, args.output, tops)
    if args.in_place:
        inputs = _replaceable(inputs, args.inputs)
    return _without_backups(inputs, args.backup)


def roots_of(args) -> list[str]:
    """Returns the folders whose tree is kept in the folder of the results."""
    return [path for path in args.inputs if args.recursive and os.path.isdir(path)]


def _tops(args):
    """Returns the folders in which images are found at any depth."""
    patterns = [path for path in args.inputs if _TWO_STARS in path]
    heads = [pattern[: pattern.index(_TWO_STARS)] for pattern in patterns]
    return roots_of(args) + [os.path.dirname(head) or os.curdir for head in heads]


def _replaceable(inputs, named):
    """Leaves out what no JPEG file can replace, unless it is named itself."""
    other = [p for p in inputs if not p.lower().endswith(JPEG_SUFFIXES)]
    other = [path for path in other if path not in named]
    if other:
        say_what_is_left_out(
            other,
            "image",
            " of other formats than JPEG",
            ": --in_place replaces .jpg files only",
        )
    return [path for path in inputs if path not in set(other)]


def _without_backups(inputs, suffix):
    if not suffix:
        return inputs
    backups = {
        path
        for path in inputs
        if path.endswith(suffix) and os.path.exists(path.removesuffix(suffix))
    }
    if backups:
        say_what_is_left_out(sorted(backups), "backup")
    return [path for path in inputs if path not in backups]


def marked_results(inputs: Sequence[str]) -> set[str]:
    """Finds the inputs that are marked as results of other inputs, see `marks`."""
    by_size: dict[int, list[str]] = {}
    for path in inputs:
        if os.path.isfile(path):
            by_size.setdefault(os.path.getsize(path), []).append(path)
    found = set()
    for path in inputs:
        mark = read_mark(path)
        if not mark or not mark.source:
            continue
        sources = by_size.get(mark.source.size, ())
        if any(mark.is_of(source) for source in sources if source != path):
            found.add(path)
    return found


def say_what_is_left_out(
    paths: Sequence[str], kind: str, more: str = "", remedy: str = ""
) -> None:
    """Logs which paths are no inputs of a call.

    Args:
      paths: at least one.
      kind: what one of them is, in the singular.
      more: further words on that.
      remedy: what to do about it, with its separator.
    """
    shown = ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
    kinds = kind if len(paths) == 1 else f"{kind}s"
    logger.info("left out %d %s%s (%s)%s", len(paths), kinds, more, shown, remedy)
