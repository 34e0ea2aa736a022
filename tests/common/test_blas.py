"""Tests of blas: one thread within the blocks, as before behind the last one."""

import threadpoolctl

from learned_jpeg.common import blas


def counts():
    return {
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    }


def test_numbers_of_threads_are_restored_behind_the_last_block():
    with threadpoolctl.threadpool_limits(2, "blas"):
        one, other = blas.one_thread(), blas.one_thread()
        one.__enter__()
        assert counts() == {1}
        other.__enter__()
        one.__exit__(None, None, None)  # blocks of two threads may end in any order
        assert counts() == {1}
        other.__exit__(None, None, None)
        assert counts() == {2}
