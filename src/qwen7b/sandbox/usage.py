"""What a group of processes uses, and how it is ended. Part of what the sandbox starts: standard library only."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 4096
_PROCESS_GROUP, _RESIDENT_PAGES = 2, 21
"""Places in /proc/PID/stat, counted after the name."""


def members(group: int) -> Iterator[tuple[str, int]]:
    """(process, bytes of memory it holds) of each of a process group."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[_PROCESS_GROUP]) == group:
            yield name, int(fields[_RESIDENT_PAGES]) * _PAGE


def tree_bytes(folder: str, *, enough: int) -> int:
    """Bytes on the disk of the files in a folder, counted no further than to `enough`."""
    total, pending = 0, [folder]
    while pending and total <= enough:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    total += _size(entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # what lies deeper cannot be counted
                return enough + 1
    return total


def deleted_bytes(process: str) -> int:
    """Bytes on the disk of the files that a process has deleted and still holds open."""
    total = 0
    try:
        for name in os.listdir(f"/proc/{process}/fd"):
            status = os.stat(f"/proc/{process}/fd/{name}")
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                total += _size(status)
    except OSError:  # it has ended
        pass
    return total


def _size(status: os.stat_result) -> int:
    return max(512 * status.st_blocks, _BLOCK)


def kill_groups(*groups: int) -> None:
    """Kill process groups whole. None of their processes can have left: the filter forbids it."""
    for group in groups:
        try:
            os.killpg(group, 9)
        except ProcessLookupError:
            continue


def reap_all() -> dict[int, int]:
    """Wait for all children, and orphans that became ours: {process: exit code}, minus a signal's number."""
    codes: dict[int, int] = {}
    while True:
        try:
            process, status = os.wait()
        except ChildProcessError:
            return codes
        codes[process] = os.waitstatus_to_exitcode(status)


def reap_ended(*, but: int) -> None:
    """Bury children that have ended, and orphans that became ours, as long as the next of them is not `but`."""
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != but:
        os.waitpid(ended.si_pid, 0)
