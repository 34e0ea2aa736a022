"""Errors that a user can mend: one line, no traceback, exit status 1."""

import gc
import os
import sys


def _report(kind, value, traceback):
    """Ctrl-C while a script still loads, before `run_main`, shows no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, value, traceback)


sys.excepthook = _report


class UserError(Exception):
    """A mistake or a condition that the user can mend; its text is one line.

    The text names the file or flag, says what is wrong and what to do.
    """


def run_main(main):
    """Runs `main()` and exits with its status; turns user errors into one line.

    Args:
      main: callable without arguments, returns an exit status or None (0).

    Exit status: that of `main`; 1 for a `UserError`, an `OSError` (full disk, missing
    permission) or too little memory, 130 for Ctrl-C.
    """
    script = os.path.basename(sys.argv[0])
    # A start makes very many objects that stay; to look for garbage among them 700 at a
    # time, as Python does, takes a tenth of it.
    gc.set_threshold(100_000)
    try:
        status = main() or 0
    except UserError as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        status = 1
    except OSError as error:
        print(f"{script}: error: {describe_os_error(error)}", file=sys.stderr)
        status = 1
    except MemoryError:
        remedy = "lower --batchsize, --patchsize or --workers"
        print(f"{script}: error: not enough memory; {remedy}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print(f"{script}: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def describe_os_error(error):
    """One line for an `OSError`: the file and the system's reason."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
