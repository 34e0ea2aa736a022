"""Tests of threads: order, sharing of cores, errors, and forked processes."""

import os
import threading
import time

import pytest

from learned_jpeg.common import threads


def used_threads(count, seconds=0.02):
    """Returns the number of threads that so many tasks run on."""

    def task(_):
        time.sleep(seconds)
        return threading.get_ident()

    return len(set(threads.run(task, range(count))))


def test_results_are_in_the_order_of_the_items():
    def task(number):
        time.sleep(0.001 * (number % 3))
        return number**2

    with threads.limit(3):
        assert threads.run(task, range(20)) == [n**2 for n in range(20)]
    assert threads.run(task, []) == []


@pytest.mark.parametrize("count", [1, 2])
def test_a_limit_is_the_number_of_threads(count):
    with threads.limit(count):
        assert used_threads(6) == count
        assert used_threads(6) == count  # the cores were given back


def test_threads_share_the_cores_that_others_leave():
    cores = threads.Cores(2)
    found = []

    def image():
        with threads.limit(cores):
            found.append(used_threads(4))

    with threads.limit(cores):
        other = threading.Thread(target=image)
        other.start()
        other.join()
        assert found == [1]  # both cores have an image of their own
        assert used_threads(4) == 2


def test_a_call_within_a_task_uses_no_more_threads():
    with threads.limit(2):
        assert threads.run(lambda _: used_threads(3, 0.001), range(4)) == [1] * 4


def test_an_error_is_raised_once_nothing_runs_and_ends_the_rest():
    begun = []

    def task(number):
        begun.append(number)
        time.sleep(0.005)
        if number == 1:
            raise ValueError("the second")

    with threads.limit(2):
        with pytest.raises(ValueError, match="the second"):
            threads.run(task, range(50))
        assert len(begun) < 10
        assert used_threads(4) == 2


def test_fewer_than_one_core_are_refused():
    with pytest.raises(ValueError, match="not 0"):
        threads.Cores(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    with threads.limit(2):
        assert used_threads(4) == 2
    child = os.fork()
    if not child:
        with threads.limit(2):
            os._exit(used_threads(4))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
