"""Checkpoint folders of a training: resuming, restoring, stripping, the lock."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from arg_parser import parse_model
from google_baseline import GoogleBaseline
from learned_jpeg.common.errors import UserError
from learned_jpeg.models import folders
from learned_jpeg.models.settings import LossWeights, ModelSettings
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from tests.paths import ROOT
from tests.plain_training import plain_words
from tests.records import record_of
from tests.training.helpers import (
    RECORD,
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
    plain = (
        []
        if model_class is GoogleBaseline
        else plain_words("search" if "rdoq" in words else "proxy")
    )
    if not plain:
        words += " --lambda 0.01"
    flags = vars(parse_model(model_class, ["train", *plain, *words.split()]))
    options = TrainOptions.of_flags(model_class.NAME, flags)
    assert options.settings == settings
    assert options.record.keys() == {"script"} | flags.keys() - {
        *("checkpoint_dir", "command", "device", "preprocess_threads")
    }
    checkpoints.save_record(tmp_path, options.record)
    assert folders.load_settings(tmp_path, model_class.NAME) == settings
    assert folders.load_record(tmp_path) == options.record


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


def test_script_fails_with_one_line(tmp_path, monkeypatch, capsys):
    absent = str(tmp_path / "absent")
    status, _, lines = run_script(monkeypatch, capsys, absent, str(tmp_path / "a"))
    assert status == 1
    assert len(lines) == 1 and absent in lines[0]
