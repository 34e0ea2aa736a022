"""Tests of fingerprint: a module whose numbers change has to raise its version."""

import json

import pytest

from evaluation import fingerprint
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


@pytest.mark.parametrize(
    "settings, parts",
    [
        ({"quality": 20}, {"reading", "file", "metrics"}),
        (
            {"quality": 20, "entropy_coding": "optimized"},
            {"reading", "file", "scans", "metrics"},
        ),
        (
            {"quality": 20, "entropy_coding": "trellis"},
            {"reading", "file", "metrics"},
        ),
        ({"script": "ljpeg"}, {"reading", "file", "metrics", "transform"}),
        (
            {"script": "google_baseline", "quantization": "round"},
            {"reading", "file", "metrics", "transform", "network"},
        ),
        (
            {"script": "ljpeg", "quantization": "rdoq"},
            {"reading", "file", "metrics", "transform"}
            | {"integers", "search", "gradient"},
        ),
        (
            {"script": "ljpeg", "quantization": "round", "refine_steps": 30},
            {"reading", "file", "metrics", "transform"} | {"refinement", "gradient"},
        ),
    ],
)
def test_a_dot_depends_on_what_makes_its_numbers(settings, parts):
    assert set(fingerprint.of(settings)["code"]) == parts


def test_libraries_that_make_files_are_named():
    assert set(fingerprint.of({})["libraries"]) == set(fingerprint.PACKAGES)
