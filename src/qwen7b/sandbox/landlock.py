"""Takes from this process, for good, every file and TCP port that it is not given, by Linux's Landlock.

https://docs.kernel.org/userspace-api/landlock.html describes it; version numbers are those of its ABI. Part of what the
sandbox starts: standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct

from qwen7b.sandbox.system_call import PR_SET_NO_NEW_PRIVS, prctl, system_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# The numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = ctypes.c_uint32(1)
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG = (1 << bit for bit in range(4, 9))
_MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEVICE = (1 << bit for bit in range(9, 16))

READING = _EXECUTE | _READ_FILE | _READ_DIR
WRITING = (_READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _REFER) | (
    _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_FIFO | _MAKE_SYM
)
DEVICE = _READ_FILE | _WRITE_FILE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def landlock_version() -> int:
    """The version of Landlock's ABI in this kernel, or 0 where there is none."""
    try:
        return system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


def handled_files(version: int) -> int:
    """Every right on files that a version knows: what is not handled is allowed."""
    highest = 16 if version >= 5 else 15 if version >= 3 else 14 if version == 2 else 13
    return (1 << highest) - 1


def make_ruleset(rights: Iterable[tuple[str, int]]) -> int:
    """A ruleset, as a file descriptor, that grants each of the paths its rights; paths that are missing are left out.

    From version 4 on it grants no TCP port, and from 6 on no abstract socket and no signal to processes outside.
    """
    version = landlock_version()
    files = handled_files(version)
    attributes = struct.pack(
        "=QQQ",
        files,
        _BIND_AND_CONNECT_TCP if version >= 4 else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    ruleset = system_call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    for path, granted in rights:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        granted &= files if os.path.isdir(path) else files & _OF_A_FILE
        rule = struct.pack("=Qi", granted, place)
        system_call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
        os.close(place)
    return ruleset


def restrict_self(ruleset: int) -> None:
    """Apply a ruleset to this process and all that it starts."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
