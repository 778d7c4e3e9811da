"""The supervisor of a session: starts its program, hands it one cell after another, and says what became of each.

In come, on standard input, the task and then cells; out go on standard output "started" and a report on each cell.
Between cells all of the session's processes are stopped, so that nothing runs unwatched and nobody but the caller
touches its files. Standard input stays open as long as the caller lives: when it closes, an empty cell comes, or
nothing has come for long, all ends. Standard library only.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
import time

from qwen7b.sandbox.cells import run_cells
from qwen7b.sandbox.confinement import Confinement
from qwen7b.sandbox.exchange import TOKEN_BYTES, Exchange
from qwen7b.sandbox.forking import (
    CALLER,
    forget_supervisor,
    fork_confined,
    forked,
    protect_supervisor,
    read_block,
    write_report,
)
from qwen7b.sandbox.program import Channel
from qwen7b.sandbox.usage import kill_groups, reap_all, reap_ended
from qwen7b.sandbox.watching import Bounds, Streams, watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Serve one session to its end."""
    supervisor = os.getpid()
    try:
        supervise_session(**marshal.loads(read_block()))
    except Exception as error:
        if os.getpid() != supervisor:
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    kill_groups(*forked)
    reap_all()
    os._exit(0)


def supervise_session(*, output_bytes: int, cell_seconds: float, idle_seconds: float, **confinement: Any) -> None:
    """Start a session's program and report on its cells, until one ends it, the caller has gone, or nothing comes."""
    protect_supervisor()
    to = Confinement(**confinement)
    output, errors, cells, answers = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    standard = (os.open(os.devnull, os.O_RDONLY), output[1], errors[1])
    channel = Channel(cells[0], answers[1])
    program = fork_confined(to, standard, channel, lets_look=True)
    if program == 0:
        forget_supervisor()
        run_cells(channel)
    for pipe in (*standard, *channel.pipes()):
        os.close(pipe)
    os.killpg(program, signal.SIGSTOP)
    write_report(b"started\n")
    reason = "answered"
    while reason == "answered":
        if not _wait(idle_seconds):
            write_report(b"idle 0 0 0 0 0\n")
            return
        try:
            cell = read_block()
        except EOFError:
            cell = b""
        if not cell:
            return
        token = os.urandom(TOKEN_BYTES)
        exchange = Exchange(answers[0], cells[1], marshal.dumps((token, cell)), token=token)
        streams = Streams(output[0], errors[0], output_bytes=output_bytes)
        start = time.monotonic()
        bounds = Bounds(
            end=start + cell_seconds, memory_bytes=to.memory_bytes, disk_bytes=to.disk_bytes, folder=to.folder
        )
        reason = _run(program, bounds, streams, exchange)
        seconds = time.monotonic() - start
        exit_code = 0
        if reason != "answered":
            kill_groups(program)
            exit_code = reap_all()[program]
            streams.read_all()
        parts: list[bytes | bytearray] = [*streams.contents.values(), exchange.content if reason == "answered" else b""]
        lengths = " ".join(str(len(part)) for part in parts)
        write_report(f"{reason} {exit_code} {seconds:.6f} {lengths}\n".encode() + b"".join(parts))


def _wait(seconds: float) -> bool:
    """Wait for the caller; whether anything has come."""
    poll = select.poll()
    poll.register(CALLER, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _run(program: int, bounds: Bounds, streams: Streams, exchange: Exchange) -> str:
    """Let a session's processes run until a cell is answered, and stop them; or say why they may not go on."""
    os.killpg(program, signal.SIGCONT)
    reason = watch(bounds, streams, group=program, last=program, caller=CALLER, exchange=exchange)
    if reason != "answered":
        return reason or "ended"
    os.killpg(program, signal.SIGSTOP)
    reap_ended(but=program)
    streams.read_all()
    exchange.proceed(exchange.incoming)  # which is broken where more has come
    return "too_much_output" if streams.is_over else bounds.exceeded(program) or exchange.verdict or "broken"
