"""Results of the evaluation, and their caches on the disk.

An operating point is one setting of one codec (such as `Q20` of plain JPEG), measured
on a list of test images: a list for each of `MEASURED`, with one number per image. It
is kept in three files: `<name>.csv` (all lists, a row per image), `<name>.json` (means
in the form that CompressAI writes, and the record of what was measured) and
`<name>.pickle` (a tuple of the five lists `PICKLED`, which the design asks for). The
first two are read; the pickle is written only.
"""

import contextlib
import csv
import hashlib
import importlib.metadata
import io
import itertools
import json
import logging
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.common.terminal import one_line
from learned_jpeg.metrics.basic import defined, mean_of_defined
from learned_jpeg.metrics.registry import METRICS

# The lists of the pickle, in the order that the design asks for.
PICKLED = ("bpp", "mse", "lpips", "psnr", "ms-ssim")

# Everything that is measured, in the order of the columns of the CSV file.
MEASURED = (*PICKLED, *(key for key in METRICS if key not in PICKLED))

# Names of the means in the JSON file, those of CompressAI where it has one.
_JSON_NAMES = {"bpp": "bpp", **{m.key: m.json_name for m in METRICS.values()}}

_MAX_VALUE = 1e9  # of anything that is measured

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PointResults:
    """The results of one operating point.

    Attributes:
      images: names of the test images, no two equal.
      values: dict from names of `MEASURED` to a list of floats, one per image. A metric
        that was not available, or not known to the program that measured, is missing;
        nan stands for images that are too small for it. All values of an image are nan
        that is too small for the codec.

    Raises:
      ValueError: the rate is missing, a list has an unknown name, its length is not the
        number of images, or two images have one name.
    """

    images: Sequence[str]
    values: dict

    def __post_init__(self):
        """Checks the lists, and makes their numbers plain floats."""
        if not {"bpp"} <= set(self.values) <= set(MEASURED):
            raise ValueError(f"need bpp and metrics, got {sorted(self.values)}")
        if len(set(self.images)) < len(self.images):
            raise ValueError("several images of one name; evaluate again")
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
        """Returns the means of the per-image values, a dict with the keys `MEASURED`.

        Most metrics are undefined (nan) for small images; those are left out of the
        mean, which is nan if none is left, or nothing was measured. So are images of an
        infinite PSNR, but where there are no others. For a metric that leaves small
        images out there is also the mean rate of the others, see `rate_for`.
        """
        means = {name: mean_of_defined(self.values.get(name, ())) for name in MEASURED}
        rates = self.values["bpp"]
        for name, values in self.values.items():
            pairs = zip(rates, values, strict=True)
            kept = [rate for rate, value in pairs if not math.isnan(value)]
            if name != "bpp" and 0 < len(kept) < len(rates):
                means[_rate_key(name)] = mean_of_defined(kept)
        return means

    def without_file(self):
        """Returns the names of the images that are too small for the codec."""
        rates = zip(self.images, self.values["bpp"], strict=True)
        return [image for image, rate in rates if math.isnan(rate)]

    def without(self, images):
        """Returns the results without those of some images."""
        kept = [image not in images for image in self.images]
        values = {
            name: list(itertools.compress(numbers, kept))
            for name, numbers in self.values.items()
        }
        return PointResults(list(itertools.compress(self.images, kept)), values)

    def defined(self, name):
        """Returns the values of a list of the images that are large enough for it."""
        return defined(self.values.get(name, ()))

    def infinite(self, name):
        """Returns the number of images whose value is infinite."""
        return sum(map(math.isinf, self.values.get(name, ())))


def rate_for(means, metric):
    """Returns the mean rate, bits per pixel, that belongs to the mean of a metric.

    It is over the images that are large enough for the metric.

    Args:
      means: as of `PointResults.means`.
      metric: key of a metric.
    """
    return means.get(_rate_key(metric), means["bpp"])


def _rate_key(metric):
    return f"bpp for {metric}"


def save(
    folder,
    name,
    results,
    key,
    *,
    description="",
    settings=None,
    versions=None,
    files=None,
):
    """Writes `<name>.csv`, `<name>.json` and `<name>.pickle` into `folder`.

    The record (JSON) holds the SHA-256 of the CSV file: after an interruption, or with
    two evaluations of one folder at once, the two either belong together or `load` sees
    that they do not. The pickle comes last, so that none is left without a record.

    Args:
      folder: where to write, made if it is missing.
      name: the operating point's name, such as `Q20`.
      results: `PointResults`.
      key: JSON-able dict, everything that the numbers depend on; see `load`.
      description: a sentence for the JSON file.
      settings: JSON-able dict of the codec's settings.
      versions: dict of library versions, see `library_versions`.
      files: the .jpg file of each image, relative to the folder `<name>`; None if they
        are those of `image_names.plan_files`.
    """
    table = _csv(results).encode(errors="surrogateescape")
    record = {
        "name": name,
        "description": description,
        "results": _json_means(results),
        "notes": _notes(results),
        "settings": settings or {},
        "versions": versions or {},
        **({"files": files} if files else {}),
        "key": key,
        "csv_sha256": hashlib.sha256(table).hexdigest(),
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    os.makedirs(folder, exist_ok=True)
    write_atomically(_path(folder, name, "csv"), table)
    write_atomically(_path(folder, name, "json"), text.encode())
    _write_pickle(_path(folder, name, "pickle"), results)


def _write_pickle(path, results):
    """Writes the five lists of the design; nan for what was not measured."""
    missing = [math.nan] * len(results.images)
    lists = tuple(results.values.get(name, missing) for name in PICKLED)
    write_atomically(path, pickle.dumps(lists, protocol=4))


def discard(folder, name):
    """Forgets an operating point before its files are measured anew.

    The pickle goes first: one without a record counts as somebody's own.
    """
    for suffix in ("pickle", "json"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(_path(folder, name, suffix))


def load(folder, name, key):
    """Returns the stored results if they are those of `key`, otherwise None.

    Args:
      folder: the folder of the operating point's files.
      name: the operating point's name.
      key: JSON-able dict of everything that the numbers depend on. `key["images"]` is
        required: a list of dicts, one per test image, each with its `"name"`.

    Returns:
      `PointResults`, or None if the operating point has to be measured (again); the log
      says why. An imported record (see import_pickles.py) only has to be of the same
      test images.

    Raises:
      UserError: there is a pickle without a record.
    """
    stem = os.path.join(folder, name)
    try:
        record = read_record(stem)
        if record["key"].get("imported"):
            logger.warning(
                "%s.json: imported, nothing shows what it was measured with (delete it "
                "to measure again)",
                stem,
            )
            key = {"imported": True, "images": key["images"]}
        if differences := _differences(record["key"], _as_json(key)):
            raise ValueError("; ".join(differences))
        stored = read_values(stem, record)
        if stored.images != [image["name"] for image in key["images"]]:
            raise ValueError(f"{stem}.csv is of other images")
    except FileNotFoundError:
        _refuse_pickle_without_record(stem)
        logger.debug("%s: not measured before", stem)  # the caller counts them
        return None
    except ValueError as error:
        logger.warning("%s: measured again: %s", stem, error)
        return None
    if not os.path.exists(f"{stem}.pickle"):
        _write_pickle(f"{stem}.pickle", stored)
    return stored


def read_record(stem):
    """Reads the record of an operating point.

    Args:
      stem: path of the operating point's files without their suffix.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged.
    """
    try:
        record = read_json(f"{stem}.json")
    except ValueError as error:
        raise ValueError(f"{stem}.json is damaged") from error
    if not isinstance(record, dict) or not isinstance(record.get("key"), dict):
        raise ValueError(f"{stem}.json does not say what was measured")
    return record


def read_values(stem, record):
    """Reads the CSV file that a record belongs to; returns `PointResults`.

    Raises:
      ValueError: it is missing, or another one than that of the record.
    """
    try:
        with open(f"{stem}.csv", "rb") as file:
            table = file.read()
    except FileNotFoundError as error:
        raise ValueError(f"{stem}.csv is missing") from error
    if record.get("csv_sha256") != hashlib.sha256(table).hexdigest():
        raise ValueError(f"{stem}.json is the record of another CSV file")
    return _parsed(table.decode(errors="surrogateescape"))


def _refuse_pickle_without_record(stem):
    """Raises UserError if there is one: its numbers would be lost."""
    if os.path.exists(f"{stem}.pickle"):
        raise UserError(
            f"{stem}.pickle: has no record of what it was measured with; keep its "
            "numbers by python3 -m evaluation.import_pickles, or delete it to measure "
            "again"
        )


def load_rows(folder, name, key):
    """Returns the rows of a stored operating point, whatever images it was measured on.

    Args:
      folder, name: of the operating point.
      key: as for `load`, without the images.

    Returns:
      dict from the `identity` of each image to a dict of its values; empty if there is
      no such operating point, or if it is of another key.

    Raises:
      UserError: there is a pickle without a record.
    """
    stem = os.path.join(folder, name)
    try:
        images = read_record(stem)["key"]["images"]
        identities = [identity(image) for image in images]
    except FileNotFoundError:
        _refuse_pickle_without_record(stem)
        return {}
    except (ValueError, KeyError, TypeError):
        return {}
    stored = load(folder, name, {**key, "images": images})
    if stored is None:
        return {}
    names, columns = stored.values.keys(), stored.values.values()
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return dict(zip(identities, rows, strict=True))


def identity(image):
    """Returns what tells an image record from others."""
    return image["name"], image["sha256"]


def listed(names):
    """Returns the first names of a list, and how many others there are."""
    others = f" and {len(names) - 3} more" if names[3:] else ""
    return one_line(", ".join(names[:3])) + others


def of_common_images(points):
    """Returns `PointResults`, of those images of which all of them have a file.

    A search has no file of an image that is too small for its metric.
    """
    left_out = {image for point in points for image in point.without_file()}
    return [point.without(left_out) if left_out else point for point in points]


def notes_on_small(points):
    """Returns a sentence for each codec that images are too small for.

    Args:
      points: list of (label of the codec, `PointResults`).
    """
    images = {}
    for label, point in points:
        images.setdefault(label, {}).update(dict.fromkeys(point.without_file()))
    return [
        f"{listed(list(names))}: too small for {label}, left out of all means."
        for label, names in images.items()
        if names
    ]


def note_on_missing(points):
    """Returns a sentence on points that lack a metric which others have; else "".

    Args:
      points: dict from the name of each operating point to its `PointResults`.
    """
    known = set().union(*(point.values for point in points.values()))
    without = [name for name, point in points.items() if set(point.values) != known]
    if not without:
        return ""
    lacking = known - set(points[without[0]].values)
    missing = [name for name in MEASURED if name in lacking]
    others = f" and {len(without) - 1} more" if without[1:] else ""
    return (
        f"Without {', '.join(missing)}: {without[0]}{others}, measured by an older "
        "program or without its tool (delete the .json file to measure it again)."
    )


def is_shown(metric, points):
    """Returns whether a metric has a figure and a column.

    Those of the pickle always have; others only if they were measured.

    Args:
      metric: of `MEASURED`.
      points: dicts of means.
    """
    values = (point.get(metric, math.nan) for point in points)
    return metric in PICKLED or any(map(math.isfinite, values))


def library_versions(packages):
    """Returns the versions of those of the `packages` that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def file_sha256(path):
    """Returns the SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _path(folder, name, suffix):
    return os.path.join(folder, f"{name}.{suffix}")


def _json_means(results):
    """Returns each mean as a list of one; None where JSON has no such number."""
    means = results.means()
    return {
        json_name: [means[name] if np.isfinite(means[name]) else None]
        for name, json_name in _json_names(results)
    }


def _json_names(results):
    """Returns (name, name in the JSON file) of what was measured."""
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
    # Before Python 3.13 the usual writer leaves the carriage return of a name bare.
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(("image", *results.values))
    for image, *row in zip(results.images, *results.values.values(), strict=True):
        (quoting if "\r" in image else writer).writerow((image, *row))
    return text.getvalue()


def _parsed(text):
    """Returns the `PointResults` of the text of a CSV file.

    Raises:
      ValueError: it is no such text.
    """
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if header[:1] != ["image"] or any(len(row) != len(header) for row in rows):
        raise ValueError("not a table of an operating point")
    images, *columns = zip(*rows, strict=True)
    values = {
        name: [check_number(name, float(text)) for text in column]
        for name, column in zip(header[1:], columns, strict=True)
    }
    return PointResults(images, values)


def check_number(name, value):
    """Returns a value of one of `MEASURED` if an image may have it.

    Raises:
      ValueError: it is beyond all measure. PSNR may be infinite, others nan.
    """
    if abs(value) > _MAX_VALUE and not (name == "psnr" and value == math.inf):
        raise ValueError(f"{name} of {value:g}")
    return value


def _as_json(key):
    """Returns a key as JSON gives it back: tuples are lists, keys are strings."""
    return json.loads(json.dumps(key))


def _differences(old, new):
    """Returns a phrase for each part in which two keys differ."""
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
