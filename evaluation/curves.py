"""Curves of codecs, read from what `evaluate.py` wrote and from published results."""

import glob
import math
import os
import re
from typing import NamedTuple

from evaluation import results
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.metrics import registry

# What content of another form than expected raises.
_ODD_CONTENT = (AttributeError, KeyError, TypeError, ValueError)


class Compared(NamedTuple):
    """One codec with one encoding.

    Attributes:
      name: of the run or codec.
      label: name and encoding, for tables and legends.
      kind: of `plots.Curve`.
      settings: of each dot, a word: lambda or quality.
      means: of each dot, a dict with the keys `results.MEASURED`, in the order of bpp.
      dots: `results.DotResults` of each dot; empty for published curves, of which the
        means alone are known.
      stems: of each dot, the path of its record without `.json`, which is the folder of
        its files; empty for published curves.
      records: of each dot, what its record holds; empty for published curves.
    """

    name: str
    label: str
    kind: str
    settings: list
    means: list
    dots: list
    stems: list = ()
    records: list = ()

    def points(self, metric):
        """(bpp, metric) of each dot, means."""
        return [(mean["bpp"], mean[metric]) for mean in self.means]

    def points_of_image(self, metric, index):
        """(bpp, metric) of each dot that has the metric, of one image."""
        values = [dot.values for dot in self.dots if metric in dot.values]
        return [(v["bpp"][index], v[metric][index]) for v in values]


def read_curves(folder):
    """The `Compared` curves in an `--output_dir` of evaluate.py, JPEG first.

    Raises:
      UserError: there are none, or one is damaged.
    """
    stems = []
    for part in ("_output_PIL", "_output"):
        pattern = os.path.join(glob.escape(folder), part, "*.json")
        stems += [path.removesuffix(".json") for path in sorted(glob.glob(pattern))]
    if not stems:
        raise UserError(f"{folder}: no results of evaluate.py there")
    return join_dots(stems)


def join_dots(stems):
    """The `Compared` curves of some dots, in their order.

    Args:
      stems: paths of their records without `.json`.

    Raises:
      UserError: one is damaged.
    """
    found = {}
    for stem in stems:
        key, dot = _read_dot(stem)
        found.setdefault(key, []).append(dot)
    curves = []
    for key, dots in found.items():
        dots.sort(key=lambda dot: dot.means["bpp"])
        curves.append(Compared(*key, *map(list, zip(*dots, strict=True))))
    return curves


def maps_folder(stem):
    """Folder of the attention maps of a dot, `<image>.png`; of few dots there are any.

    Args:
      stem: path of the dot's record without `.json`.
    """
    folder, name = os.path.split(stem)
    return os.path.join(os.path.dirname(folder), "_attention", name)


class _Dot(NamedTuple):
    """One dot: an entry of each list of `Compared`."""

    setting: str
    means: dict
    results: results.DotResults
    stem: str
    record: dict


def _read_dot(stem):
    """(name, label, kind) of its curve, and the `_Dot`."""
    part, file_name = os.path.split(stem)
    name, kind = _name_and_kind(file_name, os.path.basename(part))
    try:
        record = results.read_record(stem)
        settings = record["settings"]
        is_imported = record["key"].get("imported")
        label = f"{name}, {'imported' if is_imported else _encoding(settings)}"
        dot = results.read_values(stem, record)
        setting = _word(settings.get("quality", settings.get("lmbda")))
    except (*_ODD_CONTENT, FileNotFoundError) as error:
        raise UserError(
            f"{stem}.json: no whole record of evaluate.py; evaluate again"
        ) from error
    return (name, label, kind), _Dot(setting, dot.means(), dot, stem, record)


def read_published(path):
    """The `Compared` curves in a JSON file of the form that CompressAI writes.

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
    """The list of the first key that is there, None if none is."""
    return next((numbers[key] for key in keys if key in numbers), None)


def _ms_ssim(numbers):
    """The list of MS-SSIM in 0..1, None if there is none."""
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
    """A setting for the table; a model without settings.json has none."""
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
    # The name of a run and that of its folder, as `dots.plan_dots` joins them.
    run, joint, _ = file_name.rpartition("-lambda_")
    return run if joint else file_name, "run"


def _encoding(settings):
    words = [settings["entropy_coding"]]
    if "subsampling" in settings:
        words.append(settings["subsampling"])
    if settings.get("quantization", "round") != "round":
        words.append(settings["quantization"])
    if settings.get("tune", "model") != "model":
        words.append(f"tuned for {settings['tune']}")
    if settings.get("refine_steps"):
        words.append(f"{settings['refine_steps']} refinement steps")
    return ", ".join(words)
