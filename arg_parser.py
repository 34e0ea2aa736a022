"""Every command line of the project.

Parsers return a namespace whose names are the flags', but for `--lambda` (`lmbda`).
Wrong flags end with usage, one line and exit status 2.
"""

import argparse

import learned_jpeg.common.process  # noqa: F401, before numpy is loaded
from learned_jpeg.commands import arguments
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.search.tunes import TUNE_NAMES
from weights import VGG_BLOCKS

JPEG_TYPES = ("ljpeg", "ljpeg_attention")
RATE_MODELS = ("proxy", "entropy")
ROUNDINGS = ("straight_through", "polynomial")  # gradients of the proxy's loss
LR_SCHEDULES = ("steps", "cosine")
_CHECKPOINT_DIR = "train"


def parse_ljpeg(argv=None):
    """Parses the flags of ljpeg.py."""
    parser, commands = _script_parser("learned quantization tables for JPEG")
    parser.set_defaults(checkpoint_dir=None)
    train = _add_train(commands)
    _add_ljpeg_loss(train, (*RATE_MODELS, "rdoq"))
    _add_machine(train)
    _add_compress(commands, searches=True)
    _add_export(commands)
    args = parser.parse_args(argv)
    has_model = args.checkpoint_dir is not None
    if args.command != "compress" and not has_model:
        args.checkpoint_dir = _CHECKPOINT_DIR
    if args.command == "compress" and has_model and args.quality is not None:
        parser.error(
            "--quality: the checkpoint has tables of its own; leave out --quality or "
            "--checkpoint_dir, or name a --target_... of --quantization search"
        )
    return _checked(parser, args, has_model)


def parse_ljpeg_attention(argv=None):
    """Parses the flags of ljpeg_attention.py."""
    parser, commands = _script_parser("learned tables and VGG attention for JPEG")
    train = _add_train(commands)
    _add_ljpeg_loss(train, RATE_MODELS)
    _add_trunk(train)
    _add_machine(train)
    _add_compress(commands, has_network=True)
    _add_export(commands)
    return _checked(parser, parser.parse_args(argv))


def parse_ljpeg_pil(argv=None):
    """Parses the flags of ljpeg_PIL.py."""
    parser = arguments.Parser(description="the pipeline with the standard (IJG) tables")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compress(commands, quality=75)
    _add_export(commands, quality=75)
    args = _checked(parser, parser.parse_args(argv))
    return argparse.Namespace(checkpoint_dir=None, **vars(args))


def parse_google_baseline(argv=None):
    """Parses the flags of google_baseline.py."""
    parser, commands = _script_parser("a learned filter before standard JPEG")
    train = _add_train(commands)
    _add_rate_lr(train)
    _add_machine(train)
    _add_compress(commands, quality=25, has_network=True)
    return _checked(parser, parser.parse_args(argv))


def parse_evaluate(argv=None):
    """Parses the flags of evaluate.py."""
    parser = arguments.Parser(
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
        choices=TUNE_NAMES,
        help="measure the search for a metric as well, without a model, with all that "
        "makes files small: --quantization rdoq --entropy_coding optimized",
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
    arguments.add_encoding(how, refines=True, entropy_coding="standard")
    arguments.add_device(how)
    arguments.add_precision(how)
    arguments.add_workers(how)
    _add_bpp_range(how)
    arguments.add_shard(
        how, "evaluate.py gathers what the shards have measured, and plots"
    )
    how.add_argument(
        "--output_dir",
        metavar="DIR",
        help="folder of the figures, _output and _output_PIL (default: --batch_dir)",
    )
    _add_published(how)
    _add_report(how, "report.html; in --output_dir")
    args = parser.parse_args(argv)
    arguments.fill_in_encoding(parser, args, has_model=True, entropy_coding="standard")
    arguments.check_encoding(parser, args)
    args.shard = args.shard or arguments.slurm_shard(parser)
    if args.refine_steps and args.google_dir is not None:
        parser.error("--google_dir: the baseline cannot be refined; leave one out")
    _check_bpp_range(parser, args)
    args.output_dir = args.output_dir or args.batch_dir
    args.qualities = sorted(set(args.qualities or ()))
    _check_report(parser, args)
    return args


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
        "-o", "--output", metavar="FILE", help="Markdown file to write the table to"
    )
    arguments.add_device(parser)
    arguments.add_precision(parser)
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
    parser = arguments.Parser(
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
        "-o", "--output", default="crops.png", metavar="FILE", help="the figure"
    )
    arguments.add_device(parser)
    arguments.add_precision(parser)
    args = parser.parse_args(argv)
    if not args.rdoq and not args.refined and not args.search:
        parser.error("name the folder of a run, --rdoq or --refined, or --search")
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
        "-o",
        "--output",
        metavar="FILE",
        default="learned_jpeg/search/calibration.json",
        help="table to write, or to add to",
    )
    return parser.parse_args(argv)


def _script_parser(description):
    parser = arguments.Parser(description=description)
    parser.add_argument(
        "--checkpoint_dir",
        default=_CHECKPOINT_DIR,
        metavar="DIR",
        help="folder of the checkpoints, of their settings and of TensorBoard's events",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    return parser, commands


def _add_train(commands):
    parser = commands.add_parser("train", help="train, or go on with a training")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--train_glob", default="images/*.png", metavar="GLOB", help="training images"
    )
    data.add_argument(
        "--batchsize",
        metavar="N",
        type=arguments.positive_int,
        default=8,
        help="crops in a step",
    )
    data.add_argument(
        "--patchsize",
        metavar="PX",
        type=_patch_size,
        default=256,
        help="side of the crops, in px",
    )
    data.add_argument(
        "--preprocess_threads",
        metavar="N",
        type=arguments.positive_int,
        default=16,
        help="threads that decode training images",
    )
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--lambda",
        metavar="X",
        type=arguments.non_negative,
        default=0.01,
        dest="lmbda",
        help="weight of the distortion against the rate",
    )
    files = parser.add_argument_group("files that it is trained for")
    files.add_argument(
        "--subsampling",
        choices=SUBSAMPLINGS,
        help="of chroma (default: 4:4:4, as in the publications; 4:2:0 with "
        "--rate_model rdoq)",
    )
    steps = parser.add_argument_group("optimization")
    steps.add_argument(
        "--last_step",
        metavar="N",
        type=arguments.positive_int,
        default=1000000,
        help="train up to this step",
    )
    steps.add_argument(
        "--lr",
        metavar="X",
        type=arguments.positive,
        default=1e-4,
        help="learning rate of Adam",
    )
    steps.add_argument(
        "--lr_decay",
        metavar="X",
        type=arguments.positive,
        default=1.0,
        help="factor on the learning rate every 10000 steps",
    )
    steps.add_argument(
        "--lr_schedule",
        choices=LR_SCHEDULES,
        default="steps",
        help="steps: by --lr_decay; cosine: from --lr to 0 at --last_step",
    )
    steps.add_argument(
        "--seed",
        metavar="N",
        type=arguments.non_negative_int,
        default=0,
        help="of weights, crops and noise",
    )
    return parser


def _add_machine(train):
    group = train.add_argument_group("machine")
    arguments.add_device(group)
    arguments.add_precision(group)


def _add_ljpeg_loss(train, rate_models):
    group = train.add_argument_group("loss of the ljpeg models")
    group.add_argument(
        "--rate_model",
        choices=rate_models,
        default="proxy",
        help="proxy: the thesis' loss, whose rate is the mean attention and the "
        "regularizer; entropy: estimated bits per pixel, of an entropy model that is "
        "trained along; rdoq (ljpeg.py): tables for files of --quantization rdoq, "
        "which stands in place of rounding",
    )
    group.add_argument(
        "--lpips_weight",
        metavar="X",
        type=arguments.non_negative,
        default=0.0,
        help="weight of LPIPS beside the MSE (0..255 scale) in the distortion",
    )
    group.add_argument(
        "--msssim_weight",
        metavar="X",
        type=arguments.non_negative,
        default=0.0,
        help="weight of 1 - MS-SSIM beside the MSE; needs crops of at least 161 px",
    )
    group.add_argument(
        "--ssimulacra2_weight",
        metavar="X",
        type=arguments.non_negative,
        default=0.0,
        help="weight of the points that SSIMULACRA2 is below 100, near enough, with "
        "terms at fine scales, beside the MSE",
    )
    group.add_argument(
        "--total_weight_regularizer",
        metavar="X",
        type=arguments.non_negative,
        default=0.0,
        help="weight of sum(1/q) over the entries of the tables: the rate of this loss",
    )
    group.add_argument(
        "--rounding",
        choices=ROUNDINGS,
        help="gradient of the proxy's loss through rounding: that of the thesis, a "
        "polynomial, or (the default) straight through for DC and the attention, where "
        "the polynomial's is noise",
    )
    tables = train.add_argument_group("tables")
    start = tables.add_mutually_exclusive_group()
    start.add_argument(
        "--tables_from",
        metavar="DIR",
        help="checkpoint folder whose tables these start from",
    )
    start.add_argument(
        "--table_init",
        metavar="Q",
        type=_table_entry,
        help="entry of the tables that all start from, 1..255; higher ones settle "
        "many times faster (default: random in 1..2, as in the thesis)",
    )
    tables.add_argument(
        "--table_lr",
        metavar="X",
        type=arguments.positive,
        help="learning rate of the tables, 1e-5 moves an entry by at most about 1 a "
        "step (default: --lr)",
    )
    _add_rate_lr(train)


def _add_rate_lr(train):
    group = train.add_argument_group("entropy model")
    group.add_argument(
        "--rate_lr",
        metavar="X",
        type=arguments.positive,
        help="learning rate of the entropy model (default: 10 times --lr)",
    )


def _checked(parser, args, has_model=True):
    """Refuses flags that contradict each other; returns the others."""
    if getattr(args, "lr_schedule", None) == "cosine" and args.lr_decay != 1:
        parser.error("--lr_decay has no effect with --lr_schedule cosine")
    if getattr(args, "command", None) == "train":
        _check_train(parser, args)
    if getattr(args, "command", None) == "compress":
        arguments.finish_compress(parser, args, has_model=has_model)
    return args


def _check_train(parser, args):
    """Refuses what has no effect, and fills in the subsampling."""
    rate_model = getattr(args, "rate_model", "entropy")
    if args.rate_lr and rate_model != "entropy":
        parser.error("--rate_lr has no effect without --rate_model entropy")
    if rate_model == "rdoq" and args.lpips_weight:
        parser.error(
            "--rate_model rdoq searches for the least MSE, MS-SSIM or SSIMULACRA2: "
            "leave out --lpips_weight"
        )
    if getattr(args, "ssimulacra2_weight", 0) and args.msssim_weight:
        parser.error(
            "--ssimulacra2_weight: a search of the model minimises one metric beside "
            "the MSE; leave out --msssim_weight"
        )
    if getattr(args, "feature_cache", None):
        if not args.freeze_vgg:
            parser.error(
                "--feature_cache: features of a trained trunk change; pass "
                "--freeze_vgg, or leave it out"
            )
        if args.patchsize % 8:
            parser.error(
                "--feature_cache: crops lie on the grid of blocks; choose a "
                "--patchsize that is a multiple of 8"
            )
    if getattr(args, "rounding", None) and rate_model != "proxy":
        parser.error("--rounding has no effect without --rate_model proxy")
    if rate_model == "proxy":
        args.rounding = args.rounding or ROUNDINGS[0]
    if args.subsampling is None:
        args.subsampling = "4:2:0" if rate_model == "rdoq" else "4:4:4"


def _add_trunk(train):
    group = train.add_argument_group("attention network")
    group.add_argument(
        "--vgg",
        choices=tuple(VGG_BLOCKS),
        default="vgg16",
        help="trunk with ImageNet weights: vgg16 (in this repository), vgg19 (Keras')",
    )
    group.add_argument(
        "--freeze_vgg",
        action="store_true",
        help="keep the trunk's weights; faster, and checkpoints leave them out",
    )
    group.add_argument(
        "--feature_cache",
        metavar="DIR",
        help="with --freeze_vgg: computes the trunk's features of each training image "
        "once and keeps them in this folder, about 4 MB for 512x512 px and its mirror "
        "image, 8 GB at most; many times faster",
    )


def _add_compress(commands, quality=None, searches=False, has_network=False):
    """Adds `compress`, see `arguments.add_compress`."""
    parser = commands.add_parser("compress", help="compress images to .jpg files")
    if searches:
        parser.epilog = (
            "Without --checkpoint_dir, which stands before the command, no model is "
            "needed: compress.py is the same command."
        )
    arguments.add_compress(
        parser,
        quality=quality,
        refines=quality is None,
        searches=searches,
        has_network=has_network,
    )


def _add_export(commands, quality=None):
    parser = commands.add_parser("export", help="write the quantization tables as text")
    arguments.add_export(parser, quality)


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


_table_entry = arguments.number(float, lambda v: 1 <= v <= 255, "a number in 1..255")
_patch_size = arguments.number(int, lambda v: v >= 8, "an integer of at least 8")
