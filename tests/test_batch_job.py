"""batch_job_attention.sh, as a user calls it."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import arg_parser
from tests.paths import ROOT
from training import checkpoints


@pytest.fixture(scope="module")
def train_glob(tmp_path_factory):
    """Two pictures of noise over a gradient, large enough for crops of 64 px."""
    folder = tmp_path_factory.mktemp("training images")
    rng = np.random.default_rng(0)
    for index in range(2):
        ramp = np.linspace(0, 200, 96)[:, None, None]
        pixels = ramp + rng.integers(0, 55, (96, 96, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return str(folder / "*.png")


def start(train_glob, folder, **settings):
    """Starts the script with settings from the environment."""
    defaults = {"BATCHSIZE": 2, "PATCHSIZE": 64, "SCRIPT": "ljpeg.py", "STEPS": 5}
    defaults |= {"LAMBDAS": "0.01 0.0025", "TRAIN_GLOB": train_glob}
    defaults |= {"PYTHON": sys.executable, **settings}
    return subprocess.Popen(
        ["bash", ROOT / "batch_job_attention.sh", folder],
        env={**os.environ, **{key: str(value) for key, value in defaults.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*args, **settings):
    """(exit status, stdout, stderr) of a whole call."""
    process = start(*args, **settings)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def steps(folder):
    return {
        path.name: checkpoints.checkpoint_step(checkpoints.find_checkpoint(path))
        for path in folder.glob("lambda_*")
    }


@pytest.mark.slow
def test_batch_trains_skips_and_goes_on(train_glob, tmp_path):
    status, _, err = run(train_glob, tmp_path, SCRIPT="ljpeg_attention.py", LR="1e-5")
    assert status == 0, err
    assert steps(tmp_path) == {"lambda_001": 5, "lambda_00025": 5}
    settings = checkpoints.load_settings(tmp_path / "lambda_00025" / "train")
    assert settings["script"] == "ljpeg_attention"
    wanted = {"lmbda": 0.0025, "lr": 1e-5, "total_weight_regularizer": 10.0}
    wanted |= {"batchsize": 2, "patchsize": 64, "lpips_weight": 0.0, "vgg": "vgg16"}
    assert wanted.items() <= settings.items()

    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status, out, _ = run(train_glob, tmp_path, SCRIPT="ljpeg_attention.py", LR="1e-5")
    assert status == 0
    assert out.count("finished already") == 2
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.fixture
def flags_of(tmp_path):
    """A function SETTING=value, ... -> the flags that a training would be given."""
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)

    def flags(**settings):
        settings |= {"PYTHON": stand_in, "LAMBDAS": "0.01"}
        status, out, err = run("*.png", tmp_path / "runs", **settings)
        assert status == 0, err
        # After a line about the lambda: the script, --checkpoint_dir DIR, train.
        return out.splitlines()[5:]

    return flags


@pytest.mark.parametrize("script", ["ljpeg", "ljpeg_attention"])
def test_settings_reach_the_command_line(flags_of, script):
    parse = getattr(arg_parser, f"parse_{script}")
    script = f"{script}.py"
    defaults = parse(["train", *flags_of(SCRIPT=script)])
    assert (defaults.rate_model, defaults.msssim_weight) == ("proxy", 0)
    for name in ("rate_lr", "table_lr", "table_init"):
        assert getattr(defaults, name) is None
    settings = {"RATE_MODEL": "entropy", "RATE_LR": "1e-2", "TABLE_LR": "2e-5"}
    settings |= {"TABLE_INIT": "50", "MSSSIM_WEIGHT": "5000", "LR_SCHEDULE": "cosine"}
    changed = vars(parse(["train", *flags_of(SCRIPT=script, **settings)]))
    wanted = {"rate_model": "entropy", "rate_lr": 0.01, "table_lr": 2e-5}
    wanted |= {"table_init": 50, "msssim_weight": 5000, "lr_schedule": "cosine"}
    assert changed == {**vars(defaults), **wanted, "rounding": None}
    settings = {"ROUNDING": "polynomial", "TABLES_RUN": "runs/tables"}
    changed = vars(parse(["train", *flags_of(SCRIPT=script, **settings)]))
    wanted = {"rounding": "polynomial", "tables_from": "runs/tables/lambda_001"}
    assert changed == {**vars(defaults), **wanted}


def test_frozen_features_reach_the_command_line(flags_of):
    flags = flags_of(FREEZE_VGG="1", FEATURE_CACHE="runs/features")
    args = arg_parser.parse_ljpeg_attention(["train", *flags])
    assert (args.freeze_vgg, args.feature_cache) == (True, "runs/features")


@pytest.mark.slow
def test_stopped_batch_saves_and_the_same_command_goes_on(train_glob, tmp_path):
    process = start(train_glob, tmp_path, STEPS=1000000, LAMBDAS="0.01")
    events = tmp_path / "lambda_001" / "train"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # Until the first summary is written.
        if any(path.stat().st_size > 1000 for path in events.glob("events*")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    reached = steps(tmp_path)["lambda_001"]
    assert 0 < reached < 1000000

    status, _, err = run(train_glob, tmp_path, STEPS=reached + 3, LAMBDAS="0.01")
    assert status == 0, err
    assert f"Going on from step {reached}" in err
    assert steps(tmp_path) == {"lambda_001": reached + 3}


def test_batch_stops_at_the_first_training_that_fails(tmp_path):
    status, out, err = run(str(tmp_path / "none" / "*.png"), tmp_path / "runs")
    assert status == 1
    assert err.count("error:") == 1
    assert "lambda 0.0025" not in out


@pytest.mark.parametrize(
    "setting, value", [("FREEZE_VGG", "true"), ("LAMBDAS", "1 .1")]
)
def test_settings_that_would_mislead_are_refused(tmp_path, setting, value):
    status, _, err = run("*.png", tmp_path, **{setting: value})
    assert status == 2
    assert setting in err and err.count("\n") == 1


def test_batch_without_a_folder_shows_its_usage():
    done = subprocess.run(
        ["bash", ROOT / "batch_job_attention.sh"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr
