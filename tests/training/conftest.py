"""Fixtures of several files of this folder."""

import pytest

from tests.training.helpers import write_checkpoint


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "run" / "train")


@pytest.fixture
def checkpoint(folder):
    return write_checkpoint(folder)
