"""Every command line of the project.

Parsers return a namespace whose names are the flags', but for `--lambda` (`lmbda`).
Wrong flags end with two lines and exit status 2, see `learned_jpeg/commands/parser.py`.
"""

import argparse
import os

import learned_jpeg.common.process  # noqa: F401, before numpy is loaded
from learned_jpeg.commands import arguments
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.models import folders, recipes
from learned_jpeg.models.settings import (
    MAX_WEIGHT,
    ROUNDINGS,
    SEARCH_SUBSAMPLING,
    TRUNKS,
)
from learned_jpeg.search.distortion import DEFAULT_EFFORT, EFFORTS
from learned_jpeg.search.tunes import LAMBDAS, TUNE_NAMES

JPEG_TYPES = ("ljpeg", "ljpeg_attention")
LR_SCHEDULES = ("steps", "cosine")
DATASETS = (
    "kodak",
    "clic2020",
    "clic2020-test",
    "clic2022",
    "clic2024",
    "tecnick",
    "div2k",
    "jpeg-ai",
)
OTHER_ENCODERS = ("webp", "avif", "jpegli", "ours")
_CHECKPOINT_DIR = "train"


def parse_model(model_class, argv=None):
    """Parses the flags of a model script.

    Args:
      model_class: a class of the model scripts, see `learned_jpeg.models.contract`.
      argv: words of the command line; None for those of the process.
    """
    traits = model_class.TRAITS
    parser = arguments.Parser(description=traits.description)
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
    _add_compress(commands, traits)
    if traits.has_export:
        export = commands.add_parser(
            "export", help="write the quantization tables as text"
        )
        arguments.add_export(export, traits.default_quality)
    args = parser.parse_args(argv)
    if args.command == "train":
        args.checkpoint_dir = args.checkpoint_dir or _CHECKPOINT_DIR
        _finish_train(parser, args, traits)
    if args.command == "compress":
        _finish_compress(parser, args, traits)
    elif traits.is_trained:
        args.checkpoint_dir = args.checkpoint_dir or _CHECKPOINT_DIR
    return args


def _add_compress(commands, traits):
    parser = commands.add_parser("compress", help="compress images to .jpg files")
    if traits.searches_without_checkpoint:
        parser.epilog = (
            "Without --checkpoint_dir, which stands before the command, no model is "
            "needed: the command does what compress.py does."
        )
    arguments.add_compress(
        parser,
        quality=traits.default_quality,
        refines=not traits.takes_quality,
        searches=traits.searches_without_checkpoint,
        has_network=traits.has_network,
    )


def _finish_compress(parser, args, traits):
    has_model = not traits.searches_without_checkpoint or bool(args.checkpoint_dir)
    if has_model and args.quality is not None and not traits.takes_quality:
        parser.error(
            "--quality: the checkpoint has tables of its own; leave out --quality or "
            "--checkpoint_dir, or name a --target_... of --quantization search"
        )
    arguments.finish_compress(parser, args, has_model=has_model)


def parse_evaluate(argv=None):
    """Parses the flags of evaluate.py."""
    parser = arguments.Parser(
        description="Measures every checkpoint of a batch, JPEG and the Google "
        "baseline on test images, and plots rate-distortion curves.",
        epilog="Beside it: python3 -m report.compare (several evaluations in one "
        "table), report.crops (crops at equal size of the files), "
        "report.votes (votes of a report's blind test), "
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
        choices=TUNE_NAMES,
        help="measure the search for a metric as well, without a model, with all that "
        "makes files small: --quantization search --entropy_coding optimized",
    )
    what.add_argument(
        "--qualities",
        nargs="+",
        type=arguments.quality_number,
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
    arguments.add_encoding(
        how,
        refines=True,
        entropy_coding="standard",
        samplings=SUBSAMPLINGS,
        searched_sampling=SEARCH_SUBSAMPLING,
    )
    arguments.add_device(how)
    arguments.add_precision(how)
    arguments.add_workers(how)
    _add_bpp_range(how)
    arguments.add_shard(
        how, "evaluate.py gathers what the shards have measured, and plots"
    )
    how.add_argument(
        "--output_dir",
        type=arguments.written_path,
        metavar="DIR",
        help="folder of the figures, _output and _output_PIL (default: --batch_dir)",
    )
    _add_published(how)
    _add_report(how, f"{_REPORT} in --output_dir")
    args = parser.parse_args(argv)
    arguments.fill_in_encoding(parser, args, has_model=True, entropy_coding="standard")
    arguments.check_encoding(parser, args)
    args.shard = args.shard or arguments.slurm_shard(parser)
    if args.refine_steps and args.google_dir is not None:
        parser.error("--google_dir: the baseline cannot be refined; leave one out")
    _check_bpp_range(parser, args)
    args.output_dir = args.output_dir or args.batch_dir
    args.qualities = sorted(set(args.qualities or ()))
    _check_report(parser, args, os.path.join(args.output_dir, _REPORT))
    return args


def parse_import_pickles(argv=None):
    """Parses the flags of import_pickles.py."""
    parser = arguments.Parser(
        prog="python3 -m evaluation.import_pickles",
        description="Writes the records that pickles of an older program lack.",
    )
    parser.add_argument(
        "folder", metavar="DIR", help="folder of the pickles, such as DIR/_output_PIL"
    )
    parser.add_argument(
        "test_images",
        nargs="+",
        metavar="GLOB",
        help="the test images that they were measured on",
    )
    return parser.parse_args(argv)


def parse_rate_check(argv=None):
    """Parses the flags of rate_check.py."""
    parser = arguments.Parser(
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
        "-o",
        "--output",
        type=arguments.written_path,
        metavar="FILE",
        help="Markdown file to write the table to",
    )
    arguments.add_device(parser)
    arguments.add_precision(parser)
    return parser.parse_args(argv)


def parse_encoders(argv=None):
    """Parses the flags of encoders.py."""
    parser = arguments.Parser(
        prog="python3 -m evaluation.encoders",
        description="Measures other encoders on test images: WebP and AVIF by Pillow, "
        "jpegli (if pyjpegli is installed), and this package by its --quality.",
    )
    parser.add_argument(
        "folder",
        type=arguments.written_path,
        metavar="DIR",
        help="folder of the results; what is measured there already is kept",
    )
    parser.add_argument(
        "test_images", nargs="+", metavar="GLOB", help="the test images"
    )
    parser.add_argument(
        "--encoders",
        nargs="+",
        choices=OTHER_ENCODERS,
        help="which of them (default: all)",
    )
    parser.add_argument(
        "--qualities",
        nargs="+",
        type=arguments.quality_number,
        default=[],
        metavar="N",
        help="1..100, of each encoder (default: 10, for this package 5 of them)",
    )
    arguments.add_workers(parser)
    return parser.parse_args(argv)


def parse_dataset(argv=None):
    """Parses the flags of dataset.py."""
    parser = arguments.Parser(
        prog="python3 -m evaluation.dataset",
        description="Checks a folder against the list of a known test set.",
    )
    parser.add_argument(
        "name", choices=DATASETS, metavar="NAME", help=", ".join(DATASETS)
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the images")
    return parser.parse_args(argv)


def parse_score(argv=None):
    """Parses the flags of score.py."""
    parser = arguments.Parser(
        prog="python3 -m evaluation.score",
        description="Scores files of any codec against their originals.",
    )
    parser.add_argument(
        "files",
        metavar="FILES",
        help="a coded file (JPEG, WebP, AVIF, PNG), or a folder with them at any depth",
    )
    parser.add_argument(
        "originals",
        nargs="+",
        metavar="ORIGINALS",
        help="the originals: files, folders or quoted globs",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.written_path,
        metavar="FILE",
        help="numbers of each file (.csv), or the means of each folder (.json)",
    )
    parser.add_argument(
        "--name", default="scored", help="name of the curve in a .json file"
    )
    arguments.add_workers(parser)
    return parser.parse_args(argv)


def parse_publish(argv=None):
    """Parses the flags of publish.py."""
    parser = arguments.Parser(
        prog="python3 -m evaluation.publish",
        description="Writes curves of evaluate.py as CompressAI does, and their files.",
    )
    parser.add_argument(
        "folder", metavar="DIR", help="--output_dir of a call of evaluate.py"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.written_path,
        default="curves.json",
        metavar="FILE",
        help="the curves",
    )
    parser.add_argument(
        "--archive",
        type=arguments.written_path,
        metavar="FILE",
        help="tar file to write the coded files and their manifest into",
    )
    return parser.parse_args(argv)


def parse_compare(argv=None):
    """Parses the flags of compare.py."""
    parser = arguments.Parser(
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
        "-o",
        "--output",
        type=arguments.written_path,
        metavar="FILE",
        help="Markdown file to write the table to",
    )
    parser.add_argument(
        "--figure_dir",
        type=arguments.written_path,
        metavar="DIR",
        help="folder to draw the figures into",
    )
    _add_report(parser, _REPORT)
    parser.add_argument(
        "--test_image_glob",
        nargs="+",
        default=[],
        metavar="GLOB",
        help="originals for the viewer of --report",
    )
    args = parser.parse_args(argv)
    _check_bpp_range(parser, args)
    _check_report(parser, args, _REPORT)
    if args.test_image_glob and not args.report:
        parser.error("--test_image_glob has no effect without --report")
    return args


def parse_votes(argv=None):
    """Parses the flags of votes.py."""
    parser = arguments.Parser(
        prog="python3 -m report.votes",
        description="Merges the votes of a report's blind test into a table and a "
        "plot.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="votes that the page has exported"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.written_path,
        default="votes",
        metavar="STEM",
        help="write the table to STEM.md and the plot to STEM.png",
    )
    return parser.parse_args(argv)


def parse_numbers(argv=None):
    """Parses the flags of numbers.py."""
    parser = arguments.Parser(
        prog="python3 -m report.numbers",
        description="Writes the tables of the pages from the committed results.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing, and fail where a page differs from the results",
    )
    return parser.parse_args(argv)


def parse_attention(argv=None):
    """Parses the flags of attention.py."""
    parser = arguments.Parser(
        prog="python3 -m report.attention",
        description="Draws what attention keeps of an image, and what changes in the "
        "file.",
    )
    parser.add_argument(
        "checkpoint_dir",
        metavar="CHECKPOINT_DIR",
        help="checkpoint folder of ljpeg_attention.py, or the one that holds it",
    )
    parser.add_argument("image", metavar="IMAGE", help="the image")
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.written_path,
        default="attention.png",
        metavar="FILE",
        help="the figure",
    )
    arguments.add_device(parser)
    arguments.add_precision(parser)
    args = parser.parse_args(argv)
    if not args.output.endswith(".png"):
        parser.error(f"-o {args.output}: name a file that ends with .png")
    return args


def parse_crops(argv=None):
    """Parses the flags of crops.py."""
    parser = arguments.Parser(
        prog="python3 -m report.crops",
        description="Crops side by side: the original, JPEG, mozjpeg and models at "
        "equal bits per pixel.",
    )
    parser.add_argument(
        "crops", nargs="+", metavar="FILE:X,Y,SIDE", help="an image and a square of it"
    )
    for names, what in (
        (["--searched", "--rdoq"], "--quantization search"),
        (["--refined"], "30 refinement steps"),
    ):
        parser.add_argument(
            *names,
            nargs="+",
            default=[],
            metavar="RUN",
            help=f"folders with lambda_* folders, coded with {what}",
        )
    parser.add_argument(
        "--search",
        nargs="+",
        default=[],
        choices=TUNE_NAMES,
        help="the search without a model, for these",
    )
    parser.add_argument(
        "--target_bpp",
        type=arguments.positive,
        default=0.5,
        metavar="BPP",
        help="bits per pixel that the files come close to",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.written_path,
        default="crops.png",
        metavar="FILE",
        help="the figure",
    )
    arguments.add_device(parser)
    arguments.add_precision(parser)
    args = parser.parse_args(argv)
    if not args.searched and not args.refined and not args.search:
        parser.error("name the folder of a run, --searched or --refined, or --search")
    return args


def parse_loss_curves(argv=None):
    """Parses the flags of loss_curves.py."""
    parser = arguments.Parser(
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
    parser = arguments.Parser(
        prog="python3 -m evaluation.calibrate",
        description="Measures what lambdas of the search give on average.",
    )
    parser.add_argument(
        "photographs", nargs="+", metavar="GLOB", help="training photographs"
    )
    parser.add_argument(
        "--every",
        type=arguments.positive_int,
        default=1,
        metavar="N",
        help="take one of N",
    )
    parser.add_argument(
        "--crop",
        type=arguments.positive_int,
        default=256,
        metavar="PX",
        help="side of the square in the middle of each that is taken",
    )
    parser.add_argument(
        "--tunes",
        nargs="+",
        choices=TUNE_NAMES,
        default=list(TUNE_NAMES),
        help="what the search minimises",
    )
    parser.add_argument(
        "--efforts",
        nargs="+",
        type=int,
        choices=EFFORTS,
        default=[DEFAULT_EFFORT],
        help="of the search",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.written_path,
        metavar="FILE",
        default="learned_jpeg/search/calibration.json",
        help="table to write, or to add to",
    )
    return parser.parse_args(argv)


def _add_train(commands, traits):
    """Adds `train` with the flags that a model of these traits has."""
    parser = commands.add_parser("train", help="train, or go on with a training")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the training in --checkpoint_dir; flags that are not given "
        "are read from its settings.json",
    )
    _add_data(parser, traits)
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--lambda",
        metavar="X",
        type=_weight,
        dest="lmbda",
        help="weight of the distortion against the rate" + _default(traits, "lmbda"),
    )
    group = parser.add_argument_group("files that it is trained for")
    group.add_argument(
        "--subsampling",
        choices=SUBSAMPLINGS,
        help="chroma subsampling" + _default(traits, "subsampling"),
    )
    _add_optimization(parser, traits)
    if traits.rate_models:
        _add_ljpeg_loss(parser, traits)
        _add_tables(parser, traits)
    entropy = parser.add_argument_group("entropy model")
    entropy.add_argument(
        "--rate_lr",
        metavar="X",
        type=arguments.positive,
        help="learning rate of the entropy model" + _default(traits, "rate_lr"),
    )
    if traits.has_trunk:
        _add_trunk(parser, traits)
    machine = parser.add_argument_group("machine")
    arguments.add_device(machine)
    arguments.add_precision(machine)


def _default(traits, key):
    """Returns the default of a flag of `train` for its help, by rate model."""
    values = {}
    for rate_model in traits.rate_models or (None,):
        value = recipes.RECIPES[rate_model].get(key)
        if value is not None:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            values.setdefault(text, []).append(rate_model)
    if len(values) == 1:
        return f" (default: {next(iter(values))})"
    texts = [f"{text} with {' or '.join(own)}" for text, own in values.items()]
    return f" (default: {'; '.join(texts)})"


def _add_data(train, traits):
    group = train.add_argument_group("data")
    group.add_argument(
        "--train_glob",
        metavar="GLOB",
        help="training images: a file, a folder or a quoted glob"
        + _default(traits, "train_glob"),
    )
    group.add_argument(
        "--batchsize",
        metavar="N",
        type=arguments.positive_int,
        help="number of crops in a step" + _default(traits, "batchsize"),
    )
    group.add_argument(
        "--patchsize",
        metavar="PX",
        type=_patch_size,
        help="side of the crops in pixels" + _default(traits, "patchsize"),
    )
    group.add_argument(
        "--preprocess_threads",
        metavar="N",
        type=arguments.positive_int,
        default=16,
        help="number of threads that decode training images (does not affect the "
        "results)",
    )


def _add_optimization(train, traits):
    group = train.add_argument_group("optimization")
    group.add_argument(
        "--last_step",
        metavar="N",
        type=arguments.positive_int,
        help="step at which the training ends" + _default(traits, "last_step"),
    )
    group.add_argument(
        "--lr",
        metavar="X",
        type=arguments.positive,
        help="learning rate of Adam" + _default(traits, "lr"),
    )
    group.add_argument(
        "--lr_decay",
        metavar="X",
        type=arguments.positive,
        help="factor on the learning rate every 10000 steps (default: 1)",
    )
    group.add_argument(
        "--lr_schedule",
        choices=LR_SCHEDULES,
        help="steps: change the learning rate by --lr_decay; cosine: lower it from "
        "--lr to 0 at --last_step" + _default(traits, "lr_schedule"),
    )
    group.add_argument(
        "--seed",
        metavar="N",
        type=arguments.non_negative_int,
        help="random seed of weights, crops and noise (default: 0)",
    )


def _add_ljpeg_loss(train, traits):
    rate_models = traits.rate_models
    group = train.add_argument_group("loss of the ljpeg models")
    group.add_argument(
        "--rate_model",
        # `rdoq` is the old word.
        type=lambda word: "search" if word == "rdoq" else word,
        choices=rate_models,
        help="; ".join(f"{name}: {_RATE_MODEL_HELP[name]}" for name in rate_models)
        + f" (default: {rate_models[0]})",
    )
    group.add_argument(
        "--lpips_weight",
        metavar="X",
        type=_weight,
        help="weight of LPIPS in the distortion, in addition to the MSE (0..255 scale; "
        "default: 0)",
    )
    group.add_argument(
        "--msssim_weight",
        metavar="X",
        type=_weight,
        help="weight of 1 - MS-SSIM in the distortion, in addition to the MSE; needs "
        "crops of at least 161 pixels (default: 0)",
    )
    group.add_argument(
        "--ssimulacra2_weight",
        metavar="X",
        type=_weight,
        help="weight of the points of SSIMULACRA2 below 100 in the distortion, in "
        "addition to the MSE; an approximation with further terms at fine scales"
        + _default(traits, "ssimulacra2_weight")
        + "; 0 beside --lpips_weight or --msssim_weight",
    )
    group.add_argument(
        "--total_weight_regularizer",
        metavar="X",
        type=_weight,
        help="weight of the sum of 1/q over the table entries q, the rate of the proxy "
        "loss" + _default(traits, "total_weight_regularizer"),
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


def _add_tables(train, traits):
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
        "times faster"
        + _default(traits, "table_init")
        + "; with proxy random in 1..2, as in the publication",
    )
    group.add_argument(
        "--table_lr",
        metavar="X",
        type=arguments.positive,
        help="learning rate of the tables; 1e-5 moves an entry by at most about 1 in a "
        "step"
        + _default(traits, "table_lr")
        + "; 2e-6 with --tables_from; with proxy --lr",
    )


def _add_trunk(train, traits):
    group = train.add_argument_group("attention network")
    group.add_argument(
        "--vgg",
        choices=TRUNKS,
        help="trunk with ImageNet weights: vgg16 (in this repository) or vgg19 (which "
        "Keras downloads; default: vgg16)",
    )
    group.add_argument(
        "--freeze_vgg",
        action=argparse.BooleanOptionalAction,
        help="keep the trunk's weights; faster, and checkpoints leave them out"
        + _default(traits, "freeze_vgg"),
    )
    group.add_argument(
        "--feature_cache",
        metavar="DIR",
        help="compute the trunk's features of each training image once, and keep them "
        "in this folder: many times faster, about 4 MB for an image of 512x512 pixels "
        "and its mirror image, at most 8 GB; needs --freeze_vgg",
    )


def _finish_train(parser, args, traits):
    """Fills in the flags of `train` that are not given, and refuses those in vain."""
    if args.resume:
        _fill_in(args, _recorded(parser, args))
    has_rate_model = bool(traits.rate_models)
    if has_rate_model:
        args.rate_model = args.rate_model or traits.rate_models[0]
    rate_model = args.rate_model if has_rate_model else None
    if not args.resume:
        _fill_in(args, recipes.defaults(rate_model, vars(args)))
    del args.resume
    if args.lr_schedule == "cosine" and args.lr_decay != 1:
        parser.error("--lr_decay has no effect with --lr_schedule cosine")
    if has_rate_model:
        _check_ljpeg_loss(parser, args)
    if traits.has_trunk and args.feature_cache:
        _check_feature_cache(parser, args)


def _fill_in(args, values):
    """Sets the flags that are None and that a model has."""
    for key, value in values.items():
        if getattr(args, key, value) is None:
            setattr(args, key, value)


def _recorded(parser, args):
    """Returns the flags that settings.json keeps of the training to go on with."""
    path = os.path.join(args.checkpoint_dir, folders.SETTINGS_FILE)
    if not os.path.exists(path):
        parser.error(
            f"--resume: {path} is not there; leave it out to start a training, or "
            "name the folder of another one by --checkpoint_dir"
        )
    return folders.load_record(args.checkpoint_dir)


def _check_ljpeg_loss(parser, args):
    if args.rate_lr and args.rate_model != "entropy":
        parser.error("--rate_lr has no effect without --rate_model entropy")
    if args.rate_model == "search" and args.lmbda < LAMBDAS[0]:
        parser.error(
            f"--lambda {args.lmbda:g}: --rate_model search weighs bits by it; name a "
            f"number of at least {LAMBDAS[0]:g}"
        )
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


def _add_bpp_range(group):
    group.add_argument(
        "--bpp_range",
        type=arguments.positive,
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


_REPORT = "report.html"


def _add_report(group, default):
    group.add_argument(
        "--report",
        nargs="?",
        const=True,
        metavar="FILE",
        help="write a page with curves, gains and a viewer of the pictures (without a "
        f"name: {default})",
    )
    group.add_argument(
        "--self_contained",
        action="store_true",
        help="put the pictures of --report into the page itself",
    )


def _check_report(parser, args, default):
    """Fills in the path of a report without a name, and refuses what is none."""
    if args.report is True:  # without a name
        args.report = default
    if args.self_contained and not args.report:
        parser.error("--self_contained has no effect without --report")
    if args.report and not args.report.endswith(".html"):
        parser.error(f"--report {args.report}: name a file that ends with .html")


def _check_bpp_range(parser, args):
    if args.bpp_range[0] >= args.bpp_range[1]:
        parser.error("--bpp_range: LOW has to be below HIGH")


_weight = arguments.number_in(0, MAX_WEIGHT)
_table_entry = arguments.number_in(1, 255)
_patch_size = arguments.number(int, lambda v: v >= 8, "an integer of at least 8")
