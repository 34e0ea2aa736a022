"""Tests of variables: restoring checkpoints, and refusing bad ones."""

import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.common.errors import UserError
from learned_jpeg.models import folders
from tests.training.helpers import (
    SUFFIXES,
    assert_one_line,
    build,
    restored,
    write_checkpoint,
)
from training import variables


def test_restored_values_are_those_that_were_saved(folder, checkpoint):
    prefix, values = checkpoint
    assert folders.find_checkpoint(folder) == prefix
    assert folders.checkpoint_step(prefix) == 7
    for name, array in restored(prefix).items():
        np.testing.assert_array_equal(array, values[name])


def test_moved_folder_still_restores(tmp_path, folder, checkpoint):
    moved = str(tmp_path / "elsewhere" / "train")
    os.makedirs(os.path.dirname(moved))
    shutil.move(folder, moved)
    prefix = folders.find_checkpoint(moved)
    assert prefix.startswith(moved)
    for name, array in restored(prefix).items():
        np.testing.assert_array_equal(array, checkpoint[1][name])


def test_relative_folder_restores_from_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, values = write_checkpoint("train")
    os.mkdir("sub")
    monkeypatch.chdir("sub")
    arrays = restored(folders.find_checkpoint("../train"))
    np.testing.assert_array_equal(arrays["qtables"], values["qtables"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 10, -1])
def test_truncated_checkpoint_is_a_user_error(checkpoint, suffix, keep):
    prefix, _ = checkpoint
    with open(prefix + suffix, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.truncate(keep % size if keep else 0)
    with pytest.raises(UserError) as caught:
        restored_all(prefix)
    assert_one_line(caught, prefix)


def test_flipped_bit_is_a_user_error(checkpoint):
    prefix, _ = checkpoint
    with open(prefix + SUFFIXES[1], "r+b") as file:
        data = bytearray(file.read())
        data[len(data) // 2] ^= 1
        file.seek(0)
        file.write(data)
    with pytest.raises(UserError) as caught:
        restored_all(prefix)
    assert_one_line(caught, prefix, "damaged")


def restored_all(prefix):
    """Restores Adam's slots too, so that every byte of the data is needed."""
    with tf.Graph().as_default(), tf.Session() as session:
        build()
        variables.restore(session, tf.global_variables(), prefix)


@pytest.mark.parametrize("other", [{"name": "other"}, {"shape": (8, 8, 3)}])
def test_checkpoint_of_another_model_is_a_user_error(checkpoint, other):
    with pytest.raises(UserError) as caught:
        restored(checkpoint[0], **other)
    assert_one_line(caught, checkpoint[0], "--vgg")


def test_model_without_variables_needs_no_checkpoint(session):
    variables.restore(session, [], None)


def test_arrays_are_assigned_in_order(session):
    assigned = [tf.get_variable(name, [2, 3], use_resource=True) for name in ("a", "b")]
    arrays = [np.full([2, 3], value, np.float32) for value in (1, 2)]
    variables.assign(session, assigned, arrays)
    for variable, array in zip(assigned, arrays, strict=True):
        np.testing.assert_array_equal(session.run(variable), array)


def test_array_of_another_shape_is_a_user_error_that_names_the_variable(session):
    variable = tf.get_variable("trunk/conv0/kernel", [3, 3, 3, 64], use_resource=True)
    with pytest.raises(UserError) as caught:
        variables.assign(session, [variable], [np.zeros([3, 3, 3, 8], np.float32)])
    assert_one_line(caught, "trunk/conv0/kernel", "(3, 3, 3, 8)", "(3, 3, 3, 64)")
