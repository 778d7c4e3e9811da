"""What an MCP server let be seen of itself besides its answers, for errors to quote."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from qwen7b.errors import quoted

if TYPE_CHECKING:
    from httpx2 import Response

_KEPT_BYTES = 4096
_QUOTED_CHARACTERS = 400
_LAST_WORDS_SECONDS = 0.3


class ServerTrace(asyncio.Protocol):
    """The end of a server's log, its last line that is no message, and whether its last HTTP response is a refusal.

    All of the log is read, as a full pipe would stop the server.
    """

    def __init__(self) -> None:
        self._log = b""
        self._log_ended: asyncio.Event | None = None
        self.refusal = ""
        """The last HTTP response, as "401 Unauthorized", where it is a refusal; else ""."""
        self.malformed = ""
        """What stood where a message should; "" for nothing."""

    async def open_log(self, stack: AsyncExitStack) -> int:
        """The file descriptor to which a server writes its log, until the stack is closed."""
        reading, writing = os.pipe()
        self._log_ended = asyncio.Event()
        pipe = os.fdopen(reading, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, pipe)
        stack.callback(transport.close)
        return writing

    def data_received(self, data: bytes) -> None:
        self._log = (self._log + data)[-_KEPT_BYTES:]

    def connection_lost(self, exception: Exception | None) -> None:
        assert self._log_ended is not None
        self._log_ended.set()

    def note_malformed(self, error: Exception) -> None:
        """Note what a transport could not read."""
        errors = getattr(error, "errors", None)  # pydantic's, with the line
        lines = [each.get("input") for each in errors()] if callable(errors) else []
        self.malformed = quoted(lines[0]) if lines else quoted(str(error))

    async def note_response(self, response: Response) -> None:
        """Note how the last HTTP response refused its request, if it did."""
        is_refusal = response.status_code >= 400 or response.has_redirect_location
        self.refusal = f"{response.status_code} {response.reason_phrase}" if is_refusal else ""

    async def read_last_words(self) -> None:
        """Wait a moment for what a server that has ended left of its log."""
        if self._log_ended is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._log_ended.wait(), _LAST_WORDS_SECONDS)

    @property
    def remark(self) -> str:
        """Clauses to follow on what went wrong; "" if nothing was seen."""
        log = " ".join(self._log.decode("utf-8", "replace").split())[-_QUOTED_CHARACTERS:]
        remarks = [f"it wrote {self.malformed} where a message of the protocol belongs"] if self.malformed else []
        remarks += [f"its log ends: {log}"] if log else []
        return "".join(f"; {each}" for each in remarks)
