"""Other encoders of images: WebP, AVIF, jpegli, our own by `--quality`."""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, features

from evaluation import results
from evaluation.operating_points import OperatingPoint, encoding
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.registry import METRICS
from learned_jpeg.models.settings import SEARCH_SUBSAMPLING
from learned_jpeg.search.tunes import DEFAULT_TUNE

POINTS_FOLDER = "_points"
CURVES_FILE = "curves.json"

_LOSSY_QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80, 88, 94)
_OWN_QUALITIES = (10, 30, 50, 75, 90)


class Encoder(NamedTuple):
    """An encoder that takes an image and a quality.

    Attributes:
      label: its name in tables and legends, with its options.
      suffix: of its files.
      qualities: that are measured by default.
      encode: function from uint8 RGB `[h, w, 3]` and a quality to the bytes of a file.
      versions: function to a dict of the versions that its bytes depend on.
      missing: function to what to install, or "" where the encoder is there.
      coding: what it does where it is this package, as `operating_points.encoding`.
    """

    label: str
    suffix: str
    qualities: tuple[int, ...]
    encode: Callable[[np.ndarray, int], bytes]
    versions: Callable[[], dict[str, Any]]
    missing: Callable[[], str]
    coding: dict[str, Any] | None = None


def _pillow(image: np.ndarray, quality: int, *, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, quality=quality, **options)
    return buffer.getvalue()


def _pillow_versions(feature: str) -> dict[str, Any]:
    return {"pillow": Image.__version__, feature: features.version(feature)}


def _pillow_missing(feature: str) -> str:
    if features.check(feature):
        return ""
    return f"a Pillow that has {feature.upper()} (11.3 or later from PyPI)"


def _jpegli(image: np.ndarray, quality: int) -> bytes:
    """Encodes by jpegli, 4:2:0, with a lossless pass that makes files smaller."""
    import mozjpeg_lossless_optimization
    import pyjpegli

    height, width = image.shape[:2]
    data = pyjpegli.encode(image.tobytes(), width, height, quality)
    return mozjpeg_lossless_optimization.optimize(data)


def _jpegli_versions() -> dict[str, Any]:
    return results.library_versions(("pyjpegli", "mozjpeg-lossless-optimization"))


def _jpegli_missing() -> str:
    try:
        importlib.metadata.version("pyjpegli")
    except importlib.metadata.PackageNotFoundError:
        return "pip install pyjpegli"
    return ""


def _own(image: np.ndarray, quality: int) -> bytes:
    import learned_jpeg

    return learned_jpeg.encode(image, quality=quality)


def _of_pillow(label: str, form: str, **options) -> Encoder:
    feature = form.lower()
    return Encoder(
        label,
        f".{feature}",
        _LOSSY_QUALITIES,
        functools.partial(_pillow, form=form, **options),
        functools.partial(_pillow_versions, feature),
        functools.partial(_pillow_missing, feature),
    )


# By the name on the command line, which begins the names of the operating points.
ENCODERS = {
    "webp": _of_pillow("WebP, method 6", "WEBP", method=6),
    "avif": _of_pillow("AVIF, speed 6", "AVIF", speed=6),
    "jpegli": Encoder(
        "jpegli 4:2:0, lossless pass",
        ".jpg",
        _LOSSY_QUALITIES,
        _jpegli,
        _jpegli_versions,
        _jpegli_missing,
    ),
    "ours": Encoder(
        "ours, --quality",
        ".jpg",
        _OWN_QUALITIES,
        _own,
        dict,
        str,
        encoding(
            quantization="search",
            entropy_coding="optimized",
            subsampling=SEARCH_SUBSAMPLING,
            tune=DEFAULT_TUNE,
        ),
    ),
}


def decode(data: bytes) -> np.ndarray:
    """Decodes a file of any format that Pillow knows to uint8 RGB `[h, w, 3]`.

    Raises:
      ValueError: the file cannot be read.
    """
    if data.startswith(b"\xff\xd8"):
        return jpeg_file.decode(data)
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable image: {error}") from error


def operating_points(
    name: str, folder: str, qualities: tuple[int, ...] | None = None
) -> list[OperatingPoint]:
    """Returns the operating points of an encoder.

    Args:
      name: a key of `ENCODERS`.
      folder: of the measurement.
      qualities: None for those of the encoder.
    """
    encoder = ENCODERS[name]
    return [
        OperatingPoint(
            name=f"{name}_Q{quality}",
            folder=os.path.join(folder, POINTS_FOLDER),
            kind="jpeg",
            curve=encoder.label,
            settings={"encoder": name, "quality": quality},
            quality=quality,
        )
        for quality in qualities or encoder.qualities
    ]


def read_points(folder: str, name: str) -> dict[int, results.PointResults]:
    """Returns the measured operating points of an encoder, by quality.

    Args:
      folder: of the measurement.
      name: a key of `ENCODERS`.

    Raises:
      UserError: a record is damaged.
    """
    found = {}
    points = os.path.join(folder, POINTS_FOLDER)
    names = os.listdir(points) if os.path.isdir(points) else []
    for file in names:
        stem, suffix = os.path.splitext(file)
        if suffix == ".json" and stem.startswith(f"{name}_Q"):
            path = os.path.join(points, stem)
            try:
                record = results.read_record(path)
                found[int(record["settings"]["quality"])] = results.read_values(
                    path, record
                )
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}.json: no whole record; delete it and measure again"
                ) from error
    return dict(sorted(found.items()))


def compressai_json(
    name: str, description: str, means: list[dict], dataset: str | None = None
) -> dict[str, Any]:
    """Returns a curve in the form that CompressAI writes.

    Args:
      name: of the codec.
      description: a sentence on how it was measured.
      means: of each operating point, see `results.PointResults.means`.
      dataset: name of the test images, if it is known.
    """
    columns = {"bpp": "bpp", **{m.key: m.json_name for m in METRICS.values()}}
    curve: dict[str, Any] = {"name": name, "description": description}
    if dataset:
        curve["dataset"] = dataset
    curve["results"] = {
        column: [mean[key] for mean in means]
        for key, column in columns.items()
        if all(np.isfinite(mean.get(key, np.nan)) for mean in means)
    }
    return curve


def write_curves(folder: str) -> str:
    """Writes `curves.json`: the means of every encoder that is measured in a folder.

    Returns:
      The path of the file.
    """
    curves = []
    for name, encoder in ENCODERS.items():
        points = read_points(folder, name)
        if points:
            means = [point.means() for point in points.values()]
            count = len(next(iter(points.values())).images)
            described = f"{encoder.label}, {count} images decoded by Pillow"
            curves.append(compressai_json(encoder.label, described, means))
    path = os.path.join(folder, CURVES_FILE)
    write_atomically(path, (json.dumps(curves, indent=1) + "\n").encode())
    return path
