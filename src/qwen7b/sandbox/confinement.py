"""Confines this process for good before it runs a program: its user, limits, files and system calls.

Part of what the sandbox starts: standard library only.
"""

from __future__ import annotations

import math
import os
import resource
import struct

from qwen7b.sandbox.denied_calls import rules
from qwen7b.sandbox.landlock import DEVICE, READING, WRITING, landlock_version, make_ruleset, restrict_self
from qwen7b.sandbox.seccomp import install_filter
from qwen7b.sandbox.system_call import LIBC, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_PDEATHSIG, checked, prctl

MAX_OPEN_FILES = 64
_KILL = 9
_CAPABILITIES_VERSION = 0x2008_0522
_READ_SEARCH = 1 << 2
"""CAP_DAC_READ_SEARCH."""


class Confinement:
    """What a process keeps: a folder where it may write, paths that it may read, and limits.

    `user` is the number of a user that nobody is, for root to become; None leaves the user who runs this.
    """

    def __init__(
        self,
        *,
        folder: str,
        readable: tuple[str, ...],
        user: int | None,
        in_bubblewrap: bool,
        seconds: float,
        memory_bytes: int,
        disk_bytes: int,
        processes: int,
    ) -> None:
        self.folder = folder
        self.readable = readable
        self.user = user
        self.in_bubblewrap = in_bubblewrap
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self.processes = processes


def confine(to: Confinement, *, lets_look: bool) -> None:
    """Confine this process. `lets_look`: whether others of its user may look into it, as the supervisor does."""
    version = landlock_version()
    if not version and not to.in_bubblewrap:
        raise OSError("this kernel has no Landlock, or it is switched off")
    rights = [(path, READING) for path in to.readable]
    rights += [("/dev/null", DEVICE), ("/dev/zero", DEVICE), ("/dev/urandom", DEVICE), (to.folder, WRITING)]
    ruleset = make_ruleset(rights) if version else None
    os.chdir(to.folder)
    _set_limits(to)
    if to.user is not None:
        _become(to.user, needs=(to.folder, *to.readable))
    prctl(PR_SET_DUMPABLE, lets_look)
    prctl(PR_SET_PDEATHSIG, _KILL)  # a change of user takes both back
    if ruleset is not None:
        restrict_self(ruleset)
    shares_user = to.user is None
    shares_files = shares_user and not to.in_bubblewrap
    install_filter(rules(shares_user=shares_user, shares_files=shares_files, landlock_version=version))


def _set_limits(to: Confinement) -> None:
    cores = os.cpu_count() or 1
    for limit, value in (
        (resource.RLIMIT_CORE, 1),  # at 0 a crash would still be handed to the system's program for crashes
        (resource.RLIMIT_CPU, math.ceil(to.seconds) * cores + 1),  # should nobody be left to look at the clock
        (resource.RLIMIT_FSIZE, to.disk_bytes),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_NPROC, to.processes + (_running_tasks() if to.user is None else 0)),
        (resource.RLIMIT_AS, to.memory_bytes),
    ):
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))


def _running_tasks() -> int:
    """How many processes and threads this user has: the kernel counts all of them against the limit."""
    user, count = os.getuid(), 0
    for name in os.listdir("/proc"):
        try:
            status = os.stat(f"/proc/{name}/task") if name.isdigit() else None
        except OSError:  # it has ended
            continue
        if status is not None and status.st_uid == user:
            count += status.st_nlink - 2
    return count


def _become(user: int, *, needs: tuple[str, ...]) -> None:
    """Change from root to another user, without any of root's rights.

    One is kept where Python lies below a folder that others may not enter, such as /root: to pass and read folders;
    Landlock still says which files.
    """
    needs = tuple(path for path in needs if os.path.exists(path))
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kept = 0 if all(os.access(path, os.R_OK | os.X_OK) for path in needs) else _READ_SEARCH
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    try:
        checked(LIBC.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)), "capset")
    except PermissionError:
        raise PermissionError(
            f"the user that programs run as cannot read one of {', '.join(needs)}, and this root may not grant it "
            "(CAP_DAC_READ_SEARCH): let others enter the folders that it lies in, with chmod o+x"
        ) from None
