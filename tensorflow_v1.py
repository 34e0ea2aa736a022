"""`tensorflow.compat.v1`, loaded at its first use and without its own messages.

TensorFlow takes seconds to load, and many commands need no network. So every module
says `import tensorflow_v1 as tf`, and the first `tf.something` loads it. What goes
wrong reaches the user as an exception all the same; to see TensorFlow's messages, set
TF_CPP_MIN_LOG_LEVEL=0 in the environment.
"""

import contextlib
import gc
import importlib
import logging
import os
import shutil
import sys
import tempfile
import threading

from learned_jpeg.common.errors import UserError

_LOCK = threading.RLock()


def __getattr__(name):
    """A name of `tensorflow.compat.v1` (PEP 562), kept for the next time."""
    if name.startswith("__"):  # Tools that look at a module do not want TensorFlow.
        raise AttributeError(name)
    value = getattr(_load(), name)
    globals()[name] = value
    return value


def _load():
    try:
        return _loaded()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise  # an installation that is broken
        raise UserError(
            "TensorFlow is not installed, which trainings and models with a network "
            'need; run pip install ".[train]" in a clone of the repository'
        ) from error


def _loaded():
    with _LOCK:
        is_quiet = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
        if is_quiet:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        hold_back = is_quiet and "tensorflow" not in sys.modules
        hold = _held_back_stderr() if hold_back else contextlib.nullcontext()
        with hold, _without_garbage_collector():
            return importlib.import_module("tensorflow.compat.v1")


@contextlib.contextmanager
def _without_garbage_collector():
    """Saves a fifth of the time: of the objects of 3000 modules none is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # Later passes leave them out as well.
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _held_back_stderr():
    """Keeps back what is written to descriptor 2, and shows it after an exception.

    TensorFlow 2.16 and later say there that they found no GPU, whatever the level.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException:
            written.seek(0)
            with os.fdopen(os.dup(stderr), "wb") as shown:
                shutil.copyfileobj(written, shown)
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
