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
import collections
import contextlib
import math
import mmap
import os
import threading
import weakref
from collections.abc import Iterator, Sequence

import numpy as np

from learned_jpeg.common.shared_state import SharedState

_SMALL = 1 << 16  # bytes, up to which the allocator itself keeps memory
# Bytes that are asked for at a time. They count once they are written to, but Windows
# counts them at once.
_ARENA = 1 << (30 if hasattr(mmap, "MAP_PRIVATE") else 27)
_LARGE = _ARENA >> 2  # bytes, above which an arena would have little place
_MUCH = 1 << 26  # idle bytes that are kept while other work needs memory
_PAGE = 1 << 12  # bytes; arrays begin at multiples of it
_HUGE_PAGE = 1 << 21  # bytes


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keeps the memory of arrays from `empty` until the end of the block."""
    with _state.on():
        yield


def empty(shape: Sequence[int]) -> np.ndarray:
    """Returns a float32 array without values, as `numpy.empty` does."""
    size = 4 * math.prod(shape)
    if not _state.is_on or not _SMALL < size <= _LARGE:
        return np.empty(shape, np.float32)
    try:
        with _lock:
            block = _block(-(-size // _PAGE) * _PAGE) if _state.is_on else None
    except OSError:  # there is no place for an arena
        block = None
    if block is None:
        return np.empty(shape, np.float32)
    # The array refers to the block, whose end tells that it is not used any more.
    return np.ndarray(shape, np.float32, block)


def zeros(shape: Sequence[int]) -> np.ndarray:
    """Returns a float32 array of zeros."""
    array = empty(shape)
    array.fill(0)
    return array


def trim() -> None:
    """Gives memory back that is not used now, where much is kept."""
    with _lock:
        _put_back()
        _arenas[1:] = [arena for arena in _arenas[1:] if not arena.is_idle]
        for number, arena in enumerate(_arenas):
            arena.trim(0 if number else _MUCH)


class _Arena:
    """Memory of the system, of which parts are used.

    Attributes:
      memory: all of it.
    """

    def __init__(self, size: int):
        """Asks the system for bytes, which count once they are written to."""
        self.memory = _mapped(size)
        self._free = [(0, size)]  # (start, stop) of each free part, by address

    @property
    def is_idle(self) -> bool:
        """Whether no part is used."""
        return self._free == [(0, len(self.memory))]

    def take(self, size: int) -> int | None:
        """Reserves the first free part that is large enough.

        Returns:
          Its start; None if there is none.
        """
        for number, (start, stop) in enumerate(self._free):
            if stop - start >= size:
                rest = [(start + size, stop)] if stop - start > size else []
                self._free[number : number + 1] = rest
                return start
        return None

    def put_back(self, start: int, stop: int) -> None:
        """Marks a part as free."""
        number = last = bisect.bisect(self._free, (start, stop))
        if number and self._free[number - 1][1] == start:
            number -= 1
            start = self._free[number][0]
        if last < len(self._free) and self._free[last][0] == stop:
            stop = self._free[last][1]
            last += 1
        self._free[number:last] = [(start, stop)]

    def trim(self, first: int) -> None:
        """Gives the system back what is free from byte `first` on, where it can."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        for start, stop in self._free:
            start = -(-max(start, first) // _HUGE_PAGE) * _HUGE_PAGE
            stop = stop // _HUGE_PAGE * _HUGE_PAGE
            if start < stop:
                self.memory.madvise(mmap.MADV_DONTNEED, start, stop - start)


_lock = threading.Lock()
_arenas: list[_Arena] = []
# Parts that are not used any more. The end of an array may come at any time, also while
# the lock is held.
_ended: collections.deque[tuple[weakref.ref[_Arena], int, int]] = collections.deque()


def _block(size: int) -> np.ndarray:
    """Returns bytes that nothing else uses as long as something refers to them."""
    _put_back()
    for arena in _arenas:
        start = arena.take(size)
        if start is not None:
            break
    else:
        arena = _Arena(_ARENA)
        _arenas.append(arena)
        start = arena.take(size)
        assert start is not None
    block = np.frombuffer(arena.memory, np.uint8, size, start)
    # The list of ended parts does not keep the arena.
    place = weakref.ref(arena), start, start + size
    weakref.finalize(block, _ended.append, place).atexit = False
    return block


def _put_back() -> None:
    while _ended:
        reference, start, stop = _ended.popleft()
        arena = reference()
        if arena is not None:
            arena.put_back(start, stop)


def _mapped(size: int) -> mmap.mmap:
    """Returns memory that is the system's again once nothing refers to it."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # the system has none
            memory.madvise(mmap.MADV_HUGEPAGE)  # they come in a fifth of the time
    return memory


def _end() -> None:
    with _lock:
        _put_back()
        for arena in _arenas:  # of which an array that lives on keeps the address space
            arena.trim(0)
        _arenas.clear()


def _forget() -> None:
    global _lock
    _lock = threading.Lock()  # which another thread of the parent may have held
    _arenas.clear()
    _ended.clear()


_state = SharedState(lambda: None, _end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
