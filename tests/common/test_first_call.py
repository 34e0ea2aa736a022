"""Tests of the first call: one line, and a process that compiles the other half."""

import importlib
import logging
import os
import subprocess

import pytest

from learned_jpeg.common import first_call, machine


@pytest.fixture
def started(monkeypatch):
    """The arguments of the processes that are started."""
    monkeypatch.delenv(first_call.QUIET, raising=False)
    calls = []

    class Process:
        def __init__(self, command, **options):
            calls.append((command, options))

        def wait(self):
            return 0

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    first_call.begin.cache_clear()
    yield calls
    first_call.begin.cache_clear()


def test_one_line_and_one_helper(started, caplog):
    with caplog.at_level(logging.WARNING):
        first_call.begin()
        first_call.begin()
    assert [record.getMessage() for record in caplog.records] == [
        "compiling for this processor: the first call takes a while longer"
    ]
    ((command, options),) = started
    assert command[1:] == ["-m", first_call.HELPER]
    assert os.path.isdir(os.path.join(options["cwd"], "learned_jpeg"))
    assert options["env"][first_call.QUIET] == "1"


def test_no_helper_on_one_core_or_within_a_helper(started, monkeypatch, caplog):
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    first_call.begin()
    assert len(caplog.records) == 1 and not started
    first_call.begin.cache_clear()
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setenv(first_call.QUIET, "1")
    first_call.begin()
    assert len(caplog.records) == 1 and not started


def test_a_helper_that_cannot_be_started_is_no_error(started, monkeypatch):
    def fail(*arguments, **options):
        raise OSError

    monkeypatch.setattr(subprocess, "Popen", fail)
    assert first_call.start_helper() is None


def test_the_helper_runs_what_an_encoder_does():
    importlib.import_module(first_call.HELPER).compile_ahead()
