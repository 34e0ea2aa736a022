"""Every command of the README runs, and measures what it says."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image

import arg_parser
from evaluation.operating_points import find_lambda_dirs
from tests import synthetic
from tests.paths import ROOT

# A training of the README takes minutes.
SHORTER = {"SCRIPT=ljpeg.py": "STEPS=2 PATCHSIZE=64 LAMBDAS=0.016 SCRIPT=ljpeg.py"}
SHORTER |= {"5 12 25 45 68 85": "5 25 45 85"}


def blocks():
    """The README's code blocks of commands; test_python_page.py runs the Python."""
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    for path in ROOT.iterdir():
        if path.suffix in (".py", ".sh"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        image = Image.fromarray(synthetic.smooth_image(seed, 72, 80 + seed))
        image.save(tmp_path / "photos" / f"{seed}.png")
    fresh_clone, installation, *commands = blocks()
    assert fresh_clone == "make demo\nmake test\n" and len(commands) == 2
    # tests/test_wheel.py installs the package and calls the command.
    assert re.fullmatch(r"pip install \.\nlearned-jpeg \S+ -o \w+\n", installation)
    folder = os.path.dirname(sys.executable)
    environment = {**os.environ, "PYTHON": sys.executable}
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    for command in commands:
        for long, short in SHORTER.items():
            command = command.replace(long, short)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert {"smaller/0.jpg", "smaller/1.jpg", "runs/report.html"} <= names
    assert "runs/_output/mine-lambda_0016.csv" in names


def test_demo_measures_what_the_readme_says():
    command = subprocess.check_output(
        ["make", "-n", "--no-print-directory", "-o", ".venv/installed", "demo"],
        cwd=ROOT,
        text=True,
    )
    words = shlex.split(command.replace("\\\n", " "))
    argv = words[words.index("evaluate.py") + 1 :]
    args = arg_parser.parse_evaluate(argv)
    assert len(args.qualities) == 6 and args.mozjpeg
    assert args.report == os.path.join("demo_output", "report.html")
    assert args.search == "visual" and args.output_dir == "demo_output"
    (run,) = args.runs
    found = [name for name, _ in find_lambda_dirs(str(ROOT / args.batch_dir))]
    assert found.count(run) == 6
    assert list(ROOT.glob(args.test_image_glob[0]))


def test_every_link_of_the_documentation_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
