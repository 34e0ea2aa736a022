"""Command lines of `compress` and `export`, and what every command line shares.

Wrong flags end with two lines and exit status 2, see `parser.py`.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence

import learned_jpeg
from learned_jpeg.codec import QUANTIZATIONS
from learned_jpeg.codec.options import DEFAULT_QUALITY, OWN_LOSS, EncodeOptions
from learned_jpeg.commands.keeping import GAIN_MAPS, VIDEOS
from learned_jpeg.commands.parser import Parser, not_empty
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS
from learned_jpeg.metrics import registry
from learned_jpeg.pictures import MAX_MEGAPIXELS
from learned_jpeg.pictures.read_options import COLOURS, KEEP, ReadOptions
from learned_jpeg.search.distortion import DEFAULT_EFFORT, EFFORTS
from learned_jpeg.search.subsampling import AUTO
from learned_jpeg.search.targets import KINDS, Target, number_between
from learned_jpeg.search.tunes import DEFAULT_TUNE, LAMBDAS, TUNES

PRECISIONS = ("float32", "bfloat16")  # of the convolutions

_OLD_QUANTIZATIONS = {"rdoq": "search"}
_OLD_ENTROPY_CODINGS = {"default": "standard"}
_TRELLIS = "trellis"  # an entropy coding once; now the quantization `mozjpeg`


# Compress


def parse_compress(argv=None) -> argparse.Namespace:
    """Parses the flags of compress.py, which needs no model."""
    parser = Parser(
        description="Compresses images to small .jpg files that every program opens. "
        "The quantized coefficients and the tables are searched for each image."
    )
    add_compress(parser, quality=None, refines=True)
    parser.add_argument(
        "--model",
        dest="checkpoint_dir",
        metavar="DIR",
        help="checkpoint folder of a trained model whose tables are used",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {learned_jpeg.__version__}"
    )
    args = parser.parse_args(argv)
    finish_compress(parser, args, has_model=args.checkpoint_dir is not None)
    return args


def add_compress(
    parser: argparse.ArgumentParser,
    *,
    quality: int | None,
    refines: bool,
    searches: bool = True,
    has_network: bool = False,
) -> None:
    """Adds the flags of `compress`.

    Args:
      parser: where to.
      quality: default of a model whose tables have one, else None.
      refines: whether the model has tables that a refinement works with.
      searches: whether the command works without a checkpoint, by the search alone.
      has_network: whether the model has convolutions.
    """
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="images, folders, quoted globs, or - for standard input",
    )
    _add_files(parser)
    _add_manners(parser)
    rate = parser.add_argument_group("rate")
    add_encoding(rate, refines=refines)
    add_effort(rate)
    setting = rate.add_mutually_exclusive_group()
    if quality:
        add_quality(setting, quality)
    elif searches:
        add_quality(
            setting,
            None,
            "make files that look like JPEG of this quality, 1..100 (default: "
            f"{DEFAULT_QUALITY}, without a model)",
        )
    setting.add_argument(
        "--lambda",
        dest="lmbda",
        type=search_lambda,
        metavar="X",
        help="of the search: bits per pixel that a distortion of 1 is worth",
    )
    _add_targets(setting)
    other = parser.add_argument_group("other")
    other.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="measure each file by every metric, and print the means",
    )
    add_device(other)
    add_workers(other)
    if has_network:
        add_precision(other)
    parser.set_defaults(precision=None, quality=None, refine_steps=0)
    if quality:
        parser.set_defaults(quality=quality)


def _add_files(parser):
    files = parser.add_argument_group("files")
    files.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="folder of the results, or for one input a .jpg file or - for standard "
        "output (default: beside each input; - for the input -)",
    )
    files.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="include the subfolders of folders, and keep their tree in OUT",
    )
    existing = files.add_mutually_exclusive_group()
    existing.add_argument(
        "-f", "--force", action="store_true", help="overwrite existing results"
    )
    existing.add_argument(
        "--skip_existing",
        action="store_true",
        help="leave out inputs whose results exist, for example after an interruption",
    )
    files.add_argument(
        "--keep_smaller",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep a JPEG input without loss where a lossy pass would gain too little",
    )
    files.add_argument(
        "--json",
        type=written_path,
        metavar="FILE",
        help="append a JSON line for each input: path, status, output, bytes_in, "
        "bytes_out, bpp, setting, seconds, error, and the score where it is measured",
    )
    _add_lists(files)
    _add_metadata(files)
    files.add_argument(
        "--lenient",
        action="store_true",
        help="decode JPEG inputs with damaged pixels as far as possible",
    )
    files.add_argument(
        "--max_megapixels",
        type=positive,
        metavar="N",
        default=MAX_MEGAPIXELS,
        help="refuse larger inputs; a megapixel takes tens of megabytes of memory",
    )
    files.add_argument(
        "--raw",
        action="store_true",
        help="develop raw files of cameras (DNG, NEF, CR3, ...) instead of refusing "
        "them; takes the package rawpy",
    )
    files.add_argument(
        "--colour",
        choices=COLOURS,
        default=KEEP,
        help="keep: keep the pixel values with their ICC profile; srgb: convert them "
        "to sRGB, so that no profile is needed",
    )


def _add_manners(parser):
    group = parser.add_argument_group("what becomes of files")
    group.add_argument(
        "--dry_run",
        action="store_true",
        help="write no image: print the size and the SSIMULACRA2 score of each result",
    )
    group.add_argument(
        "--in_place",
        action="store_true",
        help="replace each JPEG input by its result, in one step and only if that is "
        "smaller",
    )
    group.add_argument(
        "--backup",
        type=_suffix,
        metavar="SUFFIX",
        help="of --in_place: keep each replaced input under its name with SUFFIX, such "
        "as .orig",
    )
    group.add_argument(
        "--keep_time",
        action="store_true",
        help="give each result the times of its input",
    )
    group.add_argument(
        "--background",
        type=_colour,
        metavar="COLOUR",
        default="white",
        help="what transparent pixels are blended over: a name of CSS, #RGB or #RRGGBB",
    )


def _add_metadata(group):
    stripped = group.add_mutually_exclusive_group()
    stripped.add_argument(
        "--strip_metadata",
        action="store_true",
        help="leave out the input's EXIF, XMP, IPTC, comments, density and video, but "
        "keep what changes its look: ICC profile and gain map",
    )
    stripped.add_argument(
        "--strip_all",
        action="store_true",
        help="leave out all metadata, the ICC profile and the gain map, too",
    )
    group.add_argument(
        "--gain_map",
        choices=GAIN_MAPS,
        default="keep",
        help="of an HDR image (Ultra HDR, ISO 21496-1, Apple). keep: recompress it; "
        "copy: leave its bytes as they are; drop: write an image without it",
    )
    group.add_argument(
        "--video",
        choices=VIDEOS,
        default="keep",
        help="of a motion photo. keep: copy it; drop: write the image alone",
    )


def _add_lists(group):
    group.add_argument(
        "--files_from",
        metavar="LIST",
        help="read the inputs from a file with one path a line, or from standard input "
        "for -; their tree is kept in OUT",
    )
    group.add_argument(
        "--files_from0",
        metavar="LIST",
        help="the same, with a NUL byte behind each path, as find -print0 writes them",
    )
    add_shard(group, "all are done")
    group.add_argument(
        "--missing",
        action="store_true",
        help="print only the paths that are in no manifest of OUT",
    )


def _add_targets(group):
    for name, (kind, metavar, text) in _target_flags().items():
        group.add_argument(
            f"--target_{name}", type=kind, metavar=metavar, help=f"come close, {text}"
        )


def _target_flags():
    """Returns {name: (type, metavar, help)} of the targets."""
    flags = {
        "bpp": (positive, "BPP", "from below, in bits per pixel"),
        "bytes": (num_bytes, "N", "from below, in bytes, such as 200kB or 1.5MB"),
    }
    for metric in registry.METRICS.values():
        if target := metric.target:
            accept = _between(*target.allowed)
            flags[metric.word] = (accept, target.metavar, target.help)
    return flags


def add_encoding(
    group,
    *,
    refines: bool,
    entropy_coding: str | None = None,
    samplings: Sequence[str] = (AUTO, *SUBSAMPLINGS),
    searched_sampling: str = AUTO,
) -> None:
    """Adds how coefficients are quantized and coded.

    Args:
      group: where to.
      refines: whether refinement steps can be asked for.
      entropy_coding: the default to show; None for `optimized`, filled in later.
      samplings: what `--subsampling` may be.
      searched_sampling: the default of a search, to show.
    """
    group.add_argument(
        "--quantization",
        type=_word(QUANTIZATIONS, _OLD_QUANTIZATIONS),
        metavar="{" + ",".join(QUANTIZATIONS) + "}",
        help="round: to the nearest integers; mozjpeg: by mozjpeg's trellis; search: "
        "choose integers and tables that trade their error against bits, for far "
        "smaller files (default: search without a model, else round)",
    )
    group.add_argument(
        "--entropy_coding",
        type=_word((*ENTROPY_CODINGS, _TRELLIS), _OLD_ENTROPY_CODINGS),
        metavar="{" + ",".join(ENTROPY_CODINGS) + "}",
        help="standard: the Huffman tables of the standard; optimized: the same pixels "
        f"in fewer bytes (default: {entropy_coding or 'optimized'})",
    )
    group.add_argument(
        "--tune",
        choices=(OWN_LOSS, *TUNES),
        help="metric that the search minimises. "
        + f"{OWN_LOSS}: the loss that the model was trained for; "
        + "; ".join(f"{tune.name}: {tune.help}" for tune in TUNES.values())
        + f" (default: {DEFAULT_TUNE} without a model, else {OWN_LOSS})",
    )
    group.add_argument(
        "--subsampling",
        choices=samplings,
        help="of chroma (default: that of the model's training, 4:4:4 without one; "
        f"{searched_sampling} for a search that was not part of the training)",
    )
    if refines:
        group.add_argument(
            "--refine_steps",
            type=non_negative_int,
            default=0,
            metavar="N",
            help="gradient steps on the coefficients of each image, by the model's own "
            "loss, before they are rounded; needs --rate_model entropy; 30 are plenty "
            "and take seconds an image",
        )


def add_effort(group) -> None:
    """Adds `--effort`."""
    group.add_argument(
        "--effort",
        type=int,
        choices=EFFORTS,
        default=DEFAULT_EFFORT,
        help="of the search: 1 is fast, 3 makes the smallest files",
    )


def fill_in_encoding(parser, args, *, has_model: bool, entropy_coding: str) -> None:
    """Replaces old words and None by the words that apply.

    Args:
      parser: reports errors.
      args: flags of `add_encoding`, changed in place.
      has_model: whether a trained model is used.
      entropy_coding: the default.
    """
    if args.entropy_coding == _TRELLIS:
        if args.quantization not in (None, "round", "mozjpeg") or args.refine_steps:
            parser.error(
                "--entropy_coding trellis is --quantization mozjpeg; leave out "
                "the other --quantization and --refine_steps"
            )
        args.quantization, args.entropy_coding = "mozjpeg", None
    if args.quantization is None:
        args.quantization = "round" if has_model else "search"
    if args.quantization == "mozjpeg":
        if args.entropy_coding == "standard":
            parser.error(
                "--entropy_coding standard: mozjpeg codes its files itself; leave it "
                "out, or choose another --quantization"
            )
        args.entropy_coding = "optimized"
    args.entropy_coding = args.entropy_coding or entropy_coding
    if args.tune is None and has_model:
        args.tune = OWN_LOSS


def check_encoding(parser, args) -> None:
    """Refuses flags of `add_encoding` that have no effect."""
    searches = args.quantization == "search"
    if args.tune not in (OWN_LOSS, None) and not searches:
        parser.error(f"--tune {args.tune} has no effect without --quantization search")
    if args.subsampling == AUTO and not searches:
        parser.error(
            f"--subsampling {AUTO}: only a search chooses it; name one of "
            f"{', '.join(SUBSAMPLINGS)}"
        )
    if not args.refine_steps:
        return
    if searches:
        parser.error(
            "--refine_steps: refined coefficients are rounded, a search would undo "
            "that; leave out --quantization"
        )
    if args.quantization == "mozjpeg":
        parser.error(
            "--refine_steps: mozjpeg quantizes the image itself; leave out "
            "--quantization or --refine_steps"
        )
    if args.subsampling not in (None, "4:4:4"):
        parser.error(
            "--refine_steps works at full chroma only; leave out --subsampling"
        )


def finish_compress(parser, args, *, has_model: bool) -> None:
    """Fills in the flags of `compress`, and refuses those that contradict each other.

    Args:
      parser: reports errors.
      args: parsed flags, changed in place.
      has_model: whether a model is used, be it the standard's tables; without one only
        the search works.
    """
    fill_in_encoding(parser, args, has_model=has_model, entropy_coding="optimized")
    if not has_model and (args.quantization != "search" or args.tune == OWN_LOSS):
        parser.error(
            "without a checkpoint there is no model, and only --quantization search "
            f"works: leave out --quantization, --entropy_coding {_TRELLIS} and --tune "
            f"{OWN_LOSS}, or use ljpeg_PIL.py"
        )
    check_encoding(parser, args)
    if args.quantization != "search":
        if args.lmbda is not None:
            parser.error("--lambda has no effect without --quantization search")
        if args.effort != DEFAULT_EFFORT:
            parser.error("--effort has no effect without --quantization search")
    _check_lists(parser, args)
    _check_manners(parser, args)


def _check_manners(parser, args):
    """Refuses what does not fit --in_place, streams and --dry_run."""
    if args.backup and not args.in_place:
        parser.error("--backup has no effect without --in_place")
    if args.in_place:
        names = ("output", "force", "skip_existing")
        if flags := [f"--{name}" for name in names if vars(args)[name]]:
            parser.error(f"--in_place replaces the inputs: leave out {flags[0]}")
    if "-" in (*args.inputs, args.output):
        if args.in_place:
            parser.error("--in_place: standard input is no file to replace")
        if args.keep_time:
            parser.error("--keep_time: a standard stream has no times to keep")


def _check_lists(parser, args):
    """Refuses what does not fit lists and shards; fills in the task's own shard."""
    if bool(args.inputs) + bool(args.files_from) + bool(args.files_from0) != 1:
        parser.error(
            "name the images by INPUT (- for standard input), --files_from or "
            "--files_from0"
        )
    if not args.missing:
        args.shard = args.shard or slurm_shard(parser)
    if not (args.shard or args.files_from or args.files_from0 or args.missing):
        return
    names = ("force", "json", "verbose", "dry_run", "in_place")
    flags = [f"--{n}" for n in names if vars(args)[n]]
    if flags:
        parser.error(
            f"{flags[0]} does not go with lists and shards: their manifest says what "
            "is done, and no existing file is replaced"
        )
    output = args.output or "-"
    if output == "-" or output.lower().endswith((".jpg", ".jpeg")):
        parser.error("--shard, --files_from: name the folder of the results by -o")


def options_of(args: argparse.Namespace) -> EncodeOptions:
    """Returns the `EncodeOptions` of the flags of `compress`."""
    targets = {name: vars(args)[f"target_{name}"] for name in KINDS}
    found = [Target(name, v) for name, v in targets.items() if v is not None]
    has_other = bool(found) or args.lmbda is not None
    return EncodeOptions(
        quality=None if has_other else args.quality,
        lmbda=args.lmbda,
        target=found[0] if found else None,
        quantization=args.quantization,
        tune=args.tune,
        subsampling=args.subsampling,
        entropy_coding=args.entropy_coding,
        refine_steps=args.refine_steps,
        effort=args.effort,
    )


def read_options_of(args: argparse.Namespace) -> ReadOptions:
    """Returns the `ReadOptions` of the flags of `compress`."""
    return ReadOptions(
        lenient=args.lenient,
        max_megapixels=args.max_megapixels,
        raw=args.raw,
        colour=args.colour,
        background=args.background,
    )


# Export


def add_export(parser: argparse.ArgumentParser, quality: int | None) -> None:
    """Adds the flags of `export`; `quality` is the default of a model that has one."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="file to write, or - for standard output (default)",
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
    parser.set_defaults(quality=None)
    if quality:
        add_quality(parser, quality)


# Flags of several commands


def add_quality(group, default, text="quality of the quantization tables, 1..100"):
    """Adds `--quality`."""
    group.add_argument(
        "--quality", metavar="N", type=quality_number, default=default, help=text
    )


def add_device(group) -> None:
    """Adds `--device`."""
    group.add_argument(
        "--device",
        type=_device,
        default="auto",
        help="auto, cpu, or gpu:N (N from 0)",
    )


def add_precision(group) -> None:
    """Adds `--precision`."""
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the convolutions (default: bfloat16 if the machine has units for it)",
    )


def add_workers(group) -> None:
    """Adds `--workers`."""
    group.add_argument(
        "--workers",
        metavar="N",
        type=positive_int,
        help="number of threads, which does not affect the results (default: the cores "
        "that the process may use)",
    )


def add_shard(group, without: str) -> None:
    """Adds `--shard`; `without` says what happens without it."""
    group.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="process shard I of N, counted from 0 (default: that of the task of "
        f"SLURM's array); without, {without}",
    )


def _shard(text):
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or not int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not I/N with I from 0 to N - 1, such as 0/4"
        )
    return int(match[1]), int(match[2])


def slurm_shard(parser) -> tuple[int, int] | None:
    """Returns (I, N) of this process in SLURM's array; None outside of one."""
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


# Types of values


def number(convert, accept, wish):
    """Returns a type for argparse: a finite number that `accept` takes."""

    def parse(text):
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not math.isfinite(value) or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wish}")
        return value

    return parse


def _between(low, high):
    """Returns a type for argparse: a number between two, both excluded."""
    wish = number_between(low, high)
    return number(float, lambda value: low < value < high, wish)


def number_in(low: float, high: float):
    """Returns a type for argparse: a number from one to another, both included."""
    wish = f"a number in {low:g}..{high:g}"
    return number(float, lambda value: low <= value <= high, wish)


def _word(words, old_words):
    """Returns a type for argparse: one of some words, or an old word for one."""

    def parse(text):
        text = old_words.get(text, text)
        if text not in words:
            shown = ", ".join(word for word in words if word != _TRELLIS)
            raise argparse.ArgumentTypeError(f"{text!r} is none of {shown}")
        return text

    return parse


def _device(text):
    if not re.fullmatch(r"auto|cpu|gpu:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu or gpu:N")
    return text


def _suffix(text):
    """Parses what is put behind the name of a backup."""
    if not text or "/" in text or "\0" in text or text in (".", ".."):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the end of a name, such as .orig or ~"
        )
    return text


def _colour(text):
    """Parses a colour to (red, green, blue), 0..255."""
    from PIL import ImageColor  # --help does without

    try:
        colour = ImageColor.getrgb(text.strip())
    except ValueError:
        colour = ()
    if len(colour) != 3:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an opaque colour, such as white, #fff or #1a2b3c"
        )
    return colour


def num_bytes(text: str) -> int:
    """Parses a number of bytes, perhaps with a unit: 200k, "200 kB", 1.5MB, 10KiB."""
    match = _BYTES.fullmatch(text)
    value = math.nan
    if match:
        base = 1024 if match["binary"] else 1000
        exponent = "kmg".index(match["prefix"].lower()) + 1 if match["prefix"] else 0
        value = float(match["number"]) * base**exponent
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of bytes, such as 200000, 200kB, 1.5MB or 10KiB"
        )
    return int(value)


_BYTES = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:e\+?\d+)?)\s*"
    r"(?:(?P<prefix>[kmg])(?P<binary>i?))?b?",
    re.ASCII | re.IGNORECASE,
)


def written_path(text: str) -> str:
    """Parses the name of a file or folder that a command writes."""
    if text == "-":
        raise argparse.ArgumentTypeError(
            "'-' does not stand for standard output here: name a file or a folder"
        )
    return not_empty(text)


positive = number(float, lambda v: v > 0, "a number above 0")
positive_int = number(int, lambda v: v > 0, "an integer above 0")
non_negative_int = number(
    int, lambda v: 0 <= v < 2**31, "an integer of at least 0 and below 2**31"
)
search_lambda = number_in(*LAMBDAS)
quality_number = number(int, lambda v: 1 <= v <= 100, "an integer in 1..100")
