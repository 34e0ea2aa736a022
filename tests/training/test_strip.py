"""Tests of strip: a copy that codes as the checkpoint does, without Adam."""

import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.common.errors import UserError
from learned_jpeg.models import folders
from tests.training.helpers import (
    RECORD,
    SUFFIXES,
    assert_one_line,
    restored,
    run_script,
)
from training import strip


def test_strip_does_not_replace_a_checkpoint(folder, checkpoint):
    with pytest.raises(UserError) as caught:
        strip.strip(folder, folder)
    assert_one_line(caught, folder, "another folder")
    assert restored(checkpoint[0]).keys() == {"qtables", "head/bias"}


def variables_in(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


def test_stripped_checkpoint_keeps_the_model_and_loses_adam(
    tmp_path, folder, checkpoint
):
    prefix, values = checkpoint
    assert "qtables/Adam_1" in variables_in(prefix)
    target = str(tmp_path / "stripped")
    stripped = strip.strip(folder, target)
    assert stripped == folders.find_checkpoint(target)
    assert folders.checkpoint_step(stripped) == 7
    kept = variables_in(stripped)
    assert kept.keys() == values.keys() == {"qtables", "head/bias", "global_step"}
    for name, array in values.items():
        np.testing.assert_array_equal(kept[name], array)
        assert kept[name].dtype == array.dtype
    for name, array in restored(stripped).items():
        np.testing.assert_array_equal(array, values[name])


def test_stripped_folder_holds_settings_and_nothing_but_the_checkpoint(
    tmp_path, folder, checkpoint
):
    with open(os.path.join(folder, "events.out.tfevents.1"), "w"):
        pass
    target = tmp_path / "stripped"
    strip.strip(os.path.dirname(folder), str(target))
    assert folders.load_record(target) == RECORD
    assert sorted(os.listdir(target)) == [
        "checkpoint",
        "model.ckpt-7.data-00000-of-00001",
        "model.ckpt-7.index",
        "qtables.json",
        "settings.json",
    ]
    entries = checkpoint[1]["qtables"] * 1e5
    expected = np.rint(entries).clip(1, 255).transpose(2, 0, 1)
    prefix = folders.find_checkpoint(str(target))
    np.testing.assert_array_equal(folders.load_qtables(prefix, "ljpeg"), expected)


def test_stripped_folder_can_be_moved(tmp_path, folder, checkpoint):
    strip.strip(folder, str(tmp_path / "stripped"))
    shutil.move(tmp_path / "stripped", tmp_path / "moved")
    prefix = folders.find_checkpoint(str(tmp_path / "moved"))
    arrays = restored(prefix)
    np.testing.assert_array_equal(arrays["qtables"], checkpoint[1]["qtables"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_strip_of_a_damaged_checkpoint_is_a_user_error(
    tmp_path, folder, checkpoint, suffix
):
    with open(checkpoint[0] + suffix, "r+b") as file:
        file.truncate(20)
    with pytest.raises(UserError) as caught:
        strip.strip(folder, str(tmp_path / "stripped"))
    assert_one_line(caught, checkpoint[0])


def test_script_strips_and_says_where_to(
    tmp_path, folder, checkpoint, monkeypatch, capsys
):
    target = str(tmp_path / "stripped")
    status, output, lines = run_script(monkeypatch, capsys, folder, target)
    assert (status, output) == (0, "")
    assert lines[-1] == f"Wrote {os.path.join(target, 'model.ckpt-7')}"
