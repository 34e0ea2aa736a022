"""The choice of the device and of the precision of the convolutions."""

import os
import types

import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.common.errors import UserError
from training import devices


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment of its own, in which nothing hides a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


def test_auto_leaves_the_devices_as_they_are():
    devices.select_device("auto")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_cpu_hides_every_gpu():
    devices.select_device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_gpu_is_chosen_by_its_number(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    devices.select_device("gpu:1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_gpu_that_is_not_there_is_a_user_error(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(UserError, match="--device gpu:3: .*; use --device cpu"):
        devices.select_device("gpu:3")


def gpu(monkeypatch, capability):
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(
        tf.config,
        "experimental",
        types.SimpleNamespace(
            get_device_details=lambda device: {"compute_capability": capability}
        ),
    )


@pytest.mark.parametrize(
    "capability, precision",
    [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")],
)
def test_gpu_since_ampere_computes_in_bfloat16(monkeypatch, capability, precision):
    gpu(monkeypatch, capability)
    assert devices.choose_precision()[0] == precision


@pytest.mark.parametrize(
    "flags, precision",
    [
        ({"avx2", "avx512f"}, "float32"),
        ({"avx512_bf16"}, "bfloat16"),
        ({"amx_bf16"}, "bfloat16"),
        (set(), "float32"),
    ],
)
def test_cpu_computes_in_bfloat16_where_it_has_units(monkeypatch, flags, precision):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(devices, "_cpu_flags", lambda: flags)
    assert devices.choose_precision()[0] == precision


def test_precision_that_is_asked_for_is_taken(monkeypatch):
    monkeypatch.setattr(devices, "_cpu_flags", lambda: {"amx_bf16"})
    name, reason = devices.choose_precision("float32")
    assert name == "float32" and "--precision" in reason
