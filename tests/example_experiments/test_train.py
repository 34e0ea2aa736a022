"""train.sh, as a user calls it, with a stand-in for the trainings."""

import os
import subprocess

import arg_parser
from learned_jpeg.models import contract
from tests.paths import ROOT

PUBLISHED = "learned_q_w10_scale1e-5"
RUNS = {
    f"attention_{PUBLISHED}": 6,
    f"attention_{PUBLISHED}_lpips500": 6,
    f"attention_{PUBLISHED}_lpips5000": 6,
    f"tables_{PUBLISHED}": 6,
    f"tables_{PUBLISHED}_lpips500": 6,
    f"tables_{PUBLISHED}_lpips5000": 6,
    "google_baseline_lr_1e-5": 1,
    "tables_rdoq_mse": 7,
    "tables_entropy_mse": 7,
    "tables_entropy_lpips": 7,
    "tables_entropy_ms-ssim": 7,
    "attention_entropy_mse": 7,
    "attention_entropy_lpips": 7,
    "attention_entropy_ms-ssim": 7,
}


def call(tmp_path, *runs, images=30):
    """(status, stderr, command lines that the stand-in was called with)."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(images):
        (folder / f"{index:03}.png").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\necho "$@" >> "{tmp_path}/calls"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "example_experiments" / "train.sh", "runs", folder, *runs],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    calls = tmp_path / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, done.stderr, [line.split() for line in lines]


def parsed(call):
    """The flags of a call, by the parser of its script."""
    script = os.path.basename(call[0])
    model_class = contract.load_model_class(script.removesuffix(".py"))
    return arg_parser.parse_model(model_class, call[1:])


def test_every_run_is_trained_with_flags_that_are_understood(tmp_path):
    status, stderr, calls = call(tmp_path)
    assert (status, stderr) == (0, "")
    found = {}
    for args in map(parsed, calls):
        run = args.checkpoint_dir.split("/")[1]
        found[run] = found.get(run, 0) + 1
        assert args.train_glob == "runs/_split/train/*.png"
    assert found == RUNS


def test_losses_of_the_runs(tmp_path):
    _, _, calls = call(tmp_path)
    for args in map(parsed, calls):
        run = args.checkpoint_dir.split("/")[1]
        if run.startswith("google"):
            assert args.lmbda == 0.005
            continue
        assert args.lpips_weight == {
            "lpips500": 500,
            "lpips5000": 5000,
            "lpips": 5000,
        }.get(run.rsplit("_", 1)[-1], 0)
        assert args.msssim_weight == (5000 if run.endswith("ms-ssim") else 0)
        rate_model = "proxy" if "w10" in run else run.split("_")[1]
        assert args.rate_model == rate_model.replace("rdoq", "search")
        assert (args.total_weight_regularizer == 10) == (rate_model == "proxy")


def test_published_attention_starts_from_tables_of_the_same_loss(tmp_path):
    run = f"attention_{PUBLISHED}_lpips500"
    _, _, calls = call(tmp_path, run)
    found = {}
    for args in map(parsed, calls):
        own = args.checkpoint_dir.removesuffix("/train")
        found[own] = (args.tables_from, args.table_init)
        assert args.lr_schedule == "cosine"
        if own.startswith(f"runs/{run}"):
            assert (args.freeze_vgg, args.feature_cache) == (True, "runs/_features")
    tables = f"runs/tables_{PUBLISHED}"
    assert len(found) == 18
    for folder in ("lambda_01", "lambda_0001"):
        assert found[f"{tables}/{folder}"] == (None, 50)
        assert found[f"{tables}_lpips500/{folder}"] == (f"{tables}/{folder}", None)
        start = f"{tables}_lpips500/{folder}"
        assert found[f"runs/{run}/{folder}"] == (start, None)


def test_every_twelfth_photograph_is_held_out(tmp_path):
    status, _, _ = call(tmp_path, "tables_rdoq_mse")
    assert status == 0
    parts = {}
    for part in ("train", "held_out"):
        folder = tmp_path / "runs/_split" / part
        parts[part] = sorted(path.name for path in folder.iterdir())
        assert all(path.resolve().is_file() for path in folder.iterdir())
    assert parts["held_out"] == ["005.png", "017.png", "029.png"]
    assert len(parts["train"]) == 27


def test_an_unknown_run_and_an_empty_folder_are_one_line(tmp_path):
    status, stderr, calls = call(tmp_path, "nothing")
    assert status == 2 and "no run is called nothing" in stderr and not calls
    other = tmp_path / "other"
    other.mkdir()
    status, stderr, _ = call(other, images=0)
    assert status == 1 and "no .png files" in stderr
