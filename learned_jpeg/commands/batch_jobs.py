"""One shard's part of a very long list of files.

Only two 64-bit hashes a path stay in memory, and one for each line of the manifest; the
pending paths wait in a temporary file.
"""

from __future__ import annotations

import array
import codecs
import contextlib
import glob
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from learned_jpeg.commands.call import encoding_flags
from learned_jpeg.commands.records import FAILED, read_records
from learned_jpeg.commands.shards import Shard, ShardFolder, stable_hash
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.terminal import one_line, write_to_stdout

logger = logging.getLogger(__name__)

_NULL = b"\0"
_CHUNK = 1 << 16  # bytes of a list that are read at once


@dataclass(frozen=True)
class BatchJob:
    """The work of one process.

    Attributes:
      pairs: iterable of (path, output).
      count: number of pairs.
      manifest: path of the file of their records.
    """

    pairs: Iterable[tuple[str, str]]
    count: int
    manifest: str


def is_batch_job(args) -> bool:
    """Returns whether a call of `compress` works on a list or on a shard."""
    return bool(args.shard) or has_list(args)


def has_list(args) -> bool:
    """Returns whether a call of `compress` works on a list."""
    return bool(args.files_from or args.files_from0)


@contextlib.contextmanager
def opened_batch_job(args, plan) -> Iterator[BatchJob]:
    """Opens the work of one process.

    Args:
      args: flags of `compress`.
      plan: function from these to a `plan.Plan`, where there is no list.

    Yields:
      `BatchJob`.

    Raises:
      UserError: no list, or no such image; as `ShardFolder.entered`.
    """
    shard = Shard(*(args.shard or (0, 1)))
    folder = ShardFolder(args.output)
    with folder.entered(shard, encoding_flags(args)), _ended_by_sigterm():
        manifest = _manifest(folder, shard.index)
        done = _recorded([manifest] if os.path.exists(manifest) else [])[0]
        if has_list(args):
            end = _end_of_paths(args)
            with tempfile.TemporaryFile() as waiting:
                with _opened_list(args) as paths:
                    spooled = _spool(paths, shard, done, waiting, end)
                if spooled.again:
                    logger.info("left out %d repetitions of paths", spooled.again)
                pairs = _pairs(waiting, args.output, spooled, end)
                yield BatchJob(pairs, spooled.count, manifest)
            return
        pairs = [
            (path, output)
            for path, output in plan(args).pairs()
            if shard.owns(path) and not _has(done, _number(path))
        ]
        yield BatchJob(pairs, len(pairs), manifest)


@contextlib.contextmanager
def _ended_by_sigterm():
    """Lets the images that are begun be finished and recorded after a SIGTERM."""

    def end(number, frame):
        del frame
        signal.signal(number, signal.SIG_IGN)  # a second one would lose a record
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def print_missing(args, plan) -> int:
    """Prints the paths that are in no manifest.

    Args:
      args, plan: as for `opened_batch_job`.

    Returns:
      Exit status: 1 if there are any, or failures, else 0.
    """
    folder = ShardFolder(args.output)
    manifests = glob.glob(os.path.join(glob.escape(folder.path), "*.jsonl"))
    done, failed = _recorded(manifests)
    known = np.union1d(done, failed)
    total = missing = 0
    with contextlib.ExitStack() as stack:
        if has_list(args):
            paths = stack.enter_context(_opened_list(args))
        else:
            paths = plan(args).inputs
        for path in paths:
            total += 1
            if not _has(known, _number(path)):
                missing += 1
                _print_path(path, _end_of_paths(args))
    write_to_stdout(b"")
    print(
        f"{missing} of {total} are in no manifest; {len(failed)} have failed, and are "
        "tried again by the same call",
        file=sys.stderr,
    )
    return 1 if missing or len(failed) else 0


def _print_path(path, end):
    """Prints a path for the program that reads it, or for a terminal."""
    line, end = (one_line(path), b"\n") if sys.stdout.isatty() else (path, end)
    sys.stdout.buffer.write(os.fsencode(line) + end)


def _manifest(folder, index):
    return os.path.join(folder.path, f"{index}.jsonl")


def _recorded(manifests):
    """Returns the sorted hashes of the paths that are done, and that failed."""
    done, failed = array.array("Q"), array.array("Q")
    for manifest in manifests:
        for record in read_records(manifest):
            (failed if record.status == FAILED else done).append(_number(record.path))
    done = np.unique(np.array(done, np.uint64))
    return done, np.setdiff1d(np.array(failed, np.uint64), done)


def _has(numbers, number):
    """Returns whether a sorted array has a number."""
    place = np.searchsorted(numbers, np.uint64(number))
    return place < len(numbers) and int(numbers[place]) == number


def _number(path):
    """Returns the hash of a path, the same for `a/b.png` and `./a//b.png`.

    `..` stays, because behind a link it leads elsewhere.
    """
    odd = (os.sep + os.curdir, os.sep * 2)
    if path.startswith(os.curdir) or any(text in path for text in odd):
        parts = path.split(os.sep)
        inside = os.sep.join(part for part in parts if part not in ("", os.curdir))
        path = os.sep + inside if path.startswith(os.sep) else inside
    return stable_hash(path)


def _end_of_paths(args):
    """Returns the byte that ends each path of a list."""
    return _NULL if args.files_from0 else b"\n"


@contextlib.contextmanager
def _opened_list(args):
    """Yields the paths of a list; of standard input for "-".

    Raises:
      UserError: there is no list, or it is in UTF-16.
    """
    flag, path, end = "--files_from", args.files_from, _end_of_paths(args)
    if args.files_from0:
        flag, path = "--files_from0", args.files_from0
    if path == "-":
        yield _paths_of_list(sys.stdin.buffer, f"{flag} {path}", end)
        return
    if not os.path.isfile(path):
        raise UserError(f"{flag} {path}: no such file")
    with open(path, "rb") as file:
        yield _paths_of_list(file, f"{flag} {path}", end)


def _paths_of_list(file, name, end):
    for number, line in enumerate(_lines(file, end)):
        if not number:
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UserError(
                    f"{name}: is UTF-16; save it as UTF-8, or in the bytes of the names"
                )
            line = line.removeprefix(codecs.BOM_UTF8)
            if _NULL in line:
                raise UserError(f"{name}: holds NUL bytes; pass it by --files_from0")
        if path := line if end == _NULL else line.rstrip(b"\r\n"):
            yield os.fsdecode(path)


def _lines(file, end):
    """Yields the lines of a binary file without their end, one byte."""
    rest = b""
    while chunk := file.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(end)
        yield from lines
    if rest:
        yield rest


def output_of(path: str, folder: str, keeps_suffix: bool = False) -> str:
    """Returns the path of a result in the tree below a folder.

    Args:
      path: of the input. The root of an absolute path is left out, and so is what leads
        upwards.
      folder: of the results.
      keeps_suffix: whether the result is `<name>.jpg`, not `<stem>.jpg`.
    """
    parts = os.path.normpath(path).split(os.sep)
    # Of a folder such as `..` nothing is left: it fails when it is read.
    inside = os.path.join("", *(p for p in parts if p not in ("", os.pardir)))
    if not keeps_suffix:
        inside = os.path.splitext(inside)[0]
    return os.path.join(folder, f"{inside}.jpg")


class _Spooled(NamedTuple):
    """The pending paths of a shard.

    Attributes:
      count: their number.
      shared: hashes of the results that several paths have.
      repeated: hashes of the paths that the list has more than once.
      again: number of the lines that repeat an earlier one.
    """

    count: int
    shared: set[int]
    repeated: set[int]
    again: int


def _spool(listed, shard, done, waiting, end):
    """Writes the pending paths of a shard to a file; returns `_Spooled`.

    A path belongs to the shard of its result, so that two paths with one result meet.
    """
    count = 0
    results, paths = array.array("Q"), array.array("Q")
    for path in listed:
        result = stable_hash(output_of(path, ""))
        if result % shard.count != shard.index:
            continue
        number = _number(path)
        results.append(result)
        paths.append(number)
        if not _has(done, number):
            waiting.write(os.fsencode(path) + end)
            count += 1
    results, paths = np.array(results, np.uint64), np.array(paths, np.uint64)
    order = np.lexsort((paths, results))
    results, paths = results[order], paths[order]
    is_again = paths[1:] == paths[:-1]
    again = paths[1:][is_again]
    is_shared = (results[1:] == results[:-1]) & ~is_again
    return _Spooled(
        count - int(np.count_nonzero(~np.isin(again, done))),
        set(results[1:][is_shared].tolist()),
        set(again.tolist()),
        len(again),
    )


def _pairs(waiting, folder, spooled, end):
    """Yields (path, output) of the lines of a file, each path once."""
    waiting.seek(0)
    seen = set()
    for path in map(os.fsdecode, _lines(waiting, end)):
        if spooled.repeated and (number := _number(path)) in spooled.repeated:
            if number in seen:
                continue
            seen.add(number)
        is_shared = stable_hash(output_of(path, "")) in spooled.shared
        yield path, output_of(path, folder, is_shared)


class NoOverwriteGuard:
    """Stands in for an `OutputGuard` where no file is ever replaced."""

    def check(self, output):
        """Refuses nothing: existing files stay."""

    def claim(self, output):
        """Returns a context that does nothing."""
        del output
        return contextlib.nullcontext()
