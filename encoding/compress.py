"""The command `compress` of the model scripts."""

import concurrent.futures
import contextlib
import glob
import logging
import math
import os
import sys
from typing import NamedTuple

import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

import hardware
from atomic_files import write_atomically
from encoding.codec import Codec, Quantization
from encoding.codecs import Codecs
from encoding.outputs import OutputGuard, plan_outputs
from errors import UserError, describe_os_error, is_out_of_memory
from jpeg import file as jpeg_file
from jpeg.image_files import Metadata, find_images, read_image_and_metadata
from metrics.basic import (
    INFINITE_PSNR,
    bits_per_pixel,
    mean_of_defined,
    ms_ssim_db,
)
from metrics.ms_ssim import MIN_SIDE as MS_SSIM_MIN_SIDE
from metrics.pictures import PictureMetrics
from training import checkpoints

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
    with contextlib.ExitStack() as stack:
        settings = _settings(model_class, args, stack)
        job = _Job(settings, args, OutputGuard(inputs))
        done, failed = _run_all(job, inputs, outputs, args)
    if args.verbose and len(done) > 1:
        print(_mean_line(done))
        infinite = sum(math.isinf(item.metrics["psnr"]) for item in done)
        if 0 < infinite < len(done):
            logger.info("%s: %d of %d", INFINITE_PSNR, infinite, len(done))
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
        logging_redirect_tqdm(),
        concurrent.futures.ThreadPoolExecutor(args.workers) as executor,
        tqdm.tqdm(total=len(inputs), unit="image", disable=disable) as bar,
    ):
        futures = [
            executor.submit(job, *pair) for pair in zip(inputs, outputs, strict=True)
        ]
        for path, future in zip(inputs, futures, strict=True):
            try:
                item, problem = _result(path, future)
                if problem:
                    failed += 1
                    bar.write(f"error: {problem}", file=sys.stderr)
                else:
                    done.append(item)
                    if args.verbose:
                        bar.write(_line(item), file=sys.stdout)
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise
            bar.update()
    return done, failed


def _result(path, future):
    """(`Compressed`, None), or (None, one line on why there is none)."""
    try:
        return future.result(), None
    except UserError as error:
        return None, str(error)
    except OSError as error:
        name = "" if error.filename else f"{path}: "
        return None, name + describe_os_error(error)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        remedy = "lower --workers, or scale the picture down"
        return None, f"{path}: not enough memory; {remedy}"


class _Job:
    """Compresses one image; called from several threads."""

    def __init__(self, settings, args, guard):
        self._settings = settings
        self._args = args
        self._guard = guard
        self._metrics = PictureMetrics() if args.verbose else None

    def __call__(self, path, output):
        self._guard.check(output)
        if os.path.lexists(output) and not self._args.force:
            raise _exists(output)
        picture, metadata = read_image_and_metadata(
            path, self._args.lenient, self._args.max_megapixels
        )
        if self._args.strip_metadata:
            metadata = Metadata()
        height, width = picture.shape[:2]
        jpeg_file.check_size(height, width, path)
        label, data = self._code(path, picture, metadata)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        self._write(output, data)
        measured = self._measure(picture, output) if self._metrics else {}
        bpp = bits_per_pixel(len(data), height, width)
        return Compressed(output, label, len(data), bpp, measured)

    def _write(self, output, data):
        guard = self._guard.claim(output)
        try:
            write_atomically(output, data, self._args.force, guard)
        except FileExistsError:  # made by another call meanwhile
            raise _exists(output) from None

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


def _exists(output):
    return UserError(f"{output}: exists already; pass --force to overwrite it")


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


def _settings(model_class, args, stack):
    """The settings to choose from; only --target_bpp gives more than one."""
    quantization = Quantization(
        args.quantization,
        args.entropy_coding,
        # Only models with learned tables can be refined.
        getattr(args, "refine_steps", 0),
        args.subsampling,
        args.tune,
    )
    # Scripts without convolutions have no --precision.
    codecs = Codecs(getattr(args, "precision", None), quantization)

    def codec_of(folder):
        if folder is None:
            return stack.enter_context(codecs.make(model_class))
        prefix = checkpoints.find_checkpoint(folder)
        models = {model_class.NAME: model_class}
        return stack.enter_context(codecs.restore(prefix, models, model_class.NAME))

    if model_class.TAKES_QUALITY:
        codec = codec_of(args.checkpoint_dir)
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
    return [
        Setting(os.path.basename(os.path.abspath(folder)), codec_of(folder))
        for folder in folders
    ]


def _line(item):
    text = f"{item.path}: {item.num_bytes} bytes, {item.bpp:.4f} bpp, "
    return text + _metrics_text(item.metrics) + f" ({item.label})"


def _metrics_text(values):
    text = (
        f"MSE {values['mse']:.3f}, PSNR {values['psnr']:.3f} dB, "
        f"MS-SSIM {values['ms-ssim']:.5f} ({ms_ssim_db(values['ms-ssim']):.3f} dB), "
        f"LPIPS {values['lpips']:.5f}, SSIMULACRA2 {values['ssimulacra2']:.3f}"
    )
    if "butteraugli" in values:
        text += f", Butteraugli {values['butteraugli']:.3f}"
    return text


def _mean_line(done):
    """Means over the images; nan values are left out."""
    num_bytes = sum(item.num_bytes for item in done) / len(done)
    bpp = sum(item.bpp for item in done) / len(done)
    means = {
        name: mean_of_defined([item.metrics[name] for item in done])
        for name in done[0].metrics
    }
    return f"mean: {num_bytes:.0f} bytes, {bpp:.4f} bpp, {_metrics_text(means)}"
