"""Checkpoint folders: settings, the newest checkpoint, tables; and damaged ones."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from arg_parser import parse_model
from learned_jpeg.common.errors import UserError
from learned_jpeg.models import contract, folders
from learned_jpeg.models.settings import ModelSettings
from tests.paths import ROOT
from tests.records import record_of
from tests.training.helpers import (
    SUFFIXES,
    assert_one_line,
    write_checkpoint,
)
from training import checkpoints
from training.options import TrainOptions


def test_missing_settings_are_the_defaults_of_the_script_that_is_named(tmp_path):
    assert folders.load_record(tmp_path) == {}
    assert folders.load_settings(tmp_path, "ljpeg") == ModelSettings("ljpeg")
    with pytest.raises(UserError) as caught:
        folders.load_settings(tmp_path)
    assert_one_line(caught, str(tmp_path), "settings.json")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe{}", b'{"lmbda": 0.01']
)
def test_damaged_settings_are_a_user_error_that_names_the_file(tmp_path, data):
    path = tmp_path / "settings.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        folders.load_record(tmp_path)
    assert_one_line(caught, str(path))


@pytest.mark.parametrize("key", record_of("ljpeg_attention"))
def test_settings_that_lack_something_are_a_user_error(tmp_path, key):
    record = record_of("ljpeg_attention")
    del record[key]
    checkpoints.save_record(tmp_path, record)
    with pytest.raises(UserError) as caught:
        folders.load_settings(tmp_path, "ljpeg_attention")
    flag = "--lambda" if key == "lmbda" else f"--{key}"
    assert_one_line(caught, str(tmp_path), "settings.json", f"lacks {flag};", "restore")


def test_settings_in_the_repository_are_complete():
    paths = sorted((ROOT / "example_experiments").glob("*/*/train/settings.json"))
    assert len(paths) == 86
    for path in paths:
        record = folders.load_record(path.parent)
        flags = vars(
            parse_model(contract.load_model_class(record["script"]), ["train"])
        )
        options = TrainOptions.of_flags(record["script"], flags)
        assert record.keys() == options.record.keys()
        assert "/work" not in path.read_text()


def test_folder_of_another_script_is_a_user_error(tmp_path):
    checkpoints.save_record(tmp_path, record_of("google_baseline"))
    with pytest.raises(UserError) as caught:
        folders.load_settings(tmp_path, "ljpeg")
    assert_one_line(caught, str(tmp_path), "google_baseline.py", "ljpeg.py")


def test_run_folder_in_place_of_a_checkpoint_folder_says_so(tmp_path):
    (tmp_path / "lambda_001").mkdir()
    with pytest.raises(UserError) as caught:
        folders.find_checkpoint(str(tmp_path))
    assert_one_line(caught, str(tmp_path), "lambda_*")


BAD_SETTINGS = [
    {"vgg": "vgg17"},
    {"vgg": ["vgg16"]},
    {"freeze_vgg": "yes"},
    {"script": 3},
    {"script": ["ljpeg"]},
    {"rate_model": "shannon"},
    {"rate_model": None},
    {"lmbda": "0.01"},
    {"lmbda": None},
    {"lmbda": True},
    {"lmbda": -1},
    {"lmbda": 1e308},
    {"lmbda": [0.01]},
    {"lpips_weight": {}},
    {"msssim_weight": 1e300},
    {"ssimulacra2_weight": -1},
    {"total_weight_regularizer": -1e-9},
    {"table_init": 0},
    {"table_init": 256},
    {"table_init": "x" * 5000},
    {"rate_model": "rdoq"},
    {"rounding": "floor"},
    {"subsampling": "4:1:1"},
    {"tables_from": 3},
    {"freeze_vgg": 0},
]


@pytest.mark.parametrize("bad", BAD_SETTINGS)
def test_settings_of_an_unknown_model_are_a_user_error(tmp_path, bad):
    checkpoints.save_record(tmp_path, record_of("ljpeg_attention", **bad))
    with pytest.raises(UserError) as caught:
        folders.load_settings(str(tmp_path), "ljpeg_attention")
    (key,) = bad
    flag = "--lambda" if key == "lmbda" else f"--{key}"
    assert_one_line(caught, str(tmp_path), "settings.json", flag, "restore")
    assert len(str(caught.value)) < len(str(tmp_path)) + 150


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"lmbda": ' + "9" * 400 + "}", '{"lmbda": 1e999}']
)
def test_odd_json_is_a_user_error(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(UserError) as caught:
        folders.load_record(tmp_path)
    assert_one_line(caught, "settings.json: not JSON")
    (tmp_path / "qtables.json").write_text(text)
    assert folders.load_qtables(str(tmp_path / "model.ckpt-1"), "ljpeg") is None


def test_checkpoint_is_found_in_the_train_folder_below(folder, checkpoint):
    assert folders.find_checkpoint(os.path.dirname(folder)) == checkpoint[0]
    assert folders.latest_checkpoint(os.path.dirname(folder)) is None


def test_newest_checkpoint_is_taken(folder, checkpoint):
    newer, _ = write_checkpoint(folder, steps=12)
    assert folders.find_checkpoint(folder) == newer
    assert folders.checkpoint_step(newer) == 12


@pytest.mark.parametrize("exists", [False, True])
def test_folder_without_checkpoint_is_a_user_error(folder, exists):
    if exists:
        os.makedirs(folder)
    with pytest.raises(UserError) as caught:
        folders.find_checkpoint(folder)
    assert_one_line(caught, folder, "no checkpoint there")
    assert folders.latest_checkpoint(folder) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_checkpoint_without_one_of_its_files_is_a_user_error(
    folder, checkpoint, suffix
):
    os.remove(checkpoint[0] + suffix)
    for find in (folders.find_checkpoint, folders.latest_checkpoint):
        with pytest.raises(UserError) as caught:
            find(folder)
        assert_one_line(caught, checkpoint[0] + suffix)


@pytest.mark.parametrize("text", ["", "model_checkpoint_path", "\x00\x01", 'x: "y"'])
def test_damaged_state_file_is_a_user_error(folder, checkpoint, text):
    with open(os.path.join(folder, "checkpoint"), "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(UserError) as caught:
        folders.find_checkpoint(folder)
    assert_one_line(caught, os.path.join(folder, "checkpoint"))


def test_hash_changes_with_either_file_alone(checkpoint):
    prefix, _ = checkpoint
    hashes = {folders.checkpoint_hash(prefix)}
    assert hashes == {folders.checkpoint_hash(prefix)}
    for suffix in SUFFIXES:
        with open(prefix + suffix, "ab") as file:
            file.write(b"x")
        hashes.add(folders.checkpoint_hash(prefix))
    assert len(hashes) == 3


@pytest.mark.parametrize("name", ["model.ckpt", "mödel 'q\"\\ \n.ckpt", "a\tb[1]*?"])
def test_state_file_is_read_as_tensorflow_reads_it(tmp_path, name):
    prefix = f"{name}-7"
    tf.train.update_checkpoint_state(str(tmp_path), prefix, ["old", prefix])
    expected = tf.train.get_checkpoint_state(str(tmp_path)).model_checkpoint_path
    for suffix in SUFFIXES:
        (tmp_path / f"{prefix}{suffix}").touch()
    assert folders.latest_checkpoint(str(tmp_path)) == expected


# Tables beside a checkpoint


def random_qtables():
    return np.random.default_rng(0).integers(1, 256, (2, 8, 8))


def test_tables_come_back_as_they_were_saved(checkpoint):
    prefix, _ = checkpoint
    folders.save_qtables(prefix, "ljpeg", random_qtables())
    found = folders.load_qtables(prefix, "ljpeg")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, random_qtables())


def test_tables_of_another_model_or_checkpoint_are_none(checkpoint):
    prefix, _ = checkpoint
    assert folders.load_qtables(prefix, "ljpeg") is None
    folders.save_qtables(prefix, "ljpeg", random_qtables())
    assert folders.load_qtables(prefix, "ljpeg_attention") is None
    with open(prefix + ".index", "ab") as file:
        file.write(b"x")
    assert folders.load_qtables(prefix, "ljpeg") is None


@pytest.mark.parametrize(
    "change",
    [
        {"luma": [[1] * 8] * 7},
        {"luma": [[0] * 8] * 8},
        {"chroma": [[256] * 8] * 8},
        {"chroma": [[1.5] * 8] * 8},
        {"chroma": [["1"] * 8] * 8},
        {"luma": None},
        {"luma": [[10**30] * 8] * 8},
    ],
)
def test_tables_that_are_none_are_not_taken(checkpoint, change):
    prefix, _ = checkpoint
    folders.save_qtables(prefix, "ljpeg", random_qtables())
    path = os.path.join(os.path.dirname(prefix), folders.QTABLES_FILE)
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record | change, file)
    assert folders.load_qtables(prefix, "ljpeg") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"luma": 1}'])
def test_damaged_file_of_tables_is_not_taken(checkpoint, text):
    prefix, _ = checkpoint
    path = os.path.join(os.path.dirname(prefix), folders.QTABLES_FILE)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    assert folders.load_qtables(prefix, "ljpeg") is None
