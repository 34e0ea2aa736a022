"""The Python of docs/train_python.md runs, and prints what the text says."""

import re

import pytest
import tensorflow.compat.v1 as tf

from tests.paths import ROOT
from tests.test_python_page import blocks_of


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example_images").symlink_to(ROOT / "example_images")
    with tf.Graph().as_default():
        code = compile("\n".join(blocks_of("docs/train_python.md")), "page", "exec")
        exec(code, {"__name__": "page"})
    lines = capsys.readouterr().out.splitlines()
    before, after = re.fullmatch(r"loss (\S+), after 30 steps (\S+)", lines[0]).groups()
    assert float(after) < 0.95 * float(before)
    size, distance = re.fullmatch(r"(\d+) bytes, (\S+) from x_tilde", lines[1]).groups()
    assert 500 < int(size) < 20_000 and float(distance) < 1.5
    assert lines[2] == "DC steps get a gradient: True - AC steps: False"
    assert lines[3] == "gradient of the tables is finite: True"
    assert lines[-1] == "trained"
    assert list((tmp_path / "gain" / "train").glob("model.ckpt-2.index"))
