"""evaluate.sh, as a user calls it, with a stand-in for the scripts."""

import json
import os
import subprocess

import arg_parser
from tests.paths import ROOT

PARSERS = {
    "evaluate.py": arg_parser.parse_evaluate,
    "report.compare": arg_parser.parse_compare,
    "evaluation.rate_check": arg_parser.parse_rate_check,
}


def call(tmp_path, runs, **environment):
    """(status, stderr, [(script, parsed flags)]) of an evaluation of some runs."""
    for run in runs:
        train = tmp_path / "runs" / run / "lambda_001" / "train"
        train.mkdir(parents=True)
        rate_model = "entropy" if "entropy" in run else "proxy"
        settings = json.dumps({"rate_model": rate_model}, indent=2)
        (train / "settings.json").write_text(settings)
    # As evaluate.py leaves it; the others only note how they were called.
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/bash\n"
        f'(IFS=$\'\\t\'; echo "$*") >> "{tmp_path}/calls"\n'
        "while [[ $# -gt 0 && $1 != --output_dir ]]; do shift; done\n"
        "if [[ $# -gt 0 ]]; then\n"
        '  mkdir -p "$2/_output_PIL"\n'
        '  echo "$2" >> "$2/_output_PIL/measured_in"\n'
        "fi\n"
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "example_experiments" / "evaluate.sh", "runs", "images/*.png"],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
    )
    calls = []
    for line in (tmp_path / "calls").read_text().splitlines():
        script, *argv = line.removeprefix("-m\t").split("\t")
        name = os.path.basename(script)
        calls.append((name, PARSERS[name](argv)))
    return done.returncode, done.stderr, calls


def test_every_encoding_is_evaluated_and_compared(tmp_path):
    runs = ["tables_rdoq_mse", "tables_entropy_lpips", "other"]
    google = "google_baseline_lr_1e-5/lambda_0005"
    status, stderr, calls = call(tmp_path, [*runs, google])
    assert (status, stderr) == (0, "")
    evaluations = [args for name, args in calls if name == "evaluate.py"]
    found = {
        args.output_dir: (
            args.entropy_coding,
            args.quantization,
            args.refine_steps or args.tune,
            args.runs,
            args.google_dir,
        )
        for args in evaluations
    }
    searched = ["tables_rdoq_mse", "tables_entropy_lpips"]
    refined = ["tables_entropy_lpips"]
    assert found == {
        "runs": ("standard", "round", "model", None, f"runs/{google}"),
        "runs/_optimized": ("optimized", "round", "model", None, f"runs/{google}"),
        "runs/_trellis": ("optimized", "mozjpeg", "model", None, None),
        "runs/_rdoq": ("standard", "search", "model", searched, None),
        "runs/_optimized_rdoq": ("optimized", "search", "model", searched, None),
        "runs/_optimized_psnr": ("optimized", "search", "psnr", searched[:1], None),
        "runs/_optimized_refined": ("optimized", "round", 30, refined, None),
    }
    assert all(args.test_image_glob == ["images/*.png"] for args in evaluations)
    (comparison,) = (args for name, args in calls if name == "report.compare")
    assert comparison.folders == list(found)
    assert comparison.published == []
    (check,) = (args for name, args in calls if name == "evaluation.rate_check")
    assert (check.batch_dir, check.output) == ("runs", "runs/rate_check.md")


def test_jpeg_of_a_coding_is_measured_once(tmp_path):
    (tmp_path / "runs" / "attention_entropy_mse").mkdir(parents=True)  # no lambda
    status, _, calls = call(tmp_path, ["tables_rdoq_mse"])
    assert status == 0
    # Without an entropy model there is nothing to check.
    assert [name for name, _ in calls] == [*["evaluate.py"] * 6, "report.compare"]
    for folder, origin in (
        ("_rdoq", ""),
        *((f"_optimized_{name}", "/_optimized") for name in ("rdoq", "psnr")),
    ):
        path = tmp_path / "runs" / folder / "_output_PIL" / "measured_in"
        assert path.read_text().splitlines()[0] == f"runs{origin}"


def test_runs_that_no_search_is_for_are_left_out_there(tmp_path):
    _, _, calls = call(tmp_path, ["mine"])
    assert "evaluation.rate_check" not in [name for name, _ in calls]
    assert [args.output_dir for name, args in calls if name == "evaluate.py"] == [
        *("runs", "runs/_optimized", "runs/_trellis"),
    ]


def test_the_environment_names_runs_and_published_curves(tmp_path):
    _, _, calls = call(
        tmp_path, ["a", "b", "c"], SEARCHED="a b", REFINED="c", PUBLISHED="x y.json"
    )
    runs = {args.output_dir: args.runs for name, args in calls if name == "evaluate.py"}
    assert runs["runs/_rdoq"] == ["a", "b"]
    assert runs["runs/_optimized_refined"] == ["c"]
    (comparison,) = (args for name, args in calls if name == "report.compare")
    assert comparison.published == ["x y.json"]
