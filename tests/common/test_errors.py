"""Tests of errors.py and process.py: messages to the user, and the exit status."""

import errno
import functools
import os
import signal
import subprocess
import sys
import time

import pytest

from learned_jpeg.common import atomic_files, errors, process
from tests.paths import ROOT

IMPORT = "from learned_jpeg.common import errors, process"


def run(monkeypatch, capsys, main):
    """Returns (exit status, lines on stderr) of `run_main(main)` in `tool.py`."""
    monkeypatch.setattr(sys, "argv", ["/some/where/tool.py", "--flag"])
    # Threads that other tests have left in this process are none of main's.
    monkeypatch.setattr(process, "_has_workers", lambda: False)
    with pytest.raises(SystemExit) as caught:
        process.run_main(main)
    out, err = capsys.readouterr()
    assert out == ""
    return caught.value.code, err.splitlines()


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("returned, status", [(None, 0), (0, 0), (1, 1), (143, 143)])
def test_exit_status_is_what_main_returns(monkeypatch, capsys, returned, status):
    assert run(monkeypatch, capsys, lambda: returned) == (status, [])


def test_user_error_is_one_line_with_the_name_of_the_script(monkeypatch, capsys):
    main = raising(errors.UserError("--quality 0: too low; pass 1..100"))
    assert run(monkeypatch, capsys, main) == (
        1,
        ["tool.py: error: --quality 0: too low; pass 1..100"],
    )


def test_os_error_is_one_line_with_file_and_reason(monkeypatch, capsys):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/a.jpg")
    assert run(monkeypatch, capsys, raising(error)) == (
        1,
        ["tool.py: error: /out/a.jpg: No space left on device"],
    )


def test_os_error_without_a_file_gives_its_reason(monkeypatch, capsys):
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    _, lines = run(monkeypatch, capsys, raising(error))
    assert lines == ["tool.py: error: Input/output error"]


def test_os_error_of_text_alone_gives_its_text(monkeypatch, capsys):
    _, lines = run(monkeypatch, capsys, raising(OSError("the disk is full")))
    assert lines == ["tool.py: error: the disk is full"]


def test_error_of_a_missing_file_names_it(monkeypatch, capsys, tmp_path):
    missing = tmp_path / "no such file"
    status, lines = run(monkeypatch, capsys, lambda: os.stat(missing))
    assert (status, lines) == (
        1,
        [f"tool.py: error: {missing}: No such file or directory"],
    )


def test_ctrl_c_ends_with_130_and_one_line(monkeypatch, capsys):
    assert run(monkeypatch, capsys, raising(KeyboardInterrupt())) == (
        130,
        ["tool.py: interrupted"],
    )


@pytest.mark.parametrize("error", [ValueError("v"), RuntimeError("r"), KeyError("k")])
def test_other_exceptions_are_left_alone(error):
    with pytest.raises(type(error)) as caught:
        process.run_main(raising(error))
    assert caught.value is error


def test_names_in_errors_move_no_cursor(monkeypatch, capsys):
    error = errors.UserError("a\x1b[2J\n.png: no image")
    assert str(error) == "a\\x1b[2J\\n.png: no image"
    error = OSError(errno.ENOENT, "gone", "a\x1b[2J\r.png")
    _, lines = run(monkeypatch, capsys, raising(error))
    assert lines == ["tool.py: error: a\\x1b[2J\\r.png: gone"]


def test_exit_status_of_main_survives_system_exit(monkeypatch, capsys):
    # argparse raises this for a wrong flag.
    assert run(monkeypatch, capsys, raising(SystemExit(2))) == (2, [])


def run_process(code):
    return subprocess.run(
        [sys.executable, "-c", f"{IMPORT}\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_process_with_a_user_error_has_status_1_and_no_traceback():
    done = run_process(
        "def main(): raise errors.UserError('x: wrong; mend it')\n"
        "process.run_main(main)"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "-c: error: x: wrong; mend it\n"


def test_process_with_a_bug_keeps_its_traceback():
    done = run_process("def main(): return 1 / 0\nprocess.run_main(main)")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_ctrl_c_does_not_wait_for_threads():
    done = run_process(
        "import threading, time\n"
        "def main():\n"
        "  threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "  print('written', end='')\n"
        "  raise KeyboardInterrupt\n"
        "process.run_main(main)"
    )
    assert (done.returncode, done.stdout) == (130, "written")
    assert done.stderr == "-c: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_ends_it_as_ctrl_c_does(
    monkeypatch, capsys, tmp_path, number
):
    def main():
        with atomic_files.atomic_path(tmp_path / "x"):
            assert len(os.listdir(tmp_path)) == 1
            os.kill(os.getpid(), number)
            time.sleep(10)

    before = signal.signal(number, signal.SIG_DFL)  # nohup ignores one of them
    try:
        status, lines = run(monkeypatch, capsys, main)
        assert (status, lines) == (128 + number, ["tool.py: interrupted"])
        assert os.listdir(tmp_path) == []
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored(monkeypatch, capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        main = functools.partial(os.kill, os.getpid(), signal.SIGHUP)
        assert run(monkeypatch, capsys, main) == (0, [])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_that_are_not_waited_for_leave_no_file(tmp_path):
    done = run_process(
        "import threading, time\n"
        "from learned_jpeg.common.atomic_files import atomic_path\n"
        "from learned_jpeg.common.leftovers import temporary_folder\n"
        "import tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "begun = threading.Event()\n"
        "def write():\n"
        f"  with temporary_folder(), atomic_path({str(tmp_path / 'x')!r}):\n"
        "    begun.set()\n"
        "    time.sleep(60)\n"
        "def main():\n"
        "  threading.Thread(target=write).start()\n"
        "  begun.wait()\n"
        "  raise KeyboardInterrupt\n"
        "process.run_main(main)"
    )
    assert done.returncode == 130
    assert os.listdir(tmp_path) == []


def test_ctrl_c_before_run_main_has_no_traceback():
    code = "import learned_jpeg.common.process\nraise KeyboardInterrupt"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert done.stderr == "interrupted\n"


def test_lack_of_memory_is_one_line_whoever_lacks_it(monkeypatch, capsys):
    class ResourceExhaustedError(Exception):
        """Stands for TensorFlow's error of that name."""

    for error in (MemoryError(), ResourceExhaustedError("OOM when allocating")):
        status, lines = run(monkeypatch, capsys, raising(error))
        assert status == 1
        assert len(lines) == 1 and "not enough memory" in lines[0]
