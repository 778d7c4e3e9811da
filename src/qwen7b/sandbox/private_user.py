"""A user for a program that root runs: one that nobody is, and of which no other run has the number."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from qwen7b.errors import SandboxError

_RANGES = ((0x7000_0000, 1 << 28), (61184, 4336))
"""(first, how many): what systemd leaves unused, or where a container has no such numbers, what it gives to services.

https://systemd.io/UIDS-GIDS/
"""
_RUNS = count()
_MAX_AT_ONCE = 64
held_users: set[int] = set()
"""Users of what lasts longer than a run: no run gets one of these numbers."""


def private_user(maps: tuple[Path, ...] = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))) -> int:
    """The number of a user, and of a group. Raises SandboxError where this root can become no other user.

    The limit on processes counts by user, and does not hold for root at all.
    """
    for _ in range(_MAX_AT_ONCE):
        run = os.getpid() * _MAX_AT_ONCE + next(_RUNS) % _MAX_AT_ONCE
        for first, many in _RANGES:
            user = first + run % many
            if user not in held_users and all(_is_mapped(user, path) for path in maps):
                return user
    raise SandboxError(
        "root in this container can become no other user, as the limits on a program need: run as an ordinary user, or "
        "give the container more user numbers"
    )


def _is_mapped(number: int, path: Path) -> bool:
    """Whether a user number exists in this process's user namespace, by the kernel's table of them."""
    rows = (map(int, line.split()) for line in path.read_text("ascii").splitlines())
    return any(first <= number < first + many for first, _, many in rows)
