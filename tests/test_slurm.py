"""Jobs under a real SLURM, which runs on this machine; skipped where there is none."""

import contextlib
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests import slurm_cluster, test_batch_job
from tests.slurm_cluster import wait_until
from training import checkpoints

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
    reader = tf.train.load_checkpoint(checkpoints.find_checkpoint(folder))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names}


def step_of(folder):
    return checkpoints.checkpoint_step(checkpoints.find_checkpoint(folder))


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
    settings |= {"PREPROCESS_THREADS": 2, "TRAIN_GLOB": train_glob}
    undisturbed = test_batch_job.start(train_glob, tmp_path / "a", JOBS=2, **settings)

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
    _, err = undisturbed.communicate(timeout=240)
    assert undisturbed.returncode == 0, err
    for name in ("lambda_001", "lambda_00025"):
        wanted = weights(tmp_path / "a" / name)
        found = weights(folder / name)
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
