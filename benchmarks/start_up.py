"""Measurements of start-up: whole commands in new processes."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from benchmarks.measuring import (
    interleave,
    ratio,
    sample_image,
    write_images,
)

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_experiments"
# Every start is compared with this one.
_TENSORFLOW = "import tensorflow"
_SEARCH = ("--quantization", "search")


def start_up(options):
    """Start-up, whole commands."""
    folder = os.path.join(options.folder, "start_up")
    tiny = write_images(os.path.join(folder, "train"), 4, 64, 64)
    image = os.path.join(folder, "image.png")
    Image.fromarray(sample_image(options)).save(image)

    def compress(script, checkpoint_dir=None, *flags):
        words = (
            ["--checkpoint_dir", EXAMPLES / checkpoint_dir] if checkpoint_dir else []
        )
        output = os.path.join(folder, "image.jpg")
        words += ["compress", "--force", image, "-o", output, *flags]
        return lambda: _run(ROOT / script, *words)

    def train_one_step():
        # A folder of its own for each call: in a used one nothing is left to train.
        run = os.path.join(folder, f"run{len(os.listdir(folder))}")
        os.makedirs(run)
        command = [ROOT / "ljpeg_attention.py", "--checkpoint_dir", run, "train"]
        flags = ["--train_glob", tiny, "--last_step", "1", "--patchsize", "64"]
        _run(*command, *flags)

    tables, attention = (
        f"{run}/lambda_0008" for run in ("tables_rdoq_mse", "attention_entropy_mse")
    )
    functions = {
        _TENSORFLOW: lambda: _run("-c", _TENSORFLOW),
        "ljpeg.py --help": lambda: _run(ROOT / "ljpeg.py", "--help"),
        "evaluate.py --help": lambda: _run(ROOT / "evaluate.py", "--help"),
        "ljpeg_PIL.py compress": compress("ljpeg_PIL.py"),
        "ljpeg.py compress": compress("ljpeg.py", tables),
        "ljpeg.py compress, search": compress("ljpeg.py", tables, *_SEARCH),
        "ljpeg_attention.py compress": compress("ljpeg_attention.py", attention),
        "ljpeg_attention.py train, one step of 64 px": train_one_step,
    }
    timings = interleave(functions, options, "start-up")
    base = timings[_TENSORFLOW]
    rows = [
        {
            "case": name,
            "s": timing.median,
            "spread": timing.checks["spread"],
            "of import tensorflow": ratio(timing, base),
        }
        for name, timing in timings.items()
    ]
    return rows, []


def _run(*command):
    """Runs Python in the project's folder; its output is shown if it fails."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
