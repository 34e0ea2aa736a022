"""Operating points that several processes measure: who does what, and the results.

Operating points are shared out whole, up to `IMAGES_OF_UNIT` test images. With more,
the images are cut into blocks by a hash of their paths, and the blocks of each
operating point are shared out; the rows of a block wait in a file of JSON lines for
the call that gathers them.
"""

import contextlib
import glob
import json
import os
from typing import NamedTuple

from evaluation.operating_points import OperatingPoint
from learned_jpeg.commands.records import RecordFile
from learned_jpeg.commands.shards import Shard, stable_hash
from learned_jpeg.common.errors import UserError

IMAGES_OF_UNIT = 500

# Flags that all shards have to share.
_CALL = ("jpeg_type", "test_image_glob", "entropy_coding", "quantization", "tune")
_CALL += ("subsampling", "refine_steps", "precision")


def call_of(args):
    """Returns the settings that all shards share with the call that gathers."""
    return {name: vars(args)[name] for name in _CALL}


class Unit(NamedTuple):
    """An operating point on some test images: on all of them if `paths` is None."""

    point: OperatingPoint
    paths: list | None

    @property
    def name(self):
        """Name of the operating point."""
        return self.point.name


def units_of(shard, points, found):
    """Returns what a shard measures, a list of `Unit`.

    Args:
      shard: `learned_jpeg.commands.shards.Shard`.
      points: list of `OperatingPoint`.
      found: paths of the test images.
    """
    blocks = _blocks(found)
    if len(blocks) == 1:
        return [Unit(point, None) for point in points if shard.owns(point.name)]
    units = []
    for point in points:
        own = (b for i, b in enumerate(blocks) if shard.owns(_name(point, i)))
        if paths := [path for block in own for path in block]:
            units.append(Unit(point, paths))
    return units


def owners(point, found, count):
    """Returns the numbers of the shards, of `count`, that measure a point."""
    blocks = len(_blocks(found))
    names = [point.name] if blocks == 1 else [_name(point, i) for i in range(blocks)]
    return sorted({stable_hash(name) % count for name in names})


def _name(point, block):
    return f"{point.name}/{block}"


def _blocks(found):
    """Cuts the images into blocks.

    The number of blocks is a power of two, so that most images stay in their block when
    others are added.
    """
    count = 1
    while len(found) > count * IMAGES_OF_UNIT:
        count *= 2
    blocks = [[] for _ in range(count)]
    for path in found:
        blocks[stable_hash(path) % count].append(path)
    return blocks


class PartFile:
    """A file of the rows that one shard has measured; it grows by whole lines."""

    def __init__(self, folder, point, index):
        """Stores a `ShardFolder`, an `OperatingPoint` and the number of the shard."""
        self._path = os.path.join(folder.path, point.name, f"{index}.jsonl")

    @contextlib.contextmanager
    def opened(self, key):
        """Opens the file for more rows; those of another key are forgotten.

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
    """A record that `RecordFile` adds as one line."""

    def line(self):
        return json.dumps(self).encode("ascii") + b"\n"


def read_part(path, key):
    """Reads the rows of a file of `PartFile`, if they are those of `key`.

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


def parts_of(folder, point, key):
    """Returns the rows of a point that all shards have measured, see `read_part`."""
    own_folder = os.path.join(folder.path, point.name)
    pattern = os.path.join(glob.escape(own_folder), "*.jsonl")
    rows = {}
    for path in glob.glob(pattern):
        rows |= read_part(path, key)
    return rows


def gathered(evaluator, folder, found, point):
    """Returns the `results.PointResults` of a point that shards have measured.

    Args:
      evaluator: `Evaluator`.
      folder: `ShardFolder`.
      found: paths of the test images.
      point: `OperatingPoint`.

    Raises:
      UserError: it is missing, all or in part.
    """
    values, missing = evaluator.gather(point, lambda key: parts_of(folder, point, key))
    if values is None:
        count = folder.count()
        shards = ", ".join(f"{Shard(i, count)}" for i in owners(point, found, count))
        raise UserError(
            f"{point.name}: {missing} images are missing, of the shards {shards}; "
            f"start them again, or delete {folder.path} to measure without shards"
        )
    return values
