"""Processes that are forked within a test."""

import os

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


def holds_in_child(condition):
    """Returns whether a function returns a true value in a forked process."""
    child = os.fork()
    if not child:
        is_true = False
        try:
            is_true = condition()
        finally:
            os._exit(0 if is_true else 1)
    _, status = os.waitpid(child, 0)
    return status == 0
