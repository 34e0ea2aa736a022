"""Runs a job for picture after picture, in threads: order, errors, memory."""

import collections
import concurrent.futures
import contextlib
import os
import threading
import time
from typing import NamedTuple

from learned_jpeg.commands.records import FAILED, Record
from learned_jpeg.common.errors import UserError, describe_os_error, is_out_of_memory

_AHEAD = 64  # inputs a worker that are begun before the first of them is done


class Done(NamedTuple):
    """What a job returns: its `Record`, and metrics of the file by their names."""

    record: Record
    metrics: dict


def run_batch(job, pairs, workers, record_file=None):
    """Runs a job for every pair; yields what each gives, in their order.

    Args:
      job: function (path, output) -> `Done`; may be called from several threads. What
        a user can mend, the system refuses or does not fit into memory becomes a
        record of a failure; any other exception ends the batch.
      pairs: iterable of (path, output), of which no more are taken than are needed
        to keep the workers busy.
      workers: number of threads.
      record_file: `records.RecordFile` that gets each record as soon as there is one,
        so that a call that is killed has told all that it did; or None.
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
        remedy = "lower --workers, or scale the picture down"
        problem = f"{path}: not enough memory; {remedy}"
    seconds = time.perf_counter() - start
    failure = Record(
        path, FAILED, bytes_in=size_of(path), seconds=seconds, error=problem
    )
    return Done(failure, {})


def size_of(path):
    """Bytes of a file, or None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        return os.stat(path).st_size
    return None


class MemoryBudget:
    """Lets work begin as long as there is memory for it; what is too large, alone."""

    def __init__(self, total):
        """Takes bytes; None for no limit."""
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, amount):
        """Context of work that needs so many bytes; waits until they are free."""
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
