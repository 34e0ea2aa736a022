"""Tests of outputs.py: no file that is an input or just written is replaced."""

import os
import threading

import pytest

from learned_jpeg.commands.outputs import OutputGuard, plan_outputs
from learned_jpeg.common.errors import UserError


def test_inputs_are_known_by_inode_not_by_name(tmp_path):
    """A hard link stands for a name that a file system takes for the same."""
    photo = tmp_path / "Photo.JPG"
    photo.write_bytes(b"precious")
    os.link(photo, tmp_path / "photo.jpg")
    guard = OutputGuard([str(photo), str(tmp_path / "gone.png")])
    with (
        pytest.raises(UserError, match=r"photo\.jpg: is the same file as the input"),
        guard.claim(tmp_path / "photo.jpg"),
    ):
        raise AssertionError("entered")
    with guard.claim(tmp_path / "other.jpg"):
        pass


def test_outputs_of_one_call_are_known_by_inode(tmp_path):
    guard = OutputGuard([])
    with guard.claim(tmp_path / "a.jpg"):
        (tmp_path / "a.jpg").write_bytes(b"first")
    os.link(tmp_path / "a.jpg", tmp_path / "A.jpg")
    with (
        pytest.raises(UserError, match=r"A\.jpg: is the same file as .*a\.jpg, which"),
        guard.claim(tmp_path / "A.jpg"),
    ):
        raise AssertionError("entered")


def test_an_inode_that_is_used_again_is_no_file_of_this_call(tmp_path):
    """Another call replaces a result, and its inode goes to a file of that call."""
    source, first, second = (tmp_path / n for n in ("b.png", "a.jpg", "b.jpg"))
    source.write_bytes(b"input")
    guard = OutputGuard([source])
    with guard.claim(first):
        first.write_bytes(b"ours")
    os.rename(first, second)  # `second` has the inode that we know as `first`
    first.write_bytes(b"theirs")
    with guard.claim(second):
        pass
    os.rename(source, second)
    with guard.claim(second):
        second.write_bytes(b"ours")


def test_an_older_file_may_be_replaced(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"older")
    with OutputGuard([tmp_path / "a.png"]).claim(path):
        path.write_bytes(b"newer")


def test_claims_are_taken_one_at_a_time(tmp_path):
    guard, order = OutputGuard([]), []

    def claim(name):
        with guard.claim(tmp_path / name):
            order.append(name)
            threading.Event().wait(0.01)
            order.append(name)

    threads = [threading.Thread(target=claim, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[::2] == order[1::2]


def test_jfif_inputs_get_jpg_outputs(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.jfif", "b.jpe", "b.jpg")]
    outputs = [os.path.basename(path) for path in plan_outputs(paths, None)]
    assert outputs == ["a.jpg", "b.jpe.jpg", "b.jpg.jpg"]
