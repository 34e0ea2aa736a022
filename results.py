"""Results of the evaluation: storage that can be trusted, BD-rates and tables.

One "dot" is one setting of one codec (such as `Q20` of plain JPEG), measured on a
list of test images: five lists with one number per image, in the order of `LISTS`.
A dot is kept in three files: `<name>.pickle` (a tuple of the five lists),
`<name>.json` (means in the form that CompressAI writes, and the record of what was
measured) and `<name>.csv` (a row per image).

BD-rate: G. Bjontegaard, "Calculation of average PSNR differences between RD-curves",
VCEG-M33, 2001; interpolated as in https://github.com/FAU-LMS/bjontegaard (1.3.0).
"""

import ast
import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import pickle
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from errors import UserError
from image_files import write_atomically

LISTS = ("bpp", "mse", "lpips", "psnr", "ms-ssim")

# Names of the means in the JSON file, those of CompressAI where it has one.
JSON_NAMES = {
    "bpp": "bpp",
    "psnr": "psnr-rgb",
    "ms-ssim": "ms-ssim-rgb",
    "lpips": "lpips-alex",
    "mse": "mse",
}

logger = logging.getLogger(__name__)


# --- One dot -----------------------------------------------------------------------


@dataclass(frozen=True)
class DotResults:
    """What was measured for one dot.

    Attributes:
      images: names of the test images.
      values: dict from each name of `LISTS` to a list of floats, one per image: bits
        per pixel, mean squared error (0..255 scale), LPIPS (AlexNet), PSNR [dB] and
        MS-SSIM (0..1, nan for an image with a side below 161 px).

    Raises:
      ValueError: a list is missing or its length is not the number of images.
    """

    images: Sequence[str]
    values: dict

    def __post_init__(self):
        if set(self.values) != set(LISTS):
            raise ValueError(f"need the lists {LISTS}, got {sorted(self.values)}")
        for name, numbers in self.values.items():
            if len(numbers) != len(self.images):
                raise ValueError(
                    f"{len(numbers)} values of {name} for {len(self.images)} images"
                )
        plain = {name: [float(v) for v in self.values[name]] for name in LISTS}
        object.__setattr__(self, "values", plain)
        object.__setattr__(self, "images", list(self.images))

    @classmethod
    def from_rows(cls, images, rows):
        """Makes the results from one dict (with the keys `LISTS`) per image."""
        return cls(images, {name: [row[name] for row in rows] for name in LISTS})

    def means(self):
        """Mean of the per-image values, a dict with the keys `LISTS`.

        MS-SSIM and LPIPS are undefined (nan) for small images; those are left out of
        the mean, which is nan if none is left. The other lists hold no nan.
        """
        return {name: _mean(self.defined(name)) for name in LISTS}

    def defined(self, name):
        """The values of a list for those images that are large enough to have one."""
        return [value for value in self.values[name] if not np.isnan(value)]


def _mean(values):
    return float(np.mean(values)) if values else float("nan")


# --- Storing -----------------------------------------------------------------------


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
      holds as many values as there are test images.

    Raises:
      UserError: the pickle asks for code that a list of numbers does not need.
    """
    path = _path(folder, name, "pickle")
    images = [image["name"] for image in key["images"]]
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        logger.info("%s: not measured before", path)
        return None
    try:
        lists = unpickle_lists(data, path)
        reason = _why_not(folder, name, key, data, len(lists[0]))
    except DamagedPickle as error:
        reason = error.reason
    if reason:
        logger.warning("%s: measured again: %s", path, reason)
        return None
    return DotResults(images, dict(zip(LISTS, lists, strict=True)))


def library_versions(packages):
    """Versions of Python and of those of the `packages` that are installed."""
    versions = {"python": platform.python_version()}
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


def code_version(paths):
    """A short hash of Python files that changes with what they do.

    Comments, docstrings, formatting and the order of `paths` do not change it. It
    hashes the syntax tree, so another minor version of Python can.

    Args:
      paths: Python source files.

    Returns:
      12 hexadecimal digits.
    """
    trees = []
    for path in paths:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), filename=path)
        _remove_docstrings(tree)
        trees.append((os.path.basename(path), ast.dump(tree)))
    return hashlib.sha256(repr(sorted(trees)).encode()).hexdigest()[:12]


def _remove_docstrings(tree):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            del node.body[0]


def _path(folder, name, suffix):
    return os.path.join(folder, f"{name}.{suffix}")


def _json_means(results):
    """Each mean as a list of one; null where JSON has no such number (nan, inf)."""
    means = results.means()
    return {
        json_name: [means[name] if np.isfinite(means[name]) else None]
        for name, json_name in JSON_NAMES.items()
    }


def _notes(results):
    notes = [
        f"{JSON_NAMES[name]} is null: its mean is {mean}"
        for name, mean in results.means().items()
        if not np.isfinite(mean)
    ]
    total = len(results.images)
    for name, json_name in JSON_NAMES.items():
        if (defined := len(results.defined(name))) < total:
            notes.append(
                f"{json_name} is the mean over {defined} of {total} images, the others "
                "are too small for it"
            )
    return notes


def _csv(results):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", *LISTS))
    columns = (results.values[name] for name in LISTS)
    writer.writerows(zip(results.images, *columns, strict=True))
    return text.getvalue()


def read_csv(path):
    """The `DotResults` of a CSV file that `save` wrote.

    Raises:
      ValueError: it is no such file.
      OSError: it cannot be read.
    """
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file)
    if header != ["image", *LISTS] or any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path}: not a table of a dot")
    images, *columns = zip(*rows, strict=True)
    numbers = ([float(text) for text in column] for column in columns)
    return DotResults(images, dict(zip(LISTS, numbers, strict=True)))


def _why_not(folder, name, key, data, count):
    """Why a stored pickle does not answer for `key`; None if it does."""
    path = _path(folder, name, "json")
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
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


# --- Unpickling without running code -------------------------------------------------


class DamagedPickle(UserError):
    """A pickle that does not hold five lists of numbers of the same length."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}; delete it to measure again")
        self.reason = reason


def unpickle_lists(data, path):
    """Reads the five lists from the bytes of a pickle and runs no code of it.

    Lists, tuples and numbers need no code at all. Numpy's arrays and scalars (written
    by numpy 1 or 2, Python 2 or 3) are rebuilt here from their bytes; nothing of numpy
    is called by the pickle itself, and arrays of objects are not rebuilt.

    Args:
      data: bytes of the pickle.
      path: name of the file, for the errors.

    Returns:
      List of five lists of floats, in the order of `LISTS`.

    Raises:
      UserError: the pickle asks for any other function or class.
      DamagedPickle: it is cut off, or holds something else than five such lists.
    """
    try:
        content = _Unpickler(io.BytesIO(data), path).load()
        lists = [[_number(value) for value in _items(row)] for row in _items(content)]
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = f"the pickle is damaged ({type(error).__name__}: {error})"
        raise DamagedPickle(path, reason) from error
    lengths = [len(row) for row in lists]
    if len(lengths) != len(LISTS) or len(set(lengths)) != 1:
        reason = (
            f"{len(lists)} lists of lengths {lengths} instead of {len(LISTS)} equal"
        )
        raise DamagedPickle(path, reason)
    return lists


class _Unpickler(pickle.Unpickler):
    """Resolves only numpy's array and scalar constructors, to stand-ins of them."""

    def __init__(self, file, path):
        # Python 2 wrote the bytes of numbers as text; latin1 keeps them as they are.
        super().__init__(file, encoding="latin1")
        self._path = path
        # Made anew for each file: a pickle can set attributes of what it is given.
        self._allowed = _stand_ins()

    def find_class(self, module, name):
        try:
            return self._allowed[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise UserError(
                f"{self._path} is not a list of numbers: it asks for {module}.{name}, "
                "which was refused; delete the file if you do not know who wrote it"
            ) from None


def _stand_ins():
    """What a pickle may ask for, under the names of numpy 1 (`numpy.core`)."""

    def scalar(dtype, raw):
        return dtype.numbers(raw).item()

    def from_buffer(raw, dtype, shape, order):
        return _Array(dtype.numbers(raw).reshape(shape, order=order))

    return {
        ("numpy", "dtype"): lambda spec, *_: _Dtype(spec),
        ("numpy", "ndarray"): "ndarray",
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
        ("numpy.core.numeric", "_frombuffer"): from_buffer,
        ("_codecs", "encode"): lambda text, _encoding: _bytes(text),
    }


class _Dtype:
    """Stands in for `numpy.dtype` in a pickle: floats and integers only."""

    def __init__(self, spec):
        if not re.fullmatch("f[248]|[iu][1248]", spec):
            raise ValueError(f"numpy type {spec!r} is not a real number")
        self._dtype = np.dtype(spec)

    def __setstate__(self, state):
        self._dtype = self._dtype.newbyteorder(state[1])

    def numbers(self, raw):
        return np.frombuffer(_bytes(raw), self._dtype)


class _Array:
    """Stands in for `numpy.ndarray` in a pickle."""

    def __init__(self, numbers=None):
        self.numbers = numbers

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, raw = state
        order = "F" if is_fortran else "C"
        self.numbers = dtype.numbers(raw).reshape(shape, order=order)


def _bytes(raw):
    # Not bytes(raw) of anything: of a number that would be so many zeros.
    return raw.encode("latin1") if isinstance(raw, str) else memoryview(raw).tobytes()


def _items(value):
    if isinstance(value, _Array):
        return value.numbers.tolist()
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"{type(value).__name__} instead of a list")


def _number(value):
    """One float; a list or array of a single number counts as that number."""
    if isinstance(value, _Array | list) and len(_flat(value)) == 1:
        value = _flat(value)[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} instead of a number")
    return float(value)


def _flat(value):
    return value.numbers.ravel().tolist() if isinstance(value, _Array) else value


# --- BD-rate -------------------------------------------------------------------------

# Bjontegaard's method was defined on four points a curve.
MIN_POINTS = 4


def ms_ssim_db(ms_ssim):
    """MS-SSIM in decibels, -10 log10(1 - ms_ssim): inf for 1, nan for nan."""
    return np.inf if ms_ssim >= 1 else -10 * np.log10(1 - ms_ssim)


# What is compared, larger is better.
_QUALITY = {
    "psnr": lambda psnr: psnr,
    "ms-ssim": ms_ssim_db,
    "lpips": lambda lpips: -lpips,
}


@dataclass(frozen=True)
class BdRate:
    """A BD-rate and what it stands on.

    Attributes:
      percent: mean difference of the bit rate at equal quality, negative where the
        curve needs fewer bits than the anchor; None if there is nothing to compare.
      overlap: (worst, best) quality over which it is the mean, in dB for PSNR and
        MS-SSIM, plain LPIPS for LPIPS; None if there is no number.
      dropped: number of the curve's points that were left out, see `bd_rate`.
      reason: why there is no number, empty otherwise.
    """

    percent: float | None
    overlap: tuple[float, float] | None
    dropped: int
    reason: str = ""


def bd_rate(anchor, curve, metric, bpp_range=None):
    """Mean difference of the bit rate of `curve` against `anchor` at equal quality.

    The convention: for each curve, log10(bpp) is a function of quality, interpolated by
    PCHIP through all of its points; the mean difference of the two functions is taken
    over the qualities that both reach (with `bpp_range`: that both reach at rates
    inside of this range, the ends interpolated on the same functions). Quality is
    PSNR [dB], -10 log10(1 - MS-SSIM) of the mean MS-SSIM, or -LPIPS (not its
    logarithm). Nothing is extrapolated.

    Only a curve that rises has one rate for each quality. A point that is not better
    than another one of the same or a lower rate is left out (nobody would choose that
    setting), as is a point that is not finite; `dropped` counts both.

    Args:
      anchor: list of (bpp, value); value is the mean of the metric itself, so MS-SSIM
        in 0..1 and LPIPS with its sign.
      curve: the same for the codec that is compared.
      metric: "psnr", "ms-ssim" or "lpips".
      bpp_range: (low, high) bits per pixel, or None for all of the curves.

    Returns:
      `BdRate`; without a number if the curves share no quality, or if one has fewer
      than `MIN_POINTS` points left.
    """
    quality = _QUALITY[metric]
    curves = [_rising([(b, quality(v)) for b, v in c]) for c in (anchor, curve)]
    dropped = len(curve) - len(curves[1])
    if (fewest := min(len(points) for points in curves)) < MIN_POINTS:
        return BdRate(None, None, dropped, f"{fewest} of {MIN_POINTS} points")
    percent, low, high = _compare(*curves, bpp_range)
    if percent is None:
        return BdRate(None, None, dropped, "no overlap")
    # LPIPS was negated, its overlap is told as LPIPS.
    sign = -1 if metric == "lpips" else 1
    return BdRate(float(percent), (float(sign * low), float(sign * high)), dropped)


def _compare(anchor, curve, bpp_range):
    """(percent, lowest, highest quality) of two rising curves; percent may be None."""
    low, high = _shared([(points[0][1], points[-1][1]) for points in (anchor, curve)])
    if low >= high:
        return None, low, high
    functions = _interpolate(anchor, curve)
    if bpp_range is not None:
        limits = np.log10(bpp_range)
        low, high = _shared([_qualities_within(limits, f) for f in functions])
        if low >= high:
            return None, low, high
    areas = [function.integrate(low, high) for function in functions]
    return 100 * (10 ** ((areas[1] - areas[0]) / (high - low)) - 1), low, high


def _rising(points):
    """The finite points that are better than every point of no higher rate, sorted."""
    kept = []
    # Of several points with one rate the best comes first.
    for bpp, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        is_better = not kept or quality > kept[-1][1]
        if bpp > 0 and np.isfinite(bpp) and np.isfinite(quality) and is_better:
            kept.append((bpp, quality))
    return kept


def _shared(ranges):
    return max(low for low, _ in ranges), min(high for _, high in ranges)


def _interpolate(anchor, curve):
    """Two functions from quality to log10(bpp)."""
    # Imported here, since it imports matplotlib.pyplot: 0.6 s that compress saves.
    import bjontegaard

    _, *functions = bjontegaard.bd_rate(
        *np.transpose(anchor),
        *np.transpose(curve),
        method="pchip",
        require_matching_points=False,
        interpolators=True,
        min_overlap=0,
    )
    return functions


def _qualities_within(limits, function):
    """(lowest, highest) quality at which log10(bpp) is within `limits`.

    Equal, an empty range, if the curve lies outside.
    """
    ends = function.x[0], function.x[-1]
    inside = np.clip(limits, *function(ends))
    return [
        optimize.brentq(lambda quality, rate: function(quality) - rate, *ends, (rate,))
        for rate in inside
    ]


# --- Tables --------------------------------------------------------------------------


def bd_rate_table(anchor_name, anchor, curves, bpp_range=None):
    """BD-rates of several curves against one anchor, as aligned Markdown text.

    Args:
      anchor_name: name of the anchor, for the heading.
      anchor: list of dicts of means (keys `LISTS`), one per dot.
      curves: dict from a name to such a list.
      bpp_range: as in `bd_rate`.

    Returns:
      Text: a heading that says what was compared, a row per curve, and a note on
      points that were left out.
    """
    where = f", {bpp_range[0]:g} to {bpp_range[1]:g} bpp" if bpp_range else ""
    rows = []
    for name, dots in curves.items():
        rates = [_bd_rate_of_dots(anchor, dots, m, bpp_range) for m in _QUALITY]
        rows.append([name, *map(_bd_rate_cell, rates)])
    text = (
        f"BD-rate against {anchor_name}{where} (negative: fewer bits; in brackets the "
        "qualities compared):\n\n"
        + markdown_table(["run", "PSNR [dB]", "MS-SSIM [dB]", "LPIPS"], rows)
    )
    if any("*" in cell for row in rows for cell in row[1:]):
        text += (
            "\n\n* without the dots that are no better than one of fewer bits, or not "
            "finite"
        )
    return text


def summary_table(dots):
    """Means of every dot as aligned Markdown text.

    Args:
      dots: dict from the dot's name to its means (keys `LISTS`).
    """
    header = ["dot", "bpp", "PSNR [dB]", "MS-SSIM", "MS-SSIM [dB]", "LPIPS", "MSE"]
    rows = [
        [
            name,
            f"{means['bpp']:.4f}",
            f"{means['psnr']:.2f}",
            f"{means['ms-ssim']:.4f}",
            f"{ms_ssim_db(means['ms-ssim']):.2f}",
            f"{means['lpips']:.4f}",
            f"{means['mse']:.2f}",
        ]
        for name, means in dots.items()
    ]
    return markdown_table(header, rows)


def _bd_rate_of_dots(anchor, dots, metric, bpp_range):
    points = [[(dot["bpp"], dot[metric]) for dot in curve] for curve in (anchor, dots)]
    return bd_rate(*points, metric, bpp_range)


def _bd_rate_cell(rate):
    mark = "*" if rate.dropped else ""
    if rate.percent is None:
        return rate.reason + mark
    digits = 3 if max(rate.overlap) < 1 else 1
    worst, best = (f"{quality:.{digits}f}" for quality in rate.overlap)
    return f"{rate.percent:+.1f} %{mark} ({worst} to {best})"


def markdown_table(header, rows):
    """Aligned Markdown: the first column to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def aligned(cells):
        first, *others = zip(cells, widths, strict=True)
        texts = [first[0].ljust(first[1]), *(cell.rjust(w) for cell, w in others)]
        return "| " + " | ".join(texts) + " |"

    return "\n".join(aligned(line) for line in (header, rule, *rows))
