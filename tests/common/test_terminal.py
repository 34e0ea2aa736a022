"""Tests of terminal.py: standard streams that are closed, full, or show odd names."""

import io
import logging
import os
import subprocess
import sys

import pytest

from learned_jpeg.common import terminal
from tests.paths import ROOT

IMPORT = "import os, sys\nfrom learned_jpeg.common import process, terminal"


def run_process(code, redirections="", **options):
    """A process that runs `main` of some code, started by a shell."""
    words = f'exec "{sys.executable}" -c "$CODE" {redirections}'
    environment = {**os.environ, "CODE": f"{IMPORT}\n{code}\nprocess.run_main(main)"}
    environment |= options.pop("env", {})
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        ["sh", "-c", words],
        cwd=ROOT,
        stderr=options.pop("stderr", subprocess.PIPE),
        env=environment,
        **options,
    )


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain \u00e4 \u65e5\u672c \udcff \U0001f469\u200d\U0001f680", None),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\rd\x7f\x9b", "a\\nb\\tc\\rd\\x7f\\x9b"),
        ("gpj.\u202egnp\u2028\0", "gpj.\\u202egnp\\u2028\\x00"),
    ],
)
def test_control_characters_are_shown_as_escapes(text, shown):
    assert terminal.one_line(text) == (text if shown is None else shown)


def test_a_record_of_the_log_is_one_line(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    terminal.log_to_stderr()
    terminal.log_to_stderr()  # does not print twice
    logging.getLogger("x").info("%s: odd", "a\n\x1b[1mb.png")
    assert sys.stderr.getvalue() == "a\\n\\x1b[1mb.png: odd\n"


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_keep_the_work_from_being_done(tmp_path, closed):
    path = tmp_path / "x"
    code = f"""
def main():
    print("message")
    print("problem", file=sys.stderr)
    with open({str(path)!r}, "w") as file:
        assert file.fileno() > 2
        os.write(1, b"of a library")
        file.write(repr(sys.stdin.read()))"""
    done = run_process(code, closed, stdin=subprocess.DEVNULL)
    out = b"" if ">&-" in closed.replace("2>&-", "") else b"message\n"
    assert done.returncode == 0
    assert done.stdout.replace(b"of a library", b"") == out
    assert done.stderr == (b"" if "2>&-" in closed else b"problem\n")
    assert path.read_text() == "''"


@pytest.mark.parametrize(
    "main",
    [
        "print('line\\n' * 100_000)",  # more than a pipe holds
        "print('line', file=sys.stderr); print('line')",
        "print('usage'); sys.exit(0)",
    ],
)
def test_a_reader_that_has_gone_does_not_end_the_work(tmp_path, main):
    code = f"def main():\n    open('{tmp_path}/x', 'w'); {main}"
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        done = run_process(code, stdout=closed, stderr=closed)
        assert (done.returncode, os.listdir(tmp_path)) == (0, ["x"])
        code = "def main(): terminal.write_to_stdout(b'a result')"
        done = run_process(code, stdout=closed)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_behind_standard_output_is_one_line_at_the_end(tmp_path):
    code = f"def main():\n  print('x' * 100_000)\n  open('{tmp_path}/x', 'w')"
    done = run_process(code, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"-c: error: standard output: No space left on device\n"
    assert os.listdir(tmp_path) == ["x"]


def test_any_name_of_a_file_can_be_printed():
    code = r"def main(): print('caf\udce9\x1b[7m.jpg \u00fc\x1b[A', end='\r')"
    for encoding, expected in (
        ("utf-8", b"caf\xe9\\x1b[7m.jpg \xc3\xbc\x1b[A\r"),
        ("ascii", b"caf\\udce9\\x1b[7m.jpg \\xfc\x1b[A\r"),
    ):
        done = run_process(code, env={"PYTHONIOENCODING": encoding})
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")


def test_a_stream_that_is_unbuffered_writes_each_line(tmp_path):
    with open(tmp_path / "log", "wb", buffering=0) as file:
        stream = io.TextIOWrapper(file, write_through=True)
        guarded = terminal._Stream(stream, "strict")
        guarded.write("a line\n")
        assert (tmp_path / "log").read_bytes() == b"a line\n"
