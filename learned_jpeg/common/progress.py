"""Progress of long work: a bar on a terminal, about a line a minute in a log."""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

logger = logging.getLogger(__name__)

_LOG_SECONDS = 60.0


class Progress(NamedTuple):
    """Functions by which the work reports its progress.

    Attributes:
      update: function that counts units, and takes a text on the current state.
      write: function that prints a line, with the arguments of `print`.
    """

    update: Callable[..., None]
    write: Callable[..., None]


@contextlib.contextmanager
def progress(
    total: int, unit: str, initial: int = 0, is_shown: bool = True
) -> Iterator[Progress]:
    """Shows the progress of work on standard error.

    Args:
      total: number of units.
      unit: name of one; "B" for bytes.
      initial: number of units that are done already.
      is_shown: False for work that is over soon.

    Yields:
      `Progress`.
    """
    if not is_shown:
        yield Progress(lambda count=1, note="": None, _print)
    elif sys.stderr.isatty():
        with _bar(total, unit, initial) as shown:
            yield shown
    else:
        yield Progress(_LineAMinute(total, unit, initial).update, _print)


@contextlib.contextmanager
def _bar(total, unit, initial):
    # Imported here, since asyncio comes with it.
    import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        logging_redirect_tqdm(),
        tqdm.tqdm(
            total=total,
            initial=initial,
            unit=unit,
            unit_scale=unit == "B",
            mininterval=1.0,
        ) as bar,
    ):

        def update(count: int = 1, note: str = "") -> None:
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(count)

        yield Progress(update, bar.write)


def _print(line: str, **options) -> None:
    print(line, flush=True, **options)


class _LineAMinute:
    """Logs how far the work is, where nobody watches a bar."""

    def __init__(self, total: int, unit: str, initial: int):
        """Starts to count; arguments as for `progress`."""
        self._total, self._unit = total, unit
        self._start = self._done = initial
        self._began = self._logged = time.monotonic()

    def update(self, count: int = 1, note: str = "") -> None:
        """Counts units; logs a line if the last one is a minute ago."""
        self._done += count
        now = time.monotonic()
        if now - self._logged < _LOG_SECONDS or self._done == self._start:
            return
        self._logged = now
        rate = (self._done - self._start) / (now - self._began)
        left = datetime.timedelta(seconds=round((self._total - self._done) / rate))
        logger.info(
            "%s %d of %d, %.3g/s, %s left%s",
            self._unit,
            self._done,
            self._total,
            rate,
            left,
            f", {note}" if note else "",
        )
