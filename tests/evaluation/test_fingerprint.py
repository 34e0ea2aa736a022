"""Tests of fingerprint: a module whose numbers change has to raise its version."""

import json

import pytest

from evaluation import fingerprint
from evaluation.operating_points import encoding
from tests.evaluation import golden

GOLDEN = json.loads(golden.PATH.read_text())


@pytest.mark.parametrize("part", list(golden.PARTS))
def test_numbers_are_those_of_the_version(part, tmp_path):
    """If this fails: raise NUMBERS_VERSION, then python3 -m tests.evaluation.golden."""
    version = golden.versions()[part]
    assert GOLDEN[part]["version"] == version, "write golden.json anew"
    found = golden.PARTS[part](tmp_path)
    assert found == pytest.approx(GOLDEN[part]["numbers"], rel=2e-4)
    for value, wanted in zip(found, GOLDEN[part]["numbers"], strict=True):
        if isinstance(value, int):
            assert value == wanted


def test_every_part_has_golden_numbers():
    assert set(golden.PARTS) == set(golden.versions()) == set(GOLDEN)


ALL = {"reading", "file", "metrics"}
MODEL = ALL | {"transform"}
CHROMA = {"subsampling": "4:2:2"}
SEARCHED = MODEL | {"integers", "search", "tunes", "forms", "planes"}
PLAIN = encoding(quantization="round", entropy_coding="standard")


@pytest.mark.parametrize(
    "changes, parts",
    [
        ({"quality": 20}, ALL),
        ({"quality": 20, "entropy_coding": "optimized"}, ALL | {"progressive"}),
        ({"quantization": "mozjpeg", "entropy_coding": "optimized"}, ALL),
        ({"quality": 20, "subsampling": "4:2:0"}, ALL | {"planes"}),
        ({"script": "ljpeg"}, MODEL),
        ({"script": "google_baseline"}, MODEL | {"network"}),
        ({"script": "ljpeg", "quantization": "search"}, SEARCHED),
        (
            {"script": "ljpeg", "quantization": "search", "tune": "ssimulacra2"},
            SEARCHED | {"perceptual"},
        ),
        (
            {"script": "ljpeg", "quantization": "search", "tune": "visual"},
            SEARCHED | {"perceptual", "visual"},
        ),
        ({"script": "ljpeg", "quantization": "search", **CHROMA}, SEARCHED),
        ({"script": "ljpeg", **CHROMA}, MODEL | {"planes", "sampling"}),
        ({"script": "ljpeg", "refine_steps": 30}, MODEL | {"refinement", "gradient"}),
    ],
)
def test_an_operating_point_depends_on_what_makes_its_numbers(changes, parts):
    assert set(fingerprint.of({**PLAIN, **changes})["code"]) == parts


def test_libraries_that_make_files_are_named():
    assert set(fingerprint.of(PLAIN)["libraries"]) == set(fingerprint.PACKAGES)
