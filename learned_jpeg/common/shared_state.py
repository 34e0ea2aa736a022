"""States of the process that blocks of several threads share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator


class SharedState:
    """A state that blocks of several threads need, as long as any of them runs.

    A forked process, which has one thread of its parent's, begins without the state.
    """

    def __init__(self, begin: Callable[[], object], end: Callable[[], object]):
        """Starts without a block.

        Args:
          begin: called when the first block begins.
          end: called when the last block ends.
        """
        self._begin, self._end = begin, end
        self._process = 0  # a number of its own for a forked process
        self._lock = threading.Lock()
        self._blocks = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def is_on(self) -> bool:
        """Whether a block runs."""
        return self._blocks > 0

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Keeps the state until the end of the block."""
        with self._lock:
            if not self._blocks:
                self._begin()
            self._blocks += 1
            process = self._process
        try:
            yield
        finally:
            if process == self._process:  # not of the parent
                self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._end()

    def _forget(self) -> None:
        # Another thread may have held the lock.
        self._lock = threading.Lock()
        self._blocks = 0
        self._process += 1
