"""Runs a job for one image after another, in threads: order, errors, memory."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple

from learned_jpeg.commands.records import FAILED, Record, RecordFile
from learned_jpeg.common.errors import UserError, describe_os_error, is_out_of_memory

_AHEAD = 64  # inputs queued per worker


class Done(NamedTuple):
    """The result of a job: its `Record`, and the metrics of the file by name."""

    record: Record
    metrics: dict[str, float]


def run_batch(
    job: Callable[[str, str], Done],
    pairs: Iterable[tuple[str, str]],
    workers: int,
    record_file: RecordFile | None = None,
) -> Generator[Done, None, None]:
    """Runs a job for every pair; yields the results in the order of the pairs.

    Args:
      job: function (path, output) -> `Done`; is called from several threads. A
        `UserError`, an `OSError` and lack of memory become the record of a failure; any
        other exception ends the batch.
      pairs: (path, output); no more are taken than keep the workers busy.
      workers: number of threads.
      record_file: gets each record at once, so that a call that is killed has recorded
        all that it did; None to write no records.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        waiting = collections.deque()
        try:
            for pair in pairs:
                waiting.append(executor.submit(_run, job, *pair, record_file))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _run(job, path, output, record_file):
    done = _done(job, path, output)
    if record_file:
        record_file.append(done.record)
    return done


def _done(job, path, output):
    start = time.perf_counter()
    try:
        return job(path, output)
    except UserError as error:
        problem = str(error)
    except OSError as error:
        name = "" if error.filename else f"{path}: "
        problem = name + describe_os_error(error)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        remedy = "lower --workers, or scale the image down"
        problem = f"{path}: not enough memory; {remedy}"
    seconds = time.perf_counter() - start
    failure = Record(
        path, FAILED, bytes_in=size_of(path), seconds=seconds, error=problem
    )
    return Done(failure, {})


def size_of(path: str) -> int | None:
    """Returns the size of a file in bytes, or None where there is no file."""
    with contextlib.suppress(OSError, ValueError):
        return os.stat(path).st_size
    return None


class MemoryBudget:
    """Lets work start while there is memory for it; what is too large runs alone."""

    def __init__(self, total: int | None):
        """Stores the number of bytes; None for no limit."""
        self._total = total
        self._free = total or 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Waits until so many bytes are free, and holds them within the context."""
        if self._total is None:
            yield
            return
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
