"""Tests of shared_state: a state lasts from the first block to the last one."""

import contextlib
import threading

import pytest

from learned_jpeg.common.shared_state import SharedState
from tests.forks import holds_in_child, needs_fork


@pytest.fixture
def calls():
    """Names of the functions that were called, in their order."""
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


@needs_fork
def test_a_forked_process_begins_without_it(state, calls):
    with state.on(), state._lock:  # as if another thread held it
        assert holds_in_child(
            lambda: state._lock.acquire(timeout=5) and not state.is_on
        )


@needs_fork
def test_a_forked_process_that_leaves_its_parents_block_begins_anew(state):
    with contextlib.ExitStack() as stack:
        stack.enter_context(state.on())

        def is_on_again():
            stack.close()
            with state.on():
                return state.is_on

        assert holds_in_child(is_on_again)
    assert not state.is_on
