"""The device that TensorFlow computes on, and the precision of its convolutions."""

from __future__ import annotations

import glob
import os
import sys

import tensorflow_v1 as tf
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.machine import read_text


def choose_precision(requested: str | None = None) -> tuple[str, str]:
    """Chooses the precision of the convolutions; returns it with the reason.

    Args:
      requested: "float32", "bfloat16", or None to take what the machine has units for.

    Returns:
      (name, reason), both strings.
    """
    if requested:
        return requested, "asked for by --precision"
    gpus = gpus_in_use()
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        capability = details.get("compute_capability", (0, 0))
        # bfloat16 came with the Ampere generation.
        if tuple(capability) >= (8, 0):
            return "bfloat16", f"GPU of compute capability {capability}"
        return "float32", f"GPU of compute capability {capability}, no bfloat16 units"
    units = _cpu_flags() & {"amx_bf16", "avx512_bf16"}
    if units:
        return "bfloat16", f"CPU with {', '.join(sorted(units))}"
    return "float32", "CPU without bfloat16 units"


def gpus_in_use() -> list:
    """Lists TensorFlow's GPUs; empty where it has none or was restricted to a CPU."""
    return tf.config.list_physical_devices("GPU") if _may_have_gpu() else []


def _may_have_gpu():
    """Returns whether it pays to ask TensorFlow, which takes seconds to load."""
    if sys.platform != "linux":
        return True
    # The drivers of NVIDIA, of AMD, and of either under Windows (WSL).
    devices = ("/dev/nvidia*", "/dev/kfd", "/dev/dxg")
    return any(glob.glob(device) for device in devices)


def _cpu_flags():
    lines = read_text("/proc", "cpuinfo").splitlines()  # "" where it is not Linux
    lines = [line for line in lines if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


def select_device(device: str) -> None:
    """Restricts this process to one device; before the first session.

    Args:
      device: "auto" for what TensorFlow finds, "cpu", or "gpu:N" (N from 0).

    Raises:
      UserError: TensorFlow sees no such GPU.
    """
    if device == "auto":
        return
    # CUDA reads it when TensorFlow first looks for GPUs, so for every later session.
    index = device.partition(":")[2]
    os.environ["CUDA_VISIBLE_DEVICES"] = index or "-1"
    if index and not tf.config.list_physical_devices("GPU"):
        raise UserError(
            f"--device {device}: TensorFlow sees no such GPU; use --device cpu, or "
            "install its CUDA libraries (docs/environments.md)"
        )


def session_config() -> tf.ConfigProto:
    """Returns the configuration of a session, whose GPU memory grows as needed."""
    config = tf.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    return config
