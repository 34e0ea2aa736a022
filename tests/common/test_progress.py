"""Tests of progress.py: a line a minute in a log, a bar on a terminal."""

import io
import sys
import threading

import pytest

from learned_jpeg.common import progress as module
from learned_jpeg.common.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test lets them, as a list of one."""
    seconds = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_log_gets_a_line_a_minute(clock, caplog, capsys):
    caplog.set_level("INFO")
    with progress(10_000, "step", initial=400) as shown:
        for number in range(600):
            clock[0] += 0.5
            shown.update(note=f"loss {number}")
        shown.write("a message", file=sys.stderr)
    assert caplog.messages == [
        "step 520 of 10000, 2/s, 1:19:00 left, loss 119",
        "step 640 of 10000, 2/s, 1:18:00 left, loss 239",
        "step 760 of 10000, 2/s, 1:17:00 left, loss 359",
        "step 880 of 10000, 2/s, 1:16:00 left, loss 479",
        "step 1000 of 10000, 2/s, 1:15:00 left, loss 599",
    ]
    assert capsys.readouterr() == ("", "a message\n")


def test_days_that_are_left_are_said(clock, caplog):
    caplog.set_level("INFO")
    with progress(1_000_000, "file") as shown:
        clock[0] += 100
        shown.update(100)
    assert caplog.messages == ["file 100 of 1000000, 1/s, 11 days, 13:45:00 left"]


def test_first_units_do_not_count_for_the_time_that_is_left(clock, caplog):
    caplog.set_level("INFO")
    with progress(1000, "step", initial=10, warm_up=1) as shown:
        clock[0] += 50
        shown.update()
        for _ in range(20):
            clock[0] += 1
            shown.update()
    assert caplog.messages == ["step 21 of 1000, 1/s, 0:16:19 left"]


def test_a_bar_does_not_count_first_units_for_the_rate(monkeypatch):
    stream, seconds = terminal(monkeypatch), [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: seconds[0])
    monkeypatch.setattr(module, "_BAR_TICK", 1000.0)
    with progress(100, "step", warm_up=1) as shown:
        seconds[0] += 3000
        shown.update()
        for _ in range(4):
            seconds[0] += 500
            shown.update()
    assert "33:20<13:11:40, 500.00s/step" in stream.getvalue()


def test_nothing_is_logged_of_what_is_over_soon(clock, caplog):
    caplog.set_level("INFO")
    with progress(2, "image") as shown:
        clock[0] += 59
        shown.update()
    assert caplog.messages == []


def test_a_log_gets_lines_while_no_unit_is_finished(clock, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(module, "_LOG_TICK", 0.001)
    logged, lines = threading.Event(), []

    def log(_, line):
        lines.append(line)
        logged.set()

    monkeypatch.setattr(module.logger, "info", log)
    with progress(3, "image"):
        for _ in range(2):
            clock[0] += 61
            assert logged.wait(10)
            logged.clear()
    assert lines == [
        "image 0 of 3 after 0:01:01",
        "image 0 of 3 after 0:02:02",
    ]


def terminal(monkeypatch):
    """Puts a stream that says that it is a terminal in the place of standard error."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return sys.stderr


def test_a_bar_of_one_unit_shows_its_time_once_it_takes_long(monkeypatch):
    stream = terminal(monkeypatch)
    monkeypatch.setattr(module, "_BAR_TICK", 0.01)
    with progress(1, "image", title="a.png", delay=60) as shown:
        threading.Event().wait(0.05)
        shown.update()
    assert stream.getvalue() == ""
    with progress(1, "image", title="a.png", delay=0.001):
        for _ in range(1000):  # a machine that is busy may take long
            if stream.getvalue():
                break
            threading.Event().wait(0.01)
    assert "a.png: at work for 00:00" in stream.getvalue()


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    stream = terminal(monkeypatch)
    with progress(4, "step", initial=1) as shown:
        shown.update(2, "loss 7")
        shown.write("a line", file=sys.stdout)
    assert "3/4" in stream.getvalue() and "loss 7" in stream.getvalue()
    assert capsys.readouterr().out == "a line\n"
