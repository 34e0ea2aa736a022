"""Progress of long work: a bar on a terminal, about a line a minute in a log."""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

logger = logging.getLogger(__name__)

_LOG_SECONDS = 60.0
_LOG_TICK = 5.0  # seconds between two looks at the clock
_BAR_TICK = 1.0  # seconds


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
    total: int,
    unit: str,
    initial: int = 0,
    title: str = "",
    delay: float = 0.0,
    warm_up: int = 0,
) -> Iterator[Progress]:
    """Shows the progress of work on standard error, also while no unit is finished.

    Args:
      total: number of units.
      unit: name of one; "B" for bytes.
      initial: number of units that are done already.
      title: of work that is a single unit: a bar shows it with the time that it takes.
      delay: seconds after which a bar is shown; work that is over by then shows none.
      warm_up: number of first units that say nothing about the time of the others: the
        rate, and the time that a bar shows, begin after them.

    Yields:
      `Progress`.
    """
    if sys.stderr.isatty():
        with _bar(total, unit, initial, title, delay, warm_up) as shown:
            yield shown
    else:
        lines = _LineAMinute(total, unit, initial, warm_up)
        with _ticking(lines.tick, _LOG_TICK):
            yield Progress(lines.update, _print)


@contextlib.contextmanager
def _bar(total, unit, initial, title, delay, warm_up):
    # Imported here, since asyncio comes with it.
    import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        logging_redirect_tqdm(),
        tqdm.tqdm(
            desc=title or None,
            bar_format="{desc}: at work for {elapsed}" if title else None,
            total=total,
            initial=initial,
            unit=unit,
            unit_scale=unit == "B",
            mininterval=_BAR_TICK,
            miniters=0,
            delay=delay,
            # A mean since the start: the bar is drawn anew between two units as well.
            smoothing=0,
            leave=not title,
        ) as bar,
        _ticking(lambda: bar.update(0), _BAR_TICK),
    ):

        def update(count: int = 1, note: str = "") -> None:
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(count)
            if bar.initial < initial + warm_up <= bar.n:
                bar.start_t += bar.format_dict["elapsed"]
                bar.initial = bar.n

        yield Progress(update, bar.write)


@contextlib.contextmanager
def _ticking(function: Callable[[], object], seconds: float) -> Iterator[None]:
    """Calls a function every so many seconds, in a thread, within the context."""
    is_over = threading.Event()

    def run():
        while not is_over.wait(seconds):
            function()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _print(line: str, **options) -> None:
    print(line, flush=True, **options)


class _LineAMinute:
    """Logs how far the work is, where nobody watches a bar."""

    def __init__(self, total: int, unit: str, initial: int, warm_up: int):
        """Starts to count; arguments as for `progress`."""
        self._total, self._unit = total, unit
        self._warm = initial + warm_up
        self._start = self._done = initial
        # When the work began, and when the units that count for the rate did.
        self._began = self._rated = self._logged = time.monotonic()
        self._note = ""
        self._lock = threading.Lock()

    def update(self, count: int = 1, note: str = "") -> None:
        """Counts units; logs a line if the last one is a minute ago."""
        with self._lock:
            self._done += count
            self._note = note
            if self._start < self._warm <= self._done:
                self._start, self._rated = self._done, time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Logs a line if the last one is a minute ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._logged < _LOG_SECONDS:
                return
            self._logged = now
            logger.info("%s", self._line(now))

    def _line(self, now: float) -> str:
        line = f"{self._unit} {self._done} of {self._total}"
        if self._done == self._start:
            seconds = round(now - self._began)
            return f"{line} after {datetime.timedelta(seconds=seconds)}"
        rate = (self._done - self._start) / (now - self._rated)
        left = datetime.timedelta(seconds=round((self._total - self._done) / rate))
        note = f", {self._note}" if self._note else ""
        return f"{line}, {rate:.3g}/s, {left} left{note}"
