"""The process of a command: BLAS threads, Ctrl-C, and errors as one line.

Importing this module changes the whole process, so only the commands import it, before
numpy is loaded. `learned_jpeg` as a library never does.
"""

import gc
import logging
import os
import sys
import warnings

from learned_jpeg.common.errors import UserError, describe_os_error, is_out_of_memory

# Threads gain nothing in the search's products with 64x64 matrices: they wait for each
# other in loops, with twice the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Pillow's warnings are no news to the user: a file is either read, or refused with our
# own message.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _report(kind, value, traceback):
    """Ctrl-C while a script still loads, before `run_main`, shows no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, value, traceback)


sys.excepthook = _report


_CLOSED_PIPE = 128 + 13  # as for a process that SIGPIPE ends


def run_main(main):
    """Runs `main()` and exits with its status; turns user errors into one line.

    Args:
      main: callable without arguments, returns an exit status or None (0).

    Exit status: that of `main`; 1 for a `UserError`, an `OSError` (full disk, missing
    permission) or too little memory, 130 for Ctrl-C, 141 if nobody reads the output.
    """
    script = os.path.basename(sys.argv[0])
    # A start makes very many objects that stay; to look for garbage among them 700 at a
    # time, as Python does, takes a tenth of it.
    gc.set_threshold(100_000)
    _accept_any_name(sys.stdout)
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
    sys.exit(_flushed(status))


def _accept_any_name(stream):
    """Lets names of files be printed that are not UTF-8: as the bytes they are."""
    if hasattr(stream, "reconfigure"):
        is_utf8 = stream.encoding.lower().replace("-", "") == "utf8"
        stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def _flushed(status):
    """Writes what is left; a reader that has gone (`| head -1`) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or _CLOSED_PIPE
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
