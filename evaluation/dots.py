"""The dots of an evaluation: what there is to measure in a folder of runs."""

import glob
import logging
import os
from typing import NamedTuple

from learned_jpeg.codec import file_coding
from learned_jpeg.codec.codec import Quantization
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.models import contract, folders
from ljpeg_PIL import StandardJPEG

logger = logging.getLogger(__name__)

JPEG_QUALITIES = (*range(1, 10), *range(10, 91, 5))
GOOGLE_QUALITIES = (5, 10, 15, 20, 25)
MOZJPEG_QUALITIES = (12, 20, 30, 42, 55, 68, 78, 86)
SEARCH_QUALITIES = (3, 5, 10, 20, 35, 50, 70, 85)
# The classes of all models with checkpoints, by their names.
MODELS = {
    name: model_class
    for name in contract.MODELS
    if (model_class := contract.load_model_class(name)).TRAITS.is_trained
}


class Dot(NamedTuple):
    """One setting of one codec: a dot of a figure."""

    name: str
    folder: str
    kind: str  # of `plots.Curve`
    curve: str  # label of its curve
    settings: dict
    prefix: str | None = None  # of the checkpoint
    quality: int = 0  # for codecs that take one
    has_maps: bool = False  # whether maps of its attention are written


def plan_dots(args):
    """All dots of the command line.

    Returns:
      (list of `Dot`, number of checkpoints that cannot be used).

    Raises:
      UserError: `--google_dir` has no checkpoint of the baseline.
    """
    folder = os.path.join(args.output_dir, "_output")
    dots = _mozjpeg_dots(args, folder) if args.mozjpeg else []
    if args.tune != "model":
        dots += _search_dots(args, _encoding(args, None), "search", folder)
    if args.search:
        name = f"search_{args.search}"
        dots += _search_dots(args, search_encoding(args.search), name, folder)
    if args.google_dir is not None:
        try:
            prefix = folders.find_checkpoint(args.google_dir)
        except UserError as error:
            raise UserError(f"--google_dir: {error}") from error
        settings = _model_settings(prefix, "google_baseline", args)
        for q in GOOGLE_QUALITIES:
            own = {**settings, "quality": q}
            name = f"google_Q{q}"
            dots.append(Dot(name, folder, "google", "Google baseline", own, prefix, q))
    failed = 0
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
            if script in MODELS and MODELS[script].TRAITS.takes_quality:
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
        if any(dot.name == name for dot in dots):
            raise UserError(
                f"{lambda_dir}: two folders would be called {name}; rename one run"
            )
        dots.append(Dot(name, folder, "run", run, settings, prefix))
    wanted = args.runs != []
    if wanted and not any(dot.kind == "run" and dot.prefix for dot in dots):
        logger.warning("%s: no run with lambda_*/train folders there", args.batch_dir)
    # Plain JPEG at 4:4:4, the anchor, and at what else the models are.
    found = {d.settings.get("subsampling", "4:4:4") for d in dots if d.kind != "jpeg"}
    found |= {"4:4:4", args.subsampling}
    samplings = [sampling for sampling in SUBSAMPLINGS if sampling in found]
    jpeg = [dot for sampling in samplings for dot in _jpeg_dots(args, sampling)]
    return jpeg + _with_maps(dots), failed


def _with_maps(dots):
    """The dots, with maps of the middle one of each run of a model that has them."""
    by_run = {}
    for dot in dots:
        model_class = MODELS.get(dot.settings.get("script"))
        if model_class and model_class.TRAITS.has_maps:
            by_run.setdefault(dot.curve, []).append(dot)
    middle = {run[len(run) // 2].name for run in by_run.values()}
    return [dot._replace(has_maps=dot.name in middle) for dot in dots]


def _can_be_refined(settings):
    return settings["rate_model"] == "entropy" and "subsampling" not in settings


def _jpeg_dots(args, subsampling):
    """Plain JPEG, which stays plain: it is what the others are measured against."""
    folder = os.path.join(args.output_dir, "_output_PIL")
    full = subsampling == "4:4:4"
    name = "" if full else f"_{subsampling.replace(':', '')}"
    curve = "JPEG" if full else f"JPEG {subsampling}"
    settings = {"entropy_coding": args.entropy_coding, **_chroma(subsampling)}
    return [
        Dot(f"Q{q}{name}", folder, "jpeg", curve, {**settings, "quality": q}, quality=q)
        for q in args.qualities or JPEG_QUALITIES
    ]


def _mozjpeg_dots(args, folder):
    """mozjpeg as its `cjpeg` works unless told otherwise."""
    settings = {"tables": "mozjpeg", "entropy_coding": "trellis", **_chroma("4:2:0")}
    return [
        Dot(
            *(f"mozjpeg_Q{q}", folder, "jpeg", "mozjpeg 4:2:0"),
            *({**settings, "quality": q}, None, q),
        )
        for q in args.qualities or MOZJPEG_QUALITIES
    ]


def search_encoding(tune):
    """The settings of a search as `compress` does it, for a tune of `search.tunes`."""
    return {
        "entropy_coding": "optimized",
        "quantization": "rdoq",
        "refine_steps": 0,
        "subsampling": "4:2:0",
        "tune": tune,
    }


def _search_dots(args, encoding, name, folder):
    """The search without a model, at the lambdas of the standard's tables."""
    settings = {"script": StandardJPEG.NAME, **encoding}
    curve = f"search for {encoding['tune']}, no model"
    return [
        Dot(
            *(f"{name}_Q{q}", folder, "run", curve),
            *({**settings, "quality": q}, None, q),
        )
        for q in args.qualities or SEARCH_QUALITIES
    ]


def quantization_of(settings):
    """The `Quantization` of a dot, or of the command line."""
    return Quantization(
        *(settings["quantization"], file_coding(settings["entropy_coding"])),
        *(settings["refine_steps"], settings.get("subsampling", "4:4:4")),
        settings.get("tune", "model"),
    )


def encode_plain(picture, quality, settings):
    """JPEG bytes of a picture without a model, by the settings of a dot."""
    sampling = settings.get("subsampling", "4:4:4")
    coding = settings["entropy_coding"]
    if settings.get("tables") == "mozjpeg":
        return jpeg_file.encode_mozjpeg_quality(picture, quality, sampling)
    if coding == "trellis":
        return jpeg_file.encode_mozjpeg(picture, ijg_qtables(quality), sampling)
    return jpeg_file.encode_rgb(picture, quality, file_coding(coding), sampling)


def _encoding(args, saved):
    """The settings of how a model's pictures are coded, with the model's own."""
    return {
        "entropy_coding": args.entropy_coding,
        "quantization": args.quantization,
        "refine_steps": args.refine_steps,
        **_chroma(quantization_of(vars(args)).of_model(saved).sampling),
        **({} if args.tune == "model" else {"tune": args.tune}),
    }


def _chroma(subsampling):
    """The setting of subsampled chroma, empty for full: older records have none."""
    return {} if subsampling == "4:4:4" else {"subsampling": subsampling}


def find_lambda_dirs(batch_dir):
    """(run, folder) of every `lambda_*` folder of a batch, sorted.

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


def _model_settings(prefix, script, args):
    """What defines a dot of a model, for its record."""
    if script not in MODELS:
        raise UserError(
            f"{prefix}: trained by {script}.py, which evaluate.py does not know"
        )
    settings = folders.load_settings(os.path.dirname(prefix), script)
    traits = MODELS[script].TRAITS
    weights = settings.weights
    record = {"script": script, **_encoding(args, settings)}
    if traits.has_network:  # The tables alone are free of convolutions.
        record["precision"] = args.precision
    record["step"] = folders.checkpoint_step(prefix)
    if settings.lmbda is not None:
        record["lmbda"] = settings.lmbda
    record["lpips_weight"] = weights.lpips
    record["msssim_weight"] = weights.ms_ssim
    record["rate_model"] = settings.rate_model
    if weights.ssimulacra2:  # Records of older dots, where it is 0, lack it.
        record["ssimulacra2_weight"] = weights.ssimulacra2
    if traits.has_trunk:
        record |= {"vgg": settings.vgg, "freeze_vgg": settings.freeze_vgg}
    return record
