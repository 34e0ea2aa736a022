"""Tests of EncodeOptions: what is refused, and in which words."""

import dataclasses
import math

import numpy as np
import pytest

from learned_jpeg.codec import QUANTIZATIONS
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS, SUBSAMPLINGS
from learned_jpeg.search.distortion import EFFORTS
from learned_jpeg.search.targets import KINDS, Target
from learned_jpeg.search.tunes import TUNE_NAMES


@pytest.mark.parametrize(
    "options, words",
    [
        ({"quantization": "rdoq"}, "quantization 'rdoq': unknown.*round, mozjpeg"),
        ({"entropy_coding": "default"}, "entropy_coding 'default'.*standard, optim"),
        ({"subsampling": "4:1:1"}, "subsampling '4:1:1': unknown.*4:4:4"),
        ({"tune": "vmaf"}, "tune 'vmaf': unknown.*model, psnr"),
        ({"quality": 0}, "quality 0: out of range.*1..100"),
        ({"quality": 101}, "quality 101: out of range"),
        ({"quality": 7.5}, "quality 7.5: out of range"),
        ({"quality": "75"}, "quality '75': out of range"),
        ({"lmbda": 0}, "lambda 0: name a number in 1e-12..1e\\+12"),
        ({"lmbda": 1e300}, "lambda 1e\\+300: name"),
        ({"lmbda": math.nan}, "lambda nan"),
        ({"lmbda": math.inf}, "lambda inf"),
        ({"lmbda": "0.1"}, "lambda '0.1'"),
        ({"target": 200_000}, "target 200000: pass one such as"),
        ({"quality": 5, "lmbda": 1}, "quality and lambda: name only one"),
        ({"lmbda": 1, "target": Target("bpp", 1)}, "lambda and target: name only one"),
        ({"quality": 5, "target": Target("bpp", 1)}, "quality and target"),
        ({"quantization": "round", "lmbda": 1}, "lambda has no effect"),
        ({"quantization": "mozjpeg", "lmbda": 1}, "lambda has no effect"),
        ({"quantization": "round", "tune": "psnr"}, "tune psnr has no effect"),
        (
            {"quantization": "mozjpeg", "entropy_coding": "standard"},
            "entropy_coding standard: mozjpeg codes",
        ),
        ({"effort": 4}, "effort 4: unknown; choose one of 1, 2, 3"),
        (
            {"quantization": "round", "effort": 1},
            "effort 1 has no effect without a search",
        ),
        ({"quantization": "round", "refine_steps": -1}, "refine_steps -1: name"),
        ({"quantization": "round", "refine_steps": 1.5}, "refine_steps 1.5: name"),
        ({"quantization": "search", "refine_steps": 1}, "refine_steps: .* round"),
        ({"quantization": "mozjpeg", "refine_steps": 1}, "refine_steps: .* round"),
        (
            {"quantization": "round", "refine_steps": 1, "subsampling": "4:2:0"},
            "refine_steps: works at full chroma only",
        ),
    ],
)
def test_options_without_sense_are_refused_in_one_line(options, words):
    with pytest.raises(UserError, match=words) as caught:
        EncodeOptions(**options)
    assert "\n" not in str(caught.value)


def test_every_known_word_is_taken():
    for quantization in QUANTIZATIONS:
        assert EncodeOptions(quantization=quantization).quality is None
    for coding in ENTROPY_CODINGS:
        assert EncodeOptions(entropy_coding=coding).target is None
    for sampling in (None, *SUBSAMPLINGS):
        EncodeOptions(subsampling=sampling)
    for tune in (None, OWN_LOSS, *TUNE_NAMES):
        EncodeOptions(tune=tune)
    for effort in EFFORTS:
        EncodeOptions(effort=effort)
    EncodeOptions(quantization="round", tune=OWN_LOSS, refine_steps=3)
    EncodeOptions(quality=np.int64(75))
    EncodeOptions(lmbda=np.float32(0.1))


def test_options_are_values():
    """Codecs are kept by them."""
    assert EncodeOptions(quality=5) == EncodeOptions(quality=5)
    assert len({EncodeOptions(), EncodeOptions(), EncodeOptions(tune="psnr")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        EncodeOptions().quality = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("vmaf", 3, "target 'vmaf': unknown; choose one of bpp, bytes, psnr"),
        ("bytes", 0, "target bytes 0: name a number above 0"),
        ("bytes", "200k", "target bytes '200k': name a number above 0"),
        ("bpp", math.nan, "target bpp nan"),
        ("bpp", math.inf, "target bpp inf"),
        ("psnr", -1, "target psnr -1: name a number above 0"),
        ("ms_ssim", 1, "target ms_ssim 1: name a number between 0 and 1"),
        ("ssimulacra2", 100, "target ssimulacra2 100: name a number below 100"),
    ],
)
def test_targets_that_no_file_has_are_refused(name, value, words):
    with pytest.raises(UserError, match=words):
        Target(name, value)


def test_targets_of_every_kind_are_values():
    for name in KINDS:
        assert Target(name, 0.5) == Target(name, np.float64(0.5))
    assert Target("ssimulacra2", -20) != Target("ssimulacra2", 20)
