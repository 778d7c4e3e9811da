"""Tools for chats: functions, JSON schemas and MCP servers in; calls that are run, and their results, out.

The room knows no weights: it talks to a `Qwen`.
"""

from qwen7b.tools.mcp_server import McpServer

__all__ = ["McpServer"]
