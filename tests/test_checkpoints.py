"""Checkpoint folders: settings, restoring, stripping, and all that may be amiss."""

import argparse
import json
import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import checkpoints
from errors import UserError, run_main

SETTINGS = {"script": "ljpeg", "lmbda": 0.01, "lr": 1e-4, "vgg": "vgg16"}
SUFFIXES = (".index", ".data-00000-of-00001")


def build(shape=(8, 8, 2), name="qtables"):
    """A graph like that of a training: variables, Adam's slots, the global step."""
    with tf.variable_scope("", use_resource=True):
        table = tf.get_variable(name, shape)
        bias = tf.get_variable("head/bias", [5])
        step = tf.train.get_or_create_global_step()
        loss = tf.reduce_sum(table**2) + tf.reduce_sum((bias - 1) ** 2)
        train = tf.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
    return [table, bias], train


def write_checkpoint(folder, steps=7, **shape):
    """Trains a little, saves; returns (prefix, the values by name)."""
    os.makedirs(folder, exist_ok=True)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        variables, train = build(**shape)
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(train)
        step = tf.train.get_global_step()
        path = os.path.join(folder, checkpoints.CHECKPOINT_NAME)
        prefix = checkpoints.saver(tf.global_variables()).save(
            session, path, step, write_meta_graph=False
        )
        checkpoints.save_settings(folder, SETTINGS)
        return prefix, {v.op.name: session.run(v) for v in [*variables, step]}


def restored(prefix, **shape):
    """The values that a graph of the same model gets from a checkpoint."""
    with tf.Graph().as_default(), tf.Session() as session:
        variables, _ = build(**shape)
        checkpoints.restore(session, variables, prefix)
        return {v.op.name: session.run(v) for v in variables}


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "run" / "train")


@pytest.fixture
def checkpoint(folder):
    return write_checkpoint(folder)


def assert_one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# Settings


def test_settings_are_the_flags_that_matter():
    args = argparse.Namespace(
        lmbda=0.1, lr=1e-4, checkpoint_dir="a", command="train", preprocess_threads=3
    )
    assert checkpoints.settings_of(args, "ljpeg") == {
        "script": "ljpeg",
        "lmbda": 0.1,
        "lr": 1e-4,
    }


def test_settings_come_back_as_they_were_saved(tmp_path):
    checkpoints.save_settings(tmp_path, SETTINGS)
    assert checkpoints.load_settings(tmp_path) == SETTINGS
    text = (tmp_path / "settings.json").read_text(encoding="utf-8")
    assert json.loads(text) == SETTINGS


def test_missing_settings_are_empty(tmp_path):
    assert checkpoints.load_settings(tmp_path) == {}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe{}", b'{"lmbda": 0.01']
)
def test_damaged_settings_are_a_user_error_that_names_the_file(tmp_path, data):
    path = tmp_path / "settings.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        checkpoints.load_settings(tmp_path)
    assert_one_line(caught, str(path))


def test_model_settings_have_defaults_for_what_old_folders_lack(tmp_path):
    settings = checkpoints.model_settings(tmp_path, "ljpeg_attention")
    assert (settings.vgg, settings.freeze_vgg) == ("vgg16", False)
    checkpoints.save_settings(
        tmp_path, {"script": "ljpeg_attention", "vgg": "vgg19", "freeze_vgg": True}
    )
    settings = checkpoints.model_settings(tmp_path, "ljpeg_attention")
    assert (settings.vgg, settings.freeze_vgg) == ("vgg19", True)


def test_folder_of_another_script_is_a_user_error(tmp_path):
    checkpoints.save_settings(tmp_path, {"script": "google_baseline"})
    with pytest.raises(UserError) as caught:
        checkpoints.model_settings(tmp_path, "ljpeg")
    assert_one_line(caught, str(tmp_path), "google_baseline.py", "ljpeg.py")


@pytest.mark.parametrize(
    "key, value, flag",
    [
        ("script", "ljpeg_attention", "ljpeg_attention.py"),
        ("lmbda", 0.02, "--lambda"),
        ("vgg", "vgg19", "--vgg"),
        ("lpips_weight", 3.0, "--lpips_weight"),
        ("total_weight_regularizer", 1.0, "--total_weight_regularizer"),
    ],
)
def test_resume_with_another_model_or_loss_is_a_user_error(tmp_path, key, value, flag):
    saved = SETTINGS | {
        "freeze_vgg": False,
        "lpips_weight": 0.0,
        "total_weight_regularizer": 10.0,
    }
    checkpoints.save_settings(tmp_path, saved)
    with pytest.raises(UserError) as caught:
        checkpoints.check_resume(tmp_path, saved | {key: value})
    assert_one_line(caught, str(tmp_path), flag, str(saved[key]), str(value))


@pytest.mark.parametrize("saved, remedy", [(True, "pass it"), (False, "leave it out")])
def test_resume_with_the_trunk_frozen_otherwise_names_the_remedy(
    tmp_path, saved, remedy
):
    checkpoints.save_settings(tmp_path, SETTINGS | {"freeze_vgg": saved})
    with pytest.raises(UserError) as caught:
        checkpoints.check_resume(tmp_path, SETTINGS | {"freeze_vgg": not saved})
    assert_one_line(caught, str(tmp_path), "--freeze_vgg", remedy)


def test_second_training_in_a_folder_is_a_user_error(tmp_path):
    with (
        checkpoints.locked(tmp_path),
        pytest.raises(UserError) as caught,
        checkpoints.locked(tmp_path),
    ):
        pass
    assert_one_line(caught, str(tmp_path), "another training")
    with checkpoints.locked(tmp_path):  # Free again.
        pass


def test_run_folder_in_place_of_a_checkpoint_folder_says_so(tmp_path):
    (tmp_path / "lambda_001").mkdir()
    with pytest.raises(UserError) as caught:
        checkpoints.find_checkpoint(str(tmp_path))
    assert_one_line(caught, str(tmp_path), "lambda_*")


def test_strip_does_not_replace_a_checkpoint(folder, checkpoint):
    with pytest.raises(UserError) as caught:
        checkpoints.strip(folder, folder)
    assert_one_line(caught, folder, "another folder")
    assert restored(checkpoint[0]).keys() == {"qtables", "head/bias"}


@pytest.mark.parametrize("bad", [{"vgg": "vgg17"}, {"freeze_vgg": "yes"}])
def test_settings_of_an_unknown_model_are_a_user_error(tmp_path, bad):
    checkpoints.save_settings(tmp_path, SETTINGS | bad)
    with pytest.raises(UserError) as caught:
        checkpoints.model_settings(str(tmp_path), SETTINGS["script"])
    assert_one_line(caught, str(tmp_path), "settings.json", str(*bad.values()))


def test_resume_with_other_harmless_flags_is_reported(tmp_path):
    checkpoints.save_settings(tmp_path, SETTINGS)
    changed = SETTINGS | {"lr": 1e-5, "new_flag": 3}
    [line] = checkpoints.check_resume(tmp_path, changed)
    assert "--lr" in line and "0.0001" in line and "1e-05" in line


def test_resume_with_equal_flags_is_silent(tmp_path):
    assert checkpoints.check_resume(tmp_path, SETTINGS) == []
    checkpoints.save_settings(tmp_path, SETTINGS)
    assert checkpoints.check_resume(tmp_path, SETTINGS) == []


# Finding and restoring


def test_restored_values_are_those_that_were_saved(folder, checkpoint):
    prefix, values = checkpoint
    assert checkpoints.find_checkpoint(folder) == prefix
    assert checkpoints.checkpoint_step(prefix) == 7
    for name, array in restored(prefix).items():
        np.testing.assert_array_equal(array, values[name])


def test_checkpoint_is_found_in_the_train_folder_below(folder, checkpoint):
    assert checkpoints.find_checkpoint(os.path.dirname(folder)) == checkpoint[0]
    assert checkpoints.latest_checkpoint(os.path.dirname(folder)) is None


def test_moved_folder_still_restores(tmp_path, folder, checkpoint):
    moved = str(tmp_path / "elsewhere" / "train")
    os.makedirs(os.path.dirname(moved))
    shutil.move(folder, moved)
    prefix = checkpoints.find_checkpoint(moved)
    assert prefix.startswith(moved)
    for name, array in restored(prefix).items():
        np.testing.assert_array_equal(array, checkpoint[1][name])


def test_relative_folder_restores_from_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, values = write_checkpoint("train")
    os.mkdir("sub")
    monkeypatch.chdir("sub")
    arrays = restored(checkpoints.find_checkpoint("../train"))
    np.testing.assert_array_equal(arrays["qtables"], values["qtables"])


def test_newest_checkpoint_is_taken(folder, checkpoint):
    newer, _ = write_checkpoint(folder, steps=12)
    assert checkpoints.find_checkpoint(folder) == newer
    assert checkpoints.checkpoint_step(newer) == 12


@pytest.mark.parametrize("exists", [False, True])
def test_folder_without_checkpoint_is_a_user_error(folder, exists):
    if exists:
        os.makedirs(folder)
    with pytest.raises(UserError) as caught:
        checkpoints.find_checkpoint(folder)
    assert_one_line(caught, folder, "no checkpoint there")
    assert checkpoints.latest_checkpoint(folder) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_checkpoint_without_one_of_its_files_is_a_user_error(
    folder, checkpoint, suffix
):
    os.remove(checkpoint[0] + suffix)
    for find in (checkpoints.find_checkpoint, checkpoints.latest_checkpoint):
        with pytest.raises(UserError) as caught:
            find(folder)
        assert_one_line(caught, checkpoint[0] + suffix)


@pytest.mark.parametrize("text", ["", "model_checkpoint_path", "\x00\x01", 'x: "y"'])
def test_damaged_state_file_is_a_user_error(folder, checkpoint, text):
    with open(os.path.join(folder, "checkpoint"), "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(UserError) as caught:
        checkpoints.find_checkpoint(folder)
    assert_one_line(caught, os.path.join(folder, "checkpoint"))


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
        checkpoints.restore(session, tf.global_variables(), prefix)


@pytest.mark.parametrize("other", [{"name": "other"}, {"shape": (8, 8, 3)}])
def test_checkpoint_of_another_model_is_a_user_error(checkpoint, other):
    with pytest.raises(UserError) as caught:
        restored(checkpoint[0], **other)
    assert_one_line(caught, checkpoint[0], "--vgg")


def test_model_without_variables_needs_no_checkpoint(session):
    checkpoints.restore(session, [], None)


def test_hash_changes_with_either_file_alone(checkpoint):
    prefix, _ = checkpoint
    hashes = {checkpoints.checkpoint_hash(prefix)}
    assert hashes == {checkpoints.checkpoint_hash(prefix)}
    for suffix in SUFFIXES:
        with open(prefix + suffix, "ab") as file:
            file.write(b"x")
        hashes.add(checkpoints.checkpoint_hash(prefix))
    assert len(hashes) == 3


# Pretrained weights


def test_arrays_are_assigned_in_order(session):
    variables = [
        tf.get_variable(name, [2, 3], use_resource=True) for name in ("a", "b")
    ]
    arrays = [np.full([2, 3], value, np.float32) for value in (1, 2)]
    checkpoints.assign(session, variables, arrays)
    for variable, array in zip(variables, arrays, strict=True):
        np.testing.assert_array_equal(session.run(variable), array)


def test_array_of_another_shape_is_a_user_error_that_names_the_variable(session):
    variable = tf.get_variable("trunk/conv0/kernel", [3, 3, 3, 64], use_resource=True)
    with pytest.raises(UserError) as caught:
        checkpoints.assign(session, [variable], [np.zeros([3, 3, 3, 8], np.float32)])
    assert_one_line(caught, "trunk/conv0/kernel", "(3, 3, 3, 8)", "(3, 3, 3, 64)")


# Stripping


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
    stripped = checkpoints.strip(folder, target)
    assert stripped == checkpoints.find_checkpoint(target)
    assert checkpoints.checkpoint_step(stripped) == 7
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
    checkpoints.strip(os.path.dirname(folder), str(target))
    assert checkpoints.load_settings(target) == SETTINGS
    assert sorted(os.listdir(target)) == [
        "checkpoint",
        "model.ckpt-7.data-00000-of-00001",
        "model.ckpt-7.index",
        "settings.json",
    ]


def test_stripped_folder_can_be_moved(tmp_path, folder, checkpoint):
    checkpoints.strip(folder, str(tmp_path / "stripped"))
    shutil.move(tmp_path / "stripped", tmp_path / "moved")
    prefix = checkpoints.find_checkpoint(str(tmp_path / "moved"))
    arrays = restored(prefix)
    np.testing.assert_array_equal(arrays["qtables"], checkpoint[1]["qtables"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_strip_of_a_damaged_checkpoint_is_a_user_error(
    tmp_path, folder, checkpoint, suffix
):
    with open(checkpoint[0] + suffix, "r+b") as file:
        file.truncate(20)
    with pytest.raises(UserError) as caught:
        checkpoints.strip(folder, str(tmp_path / "stripped"))
    assert_one_line(caught, checkpoint[0])


def run_script(monkeypatch, capsys, *argv):
    """(exit status, standard output, lines of standard error) of the script."""
    monkeypatch.setattr(sys, "argv", ["checkpoints.py", *argv])
    with pytest.raises(SystemExit) as caught:
        run_main(checkpoints.main)
    output, error = capsys.readouterr()
    return caught.value.code, output, error.splitlines()


def test_script_strips_and_says_where_to(
    tmp_path, folder, checkpoint, monkeypatch, capsys
):
    target = str(tmp_path / "stripped")
    status, output, lines = run_script(monkeypatch, capsys, folder, target)
    assert (status, output) == (0, "")
    assert lines[-1] == f"Wrote {os.path.join(target, 'model.ckpt-7')}"


def test_script_fails_with_one_line(tmp_path, monkeypatch, capsys):
    absent = str(tmp_path / "absent")
    status, _, lines = run_script(monkeypatch, capsys, absent, str(tmp_path / "a"))
    assert status == 1
    assert len(lines) == 1 and absent in lines[0]
