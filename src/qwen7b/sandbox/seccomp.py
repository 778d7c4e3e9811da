"""Takes system calls from this process for good, by a filter that Linux runs at each.

The filter is a program of the classic BPF machine: https://docs.kernel.org/userspace-api/seccomp_filter.html. What
`denied_calls` does not name stays allowed. Part of what the sandbox starts: standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from qwen7b.sandbox.denied_calls import NEWEST_KNOWN, NUMBERS, Rule
from qwen7b.sandbox.system_call import PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FILTER_MODE = 2
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OTHER_ABI_BIT = 0x4000_0000
"""Numbers from here on are x86_64's x32 calls: the same calls under other numbers."""

# Offsets in what the kernel hands over: the call's number, the architecture, and the arguments' lower halves.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_KILL, _ALLOW = 0x8000_0000, 0x7FFF_0000
_REFUSE, _UNKNOWN = 0x0005_0000 | errno.EPERM, 0x0005_0000 | errno.ENOSYS

Instruction = tuple[int, int, int, int]
"""Operation, steps to skip where it holds, steps to skip where it does not, operand."""


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]


def machine() -> str | None:
    """This processor's name, or None where the filter does not know its calls."""
    name = os.uname().machine
    return name if name in _ARCHITECTURES and struct.calcsize("P") == 8 else None


def install_filter(rules: Iterable[Rule]) -> None:
    """Refuse what the rules deny, in this process and all that it starts."""
    name = machine()
    if name is None:
        raise OSError(
            f"system calls are filtered on {' and '.join(_ARCHITECTURES)} only, and this is {os.uname().machine}"
        )
    program = b"".join(struct.pack("=HBBI", *step) for step in assemble(rules, name))
    filter = _Filter(len(program) // 8, program)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(filter))


def assemble(rules: Iterable[Rule], machine: str) -> Iterator[Instruction]:
    """The filter's program: another architecture kills, unknown calls are not there, denied ones are not permitted."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    if machine == "x86_64":
        yield _JUMP_GREATER, 0, 1, _OTHER_ABI_BIT - 1
        yield _RETURN, 0, 0, _KILL
    yield _JUMP_GREATER, 0, 1, NEWEST_KNOWN
    yield _RETURN, 0, 0, _UNKNOWN
    for rule in rules:
        number = NUMBERS[rule.name][machine == "aarch64"]
        if number is not None:
            body = list(_answer(rule))
            yield _JUMP_EQUAL, 0, len(body), number
            yield from body
    yield _RETURN, 0, 0, _ALLOW


def _answer(rule: Rule) -> Iterator[Instruction]:
    """What happens to a call of the rule's name. The argument's lower half is what the kernel reads of these."""
    if rule.argument is None:
        yield _RETURN, 0, 0, _UNKNOWN if rule.hidden else _REFUSE
        return
    yield _LOAD, 0, 0, _FIRST_ARGUMENT + 8 * rule.argument
    if rule.only:
        for left, value in zip(reversed(range(len(rule.only))), rule.only, strict=True):
            yield _JUMP_EQUAL, left + 1, 0, value
        yield _RETURN, 0, 0, _REFUSE
    for value in rule.never:
        yield _JUMP_EQUAL, 0, 1, value
        yield _RETURN, 0, 0, _REFUSE
    if rule.bits:
        yield _JUMP_ANY_BIT, 0, 1, rule.bits
        yield _RETURN, 0, 0, _REFUSE
    yield _LOAD, 0, 0, _NUMBER
