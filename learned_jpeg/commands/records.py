r"""Files of JSON lines, one for each input; a killed call leaves them whole.

Names that are not UTF-8 are written with lone surrogates (`\udcff`), as Python holds
them, so that a reader gets the same bytes back by `os.fsencode`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator

from learned_jpeg.common.errors import UserError

# Status of a record.
COMPRESSED = "compressed"
ORIGINAL = "original"  # A JPEG input was kept, without loss.
SKIPPED = "skipped"  # There was a result already.
FAILED = "failed"


_OPTIONAL = ("score", "metrics", "dry_run")  # Names in a line where they have a value.


@dataclasses.dataclass(frozen=True)
class Record:
    """The result of one input.

    Attributes:
      path: of the input.
      status: COMPRESSED, ORIGINAL, SKIPPED or FAILED.
      output: path of the result; None if there is none.
      bytes_in: size of the input; None if it is unknown.
      bytes_out: size of the output.
      bpp: bits per pixel of the output; None for SKIPPED.
      setting: how the output was encoded, in words; None for SKIPPED and FAILED.
      subsampling: of the output's chroma, or "gray"; None for SKIPPED and FAILED.
      score: SSIMULACRA2 of the output, where it was measured.
      metrics: all of --verbose by their keys; None where they were not measured.
      dry_run: whether the output was not written.
      seconds: time that the input took.
      error: one line that says why there is no output.
    """

    path: str
    status: str
    output: str | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    bpp: float | None = None
    setting: str | None = None
    subsampling: str | None = None
    score: float | None = None
    metrics: dict[str, float] | None = None
    dry_run: bool = False
    seconds: float = 0.0
    error: str | None = None

    def line(self) -> bytes:
        """Returns the record as a line of JSON with its end."""
        values = dataclasses.asdict(self)
        values["seconds"] = round(self.seconds, 3)
        if self.metrics is not None:
            values["metrics"] = {k: _finite(v) for k, v in self.metrics.items()}
        values["score"] = _finite(self.score)
        for name in _OPTIONAL:
            if values[name] in (None, False, {}):
                del values[name]
        return json.dumps(values).encode("ascii") + b"\n"


class RecordFile:
    """A file of records to which several processes may append whole lines."""

    def __init__(self, path: str):
        """Opens a file, or makes it.

        If a previous run died in the middle of a line, that line is terminated so that
        later records stay readable.

        Raises:
          UserError: it cannot be written.
        """
        self._path = path
        try:
            # One write of a file opened so is one line, whoever else writes.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(path, flags, 0o666)
            if self._is_cut_off():
                self._write(b"\n")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None

    def _is_cut_off(self):
        # A pipe or a device has no place to look at.
        with contextlib.suppress(OSError):
            if os.lseek(self._descriptor, 0, os.SEEK_END):
                os.lseek(self._descriptor, -1, os.SEEK_END)
                return os.read(self._descriptor, 1) != b"\n"
        return False

    def append(self, record):
        """Adds a `Record`.

        Raises:
          OSError: with the path as its filename, e.g. a full disk.
        """
        try:
            self._write(record.line())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    def _write(self, data):
        while data:
            data = data[os.write(self._descriptor, data) :]

    def __enter__(self):
        """Returns itself."""
        return self

    def __exit__(self, *exception):
        """Closes the file."""
        os.close(self._descriptor)


def read_records(path: str) -> Iterator[Record]:
    """Yields the `Record` of each line of a file; other lines are ignored.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for line in file:
                if record := _record(line):
                    yield record
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _record(line):
    """Returns the `Record` of a line; None where a value is not what we write."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        values = dict(json.loads(line))
        record = Record(**{k: v for k, v in values.items() if k in _ACCEPTS})
        if all(accepts(getattr(record, k)) for k, accepts in _ACCEPTS.items()):
            os.fsencode(record.path)  # raises ValueError for what is no name
            return record
    return None


def _finite(value):
    """Returns a number that JSON has, or None."""
    return value if value is not None and math.isfinite(value) else None


def _is_number(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf


def _is_text(value):
    return isinstance(value, str)


def _or_none(accepts):
    return lambda value: value is None or accepts(value)


# The values that each attribute of a record may have.
_ACCEPTS = {
    "path": _is_text,
    "status": lambda value: value in (COMPRESSED, ORIGINAL, SKIPPED, FAILED),
    "output": _or_none(_is_text),
    "bytes_in": _or_none(_is_number),
    "bytes_out": _or_none(_is_number),
    "bpp": _or_none(_is_number),
    "setting": _or_none(_is_text),
    "subsampling": _or_none(_is_text),
    "score": _or_none(lambda value: isinstance(value, int | float)),
    "metrics": _or_none(lambda value: isinstance(value, dict)),
    "dry_run": lambda value: isinstance(value, bool),
    "seconds": _is_number,
    "error": _or_none(_is_text),
}
