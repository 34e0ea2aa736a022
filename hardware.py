"""What the machine computes with: cores, memory, precision of the convolutions."""

import glob
import math
import os
import sys

import tensorflow_v1 as tf
from errors import UserError

_PROCESS, _CGROUPS = "/proc/self", "/sys/fs/cgroup"
# Limit and use of a cgroup's memory, of version 2 and 1.
_MEMORY_FILES = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def choose_precision(requested=None):
    """The precision of the convolutions, and why.

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


def gpus_in_use():
    """TensorFlow's GPUs, a list; empty where it has none or was restricted to a CPU."""
    return tf.config.list_physical_devices("GPU") if _may_have_gpu() else []


def _may_have_gpu():
    """Whether it pays to ask TensorFlow, which takes seconds to load."""
    if sys.platform != "linux":
        return True
    # The drivers of NVIDIA, of AMD, and of either under Windows (WSL).
    devices = ("/dev/nvidia*", "/dev/kfd", "/dev/dxg")
    return any(glob.glob(device) for device in devices)


def _cpu_flags():
    lines = _text("/proc", "cpuinfo").splitlines()  # "" where it is not Linux
    lines = [line for line in lines if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


def select_device(device):
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


def session_config():
    """Settings of a session: GPU memory grows as needed, it is not taken whole."""
    config = tf.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    return config


def usable_cores():
    """Number of cores that this process may use, by its affinity and its cgroup."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # neither macOS nor Windows has it
        count = os.cpu_count() or 1
    shares = [count]
    for folder in _cgroup_folders("cpu"):
        # Microseconds of every period, of version 2 and 1; "max" or -1 for no limit.
        quota = _words(folder, "cpu.max") or (
            _words(folder, "cpu.cfs_quota_us") + _words(folder, "cpu.cfs_period_us")
        )
        if len(quota) == 2 and quota[0].isdigit():
            shares.append(int(quota[0]) / int(quota[1]))
    return max(1, math.ceil(min(shares)))


def available_memory():
    """Bytes that this process may still take, by the system and by its cgroup.

    None where the system does not tell.
    """
    found = []
    words = _words("/proc", "meminfo")
    if "MemAvailable:" in words:
        found.append(1024 * int(words[words.index("MemAvailable:") + 1]))
    for folder in _cgroup_folders("memory"):
        for limit, used in _MEMORY_FILES:
            numbers = [*_words(folder, limit), *_words(folder, used)]
            if len(numbers) == 2 and all(n.isdigit() for n in numbers):
                free = int(numbers[0]) - int(numbers[1]) + _reclaimable(folder)
                found.append(max(free, 0))
    return min(found, default=None)


def _reclaimable(folder):
    """Bytes of a cgroup's cached files, which count as used until they are wanted."""
    words = _words(folder, "memory.stat")
    values = dict(zip(words[::2], words[1::2], strict=False))
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))


def _cgroup_folders(controller):
    """Folders of this process' cgroup and of those that it lies in."""
    for line in _text(_PROCESS, "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            root = _CGROUPS
        elif controller in controllers.split(","):
            root = os.path.join(_CGROUPS, controller)
        else:
            continue
        folder = os.path.normpath(root + path)
        while folder.startswith(root):
            yield folder
            folder = os.path.dirname(folder)


def _words(folder, name):
    return _text(folder, name).split()


def _text(folder, name):
    """The text of a small file of the system, "" where there is none."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
