"""What control groups grant, read from files like the system's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qwen7b.system.container import memory_left, usable_cores

GIB = 1 << 30


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "much"}, 8),
        # The narrowest of the groups around.
        (
            {
                "proc/self/cgroup": "0::/outer/inner",
                "sys/fs/cgroup/outer/cpu.max": "300000 100000",
                "sys/fs/cgroup/outer/inner/cpu.max": "max 100000",
            },
            3,
        ),
        # Version 1, where the container does not see the path that its own group has outside.
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/abc\n0::/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            8,
        ),
    ],
)
def test_cores(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert usable_cores(write(tmp_path, files)) == cores


def test_cores_of_this_machine() -> None:
    assert 1 <= usable_cores() <= 8


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        ({"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "1000"}, None),
        ({"sys/fs/cgroup/memory.max": f"{4 * GIB}", "sys/fs/cgroup/memory.current": f"{GIB}"}, 3 * GIB),
        # Contents of files give way.
        (
            {
                "sys/fs/cgroup/memory.max": f"{4 * GIB}",
                "sys/fs/cgroup/memory.current": f"{4 * GIB}",
                "sys/fs/cgroup/memory.stat": f"anon {GIB}\nactive_file {GIB}\ninactive_file {2 * GIB}",
            },
            3 * GIB,
        ),
        ({"sys/fs/cgroup/memory.max": f"{GIB}", "sys/fs/cgroup/memory.current": f"{GIB + 1}"}, 0),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], left: int | None) -> None:
    assert memory_left(write(tmp_path, {"proc/self/cgroup": "0::/", **files})) == left


@pytest.mark.parametrize(("limit", "left"), [(GIB, GIB // 2), (9223372036854771712, None)])
def test_memory_of_version_1(tmp_path: Path, limit: int, left: int | None) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{limit}",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2 + 4096}",
        "sys/fs/cgroup/memory/memory.stat": "active_file 0\ntotal_active_file 4096\ntotal_inactive_file 0",
    }
    assert memory_left(write(tmp_path, files)) == left
