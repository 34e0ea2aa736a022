"""One thread for products of small matrices, while a search shares out the cores.

More threads gain nothing in products of blocks with 64x64 matrices: they wait for each
other in busy loops, which takes more than the processor time of the whole search.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from learned_jpeg.common.shared_state import SharedState


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limits numpy's BLAS to one thread until the end of the last of such blocks."""
    with _state.on():
        yield


def _begin() -> None:
    _limits.enter_context(_controller().limit(limits=1, user_api="blas"))


@functools.cache
def _controller() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


_limits = contextlib.ExitStack()
_state = SharedState(_begin, _limits.close)
