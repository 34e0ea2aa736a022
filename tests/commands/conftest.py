"""Fixtures of several files of this folder."""

import pytest

from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from tests.commands.helpers import train, write_checkpoint
from tests.tables_models import asymmetric_tables


@pytest.fixture(scope="module")
def tables_dir(tmp_path_factory):
    """A trained checkpoint of ljpeg.py."""
    return train(LJPEG, tmp_path_factory.mktemp("ljpeg"))


@pytest.fixture(scope="module")
def attention_dir(tmp_path_factory):
    """A trained checkpoint of ljpeg_attention.py, with VGG-16."""
    return train(LJPEGAttention, tmp_path_factory.mktemp("attention"))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """Four `lambda_*` folders; their order by name is not that of their rates."""
    folder = tmp_path_factory.mktemp("run")
    scales = {"1": 60, "05": 30, "005": 8, "001": 100}
    for index, (name, scale) in enumerate(scales.items()):
        tables = asymmetric_tables(scale)
        write_checkpoint(folder / f"lambda_{name}" / "train", tables, 0.1**index)
    return folder
