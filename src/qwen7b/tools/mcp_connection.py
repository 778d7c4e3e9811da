"""A client of one MCP server in a thread with an event loop of its own, for callers in any thread.

It knows nothing of what is asked. What the transport does wrong becomes a ToolServerError that names the server; an
error that the server answers with stays an MCPError. Importing it imports `mcp`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import anyio
from mcp import Client, MCPError
from mcp.client import IncomingMessage
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import CONNECTION_CLOSED, Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from qwen7b.errors import ToolServerError
from qwen7b.tools.mcp_source import ServerAddress, ServerCommand, Source
from qwen7b.tools.mcp_trace import ServerTrace

Answer = TypeVar("Answer")

_GRACE_SECONDS = 1.0
"""How long after a limit its error may come from the loop; a server in this process may block that."""
_CLOSE_SECONDS = 8.0
"""The `mcp` package waits for a program to end by itself, then terminates, then kills it: 6 s in all."""
_LISTEN_AGAIN_SECONDS = 1.0
_CLOSED = "Connection closed"
_NO_ANSWER = ("SSE stream ", "Failed to parse ", "Unexpected content type")
_REFUSED = ("Server returned an error response", "Session terminated", "Not Found", "Redirect to ")
"""How the `mcp` package begins what it says, in a server's stead, of an answer that will not come, and of an HTTP
response that holds none. Servers use the same codes as they like."""

# Where a program does not set up logging, Python would print the package's warnings, some at every malformed line.
for _logger in ("mcp", "client"):
    logging.getLogger(_logger).addHandler(logging.NullHandler())


class ServerConnection:
    """A server that was started, until it is closed."""

    def __init__(self, source: Source, *, start_seconds: float) -> None:
        """Start it. Raises ToolServerError if it cannot be reached, or is not ready within `start_seconds`."""
        self.label = source.label
        self.tools_changed = True
        """Whether the list of tools has changed since the caller last set this to False."""
        self._source = source
        self._trace = ServerTrace()
        self._ending = "was closed"
        self._ready: Future[Client] = Future()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._thread = threading.Thread(target=self._run, args=(start_seconds,), daemon=True, name=f"MCP {self.label}")
        self._thread.start()
        try:
            self._client = self._ready.result(start_seconds + _GRACE_SECONDS)
        except BaseException as error:  # Ctrl-C too
            self.close()
            if isinstance(error, TimeoutError):
                raise self._late("start", start_seconds, "start_seconds") from None
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; for a forked process it has."""
        return self._thread.is_alive()

    def ask(
        self,
        request: Callable[[Client], Coroutine[Any, Any, Answer]],
        *,
        action: str,
        seconds: float,
        setting: str,
    ) -> Answer:
        """The answer to a request. A caller that is interrupted, or whose time is up, cancels it.

        action   what the server is asked to do, for the error that it did not within `seconds`
        setting  the name of the setting that gives it more time
        """
        if not self.is_alive:
            raise self._ended()
        self._trace.refusal = ""
        answering = _within(request(self._client), seconds)
        try:
            future = asyncio.run_coroutine_threadsafe(answering, self._loop)
        except RuntimeError:  # the loop was closed just now
            answering.close()
            raise self._ended() from None
        try:
            return future.result(seconds + _GRACE_SECONDS)
        except TimeoutError:
            raise self._late(action, seconds, setting) from None
        except CancelledError:
            raise self._ended() from None
        except MCPError as error:
            if error.code == CONNECTION_CLOSED and error.message == _CLOSED:
                raise self._lost() from None
            if error.message.startswith(_NO_ANSWER):
                raise self._failed(f"gave no answer: {_first_line(error)}") from None
            if self._trace.refusal and error.message.startswith(_REFUSED):
                raise self._failed(f"answered with {self._trace.refusal}: {error.message}") from None
            raise
        except Exception as error:
            raise self._failed(f"did not {action}: {_first_line(error)}") from error
        finally:
            future.cancel()

    def close(self) -> None:
        """End the connection, and the program that was started for it with all that it started. Closing twice is fine.

        A server that does not end in time is left to itself.
        """
        if not self.is_alive:
            return
        with suppress(RuntimeError):  # the loop was closed just now
            self._loop.call_soon_threadsafe(self._stop)
        if threading.current_thread() is not self._thread:  # as it is where the loop collects garbage
            self._thread.join(_CLOSE_SECONDS + _GRACE_SECONDS)

    def _stop(self) -> None:
        self._stopping.set()
        if self._scope is not None and not self._ready.done():
            self._scope.cancel()

    def _run(self, start_seconds: float) -> None:
        # At the interpreter's exit the loop may fail to close, as it can start no thread.
        with suppress(RuntimeError), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(start_seconds))

    async def _serve(self, start_seconds: float) -> None:
        """Hold the client open in one task, as its cancel scopes ask. Requests run in tasks of their own."""
        failure = None
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + start_seconds) as self._scope:
                if not self._stopping.is_set():
                    await self._hold_client(self._scope)
        except Exception as error:
            failure = error
        await self._trace.read_last_words()
        if failure is not None:
            self._ending = f"failed: {_first_line(failure)}"
        if self._ready.done():
            return
        if failure is None:
            self._ready.set_exception(TimeoutError())
        else:
            self._ready.set_exception(self._not_started(_leaf(failure)))

    async def _hold_client(self, scope: anyio.CancelScope) -> None:
        client = Client(
            self._source.open(self._trace),
            message_handler=self._receive,
            client_info=Implementation(name="qwen7b", version=_own_version()),
            cache=None,
        )
        async with client, anyio.create_task_group() as tasks:
            scope.deadline = math.inf
            tasks.start_soon(self._listen, client)
            self._ready.set_result(client)
            await self._stopping.wait()
            scope.deadline = anyio.current_time() + _CLOSE_SECONDS
            tasks.cancel_scope.cancel()

    async def _receive(self, message: IncomingMessage) -> None:
        if isinstance(message, Exception):
            self._trace.note_malformed(message)
        elif isinstance(message, ToolListChangedNotification):
            self.tools_changed = True

    async def _listen(self, client: Client) -> None:
        """Ask to be told of changes, where the protocol's version tells only those who ask."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        with suppress(MCPError):  # a server that refuses has no changes to tell
            while True:
                with suppress(SubscriptionLost):
                    async with client.listen(tools_list_changed=True) as changes:
                        self.tools_changed = True  # perhaps before it listened
                        async for _ in changes:
                            self.tools_changed = True
                    return
                await anyio.sleep(_LISTEN_AGAIN_SECONDS)

    def _lost(self) -> ToolServerError:
        """The error for a request on a connection that ended."""
        if isinstance(self._source, ServerCommand):
            self._ending = "ended by itself"
            self.close()
        self._thread.join(_GRACE_SECONDS)  # else it failed, and is on its way to end
        return self._ended()

    def _ended(self) -> ToolServerError:
        remedy = "the next call connects anew" if isinstance(self._source, ServerAddress) else "start it anew"
        return self._failed(f"{self._ending}{self._trace.remark}: {remedy}")

    def _late(self, action: str, seconds: float, setting: str) -> ToolServerError:
        return self._failed(
            f"did not {action} within {seconds:g} s{self._trace.remark}: more time is given by {setting}"
        )

    def _not_started(self, error: BaseException) -> ToolServerError:
        if isinstance(error, FileNotFoundError) and isinstance(self._source, ServerCommand):
            return self._failed(f"did not start: there is no {error.filename!r}: is it installed?")
        reason = "it ended at once" if str(error) == _CLOSED else _first_line(error)
        seen = f" (it answered with {self._trace.refusal})" if self._trace.refusal else ""
        return self._failed(f"did not start: {reason}{seen}{self._trace.remark}")

    def _failed(self, what: str) -> ToolServerError:
        return ToolServerError(f"the MCP server {self.label!r} {what}")


async def _within(request: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
    with anyio.fail_after(seconds):
        return await request


def _leaf(error: BaseException) -> BaseException:
    """The first error of a group, which task groups make of what their tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _first_line(error: BaseException) -> str:
    error = _leaf(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"what it sent is not of the protocol: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    text = str(error).strip()
    return text.splitlines()[0].removesuffix(".") if text else type(error).__name__


def _own_version() -> str:
    try:
        return version("qwen7b")
    except PackageNotFoundError:  # the sources are run without being installed
        return "unknown"
