"""The supervisor of one program: starts it and its check, watches both, ends them, and says what became of them.

In come, on standard input, the task, the program and perhaps its check; out goes a report on standard output. The
program's process is forked before the check is read, so that the program cannot find it in its memory. Standard input
stays open as long as the caller lives: when it closes, all ends. Standard library only, and little of it, as every
program waits for it to start.
"""

from __future__ import annotations

import marshal
import os
import sys
import time

from qwen7b.sandbox.checking import run_check
from qwen7b.sandbox.confinement import MAX_OPEN_FILES, Confinement, confine
from qwen7b.sandbox.program import OUT_OF_MEMORY, Channel, run_program
from qwen7b.sandbox.system_call import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, prctl
from qwen7b.sandbox.usage import kill_groups, reap_all
from qwen7b.sandbox.watching import Bounds, Streams, watch

TYPE_CHECKING = False  # importing typing would take longer than all else here
if TYPE_CHECKING:
    from typing import Any

CALLER, REPORT = 0, 1


def main() -> None:
    """Do one task. It reports "started"; status, exit code, seconds, length of standard output; then both outputs."""
    supervisor = os.getpid()
    os.write(REPORT, b"started\n")
    task, code = marshal.loads(_read_block()), marshal.loads(_read_block())
    try:
        report = supervise(code, **task)
    except Exception as error:
        if os.getpid() != supervisor:
            raise
        kill_groups(*_groups)
        message = f"{type(error).__name__}: {error}".encode("utf-8", "replace")
        report = b"error 0 0 0\n" + message
    while report:
        report = report[os.write(REPORT, report) :]
    os._exit(0)  # at once: nothing is left to tidy up


_groups: list[int] = []
"""Those started so far."""


def supervise(code: str, *, has_check: bool, output_bytes: int, **confinement: Any) -> bytes:
    """Run a program, and its check, to their end."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, the largest of these processes is killed before any other
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans become children of this process, which waits for them
    prctl(PR_SET_DUMPABLE, 0)  # the program cannot look into it even where it runs as the same user
    to = Confinement(**confinement)
    if to.user is not None and not to.in_bubblewrap:
        os.chown(to.folder, to.user, to.user)
    output, errors = os.pipe(), os.pipe()
    calls, answers = (os.pipe(), os.pipe()) if has_check else (None, None)
    standard = (os.open(os.devnull, os.O_RDONLY), output[1], errors[1])

    channel = Channel(calls[0], answers[1]) if calls and answers else None
    if channel:
        import json  # noqa: F401  # once, for both processes
    program = _fork_confined(to, standard, channel, lets_look=True)
    start = time.monotonic()
    if program == 0:
        for name in [name for name in sys.modules if name.split(".")[0] == "qwen7b"]:
            del sys.modules[name]
        run_program(code, channel)
    last = program
    if calls and answers:
        check = marshal.loads(_read_block())
        channel = Channel(answers[0], calls[1])
        last = _fork_confined(to, standard, channel, lets_look=False)
        if last == 0:
            run_check(check, channel)
    for pipe in (*standard, *(calls or ()), *(answers or ())):
        os.close(pipe)

    streams = Streams(output[0], errors[0], output_bytes=output_bytes)
    bounds = Bounds(end=start + to.seconds, memory_bytes=to.memory_bytes, disk_bytes=to.disk_bytes, folder=to.folder)
    reason = watch(bounds, streams, group=program, last=last, caller=CALLER)
    seconds = time.monotonic() - start
    kill_groups(*_groups)
    codes = reap_all()
    for pipe in streams.contents:  # what was still on its way; nobody is left who could write more
        while not streams.is_over and streams.read(pipe):
            pass
    if reason is None:
        reason = "too_much_output" if streams.is_over else _verdict(codes, last)
    first, second = streams.contents.values()
    exit_code = codes[program]
    return b"%b %d %.6f %d\n" % (reason.encode(), exit_code, seconds, len(first)) + first + second


def _verdict(codes: dict[int, int], last: int) -> str:
    if codes[last] == 0:
        return "passed"
    return "out_of_memory" if OUT_OF_MEMORY in codes.values() else "failed"


def _fork_confined(to: Confinement, standard: tuple[int, int, int], channel: Channel | None, *, lets_look: bool) -> int:
    """Fork a process in a group of its own. Returns 0 in it, once it is confined, and its number here."""
    started, starting = os.pipe()
    child = os.fork()
    if child:
        _groups.append(child)
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


def _close_all_but(*kept: int) -> None:
    """Close what lies beyond the standard streams."""
    lowest = 3
    for descriptor in (*sorted(kept), MAX_OPEN_FILES):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1


def _read_block() -> bytes:
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
