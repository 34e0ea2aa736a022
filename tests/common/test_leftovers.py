"""Tests of leftovers.py: temporary folders, also those of killed runs."""

import os
import tempfile
import time

from learned_jpeg.common import leftovers


def test_a_folder_lasts_as_long_as_its_context(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with leftovers.temporary_folder() as folder:
        assert os.path.dirname(folder) == str(tmp_path)
        assert os.stat(folder).st_mode & 0o777 == 0o700
        with open(os.path.join(folder, "coded.jpg"), "wb") as file:
            file.write(b"x")
    assert os.listdir(tmp_path) == []


def test_folders_of_killed_runs_are_removed_when_they_are_old(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers, "_tidied", set())
    old = time.time() - 25 * 3600
    left, others = "learned-jpeg-tmp-abc_1234", ["learned-jpeg-0", "jpeg_file_abcdefgh"]
    for name in (left, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "coded.jpg").touch()
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").touch()
    link, file, young = (f"learned-jpeg-tmp-{letter * 8}" for letter in "abc")
    (tmp_path / link).symlink_to(tmp_path / "precious")
    (tmp_path / file).touch()
    for name in (link, file):
        os.utime(tmp_path / name, (old, old), follow_symlinks=False)
    (tmp_path / young).mkdir()
    with leftovers.temporary_folder():
        pass
    assert set(os.listdir(tmp_path)) == {*others, "precious", link, file, young}
    assert os.listdir(tmp_path / "precious") == ["x"]
