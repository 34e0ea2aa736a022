"""Sets up the process of a command: BLAS threads, Ctrl-C, errors as one line.

Importing this module changes the whole process. Only the commands import it, before
numpy is loaded; `learned_jpeg` as a library never does.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from learned_jpeg.common import terminal
from learned_jpeg.common.errors import UserError, describe_os_error, is_out_of_memory

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


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Runs `main()` and exits with its status; turns user errors into one line.

    The status is 1 for a `UserError`, an `OSError` (full disk, missing permission) or
    too little memory, 130 for Ctrl-C, and 141 if the reader of a result that goes to
    standard output has gone. Messages that nobody reads are lost, and no error.

    Args:
      main: returns an exit status, or None for 0.
    """
    script = _script()
    # Imports create very many objects that stay. Python looks for garbage among them
    # after every 700, which takes a tenth of the start.
    gc.set_threshold(100_000)
    terminal.guard_streams()
    try:
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
    except KeyboardInterrupt:
        print(f"{script}: interrupted", file=sys.stderr)
        status = 130
        if _has_workers():  # which Python would wait for, however long they take
            _finished(status)
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
