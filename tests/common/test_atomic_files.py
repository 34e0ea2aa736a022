"""Tests of atomic_files.py: a file is written completely or not at all."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from learned_jpeg.common.atomic_files import (
    Attributes,
    atomic_path,
    backed_up,
    is_free,
    write_atomically,
)
from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures.image_files import find_images
from tests.paths import ROOT


def permissions(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_written_bytes_replace_the_older_file(tmp_path):
    path = tmp_path / "x.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_open(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "atomic", b"x")
        with open(tmp_path / "plain", "wb"):
            pass
    finally:
        os.umask(before)
    assert permissions(tmp_path / "atomic") == permissions(tmp_path / "plain")


def test_permissions_of_an_older_file_are_kept(tmp_path):
    path = tmp_path / "x"
    path.touch()
    path.chmod(0o640)
    write_atomically(path, b"x")
    assert permissions(path) == 0o640


@pytest.mark.parametrize(
    "mode, older, wanted",
    [
        (0o600, None, 0o600),
        (0o444, None, 0o444),
        (0o755, None, 0o644),
        (0o664, None, 0o664),
        (0o600, 0o644, 0o600),
        (0o644, 0o600, 0o600),
        (0o640, 0o664, 0o640),
        (0o755, 0o755, 0o755),
    ],
)
@pytest.mark.parametrize("has_links", [True, False])
def test_permissions_are_those_of_another_file(
    tmp_path, monkeypatch, mode, older, wanted, has_links
):
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "x"
    if older:
        path.touch()
        path.chmod(older)
    before = os.umask(0o022)
    try:
        with atomic_path(path, bool(older), attributes=Attributes(mode)) as temporary:
            assert permissions(temporary) == 0o600
    finally:
        os.umask(before)
    assert permissions(path) == wanted


def save_model(path, mode):
    """A file with times, and an extended attribute where there are any."""
    path.write_bytes(b"model")
    path.chmod(mode)
    os.utime(path, ns=(10**18, 10**18 + 1))
    with contextlib.suppress(OSError):
        os.setxattr(path, "user.note", b"kept")
    return path


def extended(path):
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def test_times_and_extended_attributes_are_taken_over_on_demand(tmp_path):
    model = save_model(tmp_path / "model", 0o640)
    attributes = Attributes.of(model, has_times=True, has_extended=True)
    write_atomically(tmp_path / "x", b"x", attributes=attributes)
    status = (tmp_path / "x").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (10**18, 10**18 + 1)
    assert extended(tmp_path / "x") == extended(model)
    write_atomically(tmp_path / "y", b"y", attributes=Attributes.of(model))
    assert (tmp_path / "y").stat().st_mtime_ns > 10**18 + 1
    assert extended(tmp_path / "y") == {}


@pytest.mark.parametrize(
    "mode, allowed, wanted",
    [(0o640, True, 0o640), (0o640, False, 0o600), (0o664, False, 0o644)],
)
def test_a_group_that_cannot_be_given_gets_no_more_than_everybody(
    tmp_path, monkeypatch, mode, allowed, wanted
):
    given = []

    def chown(path, owner, group):
        if not allowed:
            raise PermissionError(errno.EPERM, "no")
        given.append((owner, group))

    monkeypatch.setattr(os, "chown", chown)
    attributes = Attributes(mode, os.getuid() + 1, os.getgid() + 1)
    write_atomically(tmp_path / "x", b"x", attributes=attributes)
    assert permissions(tmp_path / "x") == wanted
    assert given == ([(-1, os.getgid() + 1), (os.getuid() + 1, -1)] if allowed else [])


def test_attributes_are_given_to_no_file_behind_a_link(tmp_path):
    """Others may put one in the place of a temporary file in their folder."""
    other = tmp_path / "other"
    other.touch(0o600)

    def write():
        with atomic_path(tmp_path / "x", attributes=Attributes(0o666)) as temporary:
            os.remove(temporary)
            os.symlink(other, temporary)

    with pytest.raises(OSError, match="x"):
        write()
    assert permissions(other) == 0o600
    assert os.listdir(tmp_path) == ["other"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_root_gives_a_file_to_the_owner_of_the_other_one(tmp_path):
    write_atomically(tmp_path / "x", b"x", attributes=Attributes(0o640, 1234, 1235))
    status = (tmp_path / "x").stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)
    assert permissions(tmp_path / "x") == 0o640


@pytest.mark.parametrize("has_links", [True, False])
def test_a_backup_is_the_older_file(tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    path = save_model(tmp_path / "x", 0o640)
    seen = []

    @contextlib.contextmanager
    def guard():
        with backed_up(path, tmp_path / "x~"):
            seen.append([(tmp_path / name).read_bytes() for name in ("x", "x~")])
            yield

    attributes = Attributes.of(path)
    write_atomically(path, b"new", guard=guard(), attributes=attributes)
    assert seen == [[b"model", b"model"]]
    backup = tmp_path / "x~"
    assert (path.read_bytes(), backup.read_bytes()) == (b"new", b"model")
    assert backup.stat().st_mtime_ns == 10**18 + 1
    assert permissions(path) == permissions(backup) == 0o640
    with pytest.raises(FileExistsError):
        write_atomically(path, b"newer", guard=guard())
    assert (path.read_bytes(), backup.read_bytes()) == (b"new", b"model")
    assert sorted(os.listdir(tmp_path)) == ["x", "x~"]


def test_a_backup_of_what_is_not_replaced_is_taken_back(tmp_path):
    path = save_model(tmp_path / "x", 0o644)
    with pytest.raises(RuntimeError), backed_up(path, tmp_path / "x~"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["x"]
    os.link(path, tmp_path / "x~")  # by a call that was killed
    with backed_up(path, tmp_path / "x~"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["x", "x~"]


def test_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x").touch()
    (tmp_path / "link").symlink_to("real/x")
    write_atomically(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/x").read_bytes() == b"x"


def test_device_is_written_not_replaced():
    write_atomically(os.devnull, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_longest_possible_name_can_be_written(tmp_path):
    name = "a" * 251 + ".png"
    write_atomically(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["gone/x.png", "file/x.png", "folder"])
def test_os_error_names_the_final_path(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=name) as caught:
        write_atomically(tmp_path / name, b"x")
    assert caught.value.filename == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UserError])
def test_failure_leaves_the_older_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def write_half():
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(b"half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.png"]


def test_os_error_of_another_file_keeps_its_name(tmp_path):
    other = str(tmp_path / "other")
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "x"):
        os.stat(other)
    assert caught.value.filename == other
    assert os.listdir(tmp_path) == []


def test_temporary_path_keeps_the_suffix_and_is_out_of_sight(tmp_path):
    path = tmp_path / "figure.PDF"
    with atomic_path(path) as temporary:
        assert temporary.endswith(".PDF")
        assert os.path.dirname(temporary) == str(tmp_path)
        assert not path.exists()
        with open(temporary, "wb") as file:
            file.write(b"pdf")
        with pytest.raises(UserError):
            find_images([f"{tmp_path}/*"])
    assert path.read_bytes() == b"pdf"


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "x"
    contents = [bytes([n]) * 100_000 for n in range(6)]

    def write(content):
        for _ in range(5):
            write_atomically(path, content)

    threads = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("way", ["write_atomically", "atomic_path"])
def test_full_disk_leaves_the_older_file_and_nothing_else(tmp_path, way):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    code = f"""
        import resource
        from learned_jpeg.common import atomic_files
        path = {str(path)!r}
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            if {way!r} == "write_atomically":
                atomic_files.write_atomically(path, bytes(5000))
            else:
                with atomic_files.atomic_path(path) as temporary:
                    with open(temporary, "wb") as file:
                        file.write(bytes(5000))
        except OSError as error:
            print(error.filename, error.strerror, sep=": ")
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"{path}: File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


# Files that must not be replaced


def without_links(*_):
    raise OSError(errno.EPERM, "no hard links here")


@pytest.mark.parametrize("has_links", [True, False])
def test_without_replace_a_free_name_is_taken_and_another_is_not(
    tmp_path, monkeypatch, has_links
):
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "x.jpg"
    write_atomically(path, b"first", replace=False)
    with pytest.raises(FileExistsError) as caught:
        write_atomically(path, b"second", replace=False)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x.jpg"]
    assert os.stat(path).st_nlink == 1


@pytest.mark.parametrize("has_links", [True, False])
def test_name_that_is_taken_while_the_file_is_written_is_left_alone(
    tmp_path, monkeypatch, has_links
):
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "x.jpg"

    def write_too_late():
        with atomic_path(path, replace=False) as temporary:
            with open(temporary, "wb") as file:
                file.write(b"mine")
            path.write_bytes(b"of another process")

    with pytest.raises(FileExistsError) as caught:
        write_too_late()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"of another process"
    assert os.listdir(tmp_path) == ["x.jpg"]


def test_of_many_writers_at_once_one_makes_the_file(tmp_path):
    path = tmp_path / "x"
    start, made = threading.Barrier(8), []

    def write(number):
        start.wait()
        try:
            write_atomically(path, bytes([number]) * 10_000, replace=False)
            made.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert path.read_bytes() == bytes(made) * 10_000
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("has_links", [True, False])
def test_an_empty_file_is_a_free_name(tmp_path, monkeypatch, has_links):
    """A run may be killed between taking a name and putting its file there."""
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "x.jpg"
    path.touch()
    assert is_free(path) and is_free(tmp_path / "none") and is_free("\0")
    write_atomically(path, b"first", replace=False)
    assert path.read_bytes() == b"first" and not is_free(path)
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert not is_free(tmp_path / "link") and not is_free(tmp_path)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "link", b"x", replace=False)


@pytest.mark.parametrize("is_left", [True, False])
def test_of_many_writers_without_hard_links_one_makes_the_file(
    tmp_path, monkeypatch, is_left
):
    monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "x"
    if is_left:
        path.touch()
    replace, start, made = os.replace, threading.Barrier(4), []

    def replace_slowly(*names):
        threading.Event().wait(0.01)  # the name is taken, and empty
        replace(*names)

    monkeypatch.setattr(os, "replace", replace_slowly)

    def write(number):
        start.wait()
        with contextlib.suppress(FileExistsError):
            write_atomically(path, bytes([number]) * 100, replace=False)
            made.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert path.read_bytes() == bytes(made) * 100
    assert os.listdir(tmp_path) == ["x"]


def test_dangling_link_is_not_written_through_without_replace(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "link", b"x", replace=False)
    assert not (tmp_path / "elsewhere").exists()


def test_guard_surrounds_the_replacing_and_may_refuse_it(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    seen = []

    @contextlib.contextmanager
    def guard(refuses):
        if refuses:
            raise UserError("no")
        seen.append(path.read_bytes())
        yield
        seen.append(path.read_bytes())

    with pytest.raises(UserError):
        write_atomically(path, b"new", guard=guard(True))
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new", guard=guard(False))
    assert seen == [b"old", b"new"]
    assert os.listdir(tmp_path) == ["x"]


# Files that killed runs have left


def test_only_old_files_of_our_own_naming_are_removed(tmp_path):
    old = time.time() - 25 * 3600
    removed = [".tmp-0123456789abcdef", ".tmp-fedcba9876543210.jpg"]
    kept = [".tmp-0123", ".tmp-0123456789ABCDEF.jpg", "tmp-0123456789abcdef", "x.png"]
    kept += [".tmp-0123456789abcdef.jpg.bak", "sub/.tmp-0123456789abcdef"]
    (tmp_path / "sub").mkdir()
    for name in removed + kept:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (old, old))
    young = ".tmp-aaaaaaaaaaaaaaaa.jpg"
    (tmp_path / young).touch()
    target = tmp_path / "precious"
    target.touch()
    (tmp_path / ".tmp-bbbbbbbbbbbbbbbb").symlink_to(target)
    (tmp_path / ".tmp-cccccccccccccccc").mkdir()
    os.utime(tmp_path / ".tmp-cccccccccccccccc", (old, old))
    write_atomically(tmp_path / "new", b"x")
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert left == {
        *kept,
        "sub",
        young,
        "precious",
        "new",
        ".tmp-bbbbbbbbbbbbbbbb",
        ".tmp-cccccccccccccccc",
    }
