"""Checkpoint folders: settings, restoring, stripping, and all that may be amiss."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from arg_parser import parse_model
from google_baseline import GoogleBaseline
from learned_jpeg.common.errors import UserError
from learned_jpeg.models import contract, folders
from learned_jpeg.models.settings import LossWeights, ModelSettings
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from tests.paths import ROOT
from tests.records import record_of
from tests.training.helpers import (
    RECORD,
    SUFFIXES,
    assert_one_line,
    restored,
    run_script,
    write_checkpoint,
)
from training import checkpoints, strip, variables
from training.options import TrainOptions


@pytest.mark.parametrize(
    "model_class, words, settings",
    [
        (
            LJPEGAttention,
            "--lambda 0.1 --lpips_weight 3 --freeze_vgg --tables_from runs/a",
            ModelSettings(
                "ljpeg_attention",
                lmbda=0.1,
                weights=LossWeights(lpips=3.0),
                rounding="straight_through",
                tables_from="runs/a",
                freeze_vgg=True,
            ),
        ),
        (
            LJPEG,
            "--rate_model rdoq --msssim_weight 2 --table_init 9",
            ModelSettings(
                "ljpeg",
                lmbda=0.01,
                subsampling="4:2:0",
                rate_model="search",
                weights=LossWeights(ms_ssim=2.0),
                table_init=9.0,
            ),
        ),
        (GoogleBaseline, "", ModelSettings("google_baseline", lmbda=0.01)),
    ],
)
def test_flags_become_settings_that_come_back_as_they_were_saved(
    tmp_path, model_class, words, settings
):
    flags = vars(parse_model(model_class, ["train", *words.split()]))
    options = TrainOptions.of_flags(model_class.NAME, flags)
    assert options.settings == settings
    assert options.record.keys() == {"script"} | flags.keys() - {
        *("checkpoint_dir", "command", "device", "preprocess_threads")
    }
    checkpoints.save_record(tmp_path, options.record)
    assert folders.load_settings(tmp_path, model_class.NAME) == settings
    assert folders.load_record(tmp_path) == options.record


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


@pytest.mark.parametrize(
    "key, value, flag",
    [
        ("script", "ljpeg", "ljpeg.py"),
        ("lmbda", 0.02, "--lambda"),
        ("vgg", "vgg19", "--vgg"),
        ("lpips_weight", 3.0, "--lpips_weight"),
        ("total_weight_regularizer", 1.0, "--total_weight_regularizer"),
        ("subsampling", "4:2:0", "--subsampling"),
    ],
)
def test_resume_with_another_model_or_loss_is_a_user_error(tmp_path, key, value, flag):
    saved = record_of("ljpeg_attention", total_weight_regularizer=10.0)
    checkpoints.save_record(tmp_path, saved)
    assert checkpoints.check_resume(tmp_path, saved) == []
    with pytest.raises(UserError) as caught:
        checkpoints.check_resume(tmp_path, saved | {key: value})
    assert_one_line(caught, str(tmp_path), flag, str(saved[key]), str(value))


@pytest.mark.parametrize("saved, remedy", [(True, "pass it"), (False, "leave it out")])
def test_resume_with_the_trunk_frozen_otherwise_names_the_remedy(
    tmp_path, saved, remedy
):
    record = record_of("ljpeg_attention", freeze_vgg=saved)
    checkpoints.save_record(tmp_path, record)
    with pytest.raises(UserError) as caught:
        checkpoints.check_resume(tmp_path, record | {"freeze_vgg": not saved})
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


def test_lock_needs_no_module_of_one_system():
    """fcntl is not on Windows; whoever imports it at start-up breaks there."""
    code = """
import sys
sys.modules["fcntl"] = None  # makes an import fail
import learned_jpeg.commands.compress, evaluation.results
import training.checkpoints, training.loop
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Folders whose names are patterns

ODD_FOLDERS = ["run[1]", "a*b", "what?", "[", "back\\slash", "plain"]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_checkpoint_in_a_folder_of_any_name_is_restored(tmp_path, name):
    prefix, values = write_checkpoint(str(tmp_path / name / "train"))
    assert folders.find_checkpoint(str(tmp_path / name)) == prefix
    found = restored(prefix)
    for key in ("qtables", "head/bias"):
        np.testing.assert_array_equal(found[key], values[key])


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_strip_works_from_and_to_folders_of_any_name(tmp_path, name):
    _, values = write_checkpoint(str(tmp_path / name))
    copy = strip.strip(str(tmp_path / name), str(tmp_path / f"copy {name}"))
    assert folders.find_checkpoint(str(tmp_path / f"copy {name}")) == copy
    with checkpoints.literal_prefix(copy) as literal:
        saved = tf.train.load_checkpoint(literal).get_tensor("head/bias")
    np.testing.assert_array_equal(saved, values["head/bias"])


# Weights that are not finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.get_variable("qtables", [8, 8, 2], use_resource=True)
        array = np.full([8, 8, 2], 1e-4, np.float32)
        array[3, 4, 1] = value
        table.load(array, session)
        path = str(tmp_path / checkpoints.CHECKPOINT_NAME)
        prefix = variables.saver([table]).save(session, path, 5, write_meta_graph=False)
        for read in (
            lambda: variables.restore(session, [table], prefix),
            lambda: variables.saved_qtables(prefix, "ljpeg"),
        ):
            with pytest.raises(UserError) as caught:
                read()
            assert_one_line(caught, prefix, "qtables", "not finite")


def test_resume_with_other_harmless_flags_is_reported(tmp_path):
    checkpoints.save_record(tmp_path, RECORD)
    changed = RECORD | {"lr": 1e-5, "new_flag": 3}
    [line] = checkpoints.check_resume(tmp_path, changed)
    assert "--lr" in line and "0.0001" in line and "1e-05" in line


def test_resume_with_equal_flags_is_silent(tmp_path):
    assert checkpoints.check_resume(tmp_path, RECORD) == []
    checkpoints.save_record(tmp_path, RECORD)
    assert checkpoints.check_resume(tmp_path, RECORD) == []


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


def test_script_fails_with_one_line(tmp_path, monkeypatch, capsys):
    absent = str(tmp_path / "absent")
    status, _, lines = run_script(monkeypatch, capsys, absent, str(tmp_path / "a"))
    assert status == 1
    assert len(lines) == 1 and absent in lines[0]


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
