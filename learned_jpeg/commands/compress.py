"""The command `compress` of the model scripts."""

import contextlib
import functools
import logging
import os
import sys
import time

from learned_jpeg.codec.settings import Encoder, open_settings
from learned_jpeg.commands.batch import Done, MemoryBudget, run_batch, size_of
from learned_jpeg.commands.originals import smaller_original
from learned_jpeg.commands.outputs import (
    OutputGuard,
    plan_outputs,
    without_earlier_outputs,
)
from learned_jpeg.commands.records import (
    COMPRESSED,
    ORIGINAL,
    SKIPPED,
    Record,
    RecordFile,
)
from learned_jpeg.commands.reports import Tally, described, report
from learned_jpeg.commands.shares import (
    FreeNames,
    is_share,
    opened_share,
    print_missing,
)
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import image_metrics
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.pictures.image_files import (
    Metadata,
    find_images,
    image_size,
    read_image,
    read_image_and_metadata,
)
from training import devices

logger = logging.getLogger(__name__)

# Bytes a pixel that a picture takes while it is coded, at most; measured.
_BYTES_OF_PIXEL = 150


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
    if args.missing:
        return print_missing(args, _plan)
    devices.select_device(args.device)
    if is_share(args):
        return _compress_share(model_class, args)
    inputs, outputs = _plan(args)
    with contextlib.ExitStack() as stack:
        encoder = Encoder(open_settings(model_class, args, stack), args)
        records = stack.enter_context(RecordFile(args.json)) if args.json else None
        job = _Job(encoder, args, OutputGuard(inputs))
        pairs = zip(inputs, outputs, strict=True)
        results = run_batch(job, pairs, job.workers, records)
        done = _shown(results, inputs, args.verbose)
    return report(done, args.verbose)


def _compress_share(model_class, args):
    """Compresses the files of one shard, or of a list; returns the exit status."""
    with contextlib.ExitStack() as stack:
        share = stack.enter_context(opened_share(args, _plan))
        name = "shard {}/{}".format(*args.shard) if args.shard else args.files_from
        logger.info(
            "%s: %d files to do, manifest %s", name, share.count, share.manifest
        )
        if not share.count:
            return 0
        encoder = Encoder(open_settings(model_class, args, stack), args)
        records = stack.enter_context(RecordFile(share.manifest))
        job = _Job(encoder, args, FreeNames())
        results = run_batch(job, share.pairs, job.workers, records)
        stack.enter_context(contextlib.closing(results))
        bar = _progress(share.count, sys.stderr.isatty(), "file")
        update, write = stack.enter_context(bar)
        tally = Tally()
        for item in results:
            tally.add(item.record)
            if item.record.error:
                write(f"error: {item.record.error}", file=sys.stderr)
            update(1)
    return tally.report(share.manifest)


def _plan(args):
    """Paths of the inputs, and those of their outputs."""
    inputs = find_images(args.inputs, recursive=args.recursive)
    roots = ()
    if args.recursive:
        roots = [path for path in args.inputs if os.path.isdir(path)]
        inputs = without_earlier_outputs(inputs, args.output, roots)
    return inputs, plan_outputs(inputs, args.output, roots)


def _shown(results, inputs, verbose):
    """Shows what comes of each input as it comes; returns the list of `Done`."""
    done = []
    # No bar for a single image, nor where nobody sees it.
    has_bar = len(inputs) > 1 and sys.stderr.isatty()
    total = sum(size_of(path) or 0 for path in inputs) if has_bar else 0
    with contextlib.closing(results), _progress(total, has_bar) as (update, write):
        for item in results:
            if item.record.error:
                write(f"error: {item.record.error}", file=sys.stderr)
            elif line := described(item, verbose):
                write(line, file=sys.stdout)
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


class _Job:
    """Compresses one image; called from several threads."""

    def __init__(self, encoder, args, guard):
        self._encoder = encoder
        self._args = args
        self._guard = guard
        self._verbose = args.verbose
        self.workers = args.workers or machine.usable_cores()
        self._budget = MemoryBudget(machine.available_memory())

    def __call__(self, path, output):
        start = time.perf_counter()
        self._guard.check(output)
        status, setting, bpp, measured = SKIPPED, None, None, {}
        if not self._is_there(output):
            limit = self._args.max_megapixels
            height, width = image_size(path, limit)
            with self._budget.taken(_BYTES_OF_PIXEL * height * width):
                status, setting, bpp, measured = self._compress(path, output)
        record = Record(
            *(path, status, output, size_of(path), os.path.getsize(output)),
            *(bpp, setting, time.perf_counter() - start),
        )
        return Done(record, measured)

    def _is_there(self, output):
        """Whether there is a result that is not to be made again."""
        if self._args.force or not os.path.lexists(output):
            return False
        if self._args.skip_existing:
            return True
        if is_share(self._args):  # made by a call that did not come to record it?
            return False
        raise _exists(output)

    def _compress(self, path, output):
        """Writes a result; returns (status, setting, bpp, metrics)."""
        args = self._args
        picture, metadata = read_image_and_metadata(
            path, args.lenient, args.max_megapixels
        )
        if args.strip_metadata:
            metadata = Metadata()
        height, width = picture.shape[:2]
        jpeg_file.check_size(height, width, path)
        setting, data = self._encoder.encode(path, picture, metadata)
        status = COMPRESSED
        if args.keep_smaller:
            original = smaller_original(path, len(data), args.strip_metadata)
            if original is not None:
                setting = f"as it came in, {len(original)} bytes: {len(data)} otherwise"
                status, data = ORIGINAL, original
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        self._write(output, data)
        measured = self._measure(picture, output, status) if self._verbose else {}
        return status, setting, bits_per_pixel(len(data), height, width), measured

    def _write(self, output, data):
        guard = self._guard.claim(output)
        try:
            write_atomically(output, data, self._args.force, guard)
        except FileExistsError:  # made by another call meanwhile
            if not (is_share(self._args) and _holds(output, data)):
                raise _exists(output) from None

    def _measure(self, picture, output, status):
        """Metrics of the file on the disk."""
        if status == ORIGINAL:  # may still have to be turned upright
            decoded = read_image(output)
        else:
            with open(output, "rb") as file:
                decoded = jpeg_file.decode(file.read())
        return image_metrics.measure(picture, decoded)


def _exists(output):
    return UserError(f"{output}: exists already; pass --force to overwrite it")


def _holds(path, data):
    with open(path, "rb") as file:
        return file.read(len(data) + 1) == data
