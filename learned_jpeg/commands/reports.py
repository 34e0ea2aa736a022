"""The output of `compress`: a line for each image, means and a summary."""

from __future__ import annotations

import collections
import logging
import math
import os
from typing import TextIO

from learned_jpeg.commands.batch import Done
from learned_jpeg.commands.plan import STREAM
from learned_jpeg.commands.records import FAILED, ORIGINAL, SKIPPED, Record
from learned_jpeg.common.terminal import one_line
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import INFINITE_PSNR, mean_of_defined

logger = logging.getLogger(__name__)


def described(done: Done, verbose: bool) -> str | None:
    """Returns the line on an image that was done, or None.

    Args:
      done: `batch.Done`.
      verbose: whether every image has a line, with its metrics. Without it only those
        have one that were kept without loss, or only measured.
    """
    record = done.record
    if not (verbose or record.dry_run) or record.status == SKIPPED:
        return (
            f"{record.output}: {record.setting}" if record.status == ORIGINAL else None
        )
    rate = f"{record.output}: {record.bytes_out} bytes, {record.bpp:.4f} bpp, "
    rate += f"{record.subsampling}, "
    return rate + _metrics_text(done.metrics) + f" ({record.setting})"


class BatchCounts:
    """Counts the results of more files than there is memory for their records."""

    def __init__(self):
        """Starts at zero."""
        self._counts = collections.Counter()
        self._bytes_in = self._bytes_out = 0

    def add(self, record: Record) -> None:
        """Counts a `records.Record`."""
        self._counts[record.status] += 1
        if record.status not in (FAILED, SKIPPED):
            self._bytes_in += record.bytes_in or 0
            self._bytes_out += record.bytes_out or 0

    def report(self, manifest: str) -> int:
        """Prints the summary; returns the exit status, as `report`."""
        failed, skipped = self._counts[FAILED], self._counts[SKIPPED]
        total = self._counts.total()
        sizes = _sizes_text(self._bytes_in, self._bytes_out)
        line = (
            f"{total - failed - skipped} of {total} files, {sizes}, {skipped} "
            f"skipped, recorded in {manifest}"
        )
        print(one_line(line))
        if failed:
            logger.error("%d of %d files failed, see %s", failed, total, manifest)
        return 1 if failed else 0


def report(done: list[Done], verbose: bool, file: TextIO) -> int:
    """Prints the summary of a batch.

    Args:
      done: one `batch.Done` for each input.
      verbose: whether to print means of the metrics.
      file: stream to print to.

    Returns:
      Exit status: 1 if an image failed, else 0.
    """
    measured = [item for item in done if item.metrics]
    if verbose and len(measured) > 1:
        print(_mean_line(measured), file=file)
    _note_undefined(measured)
    records = [item.record for item in done]
    written = [r for r in records if r.status not in (FAILED, SKIPPED)]
    if written:
        line = f"{len(written)} of {len(records)} images, {_sizes(written)}"
        print(one_line(line), file=file)
    originals = sum(r.status == ORIGINAL for r in written)
    if originals:
        logger.info("%d of them kept without loss", originals)
    skipped = sum(r.status == SKIPPED for r in records)
    if skipped:
        line = f"{skipped} of {len(records)} images skipped: their results exist"
        print(line, file=file)
    _warn_of_notes(done)
    failed = len(records) - len(written) - skipped
    if failed and len(records) > 1:
        logger.error("%d of %d images failed", failed, len(records))
    return 1 if failed else 0


def _warn_of_notes(done):
    """Logs how many results that were there are not those that are asked for."""
    for note, count in collections.Counter(i.note for i in done if i.note).items():
        is_one = count == 1
        logger.warning(
            "%d of them %s %s; --force makes %s again",
            count,
            "is" if is_one else "are",
            note,
            "it" if is_one else "them",
        )


def _sizes(written):
    sizes = _sizes_text(
        sum(record.bytes_in for record in written),
        sum(record.bytes_out for record in written),
    )
    if written[0].dry_run:
        return f"{sizes}, nothing written"
    if written[0].output == STREAM:
        return sizes
    folders = {os.path.dirname(record.output) or "." for record in written}
    where = folders.pop() if len(folders) == 1 else f"{len(folders)} folders"
    return f"{sizes}, in {where}"


def _sizes_text(before: int, after: int) -> str:
    """Returns the bytes before and after, and what is saved of them."""
    sizes = f"{before} -> {after} bytes"
    if not before or before == after:
        return sizes
    word = "smaller" if after < before else "larger"
    return f"{sizes} ({100 * abs(before - after) / before:.1f} % {word})"


def _note_undefined(measured):
    """Logs which metrics the means leave out."""
    infinite = sum(math.isinf(item.metrics.get("psnr", 0.0)) for item in measured)
    if 0 < infinite < len(measured):
        logger.info("%s: %d of %d", INFINITE_PSNR, infinite, len(measured))
    for metric in registry.METRICS.values():
        values = [item.metrics.get(metric.key, 0.0) for item in measured]
        if undefined := sum(map(math.isnan, values)):
            logger.info(
                "%s is not defined below %d px: nan for %d images",
                metric.name,
                metric.min_side,
                undefined,
            )


def _metrics_text(values):
    metrics = registry.METRICS.values()
    return ", ".join(m.described(values[m.key]) for m in metrics if m.key in values)


def _mean_line(measured):
    """Returns the line of means over the images, without nan values."""
    num_bytes = sum(item.record.bytes_out for item in measured) / len(measured)
    bpp = sum(item.record.bpp for item in measured) / len(measured)
    means = {
        name: mean_of_defined([item.metrics[name] for item in measured])
        for name in measured[0].metrics
    }
    return f"mean: {num_bytes:.0f} bytes, {bpp:.4f} bpp, {_metrics_text(means)}"
