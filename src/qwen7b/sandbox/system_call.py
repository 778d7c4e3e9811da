"""Calls of the C library that Python has no names for. Part of what the sandbox starts: standard library only."""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP = 1, 4, 8, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38


def checked(result: int, what: str) -> int:
    """The result of a C function, or an OSError where it is negative."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def prctl(option: int, first: int, second: int = 0) -> None:
    """Set one of this process's attributes: https://man7.org/linux/man-pages/man2/prctl.2.html."""
    numbers = [ctypes.c_ulong(number) for number in (first, second, 0, 0)]
    checked(LIBC.prctl(option, *numbers), f"prctl {option}")


def system_call(number: int, *arguments: object) -> int:
    """Make a system call by its number."""
    return checked(LIBC.syscall(ctypes.c_long(number), *arguments), f"system call {number}")
