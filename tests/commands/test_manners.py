"""What a call leaves alone, carries over and tells: the manners of `compress`."""

import json
import os
import stat

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.commands import arguments, job, marks, reports
from learned_jpeg.commands.marks import NAME
from tests.commands.helpers import compress_pil, photograph, save_png


@pytest.fixture
def png(tmp_path, monkeypatch):
    """An image in the current folder."""
    monkeypatch.chdir(tmp_path)
    return save_png(tmp_path / "a.png", 16, 24)


def tree(folder="."):
    """The names of files below a folder, sorted."""
    found = [os.path.join(top, n) for top, _, names in os.walk(folder) for n in names]
    return sorted(os.path.relpath(path, folder) for path in found)


def without_marks(folder="."):
    """Removes the marks, as a copy to another file system does."""
    for name in tree(folder):
        path = os.path.join(folder, name)
        if NAME in os.listxattr(path):
            os.removexattr(path, NAME)


# The same call again


@pytest.mark.parametrize("is_marked", [True, False])
@pytest.mark.parametrize("output", [[], ["-o", "out"], ["-o", "out.jpg"]])
def test_the_same_call_does_nothing_the_second_time(
    png, capsys, monkeypatch, output, is_marked
):
    argv = ["a.png", *output]
    assert compress_pil(*argv) == 0
    if not is_marked:
        without_marks()
    before = {name: os.stat(name) for name in tree()}
    capsys.readouterr()
    monkeypatch.setattr(job, "encode_file", None)
    assert compress_pil(*argv) == 0
    assert capsys.readouterr().out == "1 of 1 images skipped: their results exist\n"
    after = {name: os.stat(name) for name in tree()}
    assert [s.st_mtime_ns for s in after.values()] == [
        s.st_mtime_ns for s in before.values()
    ]


def test_a_result_that_the_same_call_makes_meanwhile_is_left_out(
    png, monkeypatch, capsys
):
    assert compress_pil("a.png", "-o", "b.jpg") == 0
    new_mark = marks.new_mark

    def appear(*args):
        os.link("b.jpg", "a.jpg")
        return new_mark(*args)

    monkeypatch.setattr(marks, "new_mark", appear)
    assert compress_pil("a.png") == 0
    assert "1 of 1 images skipped" in capsys.readouterr().out


def test_a_result_of_another_setting_is_named_and_kept(png, capsys, caplog):
    assert compress_pil("a.png", "--quality", "30") == 0
    before = (png.parent / "a.jpg").read_bytes()
    assert compress_pil("a.png", "--quality", "60") == 1
    assert (
        "error: a.jpg: exists already, made with another setting (quality 30, not 60); "
        "pass --force to overwrite it"
    ) in capsys.readouterr().err
    assert compress_pil("a.png", "--quality", "60", "--skip_existing") == 0
    assert "1 of them is made with another setting (quality 30, not 60)" in caplog.text
    assert (png.parent / "a.jpg").read_bytes() == before
    caplog.clear()
    assert compress_pil("a.png", "--quality", "60", "--force") == 0
    assert compress_pil("a.png", "--quality", "60", "--skip_existing") == 0
    assert "another setting" not in caplog.text


def test_a_result_of_an_older_input_is_named(png, capsys):
    assert compress_pil("a.png") == 0
    save_png(png, 16, 24, seed=1)
    assert compress_pil("a.png") == 1
    assert "made of another image, or of an older version" in capsys.readouterr().err


def test_a_file_of_another_program_is_no_result(png, capsys):
    Image.open(png).save("a.jpg")
    assert compress_pil("a.png") == 1
    assert "a.jpg: exists already; pass --force" in capsys.readouterr().err
    compress_pil("a.png", "--force")
    without_marks()
    os.utime("a.png")
    assert compress_pil("a.png") == 1  # changed since


# What is no input


@pytest.mark.parametrize(
    "argv", [["-r", "."], ["**/*.*g"], ["a.png", "small/a.jpg"], [".", "small"]]
)
def test_results_in_a_folder_of_the_inputs_are_no_inputs(png, caplog, argv):
    caplog.set_level("INFO")
    assert compress_pil(".", "-r", "-o", "small") == 0
    assert compress_pil(*argv, "-o", "smaller", "--quality", "30") == 0
    assert tree() == ["a.png", "small/a.jpg", "smaller/a.jpg"]
    assert "left out 1 result of an earlier call (" in caplog.text
    assert compress_pil("small", "-o", "again") == 0  # an input without its original
    assert tree("again") == ["a.jpg"]


@pytest.mark.parametrize("pattern", ["**/*.*g", "./**"])
def test_a_folder_of_results_below_a_pattern_holds_no_inputs(png, pattern):
    for _ in range(2):
        assert compress_pil(pattern, "-o", "small", "--force") == 0
        without_marks()
        assert tree() == ["a.png", "small/a.jpg"]


def test_an_input_that_is_named_twice_is_done_once(png, caplog, capsys):
    caplog.set_level("INFO")
    assert compress_pil("a.png", "./a.png", ".", "-o", "out") == 0
    assert "left out 2 inputs named more than once (./a.png, ./a.png)" in caplog.text
    assert "1 of 1 images" in capsys.readouterr().out


def test_images_that_cannot_be_read_are_named_and_counted(png, caplog, capsys):
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)
    (png.parent / "b.PSD").write_bytes(b"8BPS" + bytes(50))
    (png.parent / "c.jp2").write_bytes(heic)
    (png.parent / "d.NEF").write_bytes(b"II*\0" + bytes(50))
    (png.parent / "notes.txt").write_text("no image")
    assert compress_pil(".", "-o", "out") == 1
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert [line[:14] for line in errors] == [
        "error: ./b.PSD",
        "error: ./c.jp2",
        "error: ./d.NEF",
    ]
    assert "3 of 4 images failed" in caplog.text
    assert tree("out") == ["a.jpg"]


# What is carried over


def test_a_result_is_private_while_it_is_written(png, monkeypatch):
    png.chmod(0o600)
    seen = []
    fsync = os.fsync

    def look(descriptor):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    assert compress_pil("a.png") == 0
    assert seen == [0o600]
    assert stat.S_IMODE(os.stat("a.jpg").st_mode) == 0o600


def test_the_time_of_an_input_is_kept_on_demand(png):
    os.utime(png, ns=(10**18, 10**18 + 3))
    assert compress_pil("a.png", "--keep_time") == 0
    assert os.stat("a.jpg").st_mtime_ns == 10**18 + 3
    assert compress_pil("a.png", "--force") == 0
    assert os.stat("a.jpg").st_mtime_ns > 10**18 + 3


@pytest.mark.parametrize(
    "flags, wanted",
    [
        ("", (255, 255, 255)),
        ("--background black", (0, 0, 0)),
        ("--background #1a4", (17, 170, 68)),
        ("--background #123456", (18, 52, 86)),
    ],
)
def test_transparency_is_blended_over_a_background(png, flags, wanted):
    pixels = np.zeros((16, 16, 4), np.uint8)
    Image.fromarray(pixels).save("b.png")
    argv = ["b.png", *flags.split(), "--quality", "98", "--force"]
    assert compress_pil(*argv) == 0
    with Image.open("b.jpg") as image:
        difference = np.asarray(image.convert("RGB"), int) - wanted
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("colour", ["whit", "#12", "#11223344", ""])
def test_what_is_no_colour_is_refused(capsys, colour):
    with pytest.raises(SystemExit):
        arguments.parse_compress(["a.png", "--background", colour])
    assert f"argument --background: '{colour}' is not an opaque colour" in (
        capsys.readouterr().err
    )


# A dry run


def test_a_dry_run_tells_sizes_and_scores_and_writes_nothing(png, capsys):
    argv = ["a.png", "-o", "out", "--quality", "40"]
    assert compress_pil(*argv, "--dry_run") == 0
    told = capsys.readouterr().out
    assert tree() == ["a.png"] and not os.path.exists("out")
    assert compress_pil(*argv, "--verbose", "--json", "log") == 0
    with open("log") as file:
        record = json.loads(file.read())
    size, score = record["bytes_out"], record["score"]
    assert record["metrics"]["ssimulacra2"] == score and "psnr" in record["metrics"]
    line, summary = told.splitlines()
    assert line == (
        f"out/a.jpg: {size} bytes, {record['bpp']:.4f} bpp, 4:4:4, SSIMULACRA2 "
        f"{score:.3f} (quality 40)"
    )
    saved = 100 - 100 * size / png.stat().st_size
    assert summary == (
        f"1 of 1 images, {png.stat().st_size} -> {size} bytes ({saved:.1f} % smaller), "
        "nothing written"
    )


def test_records_of_a_dry_run_say_so(png):
    assert compress_pil("a.png", "--dry_run", "--json", "log") == 0
    assert compress_pil("a.png", "--json", "log") == 0
    with open("log") as file:
        dry, real = map(json.loads, file)
    assert dry.pop("dry_run") and dry.pop("score") > 0
    assert {**dry, "seconds": 0} == {**real, "seconds": 0}


def test_a_dry_run_writes_nothing_to_standard_output(png, capfdbinary):
    assert compress_pil("a.png", "-o", "-", "--dry_run") == 0
    assert compress_pil("a.png", "--dry_run") == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"a.jpg: ") and err.startswith(b"-: ")
    assert tree() == ["a.png"]


def test_a_dry_run_tells_of_results_that_exist(png, capsys):
    (png.parent / "a.jpg").write_bytes(b"precious")
    assert compress_pil("a.png", "--dry_run") == 1
    assert compress_pil("a.png", "--dry_run", "--force") == 0
    assert (png.parent / "a.jpg").read_bytes() == b"precious"
    assert "a.jpg: exists already" in capsys.readouterr().err


def test_a_dry_run_replaces_no_input(png, capsys):
    Image.fromarray(photograph(40, 56)).save("b.jpg", quality=95)
    before = os.stat("b.jpg")
    assert compress_pil("b.jpg", "--in_place", "--dry_run", "--quality", "30") == 0
    assert os.stat("b.jpg") == before
    assert "nothing written" in capsys.readouterr().out


# Sizes in the summary


@pytest.mark.parametrize(
    "before, after, text",
    [
        (1000, 406, "1000 -> 406 bytes (59.4 % smaller)"),
        (1000, 1500, "1000 -> 1500 bytes (50.0 % larger)"),
        (1000, 1000, "1000 -> 1000 bytes"),
        (0, 10, "0 -> 10 bytes"),
    ],
)
def test_the_summary_tells_what_is_saved(before, after, text):
    assert reports._sizes_text(before, after) == text
