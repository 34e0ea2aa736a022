"""Jobs under a real SLURM, which runs on this machine; skipped where there is none."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.commands.batch_jobs import output_of
from learned_jpeg.commands.records import read_records
from learned_jpeg.commands.shards import Shard
from learned_jpeg.models import folders
from tests import slurm_cluster, test_batch_job
from tests.commands.helpers import save_png
from tests.paths import ROOT
from tests.slurm_cluster import wait_until

REASON = slurm_cluster.why_not()
# The gate has installed it, and must not pass without.
IS_REQUIRED = bool(os.environ.get("REQUIRE_SLURM"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON) and not IS_REQUIRED, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster.Cluster() as cluster:
        yield cluster


# --- Training ------------------------------------------------------------------------


def weights(folder):
    """Every value of the newest checkpoint, by its name."""
    reader = tf.train.load_checkpoint(folders.find_checkpoint(folder))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names}


def step_of(folder):
    return folders.checkpoint_step(folders.find_checkpoint(folder))


def kill_processes(word):
    """Ends at once the trainings that have a word on their command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"train" in words and os.fsencode(word) in words:
                os.kill(int(path.parent.name), signal.SIGKILL)


def test_array_trains_a_lambda_a_task_through_time_limits_and_kills(
    cluster, train_glob, tmp_path
):
    settings = {**test_batch_job.DEFAULTS, "STEPS": 1500, "LR": "1e-5"}
    settings["RATE_MODEL"] = "proxy"  # whose steps are the fastest
    settings["TRAIN_GLOB"] = train_glob
    undisturbed = tmp_path / "a" / "train"
    assert test_batch_job.train_here(undisturbed, tmp_path / "flags", **settings) == 0
    python = test_batch_job.write_python(tmp_path / "python", real_lambda=0.01)
    settings["PYTHON"] = python

    folder, log = tmp_path / "b", tmp_path / "b_0.txt"
    output = f"--output={tmp_path}/b_%a.txt"
    script = "batch_job_attention.sh"
    job = cluster.submit("--array=0-1", output, script, folder, **settings)
    first = f"{job}_0"
    test_batch_job.wait_for_summary(folder / "lambda_001")
    # What a time limit does, two minutes before it.
    cluster.call("scancel", "--batch", "--signal=TERM", first)
    wait_until(lambda: "queued again" in log.read_text(), 60, log.read_text)
    reached = step_of(folder / "lambda_001")
    assert 0 < reached < settings["STEPS"]

    cluster.start_again(first)
    wait_until(lambda: f"from step {reached}" in log.read_text(), 120, log.read_text)
    cluster.call("scancel", "--batch", "--signal=KILL", first)
    kill_processes(folder / "lambda_001" / "train")
    assert cluster.wait_for(first) == {first: "FAILED"}
    assert step_of(folder / "lambda_001") == reached

    cluster.call("scontrol", "requeue", first)
    cluster.start_again(first)
    assert set(cluster.wait_for(job).values()) == {"COMPLETED"}, log.read_text()
    assert (folder / "lambda_00025" / "train" / "checkpoint").exists()
    wanted, found = weights(undisturbed), weights(folder / "lambda_001")
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_task_without_a_lambda_is_refused(cluster, tmp_path):
    output = f"--output={tmp_path}/%a.txt"
    script = "batch_job_attention.sh"
    job = cluster.submit("--array=2", output, script, tmp_path, LAMBDAS="0.01 0.0025")
    assert set(cluster.wait_for(job).values()) == {"FAILED"}
    text = (tmp_path / "2.txt").read_text()
    assert text.count("\n") == 1 and "task 2: LAMBDAS has 2" in text


# --- Evaluation and compression ------------------------------------------------------


def run_script(*words, **environment):
    """(exit status, stdout) of one of the scripts, outside of SLURM."""
    words = [sys.executable, *map(str, words)]
    environment = {**os.environ, **environment}
    done = subprocess.run(
        words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
    )
    return done.returncode, done.stdout


def submit_tasks(cluster, count, log, *words, **environment):
    """Submits one of the files in slurm/ as an array; the number of the job."""
    options = [f"--array=0-{count - 1}", "--cpus-per-task=1", f"--output={log}"]
    environment = {"PYTHON": sys.executable, **environment}
    return cluster.submit(*options, *words, **environment)


def files_below(folder):
    """dict from the path of each file in a folder to its bytes."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def without_tensorflow(tmp_path):
    """Environment in which it is not installed: it takes seconds to load."""
    text = "import sys\nsys.modules['tensorflow'] = None\n"
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(tmp_path / "path")}


def test_evaluation_in_tasks_equals_that_of_one_process(
    cluster, tmp_path, without_tensorflow
):
    for seed in range(2):
        save_png(tmp_path / "images" / f"{seed}.png", 64, 72, seed)
    flags = ["--batch_dir", tmp_path, "--runs", "--search", "psnr"]
    flags += ["--qualities", 20, 50, 90, "--test_image_glob", tmp_path / "images"]
    script, log = "slurm/evaluate.sh", tmp_path / "log.txt"
    tasks = ["--output_dir", tmp_path / "tasks"]
    job = submit_tasks(cluster, 3, log, script, *flags, *tasks, **without_tensorflow)
    one = ["--output_dir", tmp_path / "one"]
    assert run_script("evaluate.py", *flags, *one, **without_tensorflow)[0] == 0
    assert set(cluster.wait_for(job).values()) == {"COMPLETED"}, log.read_text()
    assert log.read_text().count("of 9 operating points") == 3
    assert run_script("evaluate.py", *flags, *tasks, **without_tensorflow)[0] == 0
    assert files_below(tmp_path / "tasks") == files_below(tmp_path / "one")


DIES_AT_THE_ELEVENTH_RECORD = """
import os, runpy, signal, sys
from learned_jpeg.commands.records import RecordFile

append, written = RecordFile.append, []

def append_or_die(self, record):
    written.append(record)
    if len(written) == 11:
        os.write(self._descriptor, record.line()[:40])
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, record)

RecordFile.append = append_or_die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_files_of_a_task_that_dies_are_missing_until_the_next_array(cluster, tmp_path):
    paths = [str(tmp_path / "in" / str(i % 7) / f"{i}.png") for i in range(120)]
    for seed, path in enumerate(paths):
        save_png(Path(path), 16, 24, seed)
    (tmp_path / "list").write_text("\n".join(paths))
    (tmp_path / "dies.py").write_text(DIES_AT_THE_ELEVENTH_RECORD)
    dying = test_batch_job.write_program(
        tmp_path / "python",
        f"""[[ $SLURM_ARRAY_TASK_ID == 1 ]] && set -- {tmp_path}/dies.py "$@"
        exec {sys.executable} "$@" """,
    )
    command = ["ljpeg_PIL.py", "compress", "--quality", 50, "--workers", 1]
    command += ["--files_from", tmp_path / "list", "-o", tmp_path / "out"]
    log, script = tmp_path / "log.txt", "slurm/compress.sh"
    paths_of_dying = {"PYTHON": dying, "PYTHONPATH": ROOT}
    job = submit_tasks(cluster, 3, log, script, *command, **paths_of_dying)
    states = cluster.wait_for(job)
    ended = {f"{job}_{i}": "FAILED" if i == 1 else "COMPLETED" for i in range(3)}
    assert states == ended, log.read_text()

    recorded = list(read_records(tmp_path / "out" / "_shards" / "1.jsonl"))
    assert len(recorded) == 10
    own = {path for path in paths if Shard(1, 3).owns(output_of(path, ""))}
    left = own - {record.path for record in recorded}
    status, out = run_script(*command, "--missing")
    assert status == 1 and set(out.splitlines()) == left

    job = submit_tasks(cluster, 3, log, script, *command)
    assert set(cluster.wait_for(job).values()) == {"COMPLETED"}, log.read_text()
    assert run_script(*command, "--missing") == (0, "")
    assert all(Path(output_of(path, tmp_path / "out")).exists() for path in paths)
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 120
