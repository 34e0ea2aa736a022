"""Says that functions are compiled for the first time, and has another process help.

numba compiles one function at a time in a process. So when the first one is not in the
cache, another process begins with those that an encoder needs last. Each of the two
finds in the cache what the other one has compiled, and waits for what it is compiling.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import subprocess
import sys
import threading

from learned_jpeg.common import machine

HELPER = "learned_jpeg.codec.compile_ahead"  # the module that the helper runs

# In the environment: nothing is said, and no helper started.
QUIET = "LEARNED_JPEG_COMPILES_QUIETLY"

logger = logging.getLogger(__name__)


@functools.cache
def begin() -> None:
    """Says that compiling begins, and starts a helper; does nothing the second time."""
    if QUIET in os.environ:
        return
    logger.warning("compiling for this processor: the first call takes a while longer")
    if machine.usable_cores() > 1 and sys.executable:
        start_helper()


def start_helper() -> subprocess.Popen | None:
    """Starts a process that compiles into the cache, and ends when it has done so.

    Returns:
      The process; None where none can be started.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with contextlib.suppress(OSError):
        helper = subprocess.Popen(
            [sys.executable, "-m", HELPER],
            cwd=os.path.dirname(package),  # from which Python imports modules
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {QUIET: "1"},
        )
        # Somebody has to wait for it: it would stay in the list of processes.
        threading.Thread(target=helper.wait, daemon=True).start()
        return helper
    return None
