"""Tools for chats: functions, JSON schemas and MCP servers in; calls that are run, and their results, out.

The room knows no weights: it talks to a `Qwen`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.dialects import ToolDefinition
from qwen7b.dialects.tool_prompt import parse_reply as parse
from qwen7b.dialects.tool_prompt import tool_prompt as chat_prompt
from qwen7b.system.importing import imported_when_used
from qwen7b.text.messages import ToolCall
from qwen7b.tools.agent import Agent
from qwen7b.tools.agent_run import AgentRun
from qwen7b.tools.tool_result import ReplayError, ToolFailure, ToolResult
from qwen7b.tools.toolbox import Tool, Toolbox, ToolSource, read_only
from qwen7b.tools.transcript import Replay, read_transcript

if TYPE_CHECKING:
    from qwen7b.tools.code_interpreter import CodeInterpreter
    from qwen7b.tools.mcp_server import McpServer

__all__ = [
    "Agent",
    "AgentRun",
    "CodeInterpreter",
    "McpServer",
    "Replay",
    "ReplayError",
    "Tool",
    "ToolCall",
    "ToolDefinition",
    "ToolFailure",
    "ToolResult",
    "ToolSource",
    "Toolbox",
    "chat_prompt",
    "parse",
    "read_only",
    "read_transcript",
]

__getattr__ = imported_when_used(__name__, {"CodeInterpreter": "code_interpreter", "McpServer": "mcp_server"})
