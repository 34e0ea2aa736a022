"""Curves of codecs, read from what `evaluate.py` wrote and from published results."""

import glob
import itertools
import json
import math
import os
import re
from typing import NamedTuple

from evaluation import judges, results
from evaluation.image_names import files_of
from evaluation.operating_points import short_encoding
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.metrics import registry

# Published curves whose names begin like this are classical codecs, as JPEG is.
_JPEG_ENCODERS = ("jpeg", "jpegli", "mozjpeg", "libjpeg", "pillow", "guetzli")

# What content of another form than expected raises.
_ODD_CONTENT = (AttributeError, KeyError, TypeError, ValueError)


class Compared(NamedTuple):
    """One codec with one encoding: a curve of operating points, in order of their rate.

    Attributes:
      name: of the run or codec.
      label: name and encoding, for tables and legends.
      kind: as in `plots.Curve`.
      settings: of each operating point, in words: "quality 25" or "lambda 0.01"; empty
        words for published curves.
      means: of each operating point, a dict with the keys `results.MEASURED`.
      results: of each operating point, `results.PointResults`; empty for published
        curves, of which only the means are known.
      stems: of each operating point, the path of its record without `.json`, which is
        the folder of its files; empty for published curves.
      records: of each operating point, its record; empty for published curves.
    """

    name: str
    label: str
    kind: str
    settings: list
    means: list
    results: list
    stems: list = ()
    records: list = ()

    @property
    def minimised(self):
        """The metrics that the codec minimises, see `judges.minimised_by`."""
        settings = (record.get("settings", {}) for record in self.records)
        return frozenset().union(*map(judges.minimised_by, settings))

    def points(self, metric):
        """Returns (bpp, metric) of each operating point, means over the same images."""
        return [(results.rate_for(mean, metric), mean[metric]) for mean in self.means]

    def points_of_image(self, metric, index):
        """Returns (bpp, metric) of one image, for each operating point that has it."""
        values = [point.values for point in self.results if metric in point.values]
        return [(v["bpp"][index], v[metric][index]) for v in values]


def read_curves(folder):
    """Reads the `Compared` curves in an `--output_dir` of evaluate.py, JPEG first.

    Raises:
      UserError: there are none, or one is damaged.
    """
    stems = []
    for part in ("_output_PIL", "_output"):
        pattern = os.path.join(glob.escape(folder), part, "*.json")
        stems += [path.removesuffix(".json") for path in sorted(glob.glob(pattern))]
    if not stems:
        raise UserError(f"{folder}: no results of evaluate.py there")
    return join_points(stems)


def join_points(stems):
    """Reads the `Compared` curves of some operating points, in their order.

    Args:
      stems: paths of their records without `.json`.

    Raises:
      UserError: one is damaged.
    """
    found = {}
    for stem in stems:
        key, point = _read_point(stem)
        found.setdefault(key, []).append(point)
    curves = []
    for key, points in found.items():
        points.sort(key=lambda point: point.means["bpp"])
        curves.append(Compared(*key, *map(list, zip(*points, strict=True))))
    return curves


def of_common_images(curves):
    """Returns `Compared` curves on the images of which all of them have a file.

    A search has no file of an image that is too small for its metric. Curves of which
    only the means are known stay as they are.
    """
    found = [point for curve in curves for point in curve.results]
    kept = iter(results.of_common_images(found))
    common = []
    for curve in curves:
        if curve.results:
            own = list(itertools.islice(kept, len(curve.results)))
            means = [point.means() for point in own]
            curve = curve._replace(results=own, means=means)
        common.append(curve)
    return common


def notes_on_small(curves):
    """Returns a sentence for each of some `Compared` that images are too small for."""
    found = [(curve.label, point) for curve in curves for point in curve.results]
    return results.notes_on_small(found)


def with_own_labels(curves):
    """Returns the curves; of those with equal labels the later ones get numbers."""
    taken, own = set(), []
    for curve in curves:
        label, number = curve.label, 1
        while label in taken:
            number += 1
            label = f"{curve.label} ({number})"
        taken.add(label)
        own.append(curve._replace(label=label))
    return own


def maps_folder(stem):
    """Returns the folder of the maps `<image>.png`, which few operating points have.

    Args:
      stem: path of the record without `.json`.
    """
    folder, name = os.path.split(stem)
    return os.path.join(os.path.dirname(folder), "_attention", name)


class _Point(NamedTuple):
    """One operating point: an entry of each list of `Compared`."""

    setting: str
    means: dict
    results: results.PointResults
    stem: str
    record: dict


def _read_point(stem):
    """Returns (name, label, kind) of the curve, and the `_Point`."""
    part, file_name = os.path.split(stem)
    name, kind = _name_and_kind(file_name, os.path.basename(part))
    try:
        record = results.read_record(stem)
        settings = record["settings"]
        is_imported = record["key"].get("imported")
        label = f"{name}, {'imported' if is_imported else short_encoding(settings)}"
        point = results.read_values(stem, record)
        setting = _in_words(settings)
        files_of(record)
    except (*_ODD_CONTENT, FileNotFoundError) as error:
        raise UserError(
            f"{stem}.json: no whole record of evaluate.py; evaluate again"
        ) from error
    return (name, label, kind), _Point(setting, point.means(), point, stem, record)


def read_published(path):
    """Reads the `Compared` curves in a JSON file of the form that CompressAI writes.

    One object, or a list of them, with `name` and `results`: the list `bpp`, and at
    least one list of a metric, under its `json_name` or its `key` (CompressAI's older
    files say `psnr` and `ms-ssim`). CompressAI's own files of publications hold MS-SSIM
    in decibels, `ms-ssim-db-rgb`. A value that is not known is null or NaN. The curves
    are of the kind "run", those of well-known JPEG encoders "jpeg".

    Raises:
      UserError: the file cannot be read, or is not of that form.
    """
    try:
        content = read_json(path)
        entries = content if isinstance(content, list) else [content]
        if not entries:
            raise ValueError("an empty list")
        return [_published(entry) for entry in entries]
    except OSError as error:
        raise UserError(
            f"--published {path}: cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"--published {path}: not a text file; name a JSON file of curves"
        ) from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"--published {path}: not JSON: line {error.lineno}, column {error.colno}: "
            f"{error.msg}"
        ) from error
    except ValueError as error:
        raise UserError(
            f"--published {path}: no curves in the form of CompressAI: {error}"
        ) from error


def _published(entry):
    numbers = entry.get("results") if isinstance(entry, dict) else None
    if not isinstance(numbers, dict) or not isinstance(entry.get("name"), str):
        raise ValueError(
            'each curve needs "name": "...", "results": {"bpp": [...], "psnr-rgb": '
            "[...]}"
        )
    name = entry["name"]
    rates = _column(numbers, ["bpp"])
    if not rates:
        raise ValueError(f"{name!r}: its results need a list bpp, bits per pixel")
    columns = {"bpp": rates}
    for metric in registry.METRICS.values():
        if (column := _metric_column(numbers, metric)) is not None:
            columns[metric.key] = column
    if len(columns) < 2:
        known = ", ".join(metric.json_name for metric in registry.METRICS.values())
        raise ValueError(f"{name!r}: no list of a metric beside bpp; known are {known}")
    for key, column in columns.items():
        if len(column) != len(rates):
            raise ValueError(
                f"{name!r}: {len(rates)} values of bpp, {len(column)} of {key}"
            )
    missing = [math.nan] * len(rates)
    rows = zip(*(columns.get(key, missing) for key in results.MEASURED), strict=True)
    means = [dict(zip(results.MEASURED, row, strict=True)) for row in rows]
    means.sort(key=lambda mean: mean["bpp"])
    kind = "jpeg" if name.lower().startswith(_JPEG_ENCODERS) else "run"
    return Compared(name, name, kind, [""] * len(means), means, [])


def _metric_column(numbers, metric):
    """Returns the values of a metric, None if there are none; see `_column`."""
    if metric.key == "ms-ssim":
        return _ms_ssim(numbers)
    column = _column(numbers, (metric.json_name, metric.key))
    wrong = [value for value in column or () if value < 0]
    if wrong and not metric.higher_is_better:
        raise ValueError(f"{metric.json_name} of {wrong[0]:g}; it is above 0")
    return column


def _column(numbers, keys):
    """Returns the floats of the first key that is there, None if none is.

    Raises:
      ValueError: there is something else than a list of numbers.
    """
    key = next((key for key in keys if key in numbers), None)
    if key is None:
        return None
    if not isinstance(numbers[key], list):
        raise ValueError(f"{key} is not a list")
    return [_number(key, value) for value in numbers[key]]


def _number(key, value):
    if value is None:
        value = math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key}: {json.dumps(value)[:40]} is not a number")
    if key == "bpp" and not 0 < value < math.inf:
        raise ValueError(f"bpp of {value:g}; a rate is above 0")
    return results.check_number(key.removesuffix("-rgb"), float(value))


def _ms_ssim(numbers):
    """Returns the list of MS-SSIM in 0..1, None if there is none.

    Raises:
      ValueError: as `_column`.
    """
    column = _column(numbers, ("ms-ssim-rgb", "ms-ssim"))
    decibels = _column(numbers, ("ms-ssim-db-rgb", "ms-ssim-db"))
    if column is not None and any(value > 1 for value in column):
        decibels = column  # under the other name
    if decibels is None:
        return column
    if wrong := [value for value in decibels if value < 0]:
        raise ValueError(f"ms-ssim of {wrong[0]:g} dB; it is above 0")
    return [1 - 10 ** (-value / 10) for value in decibels]


def _in_words(settings):
    """Returns the setting of an operating point, such as "quality 25".

    A model without settings.json has none.
    """
    for key, name in (("quality", "quality"), ("lmbda", "lambda")):
        if settings.get(key) is not None:
            return f"{name} {settings[key]:g}"
    return "?"


def _name_and_kind(file_name, part):
    if part == "_output_PIL":
        return "JPEG", "jpeg"
    if re.fullmatch(r"google_Q\d+", file_name):
        return "Google baseline", "google"
    if re.fullmatch(r"mozjpeg_Q\d+", file_name):
        return "mozjpeg", "jpeg"
    if re.fullmatch(r"search_(.+_)?Q\d+", file_name):
        return "search, no model", "run"
    # The name of a run and that of its folder, as `operating_points` joins them.
    run, joint, _ = file_name.rpartition("-lambda_")
    return run if joint else file_name, "run"
