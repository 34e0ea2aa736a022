"""Results in the JSON that Google's page Codec-Compare shows.

https://github.com/webmproject/codec-compare describes the form: a file for each codec,
a row for each .jpg file, and a list of these files, which the page loads by
`index.html?load=.../batches.json`.
"""

import json
import math
import os
import time

from evaluation.image_names import files_of
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.metrics.registry import METRICS


def write_batches(folder, curves):
    """Writes a file for each curve, and `batches.json` that lists them.

    Args:
      folder: where to write, made if it is missing.
      curves: list of `curves.Compared` with results.

    Returns:
      The path of the list.
    """
    os.makedirs(folder, exist_ok=True)
    names = []
    for index, curve in enumerate(curves):
        names.append(f"curve_{index}.json")
        text = json.dumps(batch(curve, folder), allow_nan=False, indent=1) + "\n"
        write_atomically(os.path.join(folder, names[-1]), text.encode())
    path = os.path.join(folder, "batches.json")
    write_atomically(path, (json.dumps([[n] for n in names]) + "\n").encode())
    return path


def batch(curve, folder):
    """Returns one codec, a dict in the form of the page.

    Args:
      curve: `curves.Compared` with results.
      folder: of the file, from which paths are told.
    """
    parent = os.path.relpath(os.path.dirname(curve.stems[0]), folder)
    constants = {
        "name": (curve.label, "Name of this batch"),
        "codec": (curve.name, "Name of the codec used to generate this data"),
        "version": (_version(curve), "Versions of the libraries that made the files"),
        "time": (_time(curve), "When the last file was measured"),
        "encoded_path": (f"{parent}/${{encoded_name}}", "Path to the encoded image"),
    }
    metrics = [
        metric
        for metric in METRICS.values()
        if metric.codec_compare and _is_finite(curve, metric.key)
    ]
    fields = {
        "original_name": "Original image file name",
        "encoded_name": "Encoded image file name, in the folder of its operating point",
        "width": "Pixel columns",
        "height": "Pixel rows",
        "quality": "Quality or lambda of the codec",
        "encoded_size": "Size of the encoded image file in bytes",
        **dict(metric.codec_compare for metric in metrics),
    }
    return {
        "constant_descriptions": [{n: text} for n, (_, text) in constants.items()],
        "constant_values": [value for value, _ in constants.values()],
        "field_descriptions": [{name: text} for name, text in fields.items()],
        "field_values": _rows(curve, metrics),
    }


def _rows(curve, metrics):
    """Returns a list of the fields for each file."""
    rows = []
    for setting, point, stem, record in zip(
        curve.settings, curve.results, curve.stems, curve.records, strict=True
    ):
        sizes = {image["name"]: image for image in record["key"]["images"]}
        files = files_of(record)
        for index, name in enumerate(point.images):
            width, height = (sizes[name].get(side, 0) for side in ("width", "height"))
            encoded = f"{os.path.basename(stem)}/{files[name]}"
            size = round(point.values["bpp"][index] * width * height / 8)
            row = [name, encoded, width, height, setting, size]
            rows.append(row + [point.values[m.key][index] for m in metrics])
    return rows


def _is_finite(curve, metric):
    """Returns whether all files have a metric: the page knows no gaps."""
    return all(
        metric in point.values and all(map(math.isfinite, point.values[metric]))
        for point in curve.results
    )


def _version(curve):
    versions = curve.records[0].get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _time(curve):
    newest = max(os.path.getmtime(f"{stem}.json") for stem in curve.stems)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest))
