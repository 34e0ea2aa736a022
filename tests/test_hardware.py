"""The choice of the device; that of the precision is tested with the training."""

import os

import pytest
import tensorflow.compat.v1 as tf

import hardware
from errors import UserError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment of its own, in which nothing hides a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


def test_auto_leaves_the_devices_as_they_are():
    hardware.select_device("auto")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_cpu_hides_every_gpu():
    hardware.select_device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_gpu_is_chosen_by_its_number(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    hardware.select_device("gpu:1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_gpu_that_is_not_there_is_a_user_error(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(UserError, match="--device gpu:3: .*; use --device cpu"):
        hardware.select_device("gpu:3")
