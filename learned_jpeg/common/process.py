"""Sets up the process of a command: BLAS threads, signals, errors as one line.

Importing this module changes the whole process. Only the commands import it, before
numpy is loaded; `learned_jpeg` as a library never does.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import NoReturn

from learned_jpeg.common import terminal
from learned_jpeg.common.atomic_files import remove_unfinished
from learned_jpeg.common.errors import UserError, describe_os_error, is_out_of_memory
from learned_jpeg.common.leftovers import remove_temporary_folders

# More threads gain nothing in the search's products with 64x64 matrices: they wait for
# each other in busy loops, which doubles the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Pillow's warnings do not help the user: a file is either read, or refused with a
# message of ours.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# Before any file is opened, which would get the number of a closed stream.
terminal.open_closed_streams()


def _report(kind, value, traceback) -> None:
    """Shows no traceback for Ctrl-C while a script still loads, before `run_main`."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, value, traceback)


sys.excepthook = _report

_CLOSED_PIPE = 128 + 13  # as for a process that SIGPIPE ends
_ENDING = ("SIGTERM", "SIGHUP")  # Windows has no second one


class Terminated(KeyboardInterrupt):
    """A signal that asks the process to end, handled as Ctrl-C is.

    Attributes:
      number: of the signal.
    """

    def __init__(self, number: int):
        """Stores the number."""
        super().__init__()
        self.number = number


def _end(number, frame) -> NoReturn:
    del frame
    raise Terminated(number)


@contextlib.contextmanager
def _ending_signals_caught() -> Iterator[None]:
    """Lets signals that end the process clean up, unless somebody handles them."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _ENDING:
            number = getattr(signal, name, None)
            # Under nohup one is ignored.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Runs `main()` and exits with its status; turns user errors into one line.

    The status is 1 for a `UserError`, an `OSError` (full disk, missing permission) or
    too little memory, 130 for Ctrl-C, 143 for SIGTERM, and 141 if the reader of a
    result that goes to standard output has gone. Messages that nobody reads are lost,
    and no error. No temporary file or folder is left.

    Args:
      main: returns an exit status, or None for 0.
    """
    script = _script()
    # Imports create very many objects that stay. Python looks for garbage among them
    # after every 700, which takes a tenth of the start.
    gc.set_threshold(100_000)
    terminal.guard_streams()
    try:
        with _ending_signals_caught():
            status = main() or 0
    except SystemExit as error:  # of argparse
        status = error.code
    except BrokenPipeError:
        status = _CLOSED_PIPE
    except UserError as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        status = 1
    except OSError as error:
        print(f"{script}: error: {describe_os_error(error)}", file=sys.stderr)
        status = 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        remedy = "lower --batchsize, --patchsize or --workers"
        print(f"{script}: error: not enough memory; {remedy}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt as error:
        print(f"{script}: interrupted", file=sys.stderr)
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        status = 128 + number
        if _has_workers():  # which Python would wait for, however long they take
            _finished(status)
            remove_unfinished()
            remove_temporary_folders()
            os._exit(status)
    sys.exit(_finished(status))


def _has_workers() -> bool:
    """Returns whether threads are at work that keep Python from ending."""
    main = threading.main_thread()
    return any(t is not main and not t.daemon for t in threading.enumerate())


def _finished(status: int | str | None) -> int | str | None:
    """Returns the exit status, once what is left in the streams is written.

    A reader that has gone (`| head -1`) is no error; a full disk is one.
    """
    problem = terminal.problem_of(sys.stdout)
    terminal.problem_of(sys.stderr)
    if problem is None or isinstance(problem, BrokenPipeError):
        return status
    print(f"{_script()}: error: standard output: {problem.strerror}", file=sys.stderr)
    return status or 1


def _script() -> str:
    return os.path.basename(sys.argv[0])
