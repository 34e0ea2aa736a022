"""Marks on results: what a file was made of, and what it would be made of now."""

import os

import pytest

from learned_jpeg.commands import arguments, call
from learned_jpeg.commands.call import setting_of
from learned_jpeg.commands.marks import NAME, new_mark, read_mark

SETTING = {"quality": 75}


@pytest.fixture
def result(tmp_path):
    """A marked result of `a.png`, which lies beside it."""
    (tmp_path / "a.png").write_bytes(b"an image")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a result")
    mark = new_mark(str(tmp_path / "a.png"), SETTING, b"a result")
    try:
        os.setxattr(path, NAME, mark[NAME])
    except (AttributeError, OSError):
        pytest.skip("no extended attributes here")
    return path


def test_a_mark_knows_its_input_by_its_content(result):
    source = result.with_suffix(".png")
    mark = read_mark(result)
    assert mark.difference(source, SETTING) is None
    copy = result.with_name("b.png")
    copy.write_bytes(source.read_bytes())
    os.utime(copy, (5, 5))
    assert mark.is_of(copy)
    copy.write_bytes(b"an imaGe")
    assert not mark.is_of(copy) and not mark.is_of(result.with_name("none"))
    assert mark.difference(copy, SETTING) == (
        "made of another image, or of an older version of it"
    )


def test_a_mark_knows_its_setting(result):
    mark = read_mark(result)
    assert mark.other_setting({"quality": 75}) is None
    assert mark.other_setting({"lmbda": 0.5, "quality": 75}) == (
        "made with another setting (lambda unset, not 0.5)"
    )
    assert mark.other_setting({"background": (1, 2, 3)}) == (
        "made with another setting (background unset, not #010203; quality 75, not "
        "unset)"
    )


def test_a_file_that_was_changed_has_no_mark(result):
    result.write_bytes(b"a resulT")
    assert read_mark(result) is None


@pytest.mark.parametrize("mark", [b"", b"1 2 3 4", b"a b c d {}", b"\xff", b"x" * 99])
def test_what_is_no_mark_is_ignored(result, mark):
    os.setxattr(result, NAME, mark)
    assert read_mark(result) is None


def test_without_extended_attributes_there_are_no_marks(result, monkeypatch):
    def refused(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "getxattr", refused)
    assert read_mark(result) is None
    monkeypatch.delattr(os, "getxattr")
    assert read_mark(result) is None


def test_a_result_in_the_place_of_its_input_is_of_no_other_file(result):
    os.setxattr(result, NAME, new_mark(None, SETTING, b"a result")[NAME])
    mark = read_mark(result)
    assert mark.source is None and not mark.is_of(result)
    assert mark.other_setting(SETTING) is None


@pytest.mark.parametrize(
    "flags, wanted",
    [
        ("", {"quality": 75}),
        ("--quality 75 --force -v --workers 3 -o b", {"quality": 75}),
        ("--quality 30", {"quality": 30}),
        ("--target_bpp 1", {"target_bpp": 1.0}),
        ("--strip_metadata", {"quality": 75, "strip_metadata": True}),
        ("--no-keep_smaller", {"quality": 75, "keep_smaller": False}),
        (
            "--entropy_coding standard",
            {"quality": 75, "entropy_coding": "standard"},
        ),
        ("--background #fff", {"quality": 75}),
        ("--background red", {"quality": 75, "background": (255, 0, 0)}),
    ],
)
def test_a_setting_is_what_files_depend_on(flags, wanted):
    args = arguments.parse_compress(["a.png", *flags.split()])
    assert setting_of(args) == wanted


def test_a_task_of_an_array_has_the_same_setting(monkeypatch):
    for name, value in (("ID", "1"), ("COUNT", "3"), ("MAX", "2")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    call._usual_flags.cache_clear()
    args = arguments.parse_compress(["a.png", "-o", "b"])
    assert args.shard == (1, 3) and setting_of(args) == {"quality": 75}


def test_the_usual_mark_fits_into_an_inode(result):
    """ext4 has room for 88 bytes in an inode of 256, with the header and the name."""
    mark = new_mark(str(result.with_suffix(".png")), SETTING, b"a result")[NAME]
    growth = len(f"{24_000_000:x}") - len(f"{len(b'an image'):x}")
    assert 16 + len("learned_jpeg") + len(mark) + growth <= 88
