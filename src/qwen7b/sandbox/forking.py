"""What supervisors of programs and of sessions share: they protect themselves, and fork confined processes.

Part of what the sandbox starts: standard library only.
"""

from __future__ import annotations

import os
import sys

from qwen7b.sandbox.confinement import MAX_OPEN_FILES, Confinement, confine
from qwen7b.sandbox.system_call import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, prctl

TYPE_CHECKING = False  # importing typing would take longer than all else here
if TYPE_CHECKING:
    from qwen7b.sandbox.program import Channel

CALLER, REPORT = 0, 1
"""Standard input, which closes when the caller has gone, and standard output."""
forked: list[int] = []
"""The process groups started so far."""


def protect_supervisor() -> None:
    """Make this process the heir of all that its programs start, and one that no program can look into."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, the largest of these processes is killed before any other
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans become children of this process, which waits for them
    prctl(PR_SET_DUMPABLE, 0)  # the program cannot look into it even where it runs as the same user


def fork_confined(to: Confinement, standard: tuple[int, int, int], channel: Channel | None, *, lets_look: bool) -> int:
    """Fork a process in a group of its own. Returns 0 in it, once it is confined, and its number here."""
    started, starting = os.pipe()
    child = os.fork()
    if child:
        forked.append(child)
        os.close(starting)
        with open(started, "rb") as pipe:
            problem = pipe.read()
        if problem:
            raise OSError(problem.decode("utf-8", "replace"))
        return child
    try:
        os.setpgid(0, 0)
        for place, source in enumerate(standard):
            os.dup2(source, place)
        _close_all_but(starting, *(channel.pipes() if channel else ()))
        confine(to, lets_look=lets_look)
    except BaseException as error:
        os.write(starting, f"{error}".encode())
        os._exit(1)
    os.close(starting)
    return 0


def forget_supervisor() -> None:
    """Take the sandbox's own modules from those that a program finds imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "qwen7b"]:
        del sys.modules[name]


def _close_all_but(*kept: int) -> None:
    """Close what lies beyond the standard streams."""
    lowest = 3
    for descriptor in (*sorted(kept), MAX_OPEN_FILES):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1


def read_block() -> bytes:
    """The next part of standard input, which its length precedes."""
    return _read(int.from_bytes(_read(8), "big"))


def _read(length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = os.read(CALLER, min(length - len(data), 1 << 20))
        if not part:
            raise EOFError("the caller has gone")
        data += part
    return bytes(data)


def write_report(report: bytes) -> None:
    """Write all of a report to the caller."""
    while report:
        report = report[os.write(REPORT, report) :]
