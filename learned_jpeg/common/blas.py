"""One thread for products of small matrices, while a search shares out the cores.

More threads gain nothing in products of blocks with 64x64 matrices: they wait for each
other in busy loops, which takes more than the processor time of the whole search.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_users = 0
_limits: Any = None  # which restores the number of threads


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limits numpy's BLAS to one thread until the end of the last of such blocks."""
    global _users, _limits
    with _lock:
        if not _users:
            _limits = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limits.restore_original_limits()


@functools.cache
def _controller() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def _forget() -> None:
    """Lets go what threads of the parent hold, which a forked process does not have."""
    global _lock, _users
    _lock = threading.Lock()
    _users = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
