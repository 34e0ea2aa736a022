"""Curves of codecs, read from what `evaluate.py` wrote and from published results."""

import glob
import math
import os
import re
from typing import NamedTuple

from evaluation import results
from evaluation.operating_points import short_encoding
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.metrics import registry

# What content of another form than expected raises.
_ODD_CONTENT = (AttributeError, KeyError, TypeError, ValueError)


class Compared(NamedTuple):
    """One codec with one encoding: a curve of operating points, in order of their rate.

    Attributes:
      name: of the run or codec.
      label: name and encoding, for tables and legends.
      kind: as in `plots.Curve`.
      settings: of each operating point, a word: lambda or quality.
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

    def points(self, metric):
        """Returns (bpp, metric) of each operating point, means."""
        return [(mean["bpp"], mean[metric]) for mean in self.means]

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
        setting = _word(settings.get("quality", settings.get("lmbda")))
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
    in decibels, `ms-ssim-db-rgb`.

    Raises:
      UserError: the file cannot be read, or is not of that form.
    """
    try:
        content = read_json(path)
        entries = content if isinstance(content, list) else [content]
        return [_published(entry) for entry in entries]
    except (OSError, *_ODD_CONTENT) as error:
        raise UserError(
            f"--published {path}: no curves in the form of CompressAI ({error!r})"
        ) from error


def _published(entry):
    numbers = entry["results"]
    columns = {"bpp": numbers["bpp"]}
    for metric in registry.METRICS.values():
        columns[metric.key] = _first(numbers, (metric.json_name, metric.key))
    columns["ms-ssim"] = _ms_ssim(numbers)
    columns = {name: column for name, column in columns.items() if column is not None}
    if len(columns) < 2:
        raise ValueError("no list beside bpp that is known")
    missing = [math.nan] * len(columns["bpp"])
    columns = {name: columns.get(name, missing) for name in results.MEASURED}
    rows = zip(*columns.values(), strict=True)
    means = [
        {name: _number(name, value) for name, value in zip(columns, row, strict=True)}
        for row in rows
    ]
    means.sort(key=lambda mean: mean["bpp"])
    name = str(entry["name"])
    return Compared(name, name, "jpeg", [], means, [])


def _first(numbers, keys):
    """Returns the list of the first key that is there, None if none is."""
    return next((numbers[key] for key in keys if key in numbers), None)


def _ms_ssim(numbers):
    """Returns the list of MS-SSIM in 0..1, None if there is none."""
    column = _first(numbers, ("ms-ssim-rgb", "ms-ssim"))
    decibels = _first(numbers, ("ms-ssim-db-rgb", "ms-ssim-db"))
    if column is not None and max(filter(None, column), default=0) > 1:
        decibels = column  # under the other name
    if decibels is None:
        return column
    return [None if db is None else 1 - 10 ** (-db / 10) for db in decibels]


def _number(name, value):
    value = math.nan if value is None else float(value)
    return results.check_number(name, value)


def _word(setting):
    """Returns a setting for the table; a model without settings.json has none."""
    return "?" if setting is None else f"{setting:g}"


def _name_and_kind(file_name, part):
    if part == "_output_PIL":
        return "JPEG", "jpeg"
    if file_name.startswith("google_Q"):
        return "Google baseline", "google"
    if file_name.startswith("mozjpeg_Q"):
        return "mozjpeg", "jpeg"
    if re.match("search_(.+_)?Q", file_name):
        return "search, no model", "run"
    # The name of a run and that of its folder, as `operating_points` joins them.
    run, joint, _ = file_name.rpartition("-lambda_")
    return run if joint else file_name, "run"
