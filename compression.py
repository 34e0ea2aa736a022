"""The commands `compress` and `export` of the model scripts."""

import collections
import concurrent.futures
import contextlib
import glob
import json
import logging
import math
import os
import sys
import types
from typing import NamedTuple

import tqdm

import checkpoints
import hardware
import jpeg_file
from codec import Codec, CodecGraphs, Quantization
from errors import UserError, describe_os_error
from image_files import (
    SUFFIXES,
    Metadata,
    find_images,
    read_image_and_metadata,
    write_atomically,
)
from metrics import MS_SSIM_MIN_SIDE, PictureMetrics, bits_per_pixel
from results import DotResults, ms_ssim_db

logger = logging.getLogger(__name__)


class Setting(NamedTuple):
    """One way to code a picture."""

    label: str
    codec: Codec
    quality: int = 0  # for models that take one


class Compressed(NamedTuple):
    """One written file."""

    path: str
    label: str
    num_bytes: int
    bpp: float
    metrics: dict  # as from `PictureMetrics.compare`; empty without --verbose


def compress(model_class, args):
    """Compresses images to .jpg files.

    Args:
      model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
      args: flags of the `compress` command.

    Returns:
      Exit status: 0, or 1 if some image could not be compressed.

    Raises:
      UserError: no image, no checkpoint, flags that do not fit.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    inputs = find_images(args.inputs)
    outputs = plan_outputs(inputs, args.output)
    hardware.select_device(args.device)
    # Scripts without convolutions have no such flag.
    precision, _ = hardware.choose_precision(getattr(args, "precision", None))
    with contextlib.ExitStack() as stack:
        settings = _settings(model_class, args, precision, stack)
        job = _Job(settings, args)
        done, failed = _run_all(job, inputs, outputs, args)
    if args.verbose and len(done) > 1:
        print(_mean_line(done))
    if done:
        folders = {os.path.dirname(item.path) or "." for item in done}
        total = sum(item.num_bytes for item in done)
        print(f"{len(done)} of {len(inputs)} images, {total} bytes, in {_one(folders)}")
    undefined = [i.path for i in done if math.isnan(i.metrics.get("ms-ssim", 0.0))]
    if undefined:
        logger.info(
            "MS-SSIM is not defined below %d px: nan for %d images",
            MS_SSIM_MIN_SIDE,
            len(undefined),
        )
    if failed:
        logger.error("%d of %d images failed", failed, len(inputs))
    return 1 if failed else 0


def _one(folders):
    return folders.pop() if len(folders) == 1 else f"{len(folders)} folders"


def _run_all(job, inputs, outputs, args):
    """Compresses each input; returns (list of `Compressed`, number of failures)."""
    done, failed = [], 0
    # No bar for a single image, nor (None) where nobody sees it.
    disable = True if len(inputs) == 1 else None
    with (
        concurrent.futures.ThreadPoolExecutor(args.workers) as executor,
        tqdm.tqdm(total=len(inputs), unit="image", disable=disable) as bar,
    ):
        futures = [
            executor.submit(job, *pair) for pair in zip(inputs, outputs, strict=True)
        ]
        for path, future in zip(inputs, futures, strict=True):
            try:
                done.append(future.result())
                if args.verbose:
                    bar.write(_line(done[-1]), file=sys.stdout)
            except UserError as error:
                failed += 1
                bar.write(f"error: {error}", file=sys.stderr)
            except OSError as error:
                failed += 1
                name = "" if error.filename else f"{path}: "
                bar.write(f"error: {name}{describe_os_error(error)}", file=sys.stderr)
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise
            bar.update()
    return done, failed


class _Job:
    """Compresses one image; called from several threads."""

    def __init__(self, settings, args):
        self._settings = settings
        self._args = args
        self._metrics = PictureMetrics() if args.verbose else None

    def __call__(self, path, output):
        if os.path.lexists(output) and not self._args.force:
            raise UserError(f"{output}: exists already; pass --force to overwrite it")
        picture, metadata = read_image_and_metadata(path)
        if self._args.strip_metadata:
            metadata = Metadata()
        height, width = picture.shape[:2]
        jpeg_file.check_size(height, width, path)
        label, data = self._code(path, picture, metadata)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        write_atomically(output, data)
        measured = self._measure(picture, output) if self._metrics else {}
        bpp = bits_per_pixel(len(data), height, width)
        return Compressed(output, label, len(data), bpp, measured)

    def _code(self, path, picture, metadata):
        """(label, bytes) of the setting that was asked for."""

        coding = self._args.entropy_coding

        def encode(setting):
            quantized = setting.codec.quantize(
                picture, setting.quality, coding == "trellis"
            )
            return jpeg_file.encode(quantized, coding, metadata)

        target = self._args.target_bpp
        if not target:
            (setting,) = self._settings
            return setting.label, encode(setting)
        budget = target * picture.shape[0] * picture.shape[1] / 8
        best = closest_from_below(self._settings, encode, budget)
        if best is None:
            raise UserError(
                f"{path}: every setting is above --target_bpp {target}; raise it"
            )
        setting, data = best
        return setting.label, data

    def _measure(self, picture, output):
        """Metrics of the file on the disk."""
        with open(output, "rb") as file:
            decoded = jpeg_file.decode(file.read())
        return self._metrics.compare(self._metrics.reference(picture), decoded)


def closest_from_below(settings, encode, budget):
    """The largest file that fits.

    Args:
      settings: either of one checkpoint with rising quality, searched by bisection
        (more quality gives more bytes, but for rare ties); or of several checkpoints,
        which are all tried.
      encode: function from a setting to bytes.
      budget: bytes that the file may have.

    Returns:
      (setting, bytes), or None if nothing fits.
    """
    if not settings[0].quality:
        coded = [(setting, encode(setting)) for setting in settings]
        fitting = [item for item in coded if len(item[1]) <= budget]
        return max(fitting, key=lambda item: len(item[1]), default=None)
    best, low, high = None, 0, len(settings)
    while low < high:
        middle = (low + high) // 2
        data = encode(settings[middle])
        if len(data) <= budget:
            best, low = (settings[middle], data), middle + 1
        else:
            high = middle
    return best


def _settings(model_class, args, precision, stack):
    """The settings to choose from; only --target_bpp gives more than one."""
    quantization = Quantization(
        args.quantization,
        args.entropy_coding,
        # Only models with learned tables can be refined.
        getattr(args, "refine_steps", 0),
    )
    graphs = CodecGraphs(precision, quantization)
    if model_class.TAKES_QUALITY:
        prefix = None
        if args.checkpoint_dir is not None:
            prefix = checkpoints.find_checkpoint(args.checkpoint_dir)
        codec = _restore(model_class, prefix, graphs, stack)
        qualities = range(1, 101) if args.target_bpp else [args.quality]
        return [Setting(f"quality {q}", codec, q) for q in qualities]
    folders = [args.checkpoint_dir]
    if args.target_bpp:
        pattern = os.path.join(glob.escape(args.checkpoint_dir), "lambda_*")
        folders = sorted(glob.glob(pattern))
        if not folders:
            raise UserError(
                f"--target_bpp: no lambda_* folders in {args.checkpoint_dir} to choose "
                "from; pass the folder of a run as --checkpoint_dir"
            )
    prefixes = [checkpoints.find_checkpoint(folder) for folder in folders]
    return [
        Setting(
            os.path.basename(os.path.abspath(folder)),
            _restore(model_class, prefix, graphs, stack),
        )
        for folder, prefix in zip(folders, prefixes, strict=True)
    ]


def _restore(model_class, prefix, graphs, stack):
    """The `Codec` of a checkpoint, by a graph of `graphs`."""
    settings = types.SimpleNamespace()
    if prefix:
        folder = os.path.dirname(prefix)
        settings = checkpoints.model_settings(folder, model_class.NAME)
    return stack.enter_context(graphs.get(model_class, settings).restore(prefix))


def plan_outputs(inputs, output):
    """A .jpg path for each input, no two equal, and none that is itself an input.

    Args:
      inputs: paths of images.
      output: None for files beside the inputs; a folder; or for one input a path that
        ends with .jpg or .jpeg.

    Returns:
      A list of paths. An input whose `<stem>.jpg` is not free for it keeps its suffix,
      `<name>.jpg`, and after that gets a number.

    Raises:
      UserError: a .jpg for many inputs.
    """
    is_folder = output is None or os.path.isdir(output)
    if not is_folder and output.lower().endswith((".jpg", ".jpeg")):
        if len(inputs) > 1:
            raise UserError(
                f"--output {output}: one file for {len(inputs)} inputs; name a folder"
            )
        _refuse_input(output, inputs)
        return [output]

    if not is_folder and (os.path.exists(output) or output.lower().endswith(SUFFIXES)):
        raise UserError(f"--output {output}: name a folder, or a .jpg file")

    def target(path, name):
        folder = os.path.dirname(path) if output is None else output
        return os.path.join(folder, name)

    def plain(path):
        return target(path, os.path.splitext(os.path.basename(path))[0] + ".jpg")

    counts = collections.Counter(os.path.realpath(plain(path)) for path in inputs)
    taken = {os.path.realpath(path) for path in inputs}
    outputs = []
    for path in inputs:
        candidate, number = plain(path), 1
        if counts[os.path.realpath(candidate)] > 1:
            candidate = target(path, os.path.basename(path) + ".jpg")
        while os.path.realpath(candidate) in taken:
            name = os.path.basename(path) + (f"-{number}" if number > 1 else "")
            candidate, number = target(path, name + ".jpg"), number + 1
        taken.add(os.path.realpath(candidate))
        outputs.append(candidate)
    return outputs


def _refuse_input(output, inputs):
    if os.path.realpath(output) in {os.path.realpath(path) for path in inputs}:
        raise UserError(f"--output {output}: is the input itself; name another file")


def _line(item):
    text = f"{item.path}: {item.num_bytes} bytes, {item.bpp:.4f} bpp, "
    return text + _metrics_text(item.metrics) + f" ({item.label})"


def _metrics_text(values):
    return (
        f"MSE {values['mse']:.3f}, PSNR {values['psnr']:.3f} dB, "
        f"MS-SSIM {values['ms-ssim']:.5f} ({ms_ssim_db(values['ms-ssim']):.3f} dB), "
        f"LPIPS {values['lpips']:.5f}"
    )


def _mean_line(done):
    """Means over the images; nan values are left out."""
    rows = [{"bpp": item.bpp, **item.metrics} for item in done]
    means = DotResults.from_rows([item.path for item in done], rows).means()
    num_bytes = sum(item.num_bytes for item in done) / len(done)
    return (
        f"mean: {num_bytes:.0f} bytes, {means['bpp']:.4f} bpp, {_metrics_text(means)}"
    )


def export(model_class, args):
    """Writes the quantization tables of a model as text.

    Args:
      model_class: a class of the model scripts with tables of its own.
      args: flags of the `export` command.

    Returns:
      Exit status 0.

    Raises:
      UserError: no checkpoint, or the output exists already.
    """
    about = {"script": model_class.NAME}
    prefix = None
    if args.checkpoint_dir is not None:
        prefix = checkpoints.find_checkpoint(args.checkpoint_dir)
        settings = checkpoints.load_settings(os.path.dirname(prefix))
        if "lmbda" in settings:
            about["lambda"] = settings["lmbda"]
        about["step"] = checkpoints.checkpoint_step(prefix)
    quality = getattr(args, "quality", 0)
    if quality:
        about["quality"] = quality
    with contextlib.ExitStack() as stack:
        codec = _restore(model_class, prefix, CodecGraphs("float32"), stack)
        qtables = codec.qtables(quality)
    text = {"cjpeg": cjpeg_text, "json": json_text}[args.format](qtables, about)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    if os.path.isdir(args.output):
        raise UserError(f"--output {args.output}: is a folder; name a file")
    if os.path.lexists(args.output) and not args.force:
        raise UserError(f"{args.output}: exists already; pass --force to overwrite it")
    write_atomically(args.output, text.encode())
    return 0


def cjpeg_text(qtables, about):
    """Tables as `cjpeg -qtables FILE -sample 1x1` reads them.

    Args:
      qtables: `[2 (luma, chroma), 8 (v), 8 (u)]`.
      about: dict of what the comment says.

    Returns:
      64 values a table, natural order, with `#` comments.
    """
    comment = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [f"# {comment}"]
    for name, table in zip(("luma", "chroma"), qtables, strict=True):
        lines.append(f"# {name}")
        lines += [" ".join(f"{value:3d}" for value in row) for row in table]
    return "\n".join(lines) + "\n"


def json_text(qtables, about):
    """Tables `[2, 8 (v), 8 (u)]` as a JSON object beside what `about` says."""
    luma, chroma = qtables.tolist()
    return json.dumps({**about, "luma": luma, "chroma": chroma}, indent=2) + "\n"
