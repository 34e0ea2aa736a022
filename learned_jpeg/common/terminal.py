"""Standard streams of a command: names that a terminal obeys, readers that have gone.

Names of files may hold control characters: a terminal would obey them, and a newline
would make two lines of one message. They are shown as escapes.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from typing import TextIO

# What has no glyph of its own and moves others: C0, DEL, C1, separators of lines, and
# marks that turn the direction of what follows.
_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_CONTROLS = re.compile(f"[{_CONTROL}]")
# In a stream, ends of lines and tabs are meant; progress bars go up by ESC [ A.
_STREAM_CONTROLS = re.compile(rf"(?!\x1b\[A|[\t\n\r])[{_CONTROL}]")


def one_line(text: str) -> str:
    r"""Returns a text with its control characters as escapes, such as `\x1b`, `\n`."""
    return _CONTROLS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


class _LineFormatter(logging.Formatter):
    """Formats the message of a record as one line; a traceback may follow it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the message."""
        return one_line(record.message)


def log_to_stderr() -> None:
    """Lets the log of a command be lines of standard error, unless it is set up."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_LineFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)


def open_closed_streams() -> None:
    """Opens the null device for each standard stream that the caller has closed.

    Otherwise Python has None there, and the first files that are opened get the
    stream's number, so that messages of libraries end up in them.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        descriptor = os.open(os.devnull, os.O_RDWR)
        if not _is_open(number):
            os.dup2(descriptor, number)  # also for the processes that are started
        mode = "w" if number else "r"
        setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def guard_streams() -> None:
    """Lets the work go on where nobody reads what it prints.

    Messages are lost where the reader has gone (`| head -1`) or the disk of a log is
    full; control characters are shown as escapes, and names that are not UTF-8 as the
    bytes that they are. A stream that a test has replaced stays as it is.
    """
    out, err = sys.stdout, sys.stderr
    if isinstance(out, io.TextIOWrapper) and out is sys.__stdout__:
        is_utf8 = out.encoding.lower().replace("-", "") == "utf8"
        errors = "surrogateescape" if is_utf8 else "backslashreplace"
        sys.stdout = _Stream(out, errors)
    if isinstance(err, io.TextIOWrapper) and err is sys.__stderr__:
        sys.stderr = _Stream(err, "backslashreplace")


class _Stream(io.TextIOWrapper):
    """A standard stream whose text is safe for terminals, and which never fails."""

    def __init__(self, stream: io.TextIOWrapper, errors: str):
        """Replaces a stream, and writes to its descriptor."""
        stream.flush()
        super().__init__(
            io.BufferedWriter(_Descriptor(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors=errors,
            # With PYTHONUNBUFFERED a stream writes through instead.
            line_buffering=stream.line_buffering or stream.write_through,
        )

    def write(self, text: str) -> int:
        """Writes text, its control characters as escapes."""
        super().write(_STREAM_CONTROLS.sub(_escape, text))
        return len(text)


class _Descriptor(io.FileIO):
    """A file to write to; what cannot be written is dropped.

    Attributes:
      problem: the first error; None as long as there is none.
    """

    problem: OSError | None = None

    def write(self, data) -> int:
        """Writes bytes; returns how many."""
        try:
            return super().write(data)
        except OSError as error:
            self.problem = self.problem or error
            return len(data)


def problem_of(stream: TextIO) -> OSError | None:
    """Flushes a stream; returns why something of it was lost, or None."""
    stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return getattr(raw, "problem", None)


def write_to_stdout(data: bytes) -> None:
    """Writes bytes that are the result of a command to standard output.

    Raises:
      OSError: it cannot be written; a `BrokenPipeError` if the reader has gone.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    problem = problem_of(sys.stdout)
    if problem is not None:
        raise problem
