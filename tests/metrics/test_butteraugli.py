"""Tests of butteraugli: the real tool where there is one, and stand-ins for it."""

import io
import math
import os
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.errors import UserError
from learned_jpeg.metrics import butteraugli
from learned_jpeg.metrics.image_metrics import measure
from tests.conftest import BUTTERAUGLI

needs_tool = pytest.mark.skipif(
    not BUTTERAUGLI, reason=f"no {butteraugli.TOOL} on the PATH (libjxl-devtools)"
)


def stand_in(monkeypatch, folder, lines):
    """A tool of some lines of shell."""
    path = folder / butteraugli.TOOL
    path.write_text("#!/bin/sh\n" + lines)
    path.chmod(0o755)
    monkeypatch.setattr(butteraugli, "find_tool", lambda: str(path))


def jpeg_of(picture, quality=20):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality)
    return np.array(Image.open(data))


@needs_tool
@pytest.mark.parametrize("height, width", [(8, 8), (37, 61), (96, 40)])
def test_it_is_what_the_tool_tells_of_png_files(
    monkeypatch, tmp_path, smooth_picture, height, width
):
    monkeypatch.setattr(butteraugli, "find_tool", lambda: BUTTERAUGLI)
    original = smooth_picture(1, height, width)
    decoded = jpeg_of(original)
    for name, picture in (("a.png", original), ("b.png", decoded)):
        Image.fromarray(picture).save(tmp_path / name)
    command = [BUTTERAUGLI, "a.png", "b.png", "--pnorm", "3"]
    text = subprocess.check_output(command, cwd=tmp_path, text=True, stderr=-3)
    found = butteraugli.three_norm(original, decoded)
    assert found == float(re.search("3-norm: (.*)", text)[1])
    assert found > butteraugli.three_norm(original, jpeg_of(original, 90)) > 0
    assert butteraugli.three_norm(original, original) == 0


def test_the_tool_gets_both_pictures_in_order(monkeypatch, tmp_path, smooth_picture):
    lines = f'cp "$1" {tmp_path}/1.ppm; cp "$2" {tmp_path}/2.ppm; echo 9; '
    lines += 'echo "3-norm: 2.5 $3 $4" | sed "s/ --pnorm 3$//"'
    stand_in(monkeypatch, tmp_path, lines)
    original = smooth_picture(2, 19, 23)[:, ::-1]  # not contiguous
    decoded = smooth_picture(3, 19, 23)
    assert butteraugli.three_norm(original, decoded) == 2.5
    np.testing.assert_array_equal(Image.open(tmp_path / "1.ppm"), original)
    np.testing.assert_array_equal(Image.open(tmp_path / "2.ppm"), decoded)


@pytest.mark.parametrize("shape", [(7, 30, 3), (30, 7, 3)])
def test_small_pictures_have_none(shape):
    picture = np.zeros(shape, np.uint8)
    assert math.isnan(butteraugli.three_norm(picture, picture))


@pytest.mark.parametrize(
    "lines, said",
    [
        ("echo no memory >&2; exit 3", "exit status 3, no memory"),
        ("exit 1", "exit status 1, no 3-norm in its output"),
        ("echo 1.5", "exit status 0, no 3-norm"),
    ],
)
def test_a_tool_that_fails_is_one_line(monkeypatch, tmp_path, lines, said):
    stand_in(monkeypatch, tmp_path, lines)
    picture = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(UserError, match=f"{said}.*off the PATH") as caught:
        butteraugli.three_norm(picture, picture)
    assert "\n" not in str(caught.value)


def test_no_tool_is_one_line(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    picture = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(UserError, match="butteraugli_main: .*libjxl-devtools"):
        butteraugli.three_norm(picture, picture)


def test_metrics_of_a_picture_have_it_where_there_is_a_tool(monkeypatch, tmp_path):
    image = np.zeros((9, 9, 3), np.uint8)
    assert "butteraugli" not in measure(image, image)
    stand_in(monkeypatch, tmp_path, 'echo "3-norm: 1.25"')
    assert measure(image, image)["butteraugli"] == 1.25
