"""Memory for arrays that are made again and again, kept from one use to the next.

The system hands out fresh memory page by page, as it is first written to, and takes
large arrays back as soon as they are not used any more. Where a search makes the same
arrays in every pass, that takes a quarter of its time:

    with kept_memory.kept():
        for _ in range(passes):
            plane = kept_memory.empty((height, width))
            ...

An array's memory is used again once nothing refers to the array or to a part of it. It
is given back when the last block of `kept` ends. Several threads may use it.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import mmap
import os
import sys
import threading
from collections.abc import Iterator, Sequence

import numpy as np

_SMALL = 1 << 16  # bytes, up to which the allocator itself keeps memory
_LARGE = 1 << 24  # bytes, above which memory is worth more than time
_MUCH = 1 << 27  # bytes in all that are kept while other work needs memory
_WASTE = 4  # times an array's size, the most that its memory may have

_lock = threading.Lock()
_users = 0
_buffers: list[np.ndarray] = []  # by size
_sizes: list[int] = []  # theirs, in bytes


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keeps the memory of arrays from `empty` until the end of the block."""
    global _users
    with _lock:
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _buffers.clear()
                _sizes.clear()


def empty(shape: Sequence[int]) -> np.ndarray:
    """Returns a float32 array without values, as `numpy.empty` does."""
    size = 4 * math.prod(shape)
    if not _users or not _SMALL < size <= _LARGE:
        return np.empty(shape, np.float32)
    with _lock:
        buffer = _idle_buffer(size)
        # The array refers to its buffer, which tells that it is used.
        return np.ndarray(shape, np.float32, buffer)


def trim() -> None:
    """Gives memory back that is not used now, where much is kept."""
    with _lock:
        for number in reversed(range(len(_buffers))):
            if sum(_sizes) <= _MUCH:
                break
            if sys.getrefcount(_buffers[number]) == _IDLE:
                del _buffers[number], _sizes[number]


def zeros(shape: Sequence[int]) -> np.ndarray:
    """Returns a float32 array of zeros."""
    array = empty(shape)
    array.fill(0)
    return array


def _idle_buffer(size: int) -> np.ndarray:
    """Returns the smallest buffer that is large enough, or a new one."""
    for number in range(bisect.bisect_left(_sizes, size), len(_buffers)):
        if _sizes[number] > _WASTE * size:
            break
        if sys.getrefcount(_buffers[number]) == _IDLE:
            return _buffers[number]
    # Larger than asked for, as strips of an image differ a little in size; and mapped,
    # so that it is the system's again when it is given back.
    new = np.frombuffer(mmap.mmap(-1, size + size // 8), np.uint8)
    place = bisect.bisect_left(_sizes, new.size)
    _sizes.insert(place, new.size)
    _buffers.insert(place, new)
    return new


def _count_of_idle() -> int:
    """Returns what `sys.getrefcount` says of a buffer that no array refers to."""
    buffers = [np.empty(1, np.uint8)]
    return sys.getrefcount(buffers[0])


_IDLE = _count_of_idle()


def _forget() -> None:
    """Lets go what threads of the parent hold, which a forked process does not have."""
    global _lock, _users
    _lock = threading.Lock()
    _users = 0
    _buffers.clear()
    _sizes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
