"""Tests of kept_memory: arrays never share memory while they are in use."""

import sys
import threading
import weakref

import numpy as np
import pytest

from learned_jpeg.common import kept_memory
from tests.forks import holds_in_child, needs_fork

SHAPE = (3, 100, 120)


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nothing_refers_to_it():
    with kept_memory.kept():
        array = kept_memory.empty(SHAPE)
        before = address(array)
        del array
        again = kept_memory.empty(SHAPE)
        assert address(again) == before
        part = again[1, 5:]
        del again
        other = kept_memory.empty(SHAPE)
        assert not np.shares_memory(part, other)


def test_arrays_of_any_order_and_size_never_overlap(monkeypatch):
    monkeypatch.setattr(kept_memory, "_ARENA", 1 << 20)  # several of them
    monkeypatch.setattr(kept_memory, "_LARGE", 1 << 19)
    monkeypatch.setattr(kept_memory, "_MUCH", 1 << 18)
    rng = np.random.default_rng(0)
    arrays = {}
    with kept_memory.kept():
        for number in range(1000):
            array = kept_memory.empty((int(rng.integers(20_000, 120_000)),))
            array.fill(number)
            arrays[number] = array
            del array
            while len(arrays) > rng.integers(1, 30):
                key = int(rng.choice(list(arrays)))
                assert (arrays.pop(key) == key).all()
            if number % 50 == 0:
                kept_memory.trim()
        assert len(kept_memory._arenas) > 1
        arrays.clear()
        kept_memory.trim()
        (arena,) = kept_memory._arenas
        assert arena.is_idle


def test_memory_side_by_side_is_joined():
    with kept_memory.kept():
        arrays = [kept_memory.empty(SHAPE) for _ in range(4)]
        first = address(arrays[0])
        for number in (2, 0, 1):  # a gap after it, one before it, and both
            arrays[number] = None
        assert address(kept_memory.empty((9, 100, 120))) == first


def test_memory_is_given_back_at_the_end_of_the_last_block():
    with kept_memory.kept():
        with kept_memory.kept():
            array = kept_memory.empty(SHAPE)
        assert kept_memory._arenas
    assert not kept_memory._arenas
    array[:] = 1  # the array still has its own
    memory = weakref.ref(array.base.base.obj)
    del array
    assert memory() is None
    assert kept_memory.zeros(SHAPE).sum() == 0
    assert not kept_memory._arenas


def test_zeros_are_zeros_in_memory_that_was_used():
    with kept_memory.kept():
        kept_memory.empty(SHAPE).fill(7)
        assert not kept_memory.zeros(SHAPE).any()


def test_threads_do_not_share_an_array():
    wrong = []

    def work(number):
        for _ in range(300):
            one, other = kept_memory.empty(SHAPE), kept_memory.empty(SHAPE)
            one.fill(number)
            other.fill(-number)
            if (one != number).any():
                wrong.append(number)

    with kept_memory.kept():
        workers = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not wrong


def test_without_place_for_an_arena_arrays_are_ordinary_ones(monkeypatch):
    def refuse(size):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(kept_memory, "_mapped", refuse)
    with kept_memory.kept():
        assert not kept_memory.zeros(SHAPE).any()


@pytest.mark.skipif(sys.platform != "linux", reason="others may keep what was there")
def test_trim_gives_back_what_is_not_used(monkeypatch):
    monkeypatch.setattr(kept_memory, "_MUCH", 0)
    shape = 1 << 21, 2  # 16 MB, some huge pages
    with kept_memory.kept():
        used, idle = kept_memory.zeros(shape), kept_memory.zeros(shape)
        used.fill(3)
        idle.fill(4)
        del idle
        kept_memory.trim()
        assert (used == 3).all()
        # Fresh pages are 0.
        assert (kept_memory.empty(shape)[len(used) // 2] == 0).all()


def test_what_is_kept_for_soon_is_not_trimmed():
    with kept_memory.kept():
        kept_memory.zeros((1 << 20, 2)).fill(5)
        kept_memory.trim()
        assert (kept_memory.empty((1 << 20, 2)) == 5).all()


@needs_fork
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    with kept_memory.kept():
        before = kept_memory.zeros(SHAPE)
        with kept_memory._lock:
            assert holds_in_child(
                lambda: kept_memory._lock.acquire(timeout=5) and not kept_memory._arenas
            )
        assert not before.any()
