"""Runs a job for one image after another, in threads: order, errors, memory."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple

from learned_jpeg.commands.records import FAILED, Record, RecordFile
from learned_jpeg.common import threads
from learned_jpeg.common.errors import UserError, describe_os_error, is_out_of_memory
from learned_jpeg.common.terminal import one_line

logger = logging.getLogger(__name__)

_AHEAD = 64  # inputs queued per worker
_GRACE_SECONDS = 2.0  # for the images that are begun when Ctrl-C comes


class Done(NamedTuple):
    """The result of a job.

    Attributes:
      record: `Record`.
      metrics: of the file, by name.
      note: in words why a result that was there is not the one asked for, or None.
    """

    record: Record
    metrics: dict[str, float]
    note: str | None = None


def run_batch(
    job: Callable[[str, str], Done],
    pairs: Iterable[tuple[str, str]],
    workers: int,
    record_file: RecordFile | None = None,
) -> Generator[Done, None, None]:
    """Runs a job for every pair; yields the results in the order of the pairs.

    After Ctrl-C the images that are begun are given up unless they are done soon. Where
    the caller ends early, as on SIGTERM, they are finished and recorded.

    Args:
      job: function (path, output) -> `Done`; is called from several threads. An
        exception becomes the record of a failure, and the batch goes on; one that no
        user can mend is also logged with its traceback.
      pairs: (path, output); no more are taken than keep the workers busy.
      workers: number of threads.
      record_file: gets each record at once, so that a call that is killed has recorded
        all that it did; None to write no records.
    """
    executor = concurrent.futures.ThreadPoolExecutor(workers)
    waiting = collections.deque()
    try:
        for pair in pairs:
            waiting.append(executor.submit(_run, job, *pair, record_file))
            if len(waiting) >= _AHEAD * workers:
                yield waiting[0].result()
                waiting.popleft()
        while waiting:
            yield waiting[0].result()
            waiting.popleft()
    except KeyboardInterrupt:
        # Compiled code does not hear of it, and a large image takes minutes.
        executor.shutdown(wait=False, cancel_futures=True)
        begun = [future for future in waiting if future.running()]
        concurrent.futures.wait(begun, _GRACE_SECONDS)
        raise
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


def _run(job, path, output, record_file):
    done = _done(job, path, output)
    if record_file:
        record_file.append(done.record)
    return done


def _done(job, path, output):
    start = time.perf_counter()
    try:
        return job(path, output)
    except BrokenPipeError:  # The reader of standard output has gone: nobody waits.
        raise
    except Exception as error:
        problem = _problem(error)
    seconds = time.perf_counter() - start
    failure = Record(
        path=path,
        status=FAILED,
        bytes_in=size_of(path),
        seconds=seconds,
        error=_named(problem, path, output),
    )
    return Done(failure, {})


def _problem(error):
    """Returns one line on an exception of a job."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return describe_os_error(error)
    if is_out_of_memory(error):
        return "not enough memory; lower --workers, or scale the image down"
    logger.error("a fault of this program:", exc_info=error)
    reason = one_line(f"{type(error).__name__}: {error}")
    return f"a fault of this program ({reason}); please report it"


def _named(problem, *paths):
    """Returns a line that names a file: as it is, or with the first of these."""
    names = [one_line(path) for path in paths]
    is_named = any(problem.startswith(f"{name}:") for name in names)
    return problem if is_named else f"{names[0]}: {problem}"


def size_of(path: str) -> int | None:
    """Returns the size of a file in bytes, or None where there is no file."""
    with contextlib.suppress(OSError, ValueError):
        return os.stat(path).st_size
    return None


class Budget:
    """Lets work on images start while there is memory, and shares cores among it.

    An image that is too large for the memory runs alone. Images that are being encoded
    have a core each, and take those that are left for their own tasks: all cores work
    on a few large images as well as on many small ones.
    """

    def __init__(self, memory: int | None, cores: int):
        """Stores the number of bytes, None for no limit, and of cores."""
        self._memory = memory
        self._free = memory or 0
        self._changed = threading.Condition()
        self._cores = threads.Cores(cores)

    @contextlib.contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Waits until so many bytes are free; holds them and a core in the context."""
        # No core is held while it waits: the images that run use it.
        with self._bytes(amount), threads.limit(self._cores):
            yield

    @contextlib.contextmanager
    def _bytes(self, amount: int) -> Iterator[None]:
        if self._memory is None:
            yield
            return
        amount = min(amount, self._memory)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
