"""Tests of shared_state: a state lasts from the first block to the last one."""

import contextlib
import os
import threading

import pytest

from learned_jpeg.common.shared_state import SharedState


@pytest.fixture
def calls():
    """What was called, in its order."""
    return []


@pytest.fixture
def state(calls):
    return SharedState(lambda: calls.append("begin"), lambda: calls.append("end"))


def test_first_block_begins_it_and_last_one_ends_it(state, calls):
    one, other = state.on(), state.on()
    assert not state.is_on
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert state.is_on
    assert calls == ["begin"]
    other.__exit__(None, None, None)
    assert not state.is_on
    with state.on():
        pass
    assert calls == ["begin", "end", "begin", "end"]


def test_error_in_a_block_ends_it(state, calls):
    with pytest.raises(ValueError, match="within"), state.on():
        raise ValueError("within")
    assert calls == ["begin", "end"]


def test_threads_share_it(state, calls):
    barrier = threading.Barrier(3)

    def work():
        with state.on():
            barrier.wait(10)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert calls == ["begin", "end"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_begins_without_it(state, calls):
    with state.on(), state._lock:  # as if another thread held it
        child = os.fork()
        if not child:
            is_free = state._lock.acquire(timeout=5)
            os._exit(0 if is_free and not state.is_on else 1)
        _, status = os.waitpid(child, 0)
    assert status == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_that_leaves_its_parents_block_begins_anew(state):
    with contextlib.ExitStack() as stack:
        stack.enter_context(state.on())
        child = os.fork()
        if not child:
            stack.close()
            with state.on():
                os._exit(0 if state.is_on else 1)
        _, status = os.waitpid(child, 0)
    assert status == 0
    assert not state.is_on
