"""Shares the processor's cores between the tasks of one image, and between images.

Compiled functions run without the interpreter's lock, so that threads use all cores:

    results = threads.run(function, items)

calls the function once for every item, on the calling thread and on whichever cores
are idle. The results never depend on the number of threads, as long as the items do
not: divide an image by its size alone, and add sums up in the order of the items.

    with threads.limit(1):
        lj.encode(image)  # on one core

Every process starts with all cores that it may use. Threads that work on different
images take them from the same `Cores`, one each, and share what is left.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from learned_jpeg.common import machine

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Cores:
    """A number of cores that threads take and give back."""

    def __init__(self, count: int):
        """Starts with all of them idle.

        Args:
          count: at least 1.
        """
        if count < 1:
            raise ValueError(f"at least one core is needed, not {count}")
        self._idle = count
        self._lock = threading.Lock()

    def take(self, count: int) -> int:
        """Reserves up to `count` idle cores; returns how many."""
        with self._lock:
            taken = min(max(self._idle, 0), count)
            self._idle -= taken
        return taken

    def give(self, count: int) -> None:
        """Gives cores back; a negative number takes them, idle or not."""
        with self._lock:
            self._idle += count


@contextlib.contextmanager
def limit(cores: int | Cores) -> Iterator[None]:
    """Limits the calls of `run` in this thread; the thread itself takes one core.

    Args:
      cores: a number of cores; or `Cores`, which other threads may share.
    """
    shared = Cores(cores) if isinstance(cores, int) else cores
    token = _cores.set(shared)
    shared.give(-1)
    try:
        yield
    finally:
        shared.give(1)
        _cores.reset(token)


def run(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Calls a function for every item, in this thread and on idle cores.

    A call of `run` within the function uses no more threads. The first error is raised
    once nothing runs any more, and further items are not begun then.

    Args:
      function: may be called from several threads at a time.
      items: the largest should come first.

    Returns:
      The results, in the order of the items.
    """
    todo = list(items)
    if len(todo) < 2 or _is_within_run.get():
        return [function(item) for item in todo]
    cores = _cores.get()
    if cores is None:
        with limit(_all_cores()):
            return run(function, todo)
    results: dict[int, _Result] = {}
    numbers = iter(range(len(todo)))  # its next() is atomic

    def work() -> None:
        token = _is_within_run.set(True)
        try:
            for number in numbers:
                results[number] = function(todo[number])
        except BaseException:
            for _ in numbers:  # nothing more is begun
                pass
            raise
        finally:
            _is_within_run.reset(token)

    def help_out() -> None:
        try:
            work()
        finally:
            cores.give(1)

    helpers = [_pool().submit(help_out) for _ in range(cores.take(len(todo) - 1))]
    try:
        work()
    finally:
        for helper in helpers:
            if helper.cancel():  # it did not find a thread in time
                cores.give(1)
        concurrent.futures.wait(helpers)
    for helper in helpers:
        if not helper.cancelled():
            helper.result()
    return [results[number] for number in range(len(todo))]


_cores: contextvars.ContextVar[Cores | None] = contextvars.ContextVar(
    "cores", default=None
)
_is_within_run = contextvars.ContextVar("is_within_run", default=False)


@functools.cache
def _all_cores() -> Cores:
    return Cores(machine.usable_cores())


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(
        machine.usable_cores(), thread_name_prefix="learned-jpeg"
    )


def _forget() -> None:
    """Forgets the threads of the parent, which a forked process does not have."""
    _all_cores.cache_clear()
    _pool.cache_clear()
    _cores.set(None)
    _is_within_run.set(False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
