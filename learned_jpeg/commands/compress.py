"""The command `compress`: images to .jpg files, a folder or millions of them."""

from __future__ import annotations

import contextlib
import functools
import glob
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.optional import needs_tensorflow
from learned_jpeg.codec.trained import Networks, TrainedModel
from learned_jpeg.commands.arguments import options_of
from learned_jpeg.commands.batch import Done, MemoryBudget, run_batch, size_of
from learned_jpeg.commands.batch_jobs import (
    NoOverwriteGuard,
    is_batch_job,
    opened_batch_job,
    print_missing,
)
from learned_jpeg.commands.earlier_results import earlier_results, is_same_image
from learned_jpeg.commands.files import encode_file
from learned_jpeg.commands.outputs import (
    OutputGuard,
    folder_of_result,
    plan_outputs,
    without_earlier_outputs,
)
from learned_jpeg.commands.records import (
    ORIGINAL,
    SKIPPED,
    Record,
    RecordFile,
)
from learned_jpeg.commands.reports import BatchCounts, described, report
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import is_free, permissions_of, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.terminal import log_to_stderr, one_line
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.models.settings import ModelSettings
from learned_jpeg.pictures.image_files import (
    find_images,
    image_size,
    read_image,
)

logger = logging.getLogger(__name__)

# Bytes a pixel that an image takes while it is encoded, at most; measured.
_BYTES_PER_PIXEL = 150
_SHOWN = 3  # names in a line


def compress(args, script: str | None = None) -> int:
    """Compresses images to .jpg files.

    Args:
      args: flags of the `compress` command.
      script: name of the model script that a checkpoint has to be of; None for any.

    Returns:
      Exit status: 0, or 1 if some image could not be compressed.

    Raises:
      UserError: there is no image or no checkpoint, or flags do not fit the model.
    """
    log_to_stderr()
    if args.missing:
        return print_missing(args, _plan)
    _select_device(args.device)
    if is_batch_job(args):
        return _compress_batch_job(args, script)
    plan = _plan(args)
    with contextlib.ExitStack() as stack:
        encoder = _opened_encoder(args, script, stack)
        records = stack.enter_context(RecordFile(args.json)) if args.json else None
        job = Job(encoder, args, OutputGuard(plan.inputs), plan.earlier)
        results = run_batch(job, plan.pairs(), job.workers, records)
        done = _printed(results, plan.inputs, args.verbose)
    return report(done, args.verbose)


def _compress_batch_job(args, script):
    """Compresses the files of one shard, or of a list; returns the exit status."""
    with contextlib.ExitStack() as stack:
        batch = stack.enter_context(opened_batch_job(args, _plan))
        name = "shard {}/{}".format(*args.shard) if args.shard else args.files_from
        logger.info(
            "%s: %d files to do, manifest %s", name, batch.count, batch.manifest
        )
        if not batch.count:
            return 0
        encoder = _opened_encoder(args, script, stack)
        records = stack.enter_context(RecordFile(batch.manifest))
        job = Job(encoder, args, NoOverwriteGuard())
        results = run_batch(job, batch.pairs, job.workers, records)
        stack.enter_context(contextlib.closing(results))
        bar = _progress(batch.count, sys.stderr.isatty(), "file")
        update, write = stack.enter_context(bar)
        counts = BatchCounts()
        for item in results:
            counts.add(item.record)
            if item.record.error:
                write(f"error: {item.record.error}", file=sys.stderr)
            update(1)
    return counts.report(batch.manifest)


def _select_device(device):
    if device != "auto":
        # Only models with a network compute on it; imported late, with TensorFlow.
        with needs_tensorflow(f"--device {device}"):
            from training import devices
        devices.select_device(device)


def _opened_encoder(args, script, stack):
    """Returns the `Encoder` of a command line; `stack` closes its models."""
    options = options_of(args)
    networks = Networks(args.precision)
    if args.checkpoint_dir is None:
        models = [TrainedModel(ModelSettings(script or "ljpeg_PIL"))]
    else:
        models = _loaded_models(args, options, script, networks)
    return Encoder(options, [stack.enter_context(model) for model in models])


def _loaded_models(args, options, script, networks):
    """Returns the model of the flag's folder; for a target, the models of its run."""
    folder, target = args.checkpoint_dir, options.target
    if target is None:
        return [TrainedModel.load(folder, script, networks)]
    runs = sorted(glob.glob(os.path.join(glob.escape(folder), "lambda_*")))
    models = [TrainedModel.load(f, script, networks) for f in runs or [folder]]
    takes_quality = models[0].takes_quality
    if takes_quality and runs:
        raise UserError(
            f"{folder}: holds lambda_* folders; name one of them, since this model "
            "meets a target by its quality"
        )
    if not (takes_quality or runs or options.quantization == "search"):
        raise UserError(
            f"--target_{target.name}: no lambda_* folders in {folder} to choose "
            "from; pass the folder of a run, or --quantization search"
        )
    return models


class Plan(NamedTuple):
    """The images of a call.

    Attributes:
      inputs: paths.
      outputs: paths of their results.
      earlier: real paths of files beside the inputs that are taken for results of an
        earlier call, and not for inputs.
    """

    inputs: list[str]
    outputs: list[str]
    earlier: frozenset[str] = frozenset()

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Returns (input, output) of each image."""
        return zip(self.inputs, self.outputs, strict=True)


def _plan(args):
    """Returns the `Plan` of the flags."""
    inputs = find_images(args.inputs, recursive=args.recursive)
    roots = ()
    if args.recursive:
        roots = [path for path in args.inputs if os.path.isdir(path)]
        inputs = without_earlier_outputs(inputs, args.output, roots)
    folder = functools.partial(folder_of_result, output=args.output, roots=roots)
    earlier = earlier_results(inputs, folder, args.max_megapixels)
    if earlier:
        _say_what_is_left_out([path for path in inputs if path in earlier])
    inputs = [path for path in inputs if path not in earlier]
    outputs = plan_outputs(inputs, args.output, roots)
    return Plan(inputs, outputs, frozenset(map(os.path.realpath, earlier)))


def _say_what_is_left_out(paths):
    shown = ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
    results = "result" if len(paths) == 1 else "results"
    logger.info(
        "left out %d %s of an earlier call (%s); to compress them as well, name a "
        "folder by -o",
        len(paths),
        results,
        shown,
    )


def _printed(results, inputs, verbose):
    """Prints each result as it comes; returns the list of `Done`."""
    done = []
    # No bar for a single image, nor where nobody sees it.
    has_bar = len(inputs) > 1 and sys.stderr.isatty()
    total = sum(size_of(path) or 0 for path in inputs) if has_bar else 0
    with contextlib.closing(results), _progress(total, has_bar) as (update, write):
        for item in results:
            if item.record.error:
                write(f"error: {item.record.error}", file=sys.stderr)
            elif line := described(item, verbose):
                write(one_line(line), file=sys.stdout)
            done.append(item)
            update(item.record.bytes_in or 0)
    return done


@contextlib.contextmanager
def _progress(total, has_bar, unit="B"):
    """Yields (function that counts units, function that prints a line)."""
    if not has_bar:
        yield (lambda count: None), functools.partial(print, flush=True)
        return
    # Imported here, since asyncio comes with it.
    import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        logging_redirect_tqdm(),
        tqdm.tqdm(total=total, unit=unit, unit_scale=True) as bar,
    ):
        yield bar.update, bar.write


class Job:
    """Compresses one file after another; may be called from several threads."""

    def __init__(self, encoder: Encoder, args, guard, earlier=frozenset()):
        """Stores what all images share.

        Args:
          encoder: `Encoder`.
          args: flags of the command.
          guard: `OutputGuard` or `NoOverwriteGuard`.
          earlier: as in `Plan`.
        """
        self._encoder = encoder
        self._args = args
        self._guard = guard
        self._earlier = earlier
        self.workers = args.workers or machine.usable_cores()
        self._budget = MemoryBudget(machine.available_memory())

    def __call__(self, path: str, output: str) -> Done:
        """Compresses a file, unless its result is there and is not to be replaced."""
        start = time.perf_counter()
        self._guard.check(output)
        status, setting, bpp, measured = SKIPPED, None, None, {}
        if not self._is_there(output):
            height, width = image_size(path, self._args.max_megapixels)
            with self._budget.taken(_BYTES_PER_PIXEL * height * width):
                status, setting, bpp, measured = self._compress(path, output)
        record = Record(
            path=path,
            status=status,
            output=output,
            bytes_in=size_of(path),
            bytes_out=os.path.getsize(output),
            bpp=bpp,
            setting=setting,
            seconds=time.perf_counter() - start,
        )
        return Done(record, measured)

    def _is_there(self, output):
        """Whether there is a result that is not to be made again."""
        if self._args.force or is_free(output):
            return False
        if self._args.skip_existing:
            return True
        if is_batch_job(self._args):  # made by a call that did not come to record it?
            return False
        raise _exists(output)

    def _compress(self, path, output):
        """Writes a result; returns (status, setting, bpp, metrics)."""
        args = self._args
        result = encode_file(
            self._encoder,
            path,
            keeps_metadata=not args.strip_metadata,
            keeps_smaller=args.keep_smaller,
            lenient=args.lenient,
            max_megapixels=args.max_megapixels,
        )
        if os.path.realpath(output) in self._earlier:
            self._check_earlier(path, output, result.image)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        if not self._write(output, result.data, permissions_of(path)):
            return SKIPPED, None, None, {}
        bpp = bits_per_pixel(len(result.data), *result.image.shape[:2])
        measured = self._measure(result, output) if args.verbose else {}
        return result.status, result.setting, bpp, measured

    def _check_earlier(self, path, output, image):
        """Looks again at a file that was left out as a result, before it is replaced.

        Raises:
          UserError: it shows another image, which would be lost.
        """
        if not self._args.force or is_free(output):
            return
        if not is_same_image(output, path, image):
            raise UserError(
                f"{output}: is not replaced, as it may be an image of its own; name a "
                "folder for the results by -o, or remove it"
            )

    def _write(self, output, data, permissions):
        """Writes a result; returns False if it is there and is to be skipped."""
        guard = self._guard.claim(output)
        try:
            write_atomically(output, data, self._args.force, guard, permissions)
        except FileExistsError:  # made by another call meanwhile
            if self._args.skip_existing:
                return False
            if not (is_batch_job(self._args) and _holds(output, data)):
                raise _exists(output) from None
        return True

    def _measure(self, result, output):
        """Returns the metrics of the file on the disk."""
        if result.status == ORIGINAL:  # may still have to be turned upright
            decoded = read_image(output)
        else:
            with open(output, "rb") as file:
                decoded = jpeg_file.decode(file.read())
        return ImageMetrics(result.image).compare(decoded)


def _exists(output):
    return UserError(f"{output}: exists already; pass --force to overwrite it")


def _holds(path, data):
    with open(path, "rb") as file:
        return file.read(len(data) + 1) == data
