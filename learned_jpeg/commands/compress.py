"""The command `compress`: images to .jpg files, a folder or millions of them."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import sys

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.optional import needs_tensorflow
from learned_jpeg.codec.trained import Networks, TrainedModel
from learned_jpeg.commands.arguments import options_of
from learned_jpeg.commands.batch import run_batch, size_of
from learned_jpeg.commands.batch_jobs import (
    NoOverwriteGuard,
    is_batch_job,
    opened_batch_job,
    print_missing,
)
from learned_jpeg.commands.job import Job, StreamJob
from learned_jpeg.commands.outputs import OutputGuard
from learned_jpeg.commands.placing import InPlace, NewFiles
from learned_jpeg.commands.plan import STREAM, plan_call
from learned_jpeg.commands.records import RecordFile
from learned_jpeg.commands.reports import BatchCounts, described, report
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.leftovers import temporary_folder
from learned_jpeg.common.progress import progress
from learned_jpeg.common.terminal import log_to_stderr, one_line
from learned_jpeg.models.settings import ModelSettings

logger = logging.getLogger(__name__)

_BAR_DELAY = 2.0  # seconds


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
        return print_missing(args, plan_call)
    _select_device(args.device)
    if is_batch_job(args):
        return _compress_batch_job(args, script)
    plan = plan_call(args)
    # Standard output is for the result, if it goes there.
    messages = sys.stderr if STREAM in plan.outputs else sys.stdout
    if STREAM in plan.outputs and sys.stdout.isatty():
        raise UserError(
            f"--output {STREAM}: standard output is a terminal; redirect it, or name a "
            "file"
        )
    if STREAM in plan.inputs and sys.stdin.isatty():
        raise UserError(
            f"{STREAM}: standard input is a terminal; pipe an image into it"
        )
    with contextlib.ExitStack() as stack:
        encoder = _opened_encoder(args, script, stack)
        records = stack.enter_context(RecordFile(args.json)) if args.json else None
        placing = InPlace(args) if args.in_place else _new_files(args, plan)
        job = Job(encoder, args, placing)
        work = job
        if plan.has_stream:
            work = StreamJob(job, stack.enter_context(temporary_folder()))
        results = run_batch(work, plan.pairs(), job.workers, records)
        done = _printed(results, plan.inputs, args.verbose, messages)
    return report(done, args.verbose, messages)


def _new_files(args, plan):
    return NewFiles(args, OutputGuard(plan.inputs), plan.earlier)


def _compress_batch_job(args, script):
    """Compresses the files of one shard, or of a list; returns the exit status."""
    with contextlib.ExitStack() as stack:
        batch = stack.enter_context(opened_batch_job(args, plan_call))
        name = args.files_from or args.files_from0
        name = "standard input" if name == STREAM else name
        if args.shard:
            name = "shard {}/{}".format(*args.shard)
        logger.info(
            "%s: %d files to do, manifest %s", name, batch.count, batch.manifest
        )
        if not batch.count:
            return 0
        encoder = _opened_encoder(args, script, stack)
        records = stack.enter_context(RecordFile(batch.manifest))
        job = Job(encoder, args, NewFiles(args, NoOverwriteGuard()))
        results = run_batch(job, batch.pairs, job.workers, records)
        stack.enter_context(contextlib.closing(results))
        update, write = stack.enter_context(progress(batch.count, "file"))
        counts = BatchCounts()
        for item in results:
            counts.add(item.record)
            if item.record.error:
                write(f"error: {item.record.error}", file=sys.stderr)
            update()
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


def _printed(results, inputs, verbose, messages):
    """Prints each result as it comes; returns the list of `Done`."""
    done = []
    # Bytes tell more than images, but it takes a while to look at very many.
    by_bytes = sys.stderr.isatty()
    total = sum(size_of(path) or 0 for path in inputs) if by_bytes else len(inputs)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(results))
        shown = progress(
            total,
            "B" if by_bytes else "image",
            title=one_line(inputs[0]) if len(inputs) == 1 else "",
            delay=_BAR_DELAY,
        )
        update, write = stack.enter_context(shown)
        for item in results:
            if item.record.error:
                write(f"error: {item.record.error}", file=sys.stderr)
            elif line := described(item, verbose):
                write(one_line(line), file=messages)
            done.append(item)
            update(item.record.bytes_in or 0 if by_bytes else 1)
    return done
