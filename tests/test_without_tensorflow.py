"""Commands that need no TensorFlow, where there is none."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import TrainedModel, standard_tables
from learned_jpeg.models import folders
from tests.paths import EXAMPLE_IMAGES, ROOT

EXAMPLES = ROOT / "example_experiments"
TABLES = EXAMPLES / "tables_rdoq_mse" / "lambda_0004"


@pytest.fixture
def run(tmp_path):
    """A function (script or -m, module, words...) -> the ended process."""
    blocked = tmp_path / "blocked" / "tensorflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('no TensorFlow here')")
    paths = os.pathsep.join([str(blocked.parent), str(ROOT)])

    def run(*words):
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )

    assert "no TensorFlow here" in run("-c", "import tensorflow").stderr
    return run


@pytest.fixture
def photo(tmp_path):
    """A crop of odd size, as a file."""
    picture = Image.open(sorted(EXAMPLE_IMAGES.glob("*.png"))[0]).crop(
        (40, 30, 203, 141)
    )
    picture.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize(
    "words",
    [
        *([f"{name}.py"] for name in ("ljpeg", "ljpeg_attention", "ljpeg_PIL")),
        *([f"{name}.py"] for name in ("google_baseline", "compress", "evaluate")),
        *(["-m", f"evaluation.{name}"] for name in ("rate_check", "loss_curves")),
        *(["-m", f"report.{name}"] for name in ("compare", "crops")),
        ["ljpeg_attention.py", "train"],
        ["ljpeg.py", "compress"],
    ],
)
def test_help(run, words):
    done = run(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")


@pytest.mark.parametrize("coding", ["standard", "optimized"])
@pytest.mark.parametrize("quantization", ["round", "search"])
def test_files_of_learned_tables_equal_those_of_the_codec(
    run, photo, tmp_path, coding, quantization
):
    """The codec is what evaluate.py measures."""
    words = ["compress", photo, "-o", tmp_path / "x.jpg", "--strip_metadata"]
    words += ["--entropy_coding", coding, "--quantization", quantization]
    done = run("ljpeg.py", "--checkpoint_dir", TABLES, *words)
    assert (done.returncode, done.stderr) == (0, "")
    options = EncodeOptions(
        quantization=quantization, tune=OWN_LOSS, entropy_coding=coding
    )
    with TrainedModel.load(TABLES) as model:
        expected = model.codec(options).encode(np.asarray(Image.open(photo)))
    assert (tmp_path / "x.jpg").read_bytes() == expected


def test_files_of_standard_tables_equal_those_of_the_codec(run, photo, tmp_path):
    words = ["--quality", 40, "-o", tmp_path, "--strip_metadata"]
    done = run("ljpeg_PIL.py", "compress", photo, *words)
    assert (done.returncode, done.stderr) == (0, "")
    with standard_tables() as model:
        codec = model.codec(EncodeOptions(quantization="round"))
        expected = codec.encode(np.asarray(Image.open(photo)), quality=40)
    assert (tmp_path / "photo.jpg").read_bytes() == expected


@pytest.mark.parametrize(
    "script, name",
    [
        ("ljpeg", "tables_entropy_mse/lambda_0001"),
        ("ljpeg_attention", "attention_learned_q_w10_scale1e-5/lambda_01"),
    ],
)
def test_export(run, script, name):
    folder = EXAMPLES / name
    words = ["--checkpoint_dir", folder, "export", "--format", "json"]
    done = run(f"{script}.py", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    saved = json.loads((folder / "train" / folders.QTABLES_FILE).read_text())
    assert (found["luma"], found["chroma"]) == (saved["luma"], saved["chroma"])


def test_comparison_of_results(run, tmp_path):
    figures = tmp_path / "figures"
    done = run("-m", "report.compare", EXAMPLES, "--figure_dir", figures)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tables_rdoq_mse" in done.stdout
    assert (figures / "overview.png").exists()


def test_a_network_asks_for_it(run, photo, tmp_path):
    folder = EXAMPLES / "attention_learned_q_w10_scale1e-5" / "lambda_01"
    words = ["--checkpoint_dir", folder, "compress", photo, "-o", tmp_path]
    done = run("ljpeg_attention.py", *words)
    assert "no TensorFlow here" in done.stderr
    assert done.returncode == 1


def test_tables_of_another_checkpoint_are_not_taken(run, photo, tmp_path):
    """Then the checkpoint itself is read, which takes TensorFlow."""
    copy = shutil.copytree(TABLES, tmp_path / "copy")
    path = copy / "train" / folders.QTABLES_FILE
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "checkpoint_sha256": 64 * "0"}))
    done = run("ljpeg.py", "--checkpoint_dir", copy, "export")
    assert "no TensorFlow here" in done.stderr
