"""The supervisor of one program: starts it and its check, watches both, ends them, and says what became of them.

In come, on standard input, the task, the program and perhaps its check; out goes a report on standard output. The
program's process is forked before the check is read, so that the program cannot find it in its memory. Standard input
stays open as long as the caller lives: when it closes, all ends. Standard library only, and little of it, as every
program waits for it to start.
"""

from __future__ import annotations

import marshal
import os
import time

from qwen7b.sandbox.checking import run_check
from qwen7b.sandbox.confinement import Confinement
from qwen7b.sandbox.forking import (
    CALLER,
    REPORT,
    forget_supervisor,
    fork_confined,
    forked,
    protect_supervisor,
    read_block,
    write_report,
)
from qwen7b.sandbox.program import OUT_OF_MEMORY, Channel, run_program
from qwen7b.sandbox.usage import kill_groups, reap_all
from qwen7b.sandbox.watching import Bounds, Streams, watch

TYPE_CHECKING = False  # importing typing would take longer than all else here
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Do one task. It reports "started"; status, exit code, seconds, length of standard output; then both outputs."""
    supervisor = os.getpid()
    os.write(REPORT, b"started\n")
    task, code = marshal.loads(read_block()), marshal.loads(read_block())
    try:
        report = supervise(code, **task)
    except Exception as error:
        if os.getpid() != supervisor:
            raise
        kill_groups(*forked)
        message = f"{type(error).__name__}: {error}".encode("utf-8", "replace")
        report = b"error 0 0 0\n" + message
    write_report(report)
    os._exit(0)  # at once: nothing is left to tidy up


def supervise(code: str, *, has_check: bool, output_bytes: int, **confinement: Any) -> bytes:
    """Run a program, and its check, to their end."""
    protect_supervisor()
    to = Confinement(**confinement)
    if to.user is not None and not to.in_bubblewrap:
        os.chown(to.folder, to.user, to.user)
    output, errors = os.pipe(), os.pipe()
    calls, answers = (os.pipe(), os.pipe()) if has_check else (None, None)
    standard = (os.open(os.devnull, os.O_RDONLY), output[1], errors[1])

    channel = Channel(calls[0], answers[1]) if calls and answers else None
    if channel:
        import json  # noqa: F401  # once, for both processes
    program = fork_confined(to, standard, channel, lets_look=True)
    start = time.monotonic()
    if program == 0:
        forget_supervisor()
        run_program(code, channel)
    last = program
    if calls and answers:
        check = marshal.loads(read_block())
        channel = Channel(answers[0], calls[1])
        last = fork_confined(to, standard, channel, lets_look=False)
        if last == 0:
            run_check(check, channel)
    for pipe in (*standard, *(calls or ()), *(answers or ())):
        os.close(pipe)

    streams = Streams(output[0], errors[0], output_bytes=output_bytes)
    bounds = Bounds(end=start + to.seconds, memory_bytes=to.memory_bytes, disk_bytes=to.disk_bytes, folder=to.folder)
    reason = watch(bounds, streams, group=program, last=last, caller=CALLER)
    seconds = time.monotonic() - start
    kill_groups(*forked)
    codes = reap_all()
    streams.read_all()
    if reason is None:
        reason = "too_much_output" if streams.is_over else _verdict(codes, last)
    first, second = streams.contents.values()
    exit_code = codes[program]
    return b"%b %d %.6f %d\n" % (reason.encode(), exit_code, seconds, len(first)) + first + second


def _verdict(codes: dict[int, int], last: int) -> str:
    if codes[last] == 0:
        return "passed"
    return "out_of_memory" if OUT_OF_MEMORY in codes.values() else "failed"
