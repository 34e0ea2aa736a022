"""Tests of machine.py: cores and memory, by the system and by its cgroups."""

import os

import pytest

from learned_jpeg.common import machine


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Returns a function that writes the files of a system and its cgroups."""
    monkeypatch.setattr(machine, "_PROCESS", str(tmp_path / "process"))
    monkeypatch.setattr(machine, "_CGROUPS", str(tmp_path / "cgroups"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    def lay_out(lines, **files):
        (tmp_path / "process").mkdir()
        (tmp_path / "process" / "cgroup").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            path = tmp_path / "cgroups" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return lay_out


def test_cores_are_those_that_the_process_may_use(system):
    system(["3:cpuset:/"])
    assert machine.usable_cores() == 8


@pytest.mark.parametrize(
    "text, cores", [("max 100000", 8), ("250000 100000", 3), ("20000 100000", 1)]
)
def test_cores_are_bounded_by_the_cgroup(system, text, cores):
    system(["0::/outer/inner"], outer__cpu_dot_max=text)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize("quota, cores", [("-1", 8), ("400000", 4)])
def test_cores_are_bounded_by_a_cgroup_of_version_1(system, quota, cores):
    system(
        ["4:cpu,cpuacct:/job", "3:memory:/other"],
        cpu__job__cpu_dot_cfs_quota_us=quota,
        cpu__job__cpu_dot_cfs_period_us="100000",
    )
    assert machine.usable_cores() == cores


def test_memory_is_bounded_by_every_cgroup_above(system):
    """A cgroup counts cached files as used, but frees them when it is full."""
    system(
        ["0::/outer/inner"],
        outer__inner__memory_dot_max="max\n",
        outer__inner__memory_dot_current="500",
        outer__memory_dot_max="3000\n",
        outer__memory_dot_current="1200\n",
        outer__memory_dot_stat="anon 1000\ninactive_file 200\nactive_file 7\n",
    )
    assert machine.available_memory() == 3000 - 1200 + 200


def test_memory_without_a_cgroup_is_that_of_the_system(system):
    system(["1:memory:/job"])
    with open("/proc/meminfo") as file:
        total = 1024 * int(file.readline().split()[1])
    assert 0 < machine.available_memory() <= total


def test_memory_in_a_cgroup_of_version_1(system):
    system(
        ["1:memory:/job"],
        memory__job__memory_dot_limit_in_bytes="1000",
        memory__job__memory_dot_usage_in_bytes="1400",
    )
    assert machine.available_memory() == 0
