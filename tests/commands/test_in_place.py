"""Inputs that are replaced by their results, each in one step, and their backups."""

import contextlib
import os
import stat

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.commands import arguments, placing
from learned_jpeg.commands.marks import NAME
from learned_jpeg.common import atomic_files
from tests.commands.helpers import compress_pil, photograph, save_png


def save_jpeg(path, seed=0, quality=95, size=(40, 56)):
    Image.fromarray(photograph(*size, seed)).save(path, "JPEG", quality=quality)
    return path


def in_place(*argv):
    return compress_pil(*argv, "--in_place", "--quality", 30)


@pytest.fixture
def photo(tmp_path):
    return save_jpeg(tmp_path / "a.jpg")


def wanted(photo):
    """The bytes of the result, made in a folder of its own."""
    folder = photo.parent / "other"
    assert compress_pil(photo, "-o", folder, "--quality", 30) == 0
    data = (folder / photo.name).read_bytes()
    (folder / photo.name).unlink()
    folder.rmdir()
    return data


def test_an_input_is_replaced_by_its_result(photo, capsys):
    data = wanted(photo)
    before = photo.stat()
    photo.chmod(0o751)
    with contextlib.suppress(OSError):
        os.setxattr(photo, "user.note", b"kept")
    assert in_place(photo) == 0
    assert photo.read_bytes() == data
    assert stat.S_IMODE(photo.stat().st_mode) == 0o751
    assert photo.stat().st_mtime_ns > before.st_mtime_ns
    assert os.listdir(photo.parent) == ["a.jpg"]
    assert f"{before.st_size} -> {len(data)} bytes" in capsys.readouterr().out
    names = set(os.listxattr(photo)) - {NAME}
    assert names <= {"user.note"}


def test_a_second_call_does_nothing(photo, capsys, monkeypatch):
    assert in_place(photo) == 0
    before = photo.stat()
    assert in_place(photo) == 0
    after = photo.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # Without marks the rules for JPEG inputs see to it.
    monkeypatch.setattr(placing.marks, "read_mark", lambda path: None)
    assert in_place(photo) == 0
    assert photo.stat().st_ino == before.st_ino
    assert "kept the original" in capsys.readouterr().out


def test_a_larger_result_never_replaces(tmp_path, capsys):
    photo = save_jpeg(tmp_path / "a.jpg", quality=10)
    data = photo.read_bytes()
    assert in_place(photo, "--no-keep_smaller", "--entropy_coding", "standard") == 0
    assert photo.read_bytes() == data
    out = capsys.readouterr().out
    assert f"a.jpg: kept the original ({len(data)} bytes; ours are not fewer)" in out
    assert f"{len(data)} -> {len(data)} bytes, in" in out


def test_a_backup_is_kept_and_is_no_input(photo, caplog):
    caplog.set_level("INFO")
    data = photo.read_bytes()
    mtime = photo.stat().st_mtime_ns
    backup = photo.with_name("a.jpg_old.jpg")
    for _ in range(2):
        assert in_place(photo.parent, "--backup", "_old.jpg") == 0
        assert sorted(os.listdir(photo.parent)) == ["a.jpg", "a.jpg_old.jpg"]
        assert backup.read_bytes() == data
        assert backup.stat().st_mtime_ns == mtime
        assert photo.read_bytes() != data
    assert f"left out 1 backup ({backup})" in caplog.text


def test_a_backup_is_never_overwritten(photo, capsys):
    data = photo.read_bytes()
    backup = photo.with_name("a.jpg~")
    backup.write_bytes(b"precious")
    assert in_place(photo, "--backup", "~") == 1
    assert (photo.read_bytes(), backup.read_bytes()) == (data, b"precious")
    assert f"{photo}: its backup {backup} exists already" in capsys.readouterr().err


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError(28, "disk full")])
def test_a_failure_leaves_the_input_and_nothing_else(photo, monkeypatch, problem):
    data = photo.read_bytes()

    def fail(*_):
        raise problem

    monkeypatch.setattr(atomic_files.os, "replace", fail)
    args = arguments.parse_compress([str(photo), "--in_place", "--backup", "~"])
    place = placing.InPlace(args)
    assert place.existing(str(photo), str(photo)) is None
    result = placing.EncodedFile(np.zeros((1, 1, 3)), b"small", "compressed", "")
    with pytest.raises((KeyboardInterrupt, OSError)):
        place.put(str(photo), str(photo), result)
    assert photo.read_bytes() == data
    assert os.listdir(photo.parent) == ["a.jpg"]


def test_an_input_that_changes_meanwhile_is_not_replaced(photo, monkeypatch, capsys):
    encode = placing.InPlace.chosen

    def change(self, path, result):
        with open(path, "ab") as file:
            file.write(b"edited")
        return encode(self, path, result)

    monkeypatch.setattr(placing.InPlace, "chosen", change)
    assert in_place(photo) == 1
    assert photo.read_bytes().endswith(b"edited")
    assert "has been changed meanwhile" in capsys.readouterr().err


def test_only_jpeg_files_are_replaced(tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    save_png(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    assert in_place(tmp_path) == 0
    assert f"left out 1 image of other formats than JPEG ({tmp_path}/a" in caplog.text
    assert in_place(tmp_path / "a.png") == 1
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]
    assert "a.png: is no .jpg file, and --in_place" in capsys.readouterr().err


def test_a_link_and_its_file_are_one_input(photo, caplog):
    caplog.set_level("INFO")
    link = photo.with_name("b.jpg")
    link.symlink_to("a.jpg")
    data = wanted(photo)
    assert in_place(photo.parent) == 0
    assert link.is_symlink() and photo.read_bytes() == data
    assert f"left out 1 input named more than once ({link})" in caplog.text


def test_the_time_is_kept_on_demand(photo):
    os.utime(photo, ns=(10**18, 10**18 + 7))
    assert in_place(photo, "--keep_time") == 0
    assert photo.stat().st_mtime_ns == 10**18 + 7


@pytest.mark.parametrize(
    "flags, words",
    [
        ("a.jpg --backup .orig", "--backup has no effect without --in_place"),
        ("a.jpg --in_place -o b", "leave out --output"),
        ("a.jpg --in_place --force", "leave out --force"),
        ("a.jpg --in_place --skip_existing", "leave out --skip_existing"),
        ("- --in_place", "standard input is no file"),
        ("a.jpg --in_place --backup a/b", "'a/b' is not the end of a name"),
        ("--files_from list -o b --in_place", "--in_place does not go with lists"),
        ("- -o a.jpg --keep_time", "--keep_time: a standard stream has no times"),
        ("a.jpg -o - --keep_time", "--keep_time: a standard stream has no times"),
    ],
)
def test_flags_that_do_not_fit_are_refused(capsys, flags, words):
    with pytest.raises(SystemExit):
        arguments.parse_compress(flags.split())
    assert words in capsys.readouterr().err
