"""Every command line of the project.

Parsers return a namespace whose names are the flags', but for `--lambda` (`lmbda`).
Wrong flags end with usage, one line and exit status 2.
"""

import argparse
import math
import os
import re

import learned_jpeg.common.process  # noqa: F401, before numpy is loaded
from learned_jpeg.codec import QUANTIZATIONS
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS
from learned_jpeg.models.settings import (
    FULL_CHROMA,
    ROUNDINGS,
    SEARCH_SUBSAMPLING,
    TRUNKS,
)
from learned_jpeg.pictures import MAX_MEGAPIXELS
from learned_jpeg.search import TUNES

JPEG_TYPES = ("ljpeg", "ljpeg_attention")
LR_SCHEDULES = ("steps", "cosine")
PRECISIONS = ("float32", "bfloat16")  # of the convolutions
_CHECKPOINT_DIR = "train"


def parse_model(model_class, argv=None):
    """Parses the flags of a model script.

    Args:
      model_class: a class of the model scripts, see `learned_jpeg.models.contract`.
      argv: words of the command line; None for those of the process.
    """
    traits = model_class.TRAITS
    parser = _Parser(description=traits.description)
    if traits.is_trained:
        parser.add_argument(
            "--checkpoint_dir",
            default=_CHECKPOINT_DIR,
            metavar="DIR",
            help="folder of the checkpoints, their settings and TensorBoard's events",
        )
    if not traits.is_trained or traits.searches_without_checkpoint:
        parser.set_defaults(checkpoint_dir=None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if traits.is_trained:
        _add_train(commands, traits)
    compress = _add_compress(
        commands,
        quality=traits.default_quality,
        needs_model=not traits.searches_without_checkpoint,
    )
    if traits.has_network:
        _add_precision(compress)
    if traits.has_export:
        export = _add_export(commands)
        if traits.takes_quality:
            _add_quality(export, default=traits.default_quality)
    args = parser.parse_args(argv)
    if args.command == "train":
        _check_train(parser, args, traits)
    if traits.searches_without_checkpoint:
        if args.command == "compress":
            _check_model(parser, args)
        elif args.checkpoint_dir is None:
            args.checkpoint_dir = _CHECKPOINT_DIR
    return _checked(parser, args)


def parse_evaluate(argv=None):
    """Parses the flags of evaluate.py."""
    parser = _Parser(
        description="Measures every checkpoint of a batch, JPEG and the Google "
        "baseline on test images, and plots rate-distortion curves.",
        epilog="Beside it: python3 -m report.compare (several evaluations in one "
        "table), report.crops (crops at equal size of the files), "
        "evaluation.loss_curves (have trainings come to rest), evaluation.rate_check "
        "(estimated rates beside real ones).",
    )
    what = parser.add_argument_group("what is evaluated")
    what.add_argument(
        "--batch_dir",
        required=True,
        metavar="DIR",
        help="folder of runs: DIR/<run>/lambda_*/train, or DIR/lambda_*/train",
    )
    what.add_argument(
        "--jpeg_type",
        choices=JPEG_TYPES,
        default="ljpeg_attention",
        help="script of checkpoints that have no settings.json to tell it",
    )
    what.add_argument(
        "--runs",
        nargs="*",
        metavar="RUN",
        help="names of the runs in --batch_dir to evaluate (default: all; without a "
        "name: none)",
    )
    what.add_argument(
        "--google_dir", metavar="DIR", help="checkpoint folder of google_baseline.py"
    )
    what.add_argument(
        "--mozjpeg",
        action="store_true",
        help="measure mozjpeg as well, with its own tables and trellis, 4:2:0",
    )
    what.add_argument(
        "--search",
        choices=TUNES[1:],
        help="measure the search for a metric as well, without a model, with all that "
        "makes files small: --quantization rdoq --entropy_coding optimized",
    )
    what.add_argument(
        "--qualities",
        nargs="+",
        type=_quality,
        metavar="N",
        help="of JPEG, of mozjpeg and of the search without a model, 1..100 (default: "
        "26 of JPEG, 8 of the others)",
    )
    what.add_argument(
        "--test_image_glob",
        nargs="+",
        default=["images/*.png"],
        metavar="GLOB",
        help="test images: files, folders or quoted globs",
    )
    how = parser.add_argument_group("how")
    _add_entropy_coding(how, "default")
    _add_quantization(how)
    _add_device(how)
    _add_precision(how)
    _add_workers(how)
    _add_bpp_range(how)
    _add_shard(how, "evaluate.py gathers what the shards have measured, and plots")
    how.add_argument(
        "--output_dir",
        metavar="DIR",
        help="folder of the figures, _output and _output_PIL (default: --batch_dir)",
    )
    _add_published(how)
    _add_report(how, "report.html; in --output_dir")
    args = _checked(parser, parser.parse_args(argv))
    args.shard = args.shard or _slurm_shard(parser)
    if args.refine_steps and args.google_dir is not None:
        parser.error("--google_dir: the baseline cannot be refined; leave one out")
    _check_bpp_range(parser, args)
    args.output_dir = args.output_dir or args.batch_dir
    args.qualities = sorted(set(args.qualities or ()))
    _check_report(parser, args)
    return args


def parse_rate_check(argv=None):
    """Parses the flags of rate_check.py."""
    parser = _Parser(
        prog="python3 -m evaluation.rate_check",
        description="Sets the estimates of entropy models beside the bytes of files.",
    )
    parser.add_argument(
        "--batch_dir", required=True, metavar="DIR", help="folder of runs"
    )
    parser.add_argument(
        "--test_image_glob",
        nargs="+",
        required=True,
        metavar="GLOB",
        help="test images: files, folders or quoted globs",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="Markdown file to write the table to"
    )
    _add_device(parser)
    _add_precision(parser)
    return parser.parse_args(argv)


def parse_compare(argv=None):
    """Parses the flags of compare.py."""
    parser = _Parser(
        prog="python3 -m report.compare",
        description="BD-rates of evaluations with different encodings, in one table.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="DIR",
        help="--output_dir of a call of evaluate.py; JPEG of the first is the anchor",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="CURVE",
        help="runs, or curves as the table calls them, to show in this order (default: "
        "all)",
    )
    _add_published(parser)
    _add_bpp_range(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="Markdown file to write the table to"
    )
    parser.add_argument(
        "--figure_dir", metavar="DIR", help="folder to draw the figures into"
    )
    _add_report(parser, "report.html")
    parser.add_argument(
        "--test_image_glob",
        nargs="+",
        default=[],
        metavar="GLOB",
        help="originals for the viewer of --report",
    )
    args = parser.parse_args(argv)
    _check_bpp_range(parser, args)
    _check_report(parser, args)
    if args.test_image_glob and not args.report:
        parser.error("--test_image_glob has no effect without --report")
    return args


def parse_crops(argv=None):
    """Parses the flags of crops.py."""
    parser = _Parser(
        prog="python3 -m report.crops",
        description="Crops side by side: the original, JPEG, mozjpeg and models at "
        "equal bits per pixel.",
    )
    parser.add_argument(
        "crops", nargs="+", metavar="FILE:X,Y,SIDE", help="a picture and a square of it"
    )
    for name, what in (
        ("rdoq", "--quantization rdoq"),
        ("refined", "30 refinement steps"),
    ):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            default=[],
            metavar="RUN",
            help=f"folders with lambda_* folders, coded with {what}",
        )
    parser.add_argument(
        "--search",
        nargs="+",
        default=[],
        choices=TUNES[1:],
        help="the search without a model, for these",
    )
    parser.add_argument(
        "--target_bpp",
        type=_positive,
        default=0.5,
        metavar="BPP",
        help="bits per pixel that the files come close to",
    )
    parser.add_argument(
        "-o", "--output", default="crops.png", metavar="FILE", help="the figure"
    )
    _add_device(parser)
    _add_precision(parser)
    args = parser.parse_args(argv)
    if not args.rdoq and not args.refined and not args.search:
        parser.error("name the folder of a run, --rdoq or --refined, or --search")
    return args


def parse_loss_curves(argv=None):
    """Parses the flags of loss_curves.py."""
    parser = _Parser(
        prog="python3 -m evaluation.loss_curves",
        description="Loss curves of runs, from the events that training wrote.",
    )
    parser.add_argument(
        "batch_dir", metavar="RUNS_DIR", help="folder of runs, with events"
    )
    parser.add_argument(
        "output_dir", metavar="DIR", help="folder of the figure and <run>/loss.csv"
    )
    return parser.parse_args(argv)


def parse_calibrate(argv=None):
    """Parses the flags of calibrate.py."""
    parser = _Parser(
        prog="python3 -m evaluation.calibrate",
        description="Measures what lambdas of the search give on average.",
    )
    parser.add_argument(
        "photographs", nargs="+", metavar="GLOB", help="training photographs"
    )
    parser.add_argument(
        "--every", type=_positive_int, default=1, metavar="N", help="take one of N"
    )
    parser.add_argument(
        "--crop",
        type=_positive_int,
        default=256,
        metavar="PX",
        help="side of the square in the middle of each that is taken",
    )
    parser.add_argument(
        "--tunes",
        nargs="+",
        choices=TUNES[1:],
        default=list(TUNES[1:]),
        help="what the search minimises",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="learned_jpeg/search/calibration.json",
        help="table to write, or to add to",
    )
    return parser.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    """A parser whose help shows the defaults, and whose flags are not abbreviated."""

    def __init__(self, **options):
        options.setdefault("formatter_class", _HelpFormatter)
        super().__init__(allow_abbrev=False, **options)


class _HelpFormatter(argparse.HelpFormatter):
    """Adds the default to the help of each flag that has one."""

    def _get_help_string(self, action):
        # By identity: 0 is a default to show, and equal to False.
        without = (None, False, argparse.SUPPRESS)
        is_empty = action.default == []
        if not action.help or is_empty or any(action.default is v for v in without):
            return action.help
        return action.help + " (default: %(default)s)"


def _add_train(commands, traits):
    """Adds `train` with the flags that a model of these traits has."""
    parser = commands.add_parser("train", help="train, or go on with a training")
    _add_data(parser)
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--lambda",
        metavar="X",
        type=_non_negative,
        default=0.01,
        dest="lmbda",
        help="weight of the distortion against the rate",
    )
    _add_train_subsampling(parser, traits)
    _add_optimization(parser)
    if traits.rate_models:
        _add_ljpeg_loss(parser, traits.rate_models)
        _add_tables(parser)
    entropy = parser.add_argument_group("entropy model")
    entropy.add_argument(
        "--rate_lr",
        metavar="X",
        type=_positive,
        help="learning rate of the entropy model (default: 10 times --lr)",
    )
    if traits.has_trunk:
        _add_trunk(parser)
    machine = parser.add_argument_group("machine")
    _add_device(machine)
    _add_precision(machine)


def _add_data(train):
    group = train.add_argument_group("data")
    group.add_argument(
        "--train_glob",
        default="images/*.png",
        metavar="GLOB",
        help="training images: a file, a folder or a quoted glob",
    )
    group.add_argument(
        "--batchsize",
        metavar="N",
        type=_positive_int,
        default=8,
        help="number of crops in a step",
    )
    group.add_argument(
        "--patchsize",
        metavar="PX",
        type=_patch_size,
        default=256,
        help="side of the crops in pixels",
    )
    group.add_argument(
        "--preprocess_threads",
        metavar="N",
        type=_positive_int,
        default=16,
        help="number of threads that decode training images (does not affect the "
        "results)",
    )


def _add_train_subsampling(train, traits):
    group = train.add_argument_group("files that it is trained for")
    default = "4:4:4, as in the publications"
    if "search" in traits.rate_models:
        default += "; 4:2:0 with --rate_model search"
    group.add_argument(
        "--subsampling",
        choices=SUBSAMPLINGS,
        help=f"chroma subsampling (default: {default})",
    )


def _add_optimization(train):
    group = train.add_argument_group("optimization")
    group.add_argument(
        "--last_step",
        metavar="N",
        type=_positive_int,
        default=1000000,
        help="step at which the training ends",
    )
    group.add_argument(
        "--lr", metavar="X", type=_positive, default=1e-4, help="learning rate of Adam"
    )
    group.add_argument(
        "--lr_decay",
        metavar="X",
        type=_positive,
        default=1.0,
        help="factor on the learning rate every 10000 steps",
    )
    group.add_argument(
        "--lr_schedule",
        choices=LR_SCHEDULES,
        default="steps",
        help="steps: change the learning rate by --lr_decay; cosine: lower it from "
        "--lr to 0 at --last_step",
    )
    group.add_argument(
        "--seed",
        metavar="N",
        type=_non_negative_int,
        default=0,
        help="random seed of weights, crops and noise",
    )


def _add_ljpeg_loss(train, rate_models):
    group = train.add_argument_group("loss of the ljpeg models")
    group.add_argument(
        "--rate_model",
        # `rdoq` is the old word.
        type=lambda word: "search" if word == "rdoq" else word,
        choices=rate_models,
        default=rate_models[0],
        help="; ".join(f"{name}: {_RATE_MODEL_HELP[name]}" for name in rate_models),
    )
    group.add_argument(
        "--lpips_weight",
        metavar="X",
        type=_non_negative,
        default=0.0,
        help="weight of LPIPS in the distortion, in addition to the MSE (0..255 scale)",
    )
    group.add_argument(
        "--msssim_weight",
        metavar="X",
        type=_non_negative,
        default=0.0,
        help="weight of 1 - MS-SSIM in the distortion, in addition to the MSE; needs "
        "crops of at least 161 pixels",
    )
    group.add_argument(
        "--ssimulacra2_weight",
        metavar="X",
        type=_non_negative,
        default=0.0,
        help="weight of the points of SSIMULACRA2 below 100 in the distortion, in "
        "addition to the MSE; an approximation with further terms at fine scales",
    )
    group.add_argument(
        "--total_weight_regularizer",
        metavar="X",
        type=_non_negative,
        default=0.0,
        help="weight of the sum of 1/q over the table entries q, the rate of the proxy "
        "loss",
    )
    group.add_argument(
        "--rounding",
        choices=ROUNDINGS,
        help="gradient through rounding with --rate_model proxy. straight_through: "
        "unchanged for the DC steps and the attention (default); polynomial: that of "
        "the publication, which is mostly noise there",
    )


_RATE_MODEL_HELP = {
    "proxy": "the loss of the publication, whose rate is the mean attention and the "
    "regularizer",
    "entropy": "bits per pixel as estimated by an entropy model that is trained along",
    "search": "bits per pixel that the search finds in place of rounding, for files of "
    "--quantization search",
}


def _add_tables(train):
    group = train.add_argument_group("tables")
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--tables_from",
        metavar="DIR",
        help="checkpoint folder whose tables the training starts from",
    )
    start.add_argument(
        "--table_init",
        metavar="Q",
        type=_table_entry,
        help="start all table entries at this value, 1..255; high values settle many "
        "times faster (default: random in 1..2, as in the publication)",
    )
    group.add_argument(
        "--table_lr",
        metavar="X",
        type=_positive,
        help="learning rate of the tables; 1e-5 moves an entry by at most about 1 in a "
        "step (default: --lr)",
    )


def _add_trunk(train):
    group = train.add_argument_group("attention network")
    group.add_argument(
        "--vgg",
        choices=TRUNKS,
        default="vgg16",
        help="trunk with ImageNet weights: vgg16 (in this repository) or vgg19 (which "
        "Keras downloads)",
    )
    group.add_argument(
        "--freeze_vgg",
        action="store_true",
        help="keep the trunk's weights; faster, and checkpoints leave them out",
    )
    group.add_argument(
        "--feature_cache",
        metavar="DIR",
        help="compute the trunk's features of each training image once, and keep them "
        "in this folder: many times faster, about 4 MB for an image of 512x512 pixels "
        "and its mirror image, at most 8 GB; needs --freeze_vgg",
    )


def _check_train(parser, args, traits):
    """Refuses flags of `train` without effect, and fills in the subsampling."""
    if args.lr_schedule == "cosine" and args.lr_decay != 1:
        parser.error("--lr_decay has no effect with --lr_schedule cosine")
    if traits.rate_models:
        _check_ljpeg_loss(parser, args)
    if traits.has_trunk and args.feature_cache:
        _check_feature_cache(parser, args)
    if args.subsampling is None:
        is_search = traits.rate_models and args.rate_model == "search"
        args.subsampling = SEARCH_SUBSAMPLING if is_search else FULL_CHROMA


def _check_ljpeg_loss(parser, args):
    if args.rate_lr and args.rate_model != "entropy":
        parser.error("--rate_lr has no effect without --rate_model entropy")
    if args.rate_model == "search" and args.lpips_weight:
        parser.error(
            "--rate_model search minimises MSE, MS-SSIM or SSIMULACRA2: leave out "
            "--lpips_weight"
        )
    if args.ssimulacra2_weight and args.msssim_weight:
        parser.error(
            "--ssimulacra2_weight: the search minimises one metric in addition to the "
            "MSE; leave out --msssim_weight"
        )
    if args.rate_model == "proxy":
        args.rounding = args.rounding or ROUNDINGS[0]
    elif args.rounding:
        parser.error("--rounding has no effect without --rate_model proxy")


def _check_feature_cache(parser, args):
    if not args.freeze_vgg:
        parser.error(
            "--feature_cache: features of a trained trunk change; pass --freeze_vgg, "
            "or leave it out"
        )
    if args.patchsize % 8:
        parser.error(
            "--feature_cache: crops lie on the grid of blocks; choose a --patchsize "
            "that is a multiple of 8"
        )


def _checked(parser, args):
    """Refuses flags that contradict each other; returns the others."""
    if "quantization" in args:
        _check_compress(parser, args)
    if "files_from" in args:
        _check_many(parser, args)
    return args


def _add_compress(commands, quality=None, needs_model=True):
    """Adds `compress`.

    Args:
      commands: where to.
      quality: the default of a script whose tables have one.
      needs_model: whether the script does nothing without a checkpoint.
    """
    parser = commands.add_parser("compress", help="compress images to .jpg files")
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="images, folders or quoted globs"
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="folder of the results, or a .jpg file for one input (default: beside "
        "each input)",
    )
    files.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="folders stand for their subfolders, too, whose tree is kept in OUT",
    )
    existing = files.add_mutually_exclusive_group()
    existing.add_argument(
        "-f", "--force", action="store_true", help="overwrite existing results"
    )
    existing.add_argument(
        "--skip_existing",
        action="store_true",
        help="leave out inputs whose results exist, as after a call that was ended",
    )
    files.add_argument(
        "--keep_smaller",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take the bytes of a JPEG input where the result would be larger",
    )
    files.add_argument(
        "--json",
        metavar="FILE",
        help="add a JSON line an input: path, status, output, bytes_in, bytes_out, "
        "bpp, setting, seconds, error",
    )
    _add_many(files)
    files.add_argument(
        "--strip_metadata",
        action="store_true",
        help="leave out the input's ICC profile, EXIF, XMP, IPTC, comments and density",
    )
    files.add_argument(
        "--lenient",
        action="store_true",
        help="take what there is of JPEG inputs with damaged pixels",
    )
    files.add_argument(
        "--max_megapixels",
        type=_positive,
        metavar="N",
        default=MAX_MEGAPIXELS,
        help="refuse larger inputs; a megapixel takes tens of megabytes",
    )
    rate = parser.add_argument_group("rate")
    _add_entropy_coding(rate, "optimized")
    _add_quantization(rate, refine=quality is None)
    setting = rate.add_mutually_exclusive_group()
    if quality:
        _add_quality(setting, quality)
    if not needs_model:
        parser.epilog = (
            "Without --checkpoint_dir, which stands before the command, no model is "
            "needed: the search alone, --quantization rdoq, makes files that look like "
            "JPEG of --quality (default: 75)."
        )
        _add_quality(setting, None, "as in JPEG, for files that look alike, 1..100")
        parser.set_defaults(quantization=None, tune=None)
    _add_targets(setting)
    other = parser.add_argument_group("other")
    other.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="measure each file: bytes, bpp, MSE, PSNR, MS-SSIM, LPIPS, SSIMULACRA2; "
        "and the means",
    )
    _add_device(other)
    _add_workers(other)
    return parser


def _check_model(parser, args):
    """Fills in what depends on whether `compress` of ljpeg.py gets a checkpoint."""
    if args.checkpoint_dir is not None:
        if args.quality is not None:
            parser.error(
                "--quality: the checkpoint has one of its own; leave out --quality or "
                "--checkpoint_dir, or name a --target_... of --quantization rdoq"
            )
        args.quantization = args.quantization or "round"
        args.tune = args.tune or "model"
        return
    if args.quantization == "round" or args.tune == "model":
        parser.error(
            "compress without --checkpoint_dir has no model, it searches: leave out "
            "--quantization round and --tune model, or take ljpeg_PIL.py"
        )
    args.quantization = "rdoq"
    args.quality = args.quality or 75


def _add_targets(group):
    """Adds the flags of which each image's file comes close to one."""
    for name, kind, metavar, text in (
        ("bpp", _positive, "BPP", "from below, in bits per pixel"),
        ("bytes", _num_bytes, "N", "from below, such as 200k or 1.5M"),
        ("psnr", _positive, "DB", "from above, in dB"),
        ("ms_ssim", _fraction, "X", "from above, 0..1"),
        ("ssimulacra2", _score, "X", "from above, at most 100"),
    ):
        group.add_argument(
            f"--target_{name}", type=kind, metavar=metavar, help=f"come close, {text}"
        )


def _add_export(commands):
    parser = commands.add_parser("export", help="write the quantization tables as text")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="file to write (default: standard output)",
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="overwrite an existing file"
    )
    parser.add_argument(
        "--format",
        choices=("cjpeg", "json"),
        default="cjpeg",
        help="for `cjpeg -qtables FILE -sample 1x1`, or JSON",
    )
    return parser


def _add_quality(parser, default, what="of the tables, 1..100"):
    parser.add_argument(
        "--quality",
        metavar="N",
        type=_quality,
        default=default,
        help=what,
    )


def _add_entropy_coding(group, default):
    group.add_argument(
        "--entropy_coding",
        choices=ENTROPY_CODINGS,
        default=default,
        help="default: the standard Huffman tables; optimized: the same pixels in "
        "fewer bytes; trellis: mozjpeg's trellis quantization, the same tables",
    )


def _add_quantization(group, refine=True):
    group.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        default="round",
        help="round: to the nearest; rdoq: a search over integers and tables that "
        "trade their error against the bits of the entropy coding, far fewer bytes",
    )
    group.add_argument(
        "--tune",
        choices=TUNES,
        default="model",
        help="what rdoq minimises beside the bits: the loss that the model was trained "
        "for, or another; mixed: MSE + 5000 (1 - MS-SSIM); ssimulacra2: that, with "
        "terms at fine scales that keep other metrics good",
    )
    group.add_argument(
        "--subsampling",
        choices=SUBSAMPLINGS,
        help="of chroma (default: that of the model's training, 4:4:4 without one; "
        "with rdoq 4:2:0, unless that was part of the training)",
    )
    if refine:
        group.add_argument(
            "--refine_steps",
            type=_non_negative_int,
            default=0,
            metavar="N",
            help="gradient steps on each picture's coefficients, on the model's own "
            "loss, before they are rounded; needs --rate_model entropy; 30 are plenty, "
            "and take seconds a picture",
        )


def _check_compress(parser, args):
    """Refuses what has no effect."""
    refines = bool(getattr(args, "refine_steps", 0))
    searches = args.quantization != "round"
    # mozjpeg quantizes the picture anew.
    if args.entropy_coding == "trellis" and (searches or refines):
        parser.error(
            "--entropy_coding trellis quantizes the picture itself; leave out "
            "--quantization and --refine_steps, or take optimized"
        )
    if args.tune not in ("model", None) and not searches:
        parser.error(f"--tune {args.tune} has no effect without --quantization rdoq")
    if refines and searches:
        parser.error(
            "--refine_steps: refined coefficients are rounded, a search would undo it; "
            "leave out --quantization"
        )
    if refines and args.subsampling not in (None, "4:4:4"):
        parser.error("--refine_steps: full chroma alone; leave out --subsampling")


def _add_bpp_range(group):
    group.add_argument(
        "--bpp_range",
        type=_positive,
        nargs=2,
        default=[0.2, 1.2],
        metavar=("LOW", "HIGH"),
        help="rates over which BD-rates are taken, bits per pixel",
    )


def _add_published(group):
    group.add_argument(
        "--published",
        nargs="+",
        default=[],
        metavar="FILE",
        help="curves of other codecs on the same images, in CompressAI's JSON",
    )


def _add_report(group, default):
    group.add_argument(
        "--report",
        nargs="?",
        const="report.html",
        metavar="FILE",
        help="write a page with curves, gains and a viewer of the pictures (without a "
        f"name: {default})",
    )
    group.add_argument(
        "--self_contained",
        action="store_true",
        help="put the pictures of --report into the page itself",
    )


def _check_report(parser, args):
    if args.self_contained and not args.report:
        parser.error("--self_contained has no effect without --report")
    if args.report and not args.report.endswith(".html"):
        parser.error(f"--report {args.report}: name a file that ends with .html")


def _check_bpp_range(parser, args):
    if args.bpp_range[0] >= args.bpp_range[1]:
        parser.error("--bpp_range: LOW has to be below HIGH")


def _add_device(group):
    group.add_argument(
        "--device",
        type=_device,
        default="auto",
        help="auto, cpu, or gpu:N (N from 0)",
    )


def _add_precision(group):
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the convolutions (default: bfloat16 if the machine has units for it)",
    )


def _add_workers(group):
    group.add_argument(
        "--workers",
        metavar="N",
        type=_positive_int,
        help="threads; the results do not depend on it (default: the cores that the "
        "process may use)",
    )


def _add_many(group):
    group.add_argument(
        "--files_from",
        metavar="LIST",
        help="in place of INPUT: a file with a path a line, or - for standard input; "
        "their tree is kept in OUT",
    )
    _add_shard(group, "all are done")
    group.add_argument(
        "--missing",
        action="store_true",
        help="only print the paths that are in no manifest of OUT",
    )


def _check_many(parser, args):
    """Refuses what does not fit to lists and shards; fills in the task's own shard."""
    if bool(args.inputs) == bool(args.files_from):
        parser.error("name images: INPUT, or a list of them by --files_from")
    if not args.missing:
        args.shard = args.shard or _slurm_shard(parser)
    if not (args.shard or args.files_from or args.missing):
        return
    flags = [
        f"--{name}" for name in ("force", "json", "verbose") if getattr(args, name)
    ]
    if flags:
        parser.error(
            f"{flags[0]}: not for a share of many files; its manifest says what is "
            "done, and nothing that is there is replaced"
        )
    if not args.output or args.output.lower().endswith((".jpg", ".jpeg")):
        parser.error("--shard, --files_from: name the folder of the results by -o")


def _add_shard(group, without):
    group.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="do the share I, from 0, of N (default: that of the task of SLURM's "
        f"array); without, {without}",
    )


def _shard(text):
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or not int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not I/N with I from 0 to N - 1, such as 0/4"
        )
    return int(match[1]), int(match[2])


def _slurm_shard(parser):
    """(I, N) of the task of SLURM's array that this process is; None outside of one."""
    task, count = (
        os.environ.get(f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "COUNT")
    )
    if not task or not count:
        return None
    first = os.environ.get("SLURM_ARRAY_TASK_MIN", "0")
    last = os.environ.get("SLURM_ARRAY_TASK_MAX", task)
    if first != "0" or int(last) >= int(count):
        parser.error(
            f"the tasks {first} to {last} of this array are {count}: number them from "
            f"0, --array=0-{int(count) - 1}, or pass --shard I/N"
        )
    return int(task), int(count)


def _number(convert, accept, wish):
    def parse(text):
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not math.isfinite(value) or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wish}")
        return value

    return parse


def _device(text):
    if not re.fullmatch(r"auto|cpu|gpu:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu or gpu:N")
    return text


def _num_bytes(text):
    """Bytes of a number with k (1000) or M (a million) behind it, or neither."""
    factor = {"k": 1000, "M": 1_000_000}.get(text[-1:])
    try:
        value = float(text[:-1] if factor else text) * (factor or 1)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of bytes, such as 200000, 200k or 1.5M"
        )
    return int(value)


_positive = _number(float, lambda v: v > 0, "a number above 0")
_fraction = _number(float, lambda v: 0 < v < 1, "a number between 0 and 1")
_score = _number(float, lambda v: v < 100, "a number below 100")
_non_negative = _number(float, lambda v: v >= 0, "a number of at least 0")
_table_entry = _number(float, lambda v: 1 <= v <= 255, "a number in 1..255")
_positive_int = _number(int, lambda v: v > 0, "an integer above 0")
_non_negative_int = _number(
    int, lambda v: 0 <= v < 2**31, "an integer of at least 0 and below 2**31"
)
_patch_size = _number(int, lambda v: v >= 8, "an integer of at least 8")
_quality = _number(int, lambda v: 1 <= v <= 100, "an integer in 1..100")
