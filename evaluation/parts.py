"""Dots that several processes measure: who takes what, and what each has measured.

Dots are shared out whole, up to `IMAGES_OF_UNIT` test images. With more, the images are
cut into blocks by a hash of their paths, and a dot's blocks are shared out; the rows of
a block wait in a file of JSON lines for the call that gathers them.
"""

import contextlib
import glob
import json
import os
from typing import NamedTuple

from evaluation.dots import Dot
from learned_jpeg.commands.records import RecordFile
from learned_jpeg.commands.shards import Shard, stable_hash
from learned_jpeg.common.errors import UserError

IMAGES_OF_UNIT = 500

# Flags that all shards have to share.
_CALL = ("jpeg_type", "test_image_glob", "entropy_coding", "quantization", "tune")
_CALL += ("subsampling", "refine_steps", "precision")


def call_of(args):
    """The settings that all shards share with the call that gathers."""
    return {name: getattr(args, name) for name in _CALL}


class Unit(NamedTuple):
    """A dot on some test images: on all of them if `paths` is None."""

    dot: Dot
    paths: list | None

    @property
    def name(self):
        """Of the dot."""
        return self.dot.name


def units_of(shard, dots, found):
    """What a shard measures, a list of `Unit`.

    Args:
      shard: `learned_jpeg.commands.shards.Shard`.
      dots: list of `Dot`.
      found: paths of the test images.
    """
    blocks = _blocks(found)
    if len(blocks) == 1:
        return [Unit(dot, None) for dot in dots if shard.owns(dot.name)]
    units = []
    for dot in dots:
        own = (b for i, b in enumerate(blocks) if shard.owns(_name(dot, i)))
        if paths := [path for block in own for path in block]:
            units.append(Unit(dot, paths))
    return units


def owners(dot, found, count):
    """The numbers, of `count` shards, of those that measure a dot."""
    blocks = len(_blocks(found))
    names = [dot.name] if blocks == 1 else [_name(dot, i) for i in range(blocks)]
    return sorted({stable_hash(name) % count for name in names})


def _name(dot, block):
    return f"{dot.name}/{block}"


def _blocks(found):
    """The images in blocks, of which there are a power of two.

    So most images stay in their block when others are added.
    """
    count = 1
    while len(found) > count * IMAGES_OF_UNIT:
        count *= 2
    blocks = [[] for _ in range(count)]
    for path in found:
        blocks[stable_hash(path) % count].append(path)
    return blocks


class PartFile:
    """Rows of a dot, measured by one shard, in a file that grows by whole lines."""

    def __init__(self, folder, dot, index):
        """Takes a `ShardFolder`, a `Dot` and the number of the shard."""
        self._path = os.path.join(folder.path, dot.name, f"{index}.jsonl")

    @contextlib.contextmanager
    def opened(self, key):
        """Context in which rows may be added; those of another key are forgotten.

        Args:
          key: JSON-able dict of all that the rows depend on, but for the images.

        Yields:
          (dict of the rows that there are, function to add one): see `add`.
        """
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        rows = read_part(self._path, key)
        if not rows:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._path)
        with RecordFile(self._path) as file:
            if not rows:
                file.append(_Line({"key": key}))

            def add(image, row):
                values = {name: float(value) for name, value in row.items()}
                file.append(_Line({"image": image, "values": values}))

            yield rows, add


class _Line(dict):
    """What `RecordFile` adds as one line."""

    def line(self):
        return json.dumps(self).encode("ascii") + b"\n"


def read_part(path, key):
    """The rows of a file of `PartFile`, if they are those of `key`.

    Returns:
      dict from (name, SHA-256) of an image to a dict of its values; what is cut off or
      of another key is left out.
    """
    rows = {}
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                content = json.loads(line)
                if "key" in content and content["key"] != json.loads(json.dumps(key)):
                    return {}
                image = content["image"]
                rows[image["name"], image["sha256"]] = content["values"]
    return rows


def parts_of(folder, dot, key):
    """The rows that all shards have of a dot, as `read_part` gives them."""
    pattern = os.path.join(glob.escape(os.path.join(folder.path, dot.name)), "*.jsonl")
    rows = {}
    for path in glob.glob(pattern):
        rows |= read_part(path, key)
    return rows


def gathered(evaluator, folder, found, dot):
    """The `results.DotResults` of a dot that shards have measured.

    Args:
      evaluator: `Evaluator`.
      folder: `ShardFolder`.
      found: paths of the test images.
      dot: `Dot`.

    Raises:
      UserError: it is missing, all or in part.
    """
    values, missing = evaluator.gather(dot, lambda key: parts_of(folder, dot, key))
    if values is None:
        count = folder.count()
        shards = ", ".join(f"{Shard(i, count)}" for i in owners(dot, found, count))
        raise UserError(
            f"{dot.name}: {missing} images are missing, of the shards {shards}; start "
            f"them again, or delete {folder.path} to measure without shards"
        )
    return values
