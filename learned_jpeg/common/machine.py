"""Tells how many cores and how much memory this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

_PROCESS, _CGROUPS = "/proc/self", "/sys/fs/cgroup"
# Limit and use of a cgroup's memory, in version 2 and 1.
_MEMORY_FILES = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def usable_cores() -> int:
    """Returns how many cores this process may use, by its affinity and its cgroup."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # neither macOS nor Windows has it
        count = os.cpu_count() or 1
    limits = [float(count)]
    for folder in _cgroup_folders("cpu"):
        # Microseconds in every period, in version 2 and 1; "max" or -1 for no limit.
        quota = _words(folder, "cpu.max") or (
            _words(folder, "cpu.cfs_quota_us") + _words(folder, "cpu.cfs_period_us")
        )
        if len(quota) == 2 and quota[0].isdigit():
            limits.append(int(quota[0]) / int(quota[1]))
    return max(1, math.ceil(min(limits)))


def available_memory() -> int | None:
    """Returns how many bytes this process may still allocate.

    It is the least of what the system and the cgroups allow, or None where the system
    does not tell.
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


def _reclaimable(folder: str) -> int:
    """Returns the bytes of a cgroup's cached files, which count as used memory."""
    words = _words(folder, "memory.stat")
    values = dict(zip(words[::2], words[1::2], strict=False))
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))


def _cgroup_folders(controller: str) -> Iterator[str]:
    """Yields the folders of this process' cgroup and of the groups around it."""
    for line in read_text(_PROCESS, "cgroup").splitlines():
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


def _words(folder: str, name: str) -> list[str]:
    return read_text(folder, name).split()


def read_text(folder: str, name: str) -> str:
    """Returns the text of a small file of the system, "" where there is none."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
