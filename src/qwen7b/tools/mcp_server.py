"""MCP servers as tools: a command, an address or a server object in; definitions out, and results of calls as text.

A `McpServer` is used from any thread, and from a coroutine, which waits for it as for any other function. It knows
nothing of models and conversations.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qwen7b.config.checked import positive_number
from qwen7b.dialects.definition import ToolDefinition
from qwen7b.errors import MissingExtraError, ToolServerError, quoted
from qwen7b.tools.mcp_source import ServerAddress, read_source

if TYPE_CHECKING:
    from httpx2 import Auth
    from mcp import Client
    from mcp.server import MCPServer, Server
    from mcp_types import Tool

    from qwen7b.tools.mcp_connection import ServerConnection

    _Tools = dict[str, tuple[ToolDefinition, Tool]]

_MAX_TOOLS = 1000


class McpServer:
    """The tools of an MCP server (https://modelcontextprotocol.io), which is started when they are first asked for.

        with qwen7b.tools.McpServer("mcp-server-time") as server:
            print([tool.name for tool in server.definitions])
            print(server.call("get_current_time", {"timezone": "Asia/Shanghai"}))

    server         a command line, as a text or as its arguments; the URL of a server over streamable HTTP; or a server
                   object of the `mcp` package. A text may set variables before the command, as in "KEY=value program"
    prefix         what is put before the names of the tools, where two servers use one name for different tools
    headers, auth  with a URL: headers of every request, as {"Authorization": "Bearer …"}; an `httpx2.Auth`. Both are
                   sent to the host of the URL only
    env, folder    with a command: variables that it sees besides HOME, LOGNAME, PATH, SHELL, TERM and USER, and the
                   folder that it starts in
    start_seconds  how long it may take to start, and to list its tools
    call_seconds   how long a call may take

    It is closed by `with`, by `close`, when it is no longer used, and as Python exits; what was started for it is then
    ended. A server over HTTP that was lost is connected to anew by the next call; a program that ended is not started
    again, as what it remembered is gone.

    Its methods raise ToolServerError, which names the server, if it does not start, does not answer in time or has
    ended, and MissingExtraError if `mcp` is not installed.
    """

    def __init__(
        self,
        server: str | Sequence[str] | MCPServer[Any] | Server[Any],
        *,
        prefix: str = "",
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
        env: Mapping[str, str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        start_seconds: float = 60.0,
        call_seconds: float = 60.0,
    ) -> None:
        self._source = read_source(server, headers=headers, auth=auth, env=env, folder=folder)
        self._prefix = prefix
        self._start_seconds = positive_number("start_seconds", start_seconds)
        self._call_seconds = positive_number("call_seconds", call_seconds)
        self._lock = threading.RLock()
        self._connection: ServerConnection | None = None
        self._found: _Tools | None = None
        self._is_closed = False

    @property
    def label(self) -> str:
        """What the server is called in messages."""
        return self._source.label

    @property
    def definitions(self) -> list[ToolDefinition]:
        """The tools, asked for anew where the server said that they have changed."""
        return [definition for definition, _ in self._tools().values()]

    def is_read_only(self, name: str) -> bool:
        """Whether the server says that this tool changes nothing. Nobody checks it: believe whom you trust."""
        _, tool = self._tools().get(name, (None, None))
        return tool is not None and tool.annotations is not None and tool.annotations.read_only_hint is True

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """The result of a call as text, for a model. Raises ToolFailure, also for a model, if the tool says that it
        failed, and if there is no such tool, as the server may rename them."""
        from mcp import MCPError

        from qwen7b.tools.mcp_text import content_text, failure

        connection = self._connected()
        found = self._tools()
        if name not in found:
            raise failure(f"there is no tool {quoted(name)} (any more): the tools are {', '.join(found) or 'none'}")
        theirs = found[name][1].name
        try:
            result = connection.ask(
                lambda client: client.call_tool(theirs, arguments),
                action=f"answer the call of {name}",
                seconds=self._call_seconds,
                setting="call_seconds",
            )
        except MCPError as error:
            raise failure(error.message) from None
        if result.is_error:
            raise failure(content_text(result))
        return content_text(result)

    def close(self) -> None:
        """End the connection, and what was started for it. The server cannot be used again."""
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()

    def __enter__(self) -> McpServer:
        try:
            self._tools()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"McpServer({self.label!r})"

    def _connected(self) -> ServerConnection:
        with self._lock:
            if self._is_closed:
                raise ToolServerError(f"the MCP server {self.label!r} was closed: make another McpServer")
            if self._connection is None or (not self._connection.is_alive and isinstance(self._source, ServerAddress)):
                try:
                    from qwen7b.tools.mcp_connection import ServerConnection
                except ModuleNotFoundError as error:
                    raise MissingExtraError(error.name or "mcp", extra="tools") from error
                self._connection = ServerConnection(self._source, start_seconds=self._start_seconds)
                weakref.finalize(self, self._connection.close)  # at exit too
            return self._connection

    def _tools(self) -> _Tools:
        """The tools as last listed. Where a server cannot list them again, a call will say what is wrong."""
        with self._lock:
            if self._found is None or self._is_closed:
                self._found = self._list(self._connected())
            elif self._connection is not None and self._connection.is_alive and self._connection.tools_changed:
                with suppress(ToolServerError):
                    self._found = self._list(self._connection)
            return self._found

    def _list(self, connection: ServerConnection) -> _Tools:
        from mcp import MCPError

        from qwen7b.tools.mcp_text import define_tools

        connection.tools_changed = False
        try:
            listed = connection.ask(
                _list_tools, action="list its tools", seconds=self._start_seconds, setting="start_seconds"
            )
        except MCPError as error:
            raise ToolServerError(f"the MCP server {self.label!r} does not list its tools: {error.message}") from None
        except KeyboardInterrupt:
            connection.tools_changed = True
            raise
        if len(listed) > _MAX_TOOLS:
            raise ToolServerError(f"the MCP server {self.label!r} lists over {_MAX_TOOLS:,} tools")
        return define_tools(listed, prefix=self._prefix, label=self.label)


def read_server_option(text: str) -> McpServer:
    """The server that an option of the command line names: a command or a URL, after a prefix if its tools need one.

    >>> read_server_option("mcp-server-time --local-timezone Asia/Shanghai"), read_server_option("a_: https://host/mcp")
    (McpServer('mcp-server-time --local-timezone Asia/Shanghai'), McpServer('https://host/mcp'))
    """
    prefixed = re.fullmatch(r"(\w+):\s+(.*)", text.strip(), re.DOTALL)
    return McpServer(prefixed[2], prefix=prefixed[1]) if prefixed else McpServer(text)


async def _list_tools(client: Client) -> list[Tool]:
    """All pages, up to one more tool than is allowed."""
    page = await client.list_tools()
    tools = page.tools
    while page.next_cursor is not None and len(tools) <= _MAX_TOOLS:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools
