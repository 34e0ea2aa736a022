"""The environment that a fresh clone makes: pins, hashes, and the script's errors."""

import re
import subprocess

import pytest
from packaging.requirements import Requirement

from tests.paths import ROOT


def call(*words):
    """(status, stderr) of make_venv.sh."""
    done = subprocess.run(
        ["bash", ROOT / "make_venv.sh", *map(str, words)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr.strip()


def pins(name):
    """{(package, version)} of a file of requirements."""
    text = (ROOT / name).read_text()
    found = re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
    return {(package.lower(), version) for package, version in found}


def test_constraints_hold_every_requirement():
    wanted = pins("requirements.txt")
    assert ("tensorflow", "2.14.1") in wanted and ("tensorflow", "2.21.0") in wanted
    assert wanted <= pins("constraints.txt")


def test_requirements_pin_what_pyproject_names_and_nothing_else():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    named = [Requirement(text) for texts in lists for text in texts]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and line[0] != "#"]
    for python in ("3.10", "3.11", "3.12", "3.13"):
        ranges = by_name(named, python)
        versions = by_name(pinned, python)
        assert ranges.keys() == versions.keys()
        for name, specifier in versions.items():
            (version,) = specifier
            assert version.operator == "=="
            assert version.version in ranges[name], name


def by_name(requirements, python):
    """{package: versions} of the requirements that hold for a version of Python."""
    environment = {"python_version": python}
    return {
        requirement.name.lower(): requirement.specifier
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def test_constraints_have_a_hash_each():
    text = (ROOT / "constraints.txt").read_text()
    entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("words", [[], ["a", "3.13", "c"], ["--help"]])
def test_wrong_call_shows_the_usage(words):
    assert call(*words) == (2, "usage: bash make_venv.sh DIR [VERSION]")


def test_python_that_tensorflow_does_not_run_on_is_refused(tmp_path):
    status, error = call(tmp_path / "venv", "3.14")
    assert status == 2
    assert "VERSION 3.14 is none of 3.13 3.12 3.11 3.10" in error


def test_folder_of_other_things_is_not_replaced(tmp_path):
    (tmp_path / "mine").touch()
    status, error = call(tmp_path)
    assert status == 1
    assert str(tmp_path) in error and (tmp_path / "mine").exists()
