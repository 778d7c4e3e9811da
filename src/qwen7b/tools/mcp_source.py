"""Where an MCP server is: a command, an address or an object. What a user gives becomes one of these.

Each has a name for errors, without what may be secret, and opens what the `mcp` package talks to. Nothing here knows of
tools, and `mcp` is imported only when a server is opened.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from qwen7b.errors import SettingError, quoted
from qwen7b.tools.mcp_trace import ServerTrace

if TYPE_CHECKING:
    from httpx2 import Auth
    from mcp.client import Transport
    from mcp.server import MCPServer, Server

_CONNECT_SECONDS = 30.0
_MAX_EVENT_BYTES = 64 << 20
"""The largest message of a server over HTTP; the `mcp` package by itself refuses results of over one MiB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCommand:
    """A program that speaks MCP on its standard input and output."""

    arguments: Sequence[str]
    env: Mapping[str, str]
    """Variables that it sees besides HOME, LOGNAME, PATH, SHELL, TERM and USER: no secret of yours unless given."""
    folder: Path | None
    """The folder that it starts in; None for the present one."""

    @property
    def label(self) -> str:
        return shlex.join(self.arguments)

    def open(self, trace: ServerTrace) -> Transport:
        from mcp import StdioServerParameters

        program, *arguments = self.arguments
        return _run(StdioServerParameters(command=program, args=arguments, env={**self.env}, cwd=self.folder), trace)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerAddress:
    """A server over streamable HTTP. Redirects are followed only on its own host, by the `mcp` package's rule."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    auth: Auth | None = field(repr=False)

    @property
    def label(self) -> str:
        return bare_url(self.url)

    def open(self, trace: ServerTrace) -> Transport:
        return _reach(self, trace)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerObject:
    """A server of the `mcp` package in this process."""

    server: MCPServer[Any] | Server[Any]

    @property
    def label(self) -> str:
        return self.server.name

    def open(self, trace: ServerTrace) -> MCPServer[Any] | Server[Any]:
        return self.server


Source = ServerCommand | ServerAddress | ServerObject


def read_source(
    server: object,
    *,
    headers: Mapping[str, str] | None,
    auth: Auth | None,
    env: Mapping[str, str] | None,
    folder: str | os.PathLike[str] | None,
) -> Source:
    """Read what a user names a server by. Raises SettingError for what is none, and for settings of another kind."""
    if isinstance(server, str) and re.match(r"https?://", server.strip(), re.IGNORECASE):
        _refuse("a command", env=env, folder=folder)
        return ServerAddress(url=_checked_url(server.strip()), headers={**(headers or {})}, auth=auth)
    if isinstance(server, str) and re.match(r"[a-z][a-z0-9+.-]*://", server.strip(), re.IGNORECASE):
        raise SettingError(f"the URL of an MCP server begins with http:// or https://, found {quoted(server)}")
    _refuse("a URL", headers=headers, auth=auth)
    if isinstance(server, (str, Sequence)) and not isinstance(server, (bytes, bytearray)):
        arguments, assigned = _split(server)
        place = None if folder is None else Path(folder)
        return ServerCommand(arguments=arguments, env={**assigned, **(env or {})}, folder=place)
    _refuse("a command", env=env, folder=folder)
    mcp_server: Any = sys.modules.get("mcp.server")  # where it is not imported, nothing is an object of it
    if mcp_server is None or not isinstance(server, (mcp_server.MCPServer, mcp_server.Server)):
        raise SettingError(
            f"an MCP server is a command, a URL or a server object of the mcp package, found {quoted(server)}"
        )
    return ServerObject(server=server)


def bare_url(url: str) -> str:
    """A URL without user, query and fragment, in which secrets may stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path


def _refuse(kind: str, **settings: object) -> None:
    for name, value in settings.items():
        if value is not None:
            raise SettingError(f"{name} goes with {kind} of an MCP server, and this is none: leave {name} out")


def _checked_url(url: str) -> str:
    try:
        urlsplit(url).port  # noqa: B018  # a ValueError says that it is no number
        host = urlsplit(url).hostname
    except ValueError as error:
        raise SettingError(f"the URL of an MCP server is not valid ({error}): {quoted(bare_url(url))}") from None
    if not host:
        raise SettingError(f"the URL of an MCP server must name a host, found {quoted(url)}")
    return url


def _split(command: str | Sequence[object]) -> tuple[list[str], dict[str, str]]:
    """The arguments of a command, and the variables that a command line sets before it, as in "KEY=value program"."""
    assigned: dict[str, str] = {}
    if isinstance(command, str):
        try:
            arguments = shlex.split(command)
        except ValueError as error:
            raise SettingError(f"the command of an MCP server cannot be read ({error}): {quoted(command)}") from None
        while arguments and (assignment := re.fullmatch(r"([A-Za-z_]\w*)=(.*)", arguments[0], re.DOTALL)):
            assigned[assignment[1]] = assignment[2]
            del arguments[0]
    else:
        arguments = [argument for argument in command if isinstance(argument, str)]
    if not arguments or not arguments[0] or (not isinstance(command, str) and len(arguments) < len(command)):
        raise SettingError(f"the command of an MCP server must name a program, found {quoted(command)}")
    if any("\0" in text for text in (*arguments, *assigned.values())):
        raise SettingError(f"the command of an MCP server must not hold a null character, found {quoted(command)}")
    return arguments, assigned


@asynccontextmanager
async def _run(parameters: Any, trace: ServerTrace) -> AsyncIterator[Any]:
    from mcp import stdio_client

    async with AsyncExitStack() as stack:
        log = await trace.open_log(stack)
        with open(log, "w") as file:  # the program has a copy of its own once it runs
            streams = await stack.enter_async_context(stdio_client(parameters, file))
        yield streams


@asynccontextmanager
async def _reach(address: ServerAddress, trace: ServerTrace) -> AsyncIterator[Any]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(
            headers={**address.headers},
            auth=address.auth,
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=None),  # a call has its own limit; a stream may rest
            event_hooks={"response": [trace.note_response]},
        ) as client,
        streamable_http_client(address.url, http_client=client, max_sse_event_size=_MAX_EVENT_BYTES) as streams,
    ):
        yield streams
