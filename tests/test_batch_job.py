"""batch_job_attention.sh, as a user calls it."""

import functools
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

import arg_parser
from learned_jpeg.models import contract, folders
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from tests.paths import ROOT
from training import loop

DEFAULTS = {
    **{"BATCHSIZE": 2, "PATCHSIZE": 64, "SCRIPT": "ljpeg.py", "STEPS": 5},
    "PREPROCESS_THREADS": 2,
    **{"LAMBDAS": "0.01 0.0025", "PYTHON": sys.executable},
}


def start(train_glob, folder, **settings):
    """Starts the script with settings from the environment."""
    settings = {**DEFAULTS, "TRAIN_GLOB": train_glob, **settings}
    return subprocess.Popen(
        ["bash", ROOT / "batch_job_attention.sh", folder],
        env={**os.environ, **{key: str(value) for key, value in settings.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*args, **settings):
    """(exit status, stdout, stderr) of a whole call."""
    process = start(*args, **settings)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def wait_for(condition):
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_summary(lambda_dir):
    """Returns when a training has written its first summary."""

    def is_written():
        events = (lambda_dir / "train").glob("events*")
        return any(path.stat().st_size > 1000 for path in events)

    wait_for(is_written)


def step_of(folder):
    return folders.checkpoint_step(folders.find_checkpoint(folder))


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def write_python(path, real_lambda):
    """Writes a Python that trains one lambda, and only notes the step of others.

    A training that is a process of its own takes seconds to start.
    """
    return write_program(
        path,
        f"""[[ $6 == {real_lambda} ]] && exec {sys.executable} "$@"
        mkdir -p "$3"
        while [[ $1 != --last_step ]]; do folder=${{folder:-$3}}; shift; done
        echo "model_checkpoint_path: \\"model.ckpt-$2\\"" > "$folder/checkpoint" """,
    )


@pytest.mark.slow
def test_batch_trains_skips_and_goes_on(train_glob, tmp_path):
    settings = {"SCRIPT": "ljpeg_attention.py", "LR": "1e-5", "STEPS": 2}
    settings["PYTHON"] = write_python(tmp_path / "python", real_lambda=0.0025)
    runs = tmp_path / "runs"
    status, _, err = run(train_glob, runs, **settings)
    assert status == 0, err
    train = runs / "lambda_00025" / "train"
    assert step_of(train) == 2
    settings_of_it = folders.load_record(train)
    assert settings_of_it["script"] == "ljpeg_attention"
    wanted = {"lmbda": 0.0025, "lr": 1e-5, "ssimulacra2_weight": 30.0}
    wanted |= {"batchsize": 2, "patchsize": 64, "lpips_weight": 0.0, "vgg": "vgg16"}
    assert wanted.items() <= settings_of_it.items()

    files = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert runs / "lambda_001" / "train" / "checkpoint" in files
    status, out, _ = run(train_glob, runs, **settings)
    assert status == 0
    assert out.count("finished already") == 2
    assert files == {path: path.stat().st_mtime_ns for path in runs.rglob("*")}


def flags_given(folder, **settings):
    """Returns the flags of `train` that the script gives to a training."""
    stand_in = write_program(folder / "python", 'printf "%s\\n" "$@"')
    settings |= {"PYTHON": stand_in, "LAMBDAS": "0.01"}
    glob = settings.pop("TRAIN_GLOB", "*.png")
    status, out, err = run(glob, folder / "runs", **settings)
    assert status == 0, err
    # After a line about the lambda: the script, --checkpoint_dir DIR, train.
    return out.splitlines()[5:]


@pytest.fixture
def flags_of(tmp_path):
    """A function SETTING=value, ... -> the flags that a training would be given."""
    return functools.partial(flags_given, tmp_path)


def train_here(folder, scratch, **settings):
    """Trains ljpeg.py in this process, as the script would; returns the status."""
    flags = flags_given(scratch, **settings)
    argv = ["--checkpoint_dir", str(folder), "train", *flags]
    return loop.train(LJPEG, arg_parser.parse_model(LJPEG, argv))


def test_two_jobs_run_beside_each_other_on_a_gpu_each(tmp_path):
    write_program(tmp_path / "bin" / "nvidia-smi", "printf 'GPU 0\\nGPU 1\\n'")
    # Each of the first two trainings ends only when both have begun.
    training = write_program(
        tmp_path / "python",
        f"""cd {tmp_path}; touch begun_$6; [[ $6 == 3 ]] && touch begun_1 begun_2
        until [[ -e begun_1 && -e begun_2 ]]; do sleep 0.05; done
        echo "$6 on $CUDA_VISIBLE_DEVICES" """,
    )
    settings = {"JOBS": 2, "LAMBDAS": "1 2 3", "PYTHON": training}
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
    status, out, err = run("*.png", tmp_path / "runs", **settings, **path)
    assert (status, err) == (0, "")
    # In any order: a training may end before an earlier one has printed its line.
    lines = {line for line in out.splitlines() if " on " in line}
    (third,) = lines - {"1 on 0", "2 on 1"}
    assert third in ("3 on 0", "3 on 1")

    for begun in tmp_path.glob("begun_*"):
        begun.unlink()
    settings["LAMBDAS"] = "1 2"
    path["CUDA_VISIBLE_DEVICES"] = "3,5"  # what the scheduler has given
    _, out, _ = run("*.png", tmp_path / "runs", **settings, **path)
    assert "1 on 3" in out and "2 on 5" in out


def test_after_a_failure_the_other_job_ends_and_no_further_one_begins(tmp_path):
    training = write_program(
        tmp_path / "python",
        f"""cd {tmp_path}; touch begun_$6
        until [[ -e begun_2 ]]; do sleep 0.05; done
        [[ $6 == 1 ]] && exit 3
        sleep 1.5; touch ended_$6""",
    )
    settings = {"JOBS": 2, "LAMBDAS": "1 2 4", "PYTHON": training}
    status, _, _ = run("*.png", tmp_path / "runs", **settings)
    assert status == 3
    assert (tmp_path / "ended_2").exists()
    assert not (tmp_path / "begun_4").exists()


@pytest.mark.parametrize(
    "state, saves, is_put_back",
    [("RUNNING", True, True), ("RUNNING", False, False), ("COMPLETING", True, False)],
)
def test_job_is_put_back_by_its_time_limit_alone_and_only_if_it_came_further(
    tmp_path, state, saves, is_put_back
):
    write_program(tmp_path / "bin" / "squeue", f"echo {state}")
    write_program(tmp_path / "bin" / "scontrol", f'echo "$@" > {tmp_path}/scontrol.txt')
    saved = 'echo "model.ckpt-7" > "$folder/checkpoint"' if saves else ":"
    training = write_program(
        tmp_path / "python",
        f"""folder=$3; mkdir -p "$folder"
        trap '{saved}; exit 143' TERM
        touch {tmp_path}/begun; while :; do sleep 0.05; done""",
    )
    settings = {"PYTHON": training, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    task = {"SLURM_JOB_ID": 9, "SLURM_ARRAY_JOB_ID": 7, "SLURM_ARRAY_TASK_ID": 1}
    process = start("*.png", tmp_path / "runs", **settings, **task)
    wait_for(lambda: (tmp_path / "begun").exists())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "scontrol.txt").exists() == is_put_back
    assert ("queued again" in err) == is_put_back
    if is_put_back:
        assert (tmp_path / "scontrol.txt").read_text() == "requeue 7_1\n"


@pytest.mark.parametrize("script", ["ljpeg", "ljpeg_attention"])
def test_settings_reach_the_command_line(flags_of, script):
    model_class = contract.load_model_class(script)
    parse = functools.partial(arg_parser.parse_model, model_class)
    script = f"{script}.py"
    defaults = parse(["train", *flags_of(SCRIPT=script)])
    assert (defaults.rate_model, defaults.msssim_weight) == ("entropy", 0)
    settings = {"RATE_MODEL": "entropy", "RATE_LR": "1e-2", "TABLE_LR": "2e-5"}
    settings |= {"TABLE_INIT": "50", "MSSSIM_WEIGHT": "5000", "LR_SCHEDULE": "cosine"}
    changed = vars(parse(["train", *flags_of(SCRIPT=script, **settings)]))
    wanted = {"rate_model": "entropy", "rate_lr": 0.01, "table_lr": 2e-5}
    wanted |= {"table_init": 50, "msssim_weight": 5000, "lr_schedule": "cosine"}
    wanted |= {"ssimulacra2_weight": 0}
    assert changed == {**vars(defaults), **wanted}
    published = {"RATE_MODEL": "proxy", "ROUNDING": "polynomial"}
    settings = {"TABLES_RUN": "runs/tables", "SSIMULACRA2_WEIGHT": "40"}
    flags = flags_of(SCRIPT=script, **published, **settings)
    changed = vars(parse(["train", *flags]))
    wanted = {"rounding": "polynomial", "tables_from": "runs/tables/lambda_001"}
    wanted |= {"ssimulacra2_weight": 40}
    defaults = parse(["train", *flags_of(SCRIPT=script, **published)])
    assert changed == {**vars(defaults), **wanted}
    assert defaults.total_weight_regularizer == 10


def test_a_batch_goes_on_with_the_settings_that_it_began_with(tmp_path):
    stand_in = write_program(tmp_path / "python", 'printf "%s " "$@"')
    for name, step in (("lambda_001", 7), ("lambda_00025", 40)):
        train = tmp_path / "runs" / name / "train"
        train.mkdir(parents=True)
        checkpoint = f'model_checkpoint_path: "model.ckpt-{step}"\n'
        (train / "checkpoint").write_text(checkpoint)
        (train / "settings.json").write_text('{\n "last_step": 40,\n "lr": 1\n}\n')
    done = subprocess.run(
        ["bash", ROOT / "batch_job_attention.sh", "runs"],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": str(stand_in), "LAMBDAS": "0.01 0.0025"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "lambda 0.0025: finished already" in done.stdout
    assert done.stdout.count("finished already") == 1
    _, flags = done.stdout.split("train --lambda 0.01 ")
    assert flags.split("lambda")[0].split() == ["--resume"]


def test_frozen_features_reach_the_command_line(flags_of):
    settings = {"FREEZE_VGG": "1", "FEATURE_CACHE": "runs/features"}
    flags = flags_of(SCRIPT="ljpeg_attention.py", **settings)
    args = arg_parser.parse_model(LJPEGAttention, ["train", *flags])
    assert (args.freeze_vgg, args.feature_cache) == (True, "runs/features")


@pytest.mark.slow
def test_stopped_batch_saves_and_the_same_command_goes_on(train_glob, tmp_path, caplog):
    process = start(train_glob, tmp_path, STEPS=1000000, LAMBDAS="0.01")
    wait_for_summary(tmp_path / "lambda_001")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    folder = tmp_path / "lambda_001" / "train"
    reached = step_of(folder)
    assert 0 < reached < 1000000

    settings = {**DEFAULTS, "TRAIN_GLOB": train_glob, "STEPS": reached + 3}
    with caplog.at_level(logging.INFO):
        assert train_here(folder, tmp_path / "flags", **settings) == 0
    assert f"Going on from step {reached}" in caplog.text
    assert step_of(folder) == reached + 3


def test_batch_stops_at_the_first_training_that_fails(tmp_path):
    status, out, err = run(str(tmp_path / "none" / "*.png"), tmp_path / "runs")
    assert status == 1
    assert err.count("error:") == 1
    assert "lambda 0.0025" not in out


@pytest.mark.parametrize(
    "setting, value",
    [("FREEZE_VGG", "true"), ("LAMBDAS", "1 .1"), ("JOBS", "0"), ("JOBS", "two")],
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
