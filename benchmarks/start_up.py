"""Measurements of start-up: whole commands in new processes."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from benchmarks.measuring import interleave, test_picture, write_pictures

ROOT = Path(__file__).resolve().parent.parent


def start_up(options):
    """Start-up, whole commands"""
    folder = os.path.join(options.folder, "start_up")
    tiny = write_pictures(os.path.join(folder, "train"), 4, 64, 64)
    picture = os.path.join(folder, "picture.png")
    Image.fromarray(test_picture(options)).save(picture)
    output = os.path.join(folder, "picture.jpg")

    def train_one_step():
        # A folder of its own for each call: in a used one nothing is left to train.
        run = os.path.join(folder, f"run{len(os.listdir(folder))}")
        os.makedirs(run)
        command = ["ljpeg_attention.py", "--checkpoint_dir", run, "train"]
        flags = ["--train_glob", tiny, "--last_step", "1", "--patchsize", "64"]
        _run(*command, *flags)

    functions = {
        "ljpeg.py --help": lambda: _run("ljpeg.py", "--help"),
        "ljpeg_attention.py train, one step of 64 px": train_one_step,
        "ljpeg_PIL.py compress, one picture of 768x512": lambda: _run(
            "ljpeg_PIL.py", "compress", "--force", picture, "-o", output
        ),
    }
    timings = interleave(functions, options, "start-up")
    rows = [
        {"case": name, "s": timing.median, "spread": timing.checks["spread"]}
        for name, timing in timings.items()
    ]
    return rows, []


def _run(script, *arguments):
    """Runs a script of the project; its output is shown if it fails."""
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stdout}")
