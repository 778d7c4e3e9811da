"""What this process may really use of the machine: a container is often given less of it than there is.

Control groups say how much, in files: https://docs.kernel.org/admin-guide/cgroup-v2.html, and for the older version 1
https://docs.kernel.org/admin-guide/cgroup-v1/. The limits of the groups that contain it hold for a group too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_SYSTEM = Path("/")


def usable_cores(root: Path = _SYSTEM) -> int:
    """How many cores this process may use: those it is allowed to run on, or its share of their time, if that is less.

    `root` is where the system's files are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_share_of_time(folder) for folder in _groups("cpu", root)]
    return max(1, math.ceil(min([cores, *shares])))


def memory_left(root: Path = _SYSTEM) -> int | None:
    """Bytes that the control groups still grant, counting cached files as free; None where they set no limit."""
    left: list[float] = []
    for folder in _groups("memory", root):
        for limit_file, used_file, prefix in (
            ("memory.max", "memory.current", ""),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        ):
            limit, used = _numbers(folder / limit_file), _numbers(folder / used_file)
            if limit and used:
                left.append(limit[0] - used[0] + _cached(folder / "memory.stat", prefix))
    smallest = min(left, default=math.inf)
    # Version 1 writes a huge number where there is no limit.
    return None if smallest > 1 << 60 else max(0, int(smallest))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control groups that may limit it, from its own to the outermost."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        # Inside a container the path may be the host's: then only the mount itself exists.
        inner = mount / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(mount) and folder.is_dir())


def _share_of_time(folder: Path) -> float:
    """Seconds of processor time that a group may use per second."""
    limit = _numbers(folder / "cpu.max")
    limit = limit or _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
    # Version 1 writes -1 where there is no limit.
    return limit[0] / limit[1] if len(limit) == 2 and limit[0] > 0 else math.inf


def _numbers(path: Path) -> tuple[float, ...]:
    """The numbers in a file, "max" as infinity; an empty tuple where it cannot be read."""
    try:
        return tuple(math.inf if word == "max" else float(word) for word in path.read_text("utf-8").split())
    except (OSError, ValueError):
        return ()


def _cached(path: Path, prefix: str) -> int:
    """Bytes of cached files, which the system frees when memory is needed."""
    try:
        fields = dict(line.split() for line in path.read_text("utf-8").splitlines())
    except (OSError, ValueError):
        return 0
    return sum(int(fields.get(f"{prefix}{name}", 0)) for name in ("active_file", "inactive_file"))
