"""Watches a program until it ends or goes too far. Part of what the sandbox starts: standard library only."""

from __future__ import annotations

import os
import select
import time

from qwen7b.sandbox.usage import deleted_bytes, members, tree_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from qwen7b.sandbox.exchange import Exchange

_FIRST_LOOK, _LONGEST_PAUSE = 0.05, 0.2
"""Seconds until what a program uses is looked at, and between looks at most: the pauses grow."""
_CHUNK = 1 << 16


class Streams:
    """Standard output and error, read as they come, and of each no more kept than a number of bytes."""

    def __init__(self, *pipes: int, output_bytes: int) -> None:
        for pipe in pipes:
            os.set_blocking(pipe, False)  # a program can open its own end for reading, and be quicker
        self.contents = {pipe: bytearray() for pipe in pipes}
        self.output_bytes = output_bytes
        self.is_over = False

    def read(self, pipe: int) -> bool:
        """Read what has come; False at the end."""
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return True
        content = self.contents[pipe]
        content += data
        if len(content) > self.output_bytes:
            del content[self.output_bytes :]
            self.is_over = True
        return bool(data)

    def read_all(self) -> None:
        """Read what has come and is not yet read, from programs that are stopped or have ended."""
        poll = select.poll()
        for pipe in self.contents:
            poll.register(pipe, select.POLLIN)
        while not self.is_over and (ready := poll.poll(0)):
            for pipe, _ in ready:
                if not self.read(pipe):
                    poll.unregister(pipe)


class Bounds:
    """What ends a program: a time on the monotonic clock, the memory of all its processes, the files in its folder."""

    def __init__(self, *, end: float, memory_bytes: int, disk_bytes: int, folder: str) -> None:
        self.end = end
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self.folder = folder

    def exceeded(self, group: int) -> str | None:
        """Which bound a group of processes exceeds, if any."""
        memory, disk = 0, tree_bytes(self.folder, enough=self.disk_bytes)
        for process, held in members(group):
            memory += held
            disk += deleted_bytes(process)
        free = os.statvfs(self.folder)
        # What is hidden from this count, a deleted file that is only mapped, must still not fill the disk.
        if disk > self.disk_bytes or free.f_bavail * free.f_frsize < self.disk_bytes // 8:
            return "out_of_disk"
        return "out_of_memory" if memory > self.memory_bytes else None


def watch(
    bounds: Bounds, streams: Streams, *, group: int, last: int, caller: int, exchange: Exchange | None = None
) -> str | None:
    """Wait until the process `last` ends, and return None, or the reason why it may not go on.

    `caller` is a pipe that closes when whoever asked for this has gone. An exchange's verdict is a reason too.
    """
    ending = os.pidfd_open(last)
    try:
        poll = select.poll()
        for pipe in (*streams.contents, ending):
            poll.register(pipe, select.POLLIN)
        poll.register(caller, 0)
        if exchange is not None:
            poll.register(exchange.outgoing, select.POLLOUT)
            poll.register(exchange.incoming, select.POLLIN)
        return _watch(poll, bounds, streams, exchange, group=group, ending=ending, caller=caller)
    finally:
        os.close(ending)


def _watch(
    poll: select.poll,
    bounds: Bounds,
    streams: Streams,
    exchange: Exchange | None,
    *,
    group: int,
    ending: int,
    caller: int,
) -> str | None:
    pause = _FIRST_LOOK
    next_look = time.monotonic() + pause
    while True:
        now = time.monotonic()
        if now >= bounds.end:
            return "timed_out"
        if now >= next_look:
            if reason := bounds.exceeded(group):
                return reason
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            next_look = time.monotonic() + pause
        for pipe, _ in poll.poll(max(0.0, min(bounds.end, next_look) - now) * 1000 + 1):
            if pipe == caller:
                return "abandoned"
            if pipe == ending:
                return None
            if not (streams.read(pipe) if pipe in streams.contents else exchange and exchange.proceed(pipe)):
                poll.unregister(pipe)
            if streams.is_over:
                return "too_much_output"
            if exchange is not None and exchange.verdict:
                return exchange.verdict
