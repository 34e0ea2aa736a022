"""The operating points of an evaluation: all that it measures."""

from __future__ import annotations

import dataclasses
import glob
import logging
import os
from typing import Any

import numpy as np

from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.models import contract, folders
from learned_jpeg.models.settings import (
    FULL_CHROMA,
    SEARCH_SUBSAMPLING,
    WEIGHT_KEYS,
)

logger = logging.getLogger(__name__)

JPEG_QUALITIES = (*range(1, 10), *range(10, 91, 5))
GOOGLE_QUALITIES = (5, 10, 15, 20, 25)
MOZJPEG_QUALITIES = (12, 20, 30, 42, 55, 68, 78, 86)
SEARCH_QUALITIES = (3, 5, 10, 20, 35, 50, 70, 85)
STANDARD_TABLES = "ljpeg_PIL"  # script of the search without a model


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """One setting of one codec: one point of a rate-distortion curve.

    Attributes:
      name: of its files.
      folder: where these are.
      kind: as in `plots.Curve`.
      curve: label of its curve.
      settings: JSON-able dict of all that defines it: the keys of `encoding`, and those
        of the codec: `script` of a model, `tables` of mozjpeg, `quality`, and so on.
      prefix: path prefix of the checkpoint, if it has one.
      quality: of the tables, 0 for models that have their own.
      has_maps: whether maps of what the model's network keeps are written.
    """

    name: str
    folder: str
    kind: str
    curve: str
    settings: dict[str, Any]
    prefix: str | None = None
    quality: int = 0
    has_maps: bool = False


def encoding(
    *,
    quantization: str,
    entropy_coding: str,
    subsampling: str = FULL_CHROMA,
    tune: str = OWN_LOSS,
    refine_steps: int = 0,
) -> dict[str, Any]:
    """Returns the settings of how images are encoded, see `EncodeOptions`."""
    return {
        "quantization": quantization,
        "entropy_coding": entropy_coding,
        "subsampling": subsampling,
        "tune": tune,
        "refine_steps": refine_steps,
    }


def options_of(settings: dict[str, Any]) -> EncodeOptions:
    """Returns the options of an operating point's settings."""
    return EncodeOptions(
        quantization=settings["quantization"],
        entropy_coding=settings["entropy_coding"],
        subsampling=settings["subsampling"],
        tune=settings["tune"],
        refine_steps=settings["refine_steps"],
    )


def plan_operating_points(args) -> tuple[list[OperatingPoint], int]:
    """Finds all operating points of the command line.

    Args:
      args: flags of `evaluate.py`.

    Returns:
      (operating points, number of checkpoints that cannot be used).

    Raises:
      UserError: `--google_dir` has no checkpoint of the baseline, or there is no run of
        `--runs`.
    """
    folder = os.path.join(args.output_dir, "_output")
    points = _mozjpeg_points(args, folder) if args.mozjpeg else []
    if args.tune != OWN_LOSS:
        own = _encoding_of(args, args.subsampling or SEARCH_SUBSAMPLING)
        points += _search_points(args, own, "search", folder)
    if args.search:
        own = encoding(
            quantization="search",
            entropy_coding="optimized",
            subsampling=SEARCH_SUBSAMPLING,
            tune=args.search,
        )
        points += _search_points(args, own, f"search_{args.search}", folder)
    if args.google_dir is not None:
        points += _google_points(args, folder)
    found, failed = _points_of_runs(args, folder)
    points += found
    # Plain JPEG at 4:4:4, the anchor, and at every other sampling that there is.
    used = {p.settings["subsampling"] for p in points if p.kind != "jpeg"}
    used |= {FULL_CHROMA, args.subsampling}
    samplings = [sampling for sampling in SUBSAMPLINGS if sampling in used]
    jpeg = [point for sampling in samplings for point in _jpeg_points(args, sampling)]
    return jpeg + _with_maps(points), failed


def _points_of_runs(args, folder):
    """Returns (operating points of all runs, number of those that cannot be used)."""
    points, failed = [], 0
    found_dirs = find_lambda_dirs(args.batch_dir)
    known = {run for run, _ in found_dirs}
    for run in args.runs or ():
        if run not in known:
            raise UserError(f"--runs {run}: no such run in {args.batch_dir}")
    for run, lambda_dir in found_dirs:
        if args.runs is not None and run not in args.runs:
            continue
        try:
            prefix = folders.find_checkpoint(lambda_dir)
            record = folders.load_record(os.path.dirname(prefix))
            script = record.get("script", args.jpeg_type)
            if _is_trained(script) and _traits(script).takes_quality:
                logger.info("%s: pass it as --google_dir to evaluate it", lambda_dir)
                continue
            settings = _model_settings(prefix, script, args)
            if args.refine_steps and not _can_be_refined(settings):
                logger.info(
                    "%s: left out, --refine_steps needs --rate_model entropy and 4:4:4",
                    lambda_dir,
                )
                continue
        except UserError as error:
            logger.error("error: %s", error)
            failed += 1
            continue
        name = f"{run}-{os.path.basename(lambda_dir)}"
        if any(point.name == name for point in points):
            raise UserError(
                f"{lambda_dir}: two folders would be called {name}; rename one run"
            )
        points.append(OperatingPoint(name, folder, "run", run, settings, prefix))
    if not points and args.runs != []:
        logger.warning("%s: no run with lambda_*/train folders there", args.batch_dir)
    return points, failed


def _google_points(args, folder):
    try:
        prefix = folders.find_checkpoint(args.google_dir)
    except UserError as error:
        raise UserError(f"--google_dir: {error}") from error
    settings = _model_settings(prefix, "google_baseline", args)
    return [
        OperatingPoint(
            name=f"google_Q{quality}",
            folder=folder,
            kind="google",
            curve="Google baseline",
            settings={**settings, "quality": quality},
            prefix=prefix,
            quality=quality,
        )
        for quality in GOOGLE_QUALITIES
    ]


def _jpeg_points(args, subsampling):
    """Returns plain JPEG, against which the others are measured.

    It is never searched or refined, but follows the entropy coding and mozjpeg's
    quantization of the command line.
    """
    is_full = subsampling == FULL_CHROMA
    suffix = "" if is_full else f"_{subsampling.replace(':', '')}"
    own = encoding(
        quantization="mozjpeg" if args.quantization == "mozjpeg" else "round",
        entropy_coding=args.entropy_coding,
        subsampling=subsampling,
    )
    return [
        OperatingPoint(
            name=f"Q{quality}{suffix}",
            folder=os.path.join(args.output_dir, "_output_PIL"),
            kind="jpeg",
            curve="JPEG" if is_full else f"JPEG {subsampling}",
            settings={**own, "quality": quality},
            quality=quality,
        )
        for quality in args.qualities or JPEG_QUALITIES
    ]


def _mozjpeg_points(args, folder):
    """Returns mozjpeg as its `cjpeg` works by default."""
    own = encoding(
        quantization="mozjpeg", entropy_coding="optimized", subsampling="4:2:0"
    )
    return [
        OperatingPoint(
            name=f"mozjpeg_Q{quality}",
            folder=folder,
            kind="jpeg",
            curve="mozjpeg 4:2:0",
            settings={"tables": "mozjpeg", **own, "quality": quality},
            quality=quality,
        )
        for quality in args.qualities or MOZJPEG_QUALITIES
    ]


def _search_points(args, own, name, folder):
    """Returns the search without a model, at the lambdas of the standard's tables."""
    return [
        OperatingPoint(
            name=f"{name}_Q{quality}",
            folder=folder,
            kind="run",
            curve=f"search for {own['tune']}, no model",
            settings={"script": STANDARD_TABLES, **own, "quality": quality},
            quality=quality,
        )
        for quality in args.qualities or SEARCH_QUALITIES
    ]


def _with_maps(points):
    """Returns the points; the middle one of each run of a model with maps writes them.

    Maps show how much detail of each block the network keeps.
    """
    by_run = {}
    for point in points:
        if point.prefix and _traits(point.settings["script"]).has_maps:
            by_run.setdefault(point.curve, []).append(point)
    middle = {run[len(run) // 2].name for run in by_run.values()}
    return [
        dataclasses.replace(point, has_maps=point.name in middle) for point in points
    ]


def _encoding_of(args, subsampling):
    """Returns the encoding of the command line, at a subsampling."""
    return encoding(
        quantization=args.quantization,
        entropy_coding=args.entropy_coding,
        subsampling=subsampling,
        tune=args.tune,
        refine_steps=args.refine_steps,
    )


def _can_be_refined(settings):
    is_full = settings["subsampling"] == FULL_CHROMA
    return settings["rate_model"] == "entropy" and is_full


def _is_trained(script):
    return script in contract.MODELS and _traits(script).is_trained


def _traits(script):
    return contract.load_model_class(script).TRAITS


def _model_settings(prefix, script, args):
    """Returns the settings of an operating point of a trained model."""
    if not _is_trained(script):
        raise UserError(
            f"{prefix}: trained by {script}.py, which evaluate.py does not know"
        )
    settings = folders.load_settings(os.path.dirname(prefix), script)
    is_searched = args.quantization == "search"
    subsampling = args.subsampling or settings.file_subsampling(is_searched)
    traits, weights = _traits(script), settings.weights
    record = {"script": script, **_encoding_of(args, subsampling)}
    if traits.has_network:  # The tables alone are free of convolutions.
        record["precision"] = args.precision
    record |= {
        "step": folders.checkpoint_step(prefix),
        "lmbda": settings.lmbda,
        "rate_model": settings.rate_model,
        **{key: getattr(weights, name) for name, key in WEIGHT_KEYS.items()},
    }
    if traits.has_trunk:
        record |= {"vgg": settings.vgg, "freeze_vgg": settings.freeze_vgg}
    return record


def encode_plain(image: np.ndarray, quality: int, settings: dict[str, Any]) -> bytes:
    """Encodes an image without a model.

    Args:
      image: uint8 RGB `[h, w, 3]`.
      quality: 1..100, of the tables.
      settings: of an operating point without a script.

    Returns:
      The bytes of a .jpg file.
    """
    sampling = settings["subsampling"]
    if settings.get("tables") == "mozjpeg":
        return jpeg_file.encode_mozjpeg_quality(image, quality, sampling)
    if settings["quantization"] == "mozjpeg":
        return jpeg_file.encode_mozjpeg(image, ijg_qtables(quality), sampling)
    return jpeg_file.encode_rgb(image, quality, settings["entropy_coding"], sampling)


def find_lambda_dirs(batch_dir: str) -> list[tuple[str, str]]:
    """Returns (run, folder) of every `lambda_*` folder of a batch, sorted.

    Runs are the folders in `batch_dir` whose names do not start with `_`, and
    `batch_dir` itself.
    """
    root = glob.escape(batch_dir)
    own = os.path.basename(os.path.abspath(batch_dir))
    found = [(own, path) for path in glob.glob(os.path.join(root, "lambda_*"))]
    for path in glob.glob(os.path.join(root, "*", "lambda_*")):
        run = os.path.basename(os.path.dirname(path))
        if not run.startswith(("_", "lambda_")):
            found.append((run, path))
    return sorted(item for item in found if os.path.isdir(item[1]))


def describe_encoding(settings: dict[str, Any]) -> str:
    """Says how integers were chosen and coded, in one line."""
    words = [settings["subsampling"]]
    # mozjpeg codes the integers of its quantization itself.
    if settings["quantization"] != "mozjpeg":
        words.append(f"{settings['entropy_coding']} entropy coding")
    words.append(f"quantization {settings['quantization']}")
    if settings["tune"] != OWN_LOSS:
        words.append(f"tuned for {settings['tune']}")
    if settings["refine_steps"]:
        words.append(f"{settings['refine_steps']} refinement steps an image")
    return ", ".join(words)


def short_encoding(settings: dict[str, Any]) -> str:
    """Says in a few words how a curve is encoded, for its label."""
    words = [settings["entropy_coding"]]
    if settings["quantization"] == "mozjpeg":
        # The codec mozjpeg has no other.
        words = [] if "tables" in settings else ["mozjpeg's trellis"]
    if settings["subsampling"] != FULL_CHROMA:
        words.append(settings["subsampling"])
    if settings["quantization"] == "search":
        words.append("search")
    if settings["tune"] != OWN_LOSS:
        words.append(f"tuned for {settings['tune']}")
    if settings["refine_steps"]:
        words.append(f"{settings['refine_steps']} refinement steps")
    return ", ".join(words)


def describe_samplings(points: list[OperatingPoint]) -> str:
    """Returns the subsampling of the models; with names of curves if there are many."""
    curves: dict[str, dict[str, None]] = {}
    for point in points:
        if point.kind != "jpeg":
            own = curves.setdefault(point.settings["subsampling"], {})
            own[point.curve] = None
    if len(curves) < 2:
        return "".join(curves) or FULL_CHROMA
    return "; ".join(f"{name}: {', '.join(own)}" for name, own in curves.items())
