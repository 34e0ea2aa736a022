"""Tests of kept_memory: arrays never share memory while they are in use."""

import os
import threading

import numpy as np
import pytest

from learned_jpeg.common import blas, kept_memory

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


def test_smaller_arrays_use_the_memory_of_larger_ones():
    with kept_memory.kept():
        before = address(kept_memory.empty(SHAPE))
        assert address(kept_memory.empty((3, 80, 120))) == before
        # But a small array does not keep a large one's memory from being used.
        assert address(kept_memory.empty((3, 20, 120))) != before


def test_memory_is_given_back_at_the_end_of_the_last_block():
    with kept_memory.kept():
        with kept_memory.kept():
            array = kept_memory.empty(SHAPE)
        assert kept_memory._buffers
    assert not kept_memory._buffers
    array[:] = 1  # the array still has its own
    assert kept_memory.zeros(SHAPE).sum() == 0
    assert not kept_memory._buffers


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


def test_trim_gives_back_what_is_not_used(monkeypatch):
    monkeypatch.setattr(kept_memory, "_MUCH", 200_000)
    with kept_memory.kept():
        used, idle = kept_memory.empty(SHAPE), kept_memory.empty(SHAPE)
        del idle
        used.fill(3)
        kept_memory.trim()
        assert len(kept_memory._buffers) == len(kept_memory._sizes) == 1
        kept_memory.empty(SHAPE).fill(4)
        assert (used == 3).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("module", [kept_memory, blas])
def test_a_forked_process_waits_for_no_thread_of_its_parent(module):
    with module._lock:
        child = os.fork()
        if not child:
            is_free = module._lock.acquire(timeout=5)
            os._exit(0 if is_free and not module._users else 1)
        _, status = os.waitpid(child, 0)
    assert status == 0
