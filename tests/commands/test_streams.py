"""Standard input as an image, and standard output for a result."""

import io
import os
import sys

import pytest

from learned_jpeg.commands import job
from learned_jpeg.common.errors import UserError
from tests.commands.helpers import compress_pil, save_png


@pytest.fixture
def png(tmp_path, monkeypatch):
    """An image in the current folder, which is also what standard input gives."""
    monkeypatch.chdir(tmp_path)
    path = save_png(tmp_path / "a.png", 16, 24)
    stream = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    return path


@pytest.fixture
def wanted(png):
    """The bytes of the result, by names of files."""
    assert compress_pil("a.png", "-o", "wanted.jpg") == 0
    with open("wanted.jpg", "rb") as file:
        data = file.read()
    os.remove("wanted.jpg")
    return data


@pytest.mark.parametrize("path", ["a.png", "-"])
def test_a_result_goes_to_standard_output_and_nothing_else(
    png, wanted, path, capsysbinary
):
    capsysbinary.readouterr()
    assert compress_pil(path, "-o", "-", "--verbose") == 0
    out, err = capsysbinary.readouterr()
    assert out == wanted
    assert f"-: {len(wanted)} bytes, ".encode() in err
    assert f"1 of 1 images, {png.stat().st_size} -> {len(wanted)} bytes".encode() in err
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize("argv", [["-"], ["-", "-"]])
def test_standard_input_goes_to_standard_output(png, wanted, argv, capsysbinary):
    capsysbinary.readouterr()
    assert compress_pil(*argv) == 0
    out, err = capsysbinary.readouterr()
    assert out == wanted
    assert b"1 of 1 images" in err
    assert os.listdir() == ["a.png"]


def test_an_image_comes_by_standard_input(png, wanted, capsys):
    assert compress_pil("-", "-o", "new/b.jpg", "--json", "log") == 0
    with open("new/b.jpg", "rb") as file:
        assert file.read() == wanted
    with open("log", encoding="ascii") as file:
        assert file.read().startswith('{"path": "-", "status": "compressed", "output":')
    assert ", in new\n" in capsys.readouterr().out


def test_a_bad_image_of_standard_input_is_named_as_that(png, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no image")))
    assert compress_pil("-", "-o", "-") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("error: -: not an image in a format")


@pytest.mark.parametrize(
    "argv, words",
    [
        (["-", "-o", "folder"], "-: name the result of standard input by -o"),
        (["-", "a.png", "-o", "-"], "standard input is one image"),
        (["a.png", "-"], "standard input is one image"),
        (["a.png", "b.png", "-o", "-"], "--output -: one result for 2 inputs"),
    ],
)
def test_streams_that_do_not_fit_are_refused(png, argv, words):
    save_png(png.parent / "b.png", 16, 24)
    with pytest.raises(UserError, match=words):
        compress_pil(*argv)
    assert sorted(os.listdir()) == ["a.png", "b.png"]


def test_no_image_is_typed(png, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(UserError, match="-: standard input is a terminal; pipe an im"):
        compress_pil("-", "-o", "b.jpg")


def test_a_reader_that_has_gone_ends_the_call(png, monkeypatch):
    def fail(data):
        raise BrokenPipeError

    monkeypatch.setattr(job, "write_to_stdout", fail)
    with pytest.raises(BrokenPipeError):
        compress_pil("a.png", "-o", "-")


def test_no_result_goes_to_a_terminal(png, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UserError, match="--output -: standard output is a terminal"):
        compress_pil("a.png", "-o", "-")
    assert capsys.readouterr().out == ""
