"""Tests of tunes: the registry, its sizes and lambdas, and what importing it costs."""

import subprocess
import sys

import numpy as np
import pytest

from learned_jpeg import search
from learned_jpeg.common.errors import UserError
from learned_jpeg.metrics import ms_ssim
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.search import tunes
from learned_jpeg.search.distortion import EFFORTS
from learned_jpeg.search.ms_ssim_distortion import MsSsimDistortion
from learned_jpeg.search.squared_error import SquaredError
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion
from tests.paths import ROOT


@pytest.mark.parametrize("name", tunes.TUNE_NAMES)
def test_more_effort_takes_more_rounds(name):
    image = np.zeros((200, 200, 3), np.uint8)
    schedules = tunes.distortion(name, image, 0.01).schedules
    assert tuple(schedules) == EFFORTS
    rounds = [
        s.warm_up_rounds + s.first_rounds + len(s.damping) for s in schedules.values()
    ]
    assert rounds == sorted(set(rounds))


def test_tunes_are_found_in_the_order_of_help():
    assert tunes.TUNE_NAMES == ("psnr", "ms-ssim", "mixed", "ssimulacra2", "visual")
    assert all(tune.name == name for name, tune in tunes.TUNES.items())
    assert tunes.DEFAULT_TUNE in tunes.TUNES


def test_a_metric_to_tune_for_is_one_more_module(tmp_path, monkeypatch):
    module = """
from learned_jpeg.search.distortion import Tune
from learned_jpeg.search.squared_error import SquaredError

TUNES = (
    Tune("toy", "a toy", "Toy", 9, 1.5, lambda image, lmbda: SquaredError(7), (1, 2)),
)
"""
    (tmp_path / "toy_error.py").write_text(module)
    (tmp_path / "helper.py").write_text("raise AssertionError('no distortion')")
    monkeypatch.setattr(search, "__path__", [*search.__path__, str(tmp_path)])
    found = tunes._find_tunes()
    assert {**tunes.TUNES, "toy": found["toy"]} == found
    assert found["toy"].min_side == 9


def test_names_are_known_without_what_takes_long_to_import():
    code = (
        "import sys, learned_jpeg.search.tunes\n"
        "print([m for m in ('numba', 'scipy', 'PIL') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "name, side",
    [
        ("psnr", 1),
        ("ms-ssim", ms_ssim.MIN_SIDE),
        ("mixed", ms_ssim.MIN_SIDE),
        ("ssimulacra2", ssimulacra2.MIN_SIDE),
    ],
)
def test_the_smallest_image_of_a_metric_can_be_searched_and_no_smaller(name, side):
    assert tunes.TUNES[name].min_side == side
    tunes.distortion(name, np.zeros((side, side + 9, 3), np.uint8), 1.0)
    if side > 1:
        small = np.zeros((side + 9, side - 1, 3), np.uint8)
        message = f"{side - 1}x{side + 9} px: .* at least {side} px; pass --tune psnr"
        with pytest.raises(UserError, match=message):
            tunes.distortion(name, small, 1.0)


def test_an_image_too_small_for_the_default_is_tuned_for_psnr():
    assert tunes.tune_for((8, 9), None) == "visual"
    assert tunes.tune_for((8, 7), None) == "psnr"
    assert tunes.tune_for((1, 1), "mixed") == "mixed"  # refused by `distortion`


IMAGE = np.random.default_rng(0).integers(0, 256, (170, 180, 3), np.uint8)


@pytest.mark.parametrize(
    "weights, nearest, kind",
    [
        ((0.0, 0.0), "psnr", SquaredError),
        ((7.0, 0.0), "mixed", MsSsimDistortion),
        ((0.0, 3.0), "ssimulacra2", Ssimulacra2Distortion),
    ],
)
def test_a_loss_has_its_distortion_and_the_nearest_tune(weights, nearest, kind):
    named = dict(zip(("ms_ssim", "ssimulacra2"), weights, strict=True))
    assert tunes.tune_of_loss(named) == nearest
    assert type(tunes.distortion_of_loss(IMAGE, 0.01, named)) is kind


@pytest.mark.parametrize("weights", [(7.0, 0.0), (0.0, 3.0)])
def test_a_loss_is_refused_where_its_metric_is_undefined(weights):
    named = dict(zip(("ms_ssim", "ssimulacra2"), weights, strict=True))
    with pytest.raises(UserError, match="pass --tune psnr"):
        tunes.distortion_of_loss(IMAGE[:7], 0.01, named)
