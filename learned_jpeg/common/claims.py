"""Claims on a piece of work that several processes would do, so that one does it."""

from __future__ import annotations

import contextlib
import os
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LONGEST_WAIT = 60.0  # s, in case that the other process has stopped
_PAUSE = 0.02  # s


class Claim:
    """A file that is locked by the process that does the work.

    The system takes the lock from a process that ends. Where files cannot be locked,
    every process does the work.
    """

    def __init__(self, path: str):
        """Stores the path of the file, which is left empty, and is never removed."""
        self._path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Waits until no other process has the claim, or for a minute at most.

        Returns:
          Whether it had to wait: the work may have been done meanwhile.
        """
        if fcntl is None:
            return False
        with contextlib.suppress(OSError):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            deadline = time.monotonic() + _LONGEST_WAIT
            has_waited = False
            while not self._is_locked() and time.monotonic() < deadline:
                has_waited = True
                time.sleep(_PAUSE)
            return has_waited
        return False

    def release(self) -> None:
        """Lets other processes have the claim; does nothing where it is not taken."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _is_locked(self) -> bool:
        assert fcntl is not None and self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
