"""Results of the evaluation, and their caches on the disk.

One "dot" is one setting of one codec (such as `Q20` of plain JPEG), measured on a
list of test images: a list for each of `MEASURED`, with one number per image. A dot is
kept in three files: `<name>.pickle` (a tuple of five of the lists, `LISTS`),
`<name>.json` (means in the form that CompressAI writes, and the record of what was
measured) and `<name>.csv` (all lists, a row per image). Older programs measured no more
than the five: the others are missing then, and not measured later. So is Butteraugli
where there is no tool for it.
"""

import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import logging
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.safe_pickle import LISTS, DamagedPickle, check_number, unpickle_lists
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.metrics.basic import defined, mean_of_defined
from learned_jpeg.metrics.registry import METRICS

# What is measured; all but the pickle's lists are in the CSV file alone.
MEASURED = (*LISTS, *(key for key in METRICS if key not in LISTS))

# Names of the means in the JSON file, those of CompressAI where it has one.
_JSON_NAMES = {"bpp": "bpp", **{m.key: m.json_name for m in METRICS.values()}}

_MAX_PICKLE = 1 << 26  # bytes; a million images take less

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DotResults:
    """What was measured for one dot.

    Attributes:
      images: names of the test images.
      values: dict from each name of `MEASURED` to a list of floats, one per image: bits
        per pixel, mean squared error (0..255 scale), LPIPS (AlexNet), PSNR [dB],
        MS-SSIM (0..1, nan for an image with a side below 161 px), SSIMULACRA2, and
        Butteraugli's 3-norm if there was a tool; of an older program the five `LISTS`
        alone.

    Raises:
      ValueError: one of `LISTS` is missing, a list has an unknown name, or its length
        is not the number of images.
    """

    images: Sequence[str]
    values: dict

    def __post_init__(self):
        if not set(LISTS) <= set(self.values) <= set(MEASURED):
            raise ValueError(f"need the lists {LISTS}, got {sorted(self.values)}")
        for name, numbers in self.values.items():
            if len(numbers) != len(self.images):
                raise ValueError(
                    f"{len(numbers)} values of {name} for {len(self.images)} images"
                )
        names = [name for name in MEASURED if name in self.values]
        plain = {name: [float(v) for v in self.values[name]] for name in names}
        object.__setattr__(self, "values", plain)
        object.__setattr__(self, "images", list(self.images))

    @classmethod
    def from_rows(cls, images, rows):
        """Makes the results from one dict (with keys of `MEASURED`) per image."""
        names = [name for name in MEASURED if all(name in row for row in rows)]
        return cls(images, {name: [row[name] for row in rows] for name in names})

    def means(self):
        """Mean of the per-image values, a dict with the keys `MEASURED`.

        Most metrics are undefined (nan) for small images; those are left out of the
        mean, which is nan if none is left, or nothing was measured. So
        are images of an infinite PSNR, but where there are no others. The other lists
        hold no nan.
        """
        return {name: mean_of_defined(self.values.get(name, ())) for name in MEASURED}

    def defined(self, name):
        """The values of a list for those images that are large enough to have one."""
        return defined(self.values.get(name, ()))

    def infinite(self, name):
        """Number of images whose value is infinite."""
        return sum(map(math.isinf, self.values.get(name, ())))


def save(folder, name, results, key, *, description="", settings=None, versions=None):
    """Writes `<name>.json`, `<name>.csv` and `<name>.pickle` into `folder`.

    The record (JSON) holds the SHA-256 of the pickle, and the pickle comes last: after
    an interruption, or with two evaluations of one folder at once, the two either
    belong together or `load` sees that they do not. A pickle without a record is thus
    never left behind.

    Args:
      folder: where to write, made if it is missing.
      name: the dot's name, such as `Q20`.
      results: `DotResults`.
      key: JSON-able dict, everything that the numbers depend on; see `load`.
      description: a sentence for the JSON file.
      settings: JSON-able dict of the codec's settings.
      versions: dict of library versions, see `library_versions`.
    """
    data = pickle.dumps(tuple(results.values[n] for n in LISTS), protocol=4)
    record = {
        "name": name,
        "description": description,
        "results": _json_means(results),
        "notes": _notes(results),
        "settings": settings or {},
        "versions": versions or {},
        "key": key,
        "pickle_sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    os.makedirs(folder, exist_ok=True)
    write_atomically(_path(folder, name, "json"), text.encode())
    write_atomically(
        _path(folder, name, "csv"), _csv(results).encode(errors="surrogateescape")
    )
    write_atomically(_path(folder, name, "pickle"), data)


def discard(folder, name):
    """Forgets a dot, before its files are measured anew; its pickle may be missing."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(_path(folder, name, "pickle"))


def load(folder, name, key):
    """Returns the stored results if they are those of `key`, otherwise None.

    Args:
      folder: the folder of the dot's files.
      name: the dot's name.
      key: JSON-able dict of everything that the numbers depend on. `key["images"]` is
        required: a list of dicts, one per test image, each with its `"name"`.

    Returns:
      `DotResults`, or None if the dot has to be measured (again); the log says why. A
      pickle without a record (of an older program) is used, with a warning, if it
      holds as many values as there are test images. What is not in the pickle comes
      from the CSV file, if that has it and agrees with the pickle.

    Raises:
      UserError: the pickle asks for code that a list of numbers does not need.
    """
    path = _path(folder, name, "pickle")
    images = [image["name"] for image in key["images"]]
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_PICKLE + 1)
    except FileNotFoundError:
        logger.info("%s: not measured before", path)
        return None
    if len(data) > _MAX_PICKLE:
        raise UserError(
            f"{path}: more than {_MAX_PICKLE >> 20} MB, which no list of numbers of "
            "ours takes; delete the file if you do not know who wrote it"
        )
    try:
        lists = unpickle_lists(data, path)
        reason = _why_not(folder, name, key, data, len(lists[0]))
    except DamagedPickle as error:
        reason = error.reason
    if reason:
        logger.warning("%s: measured again: %s", path, reason)
        return None
    stored = DotResults(images, dict(zip(LISTS, lists, strict=True)))
    return _with_rest_of_csv(stored, _path(folder, name, "csv"))


def load_rows(folder, name, key):
    """The rows of a stored dot, whatever images it was measured on.

    Args:
      folder, name: of the dot.
      key: as for `load`, without the images.

    Returns:
      dict from the `identity` of each image to a dict of its values; empty if there is
      no such dot, or if it is of another key.
    """
    try:
        images = read_json(_path(folder, name, "json"))["key"]["images"]
        identities = [identity(image) for image in images]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    stored = load(folder, name, {**key, "images": images})
    if stored is None:
        return {}
    names, columns = stored.values.keys(), stored.values.values()
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return dict(zip(identities, rows, strict=True))


def identity(image):
    """What tells an image record from others."""
    return image["name"], image["sha256"]


def note_on_missing(dots):
    """A sentence on dots that were measured with less than others; else empty.

    Args:
      dots: dict from the dot's name to its `DotResults`.
    """
    known = set().union(*(dot.values for dot in dots.values()))
    without = [name for name, dot in dots.items() if set(dot.values) != known]
    if not without:
        return ""
    lacking = known - set(dots[without[0]].values)
    missing = [name for name in MEASURED if name in lacking]
    others = f" and {len(without) - 1} more" if without[1:] else ""
    return (
        f"Without {', '.join(missing)}: {without[0]}{others}, measured by an older "
        "program or without its tool (delete a dot's .pickle to measure it again)."
    )


def is_shown(metric, dots):
    """Returns whether a metric has a figure and a column.

    Those of the pickle always have; others only if they were measured.

    Args:
      metric: of `MEASURED`.
      dots: list of dicts of means.
    """
    values = (dot.get(metric, math.nan) for dot in dots)
    return metric in LISTS or any(map(math.isfinite, values))


def library_versions(packages):
    """Versions of those of the `packages` that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def file_sha256(path):
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _path(folder, name, suffix):
    return os.path.join(folder, f"{name}.{suffix}")


def _json_means(results):
    """Each mean as a list of one; null where JSON has no such number (nan, inf)."""
    means = results.means()
    return {
        json_name: [means[name] if np.isfinite(means[name]) else None]
        for name, json_name in _json_names(results)
    }


def _json_names(results):
    """(name, name in the JSON file) of what was measured."""
    return [(n, name) for n, name in _JSON_NAMES.items() if n in results.values]


def _notes(results):
    means = results.means()
    names = _json_names(results)
    notes = [
        f"{json_name} is null: its mean is {means[name]}"
        for name, json_name in names
        if not np.isfinite(means[name])
    ]
    total = len(results.images)
    for name, json_name in names:
        if (defined := len(results.defined(name))) < total:
            notes.append(
                f"{json_name} is the mean over {defined} of {total} images, the others "
                "are too small for it"
            )
        infinite = results.infinite(name)
        if 0 < infinite < total:
            notes.append(
                f"{json_name} is the mean over {total - infinite} of {total} images, "
                "the others equal their originals"
            )
    return notes


def _csv(results):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", *results.values))
    writer.writerows(zip(results.images, *results.values.values(), strict=True))
    return text.getvalue()


def read_csv(path):
    """The `DotResults` of a CSV file that `save` wrote.

    Raises:
      ValueError: it is no such file.
      OSError: it cannot be read.
    """
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file)
    if header[:1] != ["image"] or any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path}: not a table of a dot")
    images, *columns = zip(*rows, strict=True)
    values = {
        name: [check_number(name, float(text)) for text in column]
        for name, column in zip(header[1:], columns, strict=True)
    }
    return DotResults(images, values)


def _with_rest_of_csv(stored, path):
    """The results of a pickle, with what its CSV file holds beside them.

    A file that is missing, damaged or of other results adds nothing.
    """
    try:
        table = read_csv(path)
    except (OSError, ValueError):
        return stored
    same = {name: table.values[name] for name in LISTS}
    # By their text, as nan is not equal to itself.
    if repr((table.images, same)) != repr((stored.images, stored.values)):
        return stored
    return table


def _why_not(folder, name, key, data, count):
    """Why a stored pickle does not answer for `key`; None if it does."""
    path = _path(folder, name, "json")
    try:
        record = read_json(path)
    except FileNotFoundError:
        return _why_not_without_record(folder, name, len(key["images"]), count)
    except ValueError:
        return f"{path} is damaged"
    if not isinstance(record, dict) or not isinstance(record.get("key"), dict):
        return f"{path} does not say what was measured"
    # Compared as JSON gives it back: tuples are lists, keys are strings.
    wanted = json.loads(json.dumps(key))
    if record["key"] != wanted:
        return "; ".join(_differences(record["key"], wanted))
    if record.get("pickle_sha256") != hashlib.sha256(data).hexdigest():
        return f"{path} is the record of another pickle"
    if count != len(key["images"]):
        return f"it holds {count} images instead of {len(key['images'])}"
    return None


def _why_not_without_record(folder, name, wanted, count):
    if count != wanted:
        return f"no record, and {count} images instead of {wanted}"
    logger.warning(
        "%s: used without a record: nothing shows which checkpoint and images it was "
        "measured with (delete it to measure again)",
        _path(folder, name, "pickle"),
    )
    return None


def _differences(old, new):
    """One phrase for each part in which two keys differ."""
    phrases = []
    for part in sorted(set(old) | set(new)):
        before, after = old.get(part), new.get(part)
        if before == after:
            continue
        if part == "images" and isinstance(before, list):
            phrases.append(f"other test images ({_image_difference(before, after)})")
        elif isinstance(before, dict) and isinstance(after, dict):
            phrases += [f"{part}: {text}" for text in _differences(before, after)]
        else:
            phrases.append(f"other {part} ({_short(before)} -> {_short(after)})")
    return phrases


def _image_difference(before, after):
    if len(before) != len(after):
        return f"{len(before)} -> {len(after)}"
    pairs = zip(before, after, strict=True)
    changed = [new["name"] for old, new in pairs if old != new]
    others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]}{others}"


def _short(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
